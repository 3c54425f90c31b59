"""Scenes seen straight from above, with whatever is above a ceiling cut off."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from g2vlm_fast.data.rendering.primitives import Primitives, Shape
from g2vlm_fast.data.rendering.render import render
from g2vlm_fast.export.mesh import ColoredMesh
from g2vlm_fast.export.raycast import MeshRaycaster
from g2vlm_fast.report.cameras import VirtualCamera
from g2vlm_fast.report.pictures import BACKGROUND, Picture, to_picture

FromAbove = Callable[[NDArray[np.float32], NDArray[np.float32]], Picture]
"""Draws the rectangle between lowest and highest (x, y) in metres, y upwards in the picture."""

_WIDTH = 900
_FAR = 200.0  # metres above the floor
_CELLS = 300  # along the longer side
_CLOSED = 3.0  # cells from the nearest point up to which a plan of sparse points is filled


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

    Small gaps between points are closed by the nearest of them.

    Args:
        points: ``[N, 3]`` metres.
        colors: ``[N, 3]``.
        ceiling: metres; higher points are left out.
    """
    from PIL import Image
    from scipy.ndimage import distance_transform_edt

    kept = points[:, 2] < ceiling
    points, colors = points[kept], colors[kept]
    order = np.argsort(points[:, 2], kind="stable")
    points, colors = points[order], colors[order]

    def draw(lowest: NDArray[np.float32], highest: NDArray[np.float32]) -> Picture:
        size = highest - lowest
        columns, rows = np.maximum(2, size / size.max() * _CELLS).astype(np.int64).tolist()
        column, row = ((points[:, :2] - lowest) / size * (columns, rows)).astype(np.int64).T
        inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
        empty = (BACKGROUND * 255).astype(np.uint8)
        picture = np.broadcast_to(empty, (rows, columns, 3)).copy()
        picture[rows - 1 - row[inside], column[inside]] = colors[inside]
        gaps = np.ones((rows, columns), dtype=bool)
        gaps[rows - 1 - row[inside], column[inside]] = False
        distance, nearest = distance_transform_edt(gaps, return_indices=True)
        near = distance <= _CLOSED
        picture[near] = picture[tuple(nearest[:, near])]
        image = Image.fromarray(picture)
        return np.asarray(image.resize((_WIDTH, _height_of(size)), Image.Resampling.BILINEAR))

    return draw


def solids_from_above(primitives: Primitives, ceiling: float) -> FromAbove:
    """See the solids of a generated room from above.

    Args:
        primitives: what the room is made of.
        ceiling: metres; solids that begin higher, and the room itself, are left out.
    """
    bottom = primitives.center[:, 2] - primitives.half_size[:, 2]
    below = primitives.rows((primitives.shape != Shape.ROOM) & (bottom < ceiling))

    def draw(lowest: NDArray[np.float32], highest: NDArray[np.float32]) -> Picture:
        camera = camera_above(lowest, highest)
        seen = render(below, camera.intrinsics[None], camera.pose[None], *camera.size)
        empty = torch.from_numpy(BACKGROUND)[:, None, None].expand_as(seen.images[0])
        shown = torch.where(seen.depth > 0, seen.images[0], empty)
        return to_picture((shown * 255).round().to(torch.uint8))

    return draw


def paper(lowest: NDArray[np.float32], highest: NDArray[np.float32]) -> Picture:
    """Draw nothing: the background of a scene of which boxes alone are known."""
    picture = np.empty((_height_of(highest - lowest), _WIDTH, 3), dtype=np.uint8)
    picture[:] = np.round(BACKGROUND * 255)
    return picture


def _height_of(size: NDArray[np.float32]) -> int:
    return max(2, round(_WIDTH * float(size[1] / size[0])))
