"""Index arithmetic of packed sequences."""

from __future__ import annotations

import torch
from torch import Tensor


def lengths(offsets: Tensor) -> Tensor:
    """Return the length of each segment ``[B]`` int64."""
    return offsets.diff().long()


def segment_ids(offsets: Tensor) -> Tensor:
    """Return the segment of each element ``[N]`` int64."""
    sizes = lengths(offsets)
    return torch.repeat_interleave(torch.arange(len(sizes), device=offsets.device), sizes)


def offsets_of(sizes: Tensor) -> Tensor:
    """Return the int32 offsets ``[B + 1]`` of segments of the given lengths ``[B]``."""
    return torch.nn.functional.pad(sizes.cumsum(0), (1, 0)).int()


def offsets_of_ids(ids: Tensor, segments: int) -> Tensor:
    """Return the offsets of elements that are sorted by segment id ``[N]``."""
    return torch.searchsorted(ids, torch.arange(segments + 1, device=ids.device)).int()


def gather_segments(offsets: Tensor, segments: Tensor) -> tuple[Tensor, Tensor]:
    """Repeat whole segments.

    Args:
        offsets: ``[B + 1]`` int32.
        segments: ``[U]`` int64, the segments wanted, in any order and as often as wanted.

    Returns:
        ``index [n]`` int64 into the packed elements, and its ``offsets [U + 1]`` int32.
    """
    sizes = lengths(offsets)[segments]
    gathered = offsets_of(sizes)
    shift = offsets[:-1].long()[segments] - gathered[:-1].long()
    index = torch.arange(int(gathered[-1]), device=offsets.device)
    return index + torch.repeat_interleave(shift, sizes, output_size=len(index)), gathered


def interleave(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Join two packed sequences segment by segment.

    Args:
        first: offsets ``[B + 1]`` of the sequence that comes first in each segment.
        second: offsets ``[B + 1]`` of the other.

    Returns:
        ``order [n]`` int64, the permutation that sorts ``cat([first, second])`` by segment, and
        the joint offsets ``[B + 1]`` int32.
    """
    ids = torch.cat([segment_ids(first), segment_ids(second)])
    return torch.sort(ids, stable=True).indices, (first + second).int()


def segment_mean(x: Tensor, offsets: Tensor) -> Tensor:
    """Return the mean of each segment ``[B, C]`` in the dtype of ``x``; 0 for an empty one."""
    total = x.new_zeros(len(offsets) - 1, x.shape[-1]).index_add(0, segment_ids(offsets), x)
    return total / lengths(offsets).clamp_min(1)[:, None].to(x.dtype)


def ordered_pairs(offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Return all ordered pairs ``[P, 2]`` of different elements of a segment, and their offsets."""
    sizes = lengths(offsets)
    left, left_offsets = gather_segments(offsets, segment_ids(offsets))
    first = segment_ids(left_offsets)
    different = first != left
    pairs = torch.stack([first, left], dim=-1)[different]
    return pairs, offsets_of(sizes * (sizes - 1))
