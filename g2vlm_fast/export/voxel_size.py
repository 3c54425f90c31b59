"""How finely a scene can be fused: what its sensor resolves, and what memory holds."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor

from g2vlm_fast.export.fusion import BLOCK, BLOCK_BYTES
from g2vlm_fast.geometry.frames import sample_surface

_VOXEL_SIZES_MM = (2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 80)
_VOXELS_A_DEPTH = 150
"""Voxels that the median depth is divided into: about what a 640 pixel wide sensor resolves."""

_LEAST_VOXELS_A_DEPTH = 10
"""With fewer, the fused surface is off by a tenth of its depth and soon there is none."""

_VOXELS_A_SIGMA = 2.0
"""Voxels smaller than this many standard deviations of depth would draw its noise."""

_TOLERANCE = 1.001
_BLOCKS_A_SURFACE_BLOCK = 3.0
"""Blocks that truncation touches for each block that holds surface."""


class VoxelSizeRange(NamedTuple):
    """Voxel sizes that a scene can be fused with, in metres."""

    smallest: float
    largest: float


def voxel_size_range(
    depth: Tensor, intrinsics: Tensor, poses: Tensor, *, max_bytes: int = 8 << 30
) -> VoxelSizeRange:
    """Between which voxel sizes a surface of the scene fits into memory and still is one.

    Memory goes with the area of the surface over that of a voxel, so it is known for all sizes
    from the blocks that are counted for one.

    Args:
        depth: ``[V, H, W]`` metres, 0 = missing.
        intrinsics: ``[V, 3, 3]`` pixels.
        poses: ``[V, 4, 4]`` camera to world.
        max_bytes: memory that the volume may take.

    Raises:
        ValueError: no pixel has depth.
    """
    median = _median_depth(depth)
    counted = median / _VOXELS_A_DEPTH
    needed = _volume_bytes(sample_surface(depth, intrinsics, poses)[0], counted)
    return VoxelSizeRange(counted * math.sqrt(needed / max_bytes), median / _LEAST_VOXELS_A_DEPTH)


def choose_voxel_size(
    depth: Tensor,
    intrinsics: Tensor,
    poses: Tensor,
    *,
    depth_sigma: Tensor | None = None,
    max_bytes: int = 2 << 30,
) -> float:
    """The finest voxel size, in metres, that the sensor resolves and memory holds.

    Args:
        depth: ``[V, H, W]`` metres, 0 = missing.
        intrinsics: ``[V, 3, 3]`` pixels.
        poses: ``[V, 4, 4]`` camera to world.
        depth_sigma: ``[V, H, W]`` metres, the noise of depth, if it is known.
        max_bytes: memory that the volume may take.

    Raises:
        ValueError: no depth, or a scene too large for the largest voxel.
    """
    finest = _median_depth(depth) / _VOXELS_A_DEPTH
    if depth_sigma is not None:
        finest = max(finest, _VOXELS_A_SIGMA * _median(depth_sigma[depth > 0]))
    points = sample_surface(depth, intrinsics, poses)[0]
    sizes = [millimetres / 1000 for millimetres in _VOXEL_SIZES_MM]
    resolved = max([size for size in sizes if size <= finest * _TOLERANCE], default=sizes[0])
    for size in sizes[sizes.index(resolved) :]:
        if _volume_bytes(points, size) <= max_bytes:
            return size
    raise ValueError(
        f"choose_voxel_size: the scene needs more than {max_bytes >> 20} MiB even with "
        f"{_VOXEL_SIZES_MM[-1]} mm voxels; crop it, or fuse it in parts"
    )


def _median_depth(depth: Tensor) -> float:
    measured = depth[depth > 0]
    if measured.numel() == 0:
        raise ValueError("voxel size: no pixel has depth")
    return _median(measured)


def _median(values: Tensor) -> float:
    return float(values[:: max(1, len(values) // 100_000)].median())


def _volume_bytes(points: Tensor, size: float) -> float:
    """Memory of a volume around a surface, from points that lie closer than its blocks."""
    place = (points / (size * BLOCK)).floor().long()
    place -= place.amin(dim=0)
    extent = place.amax(dim=0) + 1
    key = (place[:, 0] * extent[1] + place[:, 1]) * extent[2] + place[:, 2]
    return len(key.unique()) * _BLOCKS_A_SURFACE_BLOCK * BLOCK_BYTES
