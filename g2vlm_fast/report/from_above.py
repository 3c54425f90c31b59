"""Scenes seen straight from above, with whatever is above a ceiling cut off."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from g2vlm_fast.export.mesh import ColoredMesh
from g2vlm_fast.export.raycast import MeshRaycaster
from g2vlm_fast.report.cameras import VirtualCamera
from g2vlm_fast.report.pictures import BACKGROUND, Picture

FromAbove = Callable[[NDArray[np.float32], NDArray[np.float32]], Picture]
"""Draws the rectangle between lowest and highest (x, y) in metres, y upwards in the picture."""

_WIDTH = 900
_FAR = 200.0  # metres above the floor
_CELLS = 300  # along the longer side; a point fills one, so that sparse ones close up


def mesh_from_above(mesh: ColoredMesh, ceiling: float) -> FromAbove:
    """See a mesh from above.

    Args:
        mesh: the surface.
        ceiling: metres; faces that reach higher are left out, unless that leaves none.
    """
    low = mesh.subset(mesh.vertices[mesh.faces][..., 2].max(axis=1) < ceiling)
    raycaster = MeshRaycaster(mesh if low.is_empty else low)

    def draw(lowest: NDArray[np.float32], highest: NDArray[np.float32]) -> Picture:
        camera = camera_above(lowest, highest)
        hits = raycaster.look(camera.intrinsics, camera.pose, camera.size, through_backs=True)
        return (hits.color.clip(0, 1) * 255).astype(np.uint8)

    return draw


def camera_above(lowest: NDArray[np.float32], highest: NDArray[np.float32]) -> VirtualCamera:
    """Return a camera that looks down on a rectangle of the floor, z = 0, almost in parallel."""
    size = highest - lowest
    height = _height_of(size)
    focal = _WIDTH * _FAR / float(size[0])
    x, y = ((lowest + highest) / 2).tolist()
    pose = torch.tensor(
        [[1.0, 0.0, 0.0, x], [0.0, -1.0, 0.0, y], [0.0, 0.0, -1.0, _FAR], [0.0, 0.0, 0.0, 1.0]]
    )
    intrinsics = torch.tensor(
        [[focal, 0.0, (_WIDTH - 1) / 2], [0.0, focal, (height - 1) / 2], [0.0, 0.0, 1.0]]
    )
    return VirtualCamera(intrinsics, pose, (height, _WIDTH))


def points_from_above(
    points: NDArray[np.float32], colors: NDArray[np.uint8], ceiling: float
) -> FromAbove:
    """See a cloud from above: of the points over one place the highest is drawn.

    Args:
        points: ``[N, 3]`` metres.
        colors: ``[N, 3]``.
        ceiling: metres; higher points are left out.
    """
    from PIL import Image

    kept = points[:, 2] < ceiling
    points, colors = points[kept], colors[kept]
    order = np.argsort(points[:, 2], kind="stable")
    points, colors = points[order], colors[order]

    def draw(lowest: NDArray[np.float32], highest: NDArray[np.float32]) -> Picture:
        size = highest - lowest
        columns, rows = np.maximum(2, size / size.max() * _CELLS).astype(np.int64).tolist()
        column, row = ((points[:, :2] - lowest) / size * (columns, rows)).astype(np.int64).T
        inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
        paper = (BACKGROUND * 255).astype(np.uint8)
        picture = np.broadcast_to(paper, (rows, columns, 3)).copy()
        picture[rows - 1 - row[inside], column[inside]] = colors[inside]
        image = Image.fromarray(picture)
        return np.asarray(image.resize((_WIDTH, _height_of(size)), Image.Resampling.BILINEAR))

    return draw


def _height_of(size: NDArray[np.float32]) -> int:
    return max(2, round(_WIDTH * float(size[1] / size[0])))
