"""Sums over the segments of packed rows, without host synchronisation or float atomics."""

from __future__ import annotations

import torch
from torch import Tensor


class Segments:
    """The segments of ``length`` packed rows; one segment where ``offsets`` is None.

    Offsets on a GPU are taken as they are found, clamped so that nothing is read out of bounds.
    """

    def __init__(self, offsets: Tensor | None, length: int, device: torch.device) -> None:
        self.length = length
        self.offsets = offsets
        if offsets is None:
            self.count = torch.full((1,), length, dtype=torch.int32, device=device)
            return
        if not offsets.is_cpu:
            self.offsets = offsets = offsets.clamp(0, length).cummax(0).values.int()
        self.count = offsets.diff()

    def sum(self, values: Tensor) -> Tensor:
        """Return ``[B, ...]``, the sum of ``values [length, ...]`` over each segment."""
        if self.offsets is None:
            return values.sum(0, keepdim=True)
        return torch.segment_reduce(values, "sum", offsets=self.offsets, axis=0, unsafe=True)

    def max(self, values: Tensor) -> Tensor:
        """Return ``[B]``, the largest of ``values [length]`` in each segment; -inf if empty."""
        if self.offsets is None:
            return (
                values.amax(0, keepdim=True) if self.length else values.new_full((1,), -torch.inf)
            )
        return torch.segment_reduce(values, "max", offsets=self.offsets, axis=0, unsafe=True)

    def rows(self, values: Tensor) -> Tensor:
        """Return ``[length, ...]``, the entry of ``values [B, ...]`` of each row's segment."""
        if self.offsets is None:
            return values.expand(self.length, *values.shape[1:])
        row = torch.arange(self.length, dtype=torch.int32, device=values.device)
        segment = torch.searchsorted(self.offsets[1:-1].contiguous(), row, right=True)
        return values[segment]
