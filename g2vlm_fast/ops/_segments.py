"""Sums over the segments of packed rows, without host synchronisation or float atomics."""

from __future__ import annotations

from typing import Any

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
        total: Tensor = _Sum.apply(values, self.offsets)
        return total

    def max(self, values: Tensor) -> Tensor:
        """Return ``[B]``, the largest of ``values [length]`` in each segment; -inf if empty."""
        if self.offsets is None:
            return (
                values.amax(0, keepdim=True) if self.length else values.new_full((1,), -torch.inf)
            )
        largest: Tensor = _Max.apply(values, self.offsets)
        return largest

    def rows(self, values: Tensor) -> Tensor:
        """Return ``[length, ...]``, the entry of ``values [B, ...]`` of each row's segment."""
        if self.offsets is None:
            return values.expand(self.length, *values.shape[1:])
        found: Tensor = _Rows.apply(values, self.offsets, self.length)
        return found


class Groups:
    """Rows that bear the same index, from 0 to ``count - 1``."""

    def __init__(self, index: Tensor, count: int) -> None:
        ordered, order = index.sort(stable=True)
        bounds = torch.arange(count + 1, dtype=index.dtype, device=index.device)
        self._places = (index.long(), order, torch.searchsorted(ordered, bounds))

    def take(self, values: Tensor) -> Tensor:
        """Return ``values [count, C]`` of the index of every row."""
        taken: Tensor = _Take.apply(values, *self._places)
        return taken

    def sum(self, values: Tensor) -> Tensor:
        """Return ``[count, C]``, the sum of the rows of ``values`` of every index, in order."""
        total: Tensor = _Collect.apply(values, *self._places)
        return total


class _Take(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, *places: Tensor) -> Tensor:
        ctx.save_for_backward(*places)
        return values[places[0]]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        return _Collect.apply(grads[0], *ctx.saved_tensors), None, None, None


class _Collect(torch.autograd.Function):
    """The transpose of :class:`_Take`."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, *places: Tensor) -> Tensor:
        ctx.save_for_backward(*places)
        _, order, offsets = places
        return torch.segment_reduce(values[order], "sum", offsets=offsets, axis=0, unsafe=True)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        return _Take.apply(grads[0], *ctx.saved_tensors), None, None, None


class _Sum(torch.autograd.Function):
    """Differentiable any number of times, as torch's own is not."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, offsets: Tensor) -> Tensor:
        ctx.save_for_backward(offsets)
        ctx.length = values.shape[0]
        return torch.segment_reduce(values, "sum", offsets=offsets, axis=0, unsafe=True)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _Rows.apply(grads[0], *ctx.saved_tensors, ctx.length), None


class _Rows(torch.autograd.Function):
    """The transpose of :class:`_Sum`."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, offsets: Tensor, length: int) -> Tensor:
        ctx.save_for_backward(offsets)
        row = torch.arange(length, dtype=torch.int32, device=values.device)
        segment = torch.searchsorted(offsets[1:-1].contiguous(), row, right=True)
        return values[segment]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return _Sum.apply(grads[0].contiguous(), *ctx.saved_tensors), None, None


class _Max(torch.autograd.Function):
    """Values that are the largest of a segment together share its gradient."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, offsets: Tensor) -> Tensor:
        largest = torch.segment_reduce(values, "max", offsets=offsets, axis=0, unsafe=True)
        ctx.save_for_backward(values, largest, offsets)
        return largest

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        values, largest, offsets = (each.detach() for each in ctx.saved_tensors)
        length = values.shape[0]
        of_segment = _Rows.apply(largest, offsets, length)
        hits = (values == of_segment) | (values.isnan() & of_segment.isnan())
        share = hits / _Rows.apply(_Sum.apply(hits.to(values.dtype), offsets), offsets, length)
        return share * _Rows.apply(grads[0], offsets, length), None
