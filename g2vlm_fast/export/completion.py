"""Surface where no view has looked: a predicted distance field, meshed in hidden space alone.

What was measured stays as it was fused; a model may only add to it where every view is blocked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from g2vlm_fast.export.mesh import ColoredMesh
from g2vlm_fast.geometry.cameras import project

DistanceField = Callable[[Tensor], Tensor]
"""Points ``[N, 3]`` metres to signed distances ``[N]`` metres, positive in free space."""

_MAX_POINTS = 120_000
_EMPTY = ColoredMesh(
    np.zeros((0, 3), np.float32),
    np.zeros((0, 3), np.int32),
    np.zeros((0, 3), np.float32),
    np.zeros((0, 3), np.float32),
)


@dataclass(frozen=True)
class Observation:
    """What the views say about points.

    Attributes:
        distance: ``[N]`` metres to the measured surface along the best view, positive in front
            of it, clipped to +-truncation; NaN where hidden or unseen.
        hidden: ``[N]`` bool, in the image of some view but behind what was measured there, by
            more than the truncation, and in front of it in none.
    """

    distance: Tensor
    hidden: Tensor


def observe(
    points: Tensor,
    depth: Tensor,
    intrinsics: Tensor,
    poses: Tensor,
    *,
    truncation: float,
) -> Observation:
    """Ask all views about points, by projection.

    Args:
        points: ``[N, 3]`` metres, world.
        depth: ``[V, H, W]`` metres, 0 = missing.
        intrinsics: ``[V, 3, 3]`` pixels.
        poses: ``[V, 4, 4]`` camera to world.
        truncation: metres; how far behind a surface a point still belongs to it.
    """
    height, width = depth.shape[1:]
    best = torch.full((len(points),), -torch.inf)
    seen = torch.zeros(len(points), dtype=torch.bool)
    for image, matrix, pose in zip(depth, intrinsics, poses, strict=True):
        pixels, z = project(points, matrix, pose)
        column, row = pixels.nan_to_num(-1).round().long().unbind(-1)
        inside = (z > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
        measured = image[row.clamp(0, height - 1), column.clamp(0, width - 1)]
        known = inside & (measured > 0)
        seen |= known
        best = torch.where(known, torch.maximum(best, measured - z), best)
    hidden = seen & (best < -truncation)
    known_distance = torch.where(seen & ~hidden, best.clamp_max(truncation), torch.nan)
    return Observation(known_distance, hidden)


def complete_hidden(
    field: DistanceField,
    depth: Tensor,
    intrinsics: Tensor,
    poses: Tensor,
    bounds: tuple[Tensor, Tensor],
    *,
    truncation: float,
    reference: tuple[NDArray[np.float32], NDArray[np.float32]],
    max_views: int = 24,
) -> ColoredMesh:
    """Mesh a predicted distance field in the space that is hidden from every view.

    Args:
        field: the prediction; asked at hidden points alone.
        depth: ``[V, H, W]`` metres, 0 = missing.
        intrinsics: ``[V, 3, 3]`` pixels.
        poses: ``[V, 4, 4]`` camera to world.
        bounds: lowest and highest corner ``[3]`` of the space that is looked at, metres.
        truncation: metres; what the field is truncated at.
        reference: points ``[N, 3]`` and colours ``[N, 3]``; new surface takes the colour of the
            nearest point.
        max_views: views that are asked what is hidden, evenly spread.

    Returns:
        The hidden part of the zero level, possibly empty; where the zero level merely follows
        the border of what was seen, it is left out.

    Source: Lorensen and Cline, *Marching Cubes*, SIGGRAPH 1987 (scikit-image's).
    """
    low, high = bounds
    step = float(((high - low).prod() / _MAX_POINTS) ** (1 / 3))
    shape = ((high - low) / step).ceil().long().clamp_min(2).tolist()
    axes = [low[axis] + step * torch.arange(shape[axis]) for axis in range(3)]
    points = torch.cartesian_prod(*axes)
    views = torch.linspace(0, len(depth) - 1, min(max_views, len(depth))).round().long()
    observation = observe(points, depth[views], intrinsics[views], poses[views], truncation=step)
    hidden = observation.hidden
    values = observation.distance.nan_to_num(truncation)
    if bool(hidden.any()):
        values[hidden] = field(points[hidden])
    grid, inside = values.reshape(shape).numpy(), hidden.reshape(shape).numpy()
    if not inside.any() or not (grid[inside].min() < 0 < grid[inside].max()):
        return _EMPTY
    return _zero_level(grid, inside, low.numpy(), step, reference)


def _zero_level(
    grid: NDArray[np.float32],
    inside: NDArray[np.bool_],
    origin: NDArray[np.float32],
    step: float,
    reference: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> ColoredMesh:
    from scipy.ndimage import binary_erosion
    from scipy.spatial import cKDTree
    from skimage.measure import marching_cubes

    core = binary_erosion(inside)
    if not core.any():
        return _EMPTY
    if not (grid[core].min() < 0 < grid[core].max()):
        return _EMPTY
    try:
        vertices, faces, normals, _ = marching_cubes(
            grid, level=0.0, spacing=(step,) * 3, gradient_direction="descent", mask=core
        )
    except RuntimeError:  # how scikit-image says that no cell of the mask has a zero crossing
        return _EMPTY
    # scikit-image winds faces outwards here, but lets its normals point down the gradient.
    vertices = (vertices + origin).astype(np.float32)
    colors = reference[1][cKDTree(reference[0]).query(vertices)[1]]
    return ColoredMesh(
        vertices, faces.astype(np.int32), -normals.astype(np.float32), colors.astype(np.float32)
    )


def join(first: ColoredMesh, second: ColoredMesh) -> ColoredMesh:
    """Put two meshes into one, unchanged."""
    return ColoredMesh(
        np.concatenate([first.vertices, second.vertices]),
        np.concatenate([first.faces, second.faces + np.int32(len(first.vertices))]),
        np.concatenate([first.normals, second.normals]),
        np.concatenate([first.colors, second.colors]),
    )
