"""The implementations of :func:`g2vlm_fast.ops.voxel_clusters`: points grouped by voxel."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from g2vlm_fast import _C
from g2vlm_fast.ops import _dispatch
from g2vlm_fast.ops.reference.voxel_pool import voxel_keys

_BOUNDS_SPACE = 512 * 7  # of 512 blocks


class Groups(NamedTuple):
    """M groups of N points, ordered by segment and then by voxel; all int32."""

    order: Tensor  # [N], the points by group, those of one by rising index
    order_again: Tensor  # [N], the same: torch.compile takes no tensor twice
    slot: Tensor  # [N], the place of each point in ``order``
    assignment: Tensor  # [N], the group of each point
    numbers: Tensor  # [N + 1], from 0 to N
    row_offsets: Tensor  # [M + 1]
    segment_offsets: Tensor  # [B + 1], the groups of each segment


def _check_grid(size: float, is_finite: bool, log_voxels: float, farthest: float) -> None:
    op = "voxel_clusters"
    if not is_finite:
        raise ValueError(
            f"{op}: position must be finite, also in voxels of size = {size}, got NaN or infinity"
        )
    if farthest > 2**52:
        raise ValueError(
            f"{op}: size = {size} puts a point {farthest:.0e} voxels from the origin, farther than "
            "the 2^52 that can be told apart; choose a larger size, or remove stray points"
        )
    if log_voxels > 62:
        raise ValueError(
            f"{op}: size = {size} makes a grid of 2^{log_voxels:.0f} voxels, more than 2^62 can be "
            "told apart; choose a larger size, or remove stray points"
        )


def _by_torch(position: Tensor, size: float, offsets: Tensor | None) -> Groups:
    points, device = position.shape[0], position.device
    if offsets is None:
        offsets = torch.arange(2, dtype=torch.int32, device=device) * points
    key, is_finite, log_voxels, farthest = voxel_keys(position, size, offsets)
    key, order = key.sort(stable=True)
    order = order.int()
    starts = torch.ones_like(key, dtype=torch.bool)
    starts[1:] = key[1:] != key[:-1]
    cluster = starts.cumsum(0, dtype=torch.int32)
    number = cluster[-1:].sum()
    facts = torch.stack([number.double(), is_finite.double(), log_voxels, farthest])
    clusters, finite, *grid = facts.tolist()
    _check_grid(size, bool(finite), *grid)
    row_offsets = torch.full((int(clusters) + 1,), points, dtype=torch.int32, device=device)
    numbers = torch.arange(points + 1, dtype=torch.int32, device=device)
    place = numbers[:-1]
    # Every first point of a cluster writes its place; the others write to the end, which is
    # already right.
    row_offsets[torch.where(starts, cluster - 1, int(clusters))] = torch.where(
        starts, place, points
    )
    assignment, slot = torch.empty_like(order), torch.empty_like(order)
    assignment[order] = cluster - 1
    slot[order] = place
    ends = torch.cat([cluster, cluster.new_zeros(1)])
    segment_offsets = torch.where(offsets > 0, ends[offsets.long() - 1], 0)
    clone = order.clone()
    return Groups(order, clone, slot, assignment, numbers, row_offsets, segment_offsets)


def _by_cuda(position: Tensor, size: float, offsets: Tensor | None) -> Groups:
    """Group on the GPU; waits for the bounds of the grid, and for the number of groups."""
    points = position.shape[0]
    if points == 0:
        return _by_torch(position, size, offsets)
    position = position.contiguous()
    offsets = None if offsets is None else offsets.contiguous()
    segments = 1 if offsets is None else offsets.shape[0] - 1
    # All that does not depend on the bounds comes first: once they are read, the GPU idles.
    order, order_again, slot, assignment = (
        position.new_empty(points, dtype=torch.int32) for _ in range(4)
    )
    numbers, row_offsets = (order.new_empty(points + 1) for _ in range(2))
    segment_offsets = order.new_empty(segments + 1)
    space = position.new_empty(_BOUNDS_SPACE, dtype=torch.float64)
    *bounds, finite = _C.voxel_bounds_cuda(position, size, space)
    low, high = bounds[:3], bounds[3:]
    extent = [last - first + 1 for first, last in zip(low, high, strict=True)] if finite else [1.0]
    log_voxels = sum(map(math.log2, [segments, *extent]))
    _check_grid(size, bool(finite), log_voxels, max(map(abs, bounds)) if finite else 0.0)
    voxels = (position, offsets, size, low, [int(each) for each in extent])
    workspace = position.new_empty(_C.voxel_groups_workspace_cuda(*voxels), dtype=torch.uint8)
    written = (order, order_again, slot, assignment, numbers, row_offsets, segment_offsets)
    groups = _C.voxel_groups_cuda(*voxels, *written, workspace)
    # A view of N + 1 offsets: the points' own tensors are four times as large.
    return Groups(*written[:5], row_offsets[: groups + 1], segment_offsets)


for _backend, _run, _devices, _dtypes in (
    ("cpu", _by_torch, ("cpu",), _dispatch.FLOAT32_64),
    ("cuda", _by_cuda, ("cuda",), _dispatch.FLOAT32),
    ("reference", _by_torch, ("cpu", "cuda"), _dispatch.FLOAT32_64),
):
    _dispatch.register_backend("voxel_clusters", _backend, _run, devices=_devices, dtypes=_dtypes)
