"""Triton kernel that marks what broken offsets leave to no segment, for ``geometry_attention``.

Offsets on a GPU are read by kernels alone, which cannot raise. Where they do not rise from 0 to
the number of rows, every result is filled with NaN first, so that what no segment covers stays
NaN. Offsets that are in order cost one look at them.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

PROGRAMS = 264


@triton.jit
def are_in_order(offsets, num_segments, length, BLOCK: tl.constexpr):
    """Return whether offsets rise from 0 to the length."""
    broken = tl.load(offsets).to(tl.int32)
    broken |= (tl.load(offsets + num_segments) != length).to(tl.int32)
    for start in range(0, num_segments, BLOCK):
        numbers = start + tl.arange(0, BLOCK)
        inside = numbers < num_segments
        begin = tl.load(offsets + numbers, mask=inside, other=0)
        end = tl.load(offsets + numbers + 1, mask=inside, other=0)
        broken |= tl.max((end < begin).to(tl.int32), 0)
    return broken == 0


@triton.jit
def mark_kernel(offsets, num_segments, length, words, counts, BLOCK: tl.constexpr):
    """Fill the 32-bit words of some tensors with bits that are NaN in every floating dtype."""
    if are_in_order(offsets, num_segments, length, 1024):
        return
    program = tl.program_id(0).to(tl.int64)
    for each in tl.static_range(len(words)):
        for start in range(program * BLOCK, counts[each], tl.num_programs(0) * BLOCK):
            places = start + tl.arange(0, BLOCK)
            tl.store(words[each] + places, -1, mask=places < counts[each])


def mark_uncovered(offsets: Tensor | None, rows: int, *tensors: Tensor | None) -> None:
    """Fill with NaN where the offsets of so many rows are broken."""
    filled = [each for each in tensors if each is not None and each.numel()]
    if offsets is None or not filled:
        return
    even = [each for each in filled if each.numel() * each.element_size() % 4 == 0]
    if even:
        words = tuple(each.view(-1).view(torch.int32) for each in even)
        counts = tuple(each.numel() for each in words)
        mark_kernel[(PROGRAMS,)](offsets, offsets.shape[0] - 1, rows, words, counts, BLOCK=1024)
    for each in filled:
        if each.numel() * each.element_size() % 4:
            each.fill_(float("nan"))
