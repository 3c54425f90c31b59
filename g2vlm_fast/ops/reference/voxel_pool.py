"""Keys of voxels in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor


def voxel_keys(
    position: Tensor, size: float, offsets: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Number the voxels of packed points so that keys order by segment, x, y and z.

    Args:
        position: ``[N, 3]``.
        size: edge of a voxel.
        offsets: ``[B + 1]``, the segments.

    Returns:
        Key ``[N]`` int64; whether all positions are finite; and the binary logarithm of the number
        of voxels in the box of all points times the number of segments; how many voxels the
        farthest point is from the origin along an axis; the last two float64. Keys mean nothing
        where the former exceeds 62 or the latter 2^52.
    """
    cell = (position.double() / torch.full_like(position, size, dtype=torch.float64)).floor()
    is_finite = cell.isfinite().all()
    # A point where none is needed keeps the extremes of no points defined.
    bounds = torch.cat([cell, cell.new_zeros(1, 3)]) if cell.shape[0] == 0 else cell
    low = bounds.amin(0)
    extent = bounds.amax(0) - low + 1
    segments = offsets.shape[0] - 1
    log_voxels = extent.log2().sum() + torch.full_like(low[0], segments).log2()
    index = torch.arange(position.shape[0], device=position.device, dtype=offsets.dtype)
    segment = torch.searchsorted(offsets[1:].contiguous(), index, right=True)
    x, y, z = (cell - low).long().unbind(1)
    _, ny, nz = extent.long().unbind(0)
    key = ((segment * extent.long()[0] + x) * ny + y) * nz + z
    return key, is_finite, log_voxels, bounds.abs().amax()
