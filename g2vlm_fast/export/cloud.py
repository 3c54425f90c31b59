"""The dense cloud of what was measured, also where it is too little for a mesh."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from g2vlm_fast.export.fusion import FusedVolume, SurfacePoints
from g2vlm_fast.export.mesh import ColoredMesh
from g2vlm_fast.geometry.cameras import project

_RELATIVE_NOISE = 0.02
"""Depth differences below this share of depth do not contradict each other."""


def dense_cloud(
    volume: FusedVolume, mesh: ColoredMesh, depth: Tensor, intrinsics: Tensor, poses: Tensor
) -> SurfacePoints:
    """The vertices of a fused mesh, and the fused surface that too few views saw for the mesh.

    A pixel that was measured has a point near it, unless more views look through the place than
    measured it: it is then noise at the edge of something, or moved. Points lie about a voxel
    apart, however many pixels were measured there.

    Args:
        volume: all views fused.
        mesh: drawn from the volume.
        depth: ``[V, H, W]`` metres, 0 = missing; what was fused.
        intrinsics: ``[V, 3, 3]`` pixels.
        poses: ``[V, 4, 4]`` camera to world.
    """
    from scipy.spatial import KDTree

    points = volume.surface_points().in_order()
    distance, _ = KDTree(mesh.vertices).query(
        points.position, distance_upper_bound=volume.voxel_size
    )
    more = points.subset(np.isinf(distance))
    position = torch.from_numpy(more.position)
    through = looked_through(position, depth, intrinsics, poses, tolerance=volume.truncation)
    more = more.subset(~through.numpy())
    return SurfacePoints(
        np.concatenate([mesh.vertices, more.position]),
        np.concatenate([mesh.normals, more.normal]),
        np.concatenate([mesh.colors, more.color]),
    )


def looked_through(
    points: Tensor, depth: Tensor, intrinsics: Tensor, poses: Tensor, *, tolerance: float
) -> Tensor:
    """Whether more views measured something behind a point than measured the point: ``[N]`` bool.

    Args:
        points: ``[N, 3]`` metres, world.
        depth: ``[V, H, W]`` metres, 0 = missing.
        intrinsics: ``[V, 3, 3]`` pixels.
        poses: ``[V, 4, 4]`` camera to world.
        tolerance: metres; how far from a point what was measured still is the point. At least
            2 % of its depth.
    """
    height, width = depth.shape[1:]
    votes = torch.zeros(len(points), dtype=torch.int32)
    for image, matrix, pose in zip(depth, intrinsics, poses, strict=True):
        pixels, z = project(points, matrix, pose)
        column, row = pixels.nan_to_num(-1).round().long().unbind(-1)
        inside = (z > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
        measured = image[row.clamp(0, height - 1), column.clamp(0, width - 1)]
        beyond = measured - z
        allowed = (_RELATIVE_NOISE * z).clamp_min(tolerance)
        known = inside & (measured > 0)
        votes += (known & (beyond > allowed)).int() - (known & (beyond.abs() <= allowed)).int()
    return votes > 0
