"""Differentiable reductions of rows ``[E, C]`` by group, and the way back, to any order.

Each pass is :func:`g2vlm_fast.ops.graph_reduce`, whose own backward pass cannot be differentiated
again: so sums are the backward pass of gathering and gathering is that of sums. Plain torch, as
exact and as repeatable, where no kernel covers the case: integers (their sums do not depend on the
order), products, float64 on a GPU, and copies of rows on the CPU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from g2vlm_fast.ops._index_groups import index_members, segment_offsets, sorted_positions
from g2vlm_fast.ops.reference.graph_build import edge_rows
from g2vlm_fast.ops.reference.graph_reduce import reduce_edges

_graph_reduce = torch.ops.g2vlm.graph_reduce.default
_NO_SLOT = 2**31 - 1


class Groups:
    """``count`` groups of ``positions`` rows, by the group of each row, or by runs of rows."""

    def __init__(
        self,
        count: int,
        positions: int,
        caller: str,
        *,
        member: Tensor | None = None,
        offsets: Tensor | None = None,
        is_sorted: bool = False,
    ) -> None:
        self.count = count
        self.positions = positions
        self._caller = caller
        self._member = member
        self._offsets = offsets
        self._order: Tensor | None = None
        self._is_sorted = is_sorted

    @classmethod
    def of_index(cls, index: Tensor, count: int, caller: str, is_sorted: bool = False) -> Groups:
        """Group by ``index [B, L]``, from 0 to ``count - 1`` within each of B blocks."""
        member = index_members(index, count, caller)
        return cls(
            index.shape[0] * count, index.numel(), caller, member=member, is_sorted=is_sorted
        )

    @classmethod
    def of_pointers(cls, indptr: Tensor, length: int, caller: str) -> Groups:
        """Group blocks of ``length`` rows by ``indptr [B, N + 1]``; run n of block b is
        group ``b (N + 1) + n + 1``, the others are the gaps between runs."""
        offsets = segment_offsets(indptr, length, caller)
        return cls(indptr.numel() + 1, indptr.shape[0] * length, caller, offsets=offsets)

    def member(self) -> Tensor:
        """Return the group of each row, ``[E]`` int32."""
        if self._member is None:
            assert self._offsets is not None
            self._member = edge_rows(self._offsets, self.positions)
        return self._member

    def runs(self) -> tuple[Tensor, Tensor]:
        """Return offsets ``[count + 1]`` and the rows ``[E]`` of each group, rising, int32."""
        if self._offsets is None:
            assert self._member is not None
            self._offsets, self._order = sorted_positions(
                self._member, self.count, self._is_sorted, self._caller
            )
        if self._order is None:
            self._order = torch.arange(
                self.positions, dtype=torch.int32, device=self._offsets.device
            )
        return self._offsets, self._order

    def sizes(self) -> Tensor:
        """Return the number of rows of each group, ``[count]`` int32."""
        return self.runs()[0].diff()

    def sum(self, x: Tensor) -> Tensor:
        """Sum the rows of each group: ``[E, C]`` to ``[count, C]``; 0 without rows."""
        if not _wants_gradient(x):
            return _reduce(x, *self.runs(), "sum")
        out: Tensor = _Sum.apply(x, *self.runs(), self.member())
        return out

    def mean(self, x: Tensor) -> Tensor:
        """Average the rows of each group; 0 without rows, rounded down for integers."""
        if not x.is_floating_point():
            sizes = self.sizes().clamp_min(1)[:, None]
            return self.sum(x.long()).div_(sizes, rounding_mode="floor").to(x.dtype)
        if not _wants_gradient(x):
            return _reduce(x, *self.runs(), "mean")
        out: Tensor = _Mean.apply(x, *self.runs(), self.member())
        return out

    def product(self, x: Tensor) -> Tensor:
        """Multiply the rows of each group; 1 without rows."""
        if not _wants_gradient(x):
            return _product(x, *self.runs())
        out: Tensor = _Product.apply(x, *self.runs(), self.member(), self._caller)
        return out

    def extreme(self, x: Tensor, reduce: str) -> tuple[Tensor, Tensor]:
        """Return the extremes of each group and the first row ``[count, C]`` int64 that attains it.

        Without rows 0 and E.
        """
        values, position = _Extreme.apply(x, *self.runs(), reduce)
        return values, position

    def extreme_values(self, x: Tensor, reduce: str) -> Tensor:
        """Return the extremes of each group; 0 without rows."""
        if _wants_gradient(x):
            return self.extreme(x, reduce)[0]
        return _reduce(x, *self.runs(), reduce)

    def gather(self, y: Tensor) -> Tensor:
        """Give each row that of its group: ``[count, C]`` to ``[E, C]``."""
        if not _wants_gradient(y):
            return _gather(y, self.member())
        out: Tensor = _Gather.apply(y, *self.runs(), self.member())
        return out


def _wants_gradient(x: Tensor) -> bool:
    return torch.is_grad_enabled() and x.requires_grad


def _has_kernel(x: Tensor) -> bool:
    return x.is_floating_point() and not (x.is_cuda and x.dtype == torch.float64)


def _reduce(x: Tensor, offsets: Tensor, order: Tensor, reduce: str) -> Tensor:
    if _has_kernel(x):
        out: Tensor = _graph_reduce(x.contiguous(), offsets, order, None, reduce, 0)[0]
        return out
    rows = x.index_select(0, order)
    if reduce in ("max", "min") or not x.is_floating_point():
        return reduce_edges(rows, offsets, reduce, None)[0]
    total = torch.segment_reduce(rows, "sum", offsets=offsets, axis=0, initial=0, unsafe=True)
    return total / offsets.diff().clamp_min(1)[:, None] if reduce == "mean" else total


def _product(x: Tensor, offsets: Tensor, order: Tensor) -> Tensor:
    if x.is_floating_point():
        rows = x.index_select(0, order)
        return torch.segment_reduce(rows, "prod", offsets=offsets, axis=0, initial=1, unsafe=True)
    out = x.new_ones(offsets.shape[0] - 1, x.shape[1])
    group = edge_rows(offsets, x.shape[0]).long()[:, None].expand_as(x)
    return out.scatter_reduce_(0, group, x.index_select(0, order), "prod")


def _gather(y: Tensor, member: Tensor) -> Tensor:
    if y.is_cpu or not _has_kernel(y):
        return y.index_select(0, member)
    each = torch.arange(member.shape[0] + 1, dtype=torch.int32, device=y.device)
    out: Tensor = _graph_reduce(y.contiguous(), each, member, None, "sum", 0)[0]
    return out


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, offsets: Tensor, order: Tensor, member: Tensor) -> Tensor:
        ctx.save_for_backward(offsets, order, member)
        return _reduce(x, offsets, order, "sum")

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        return _Gather.apply(grads[0], *ctx.saved_tensors), None, None, None


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, offsets: Tensor, order: Tensor, member: Tensor) -> Tensor:
        ctx.save_for_backward(offsets, order, member)
        return _gather(y, member)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        return _Sum.apply(grads[0], *ctx.saved_tensors), None, None, None


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, offsets: Tensor, order: Tensor, member: Tensor) -> Tensor:
        ctx.save_for_backward(offsets, order, member)
        return _reduce(x, offsets, order, "mean")

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        sizes = ctx.saved_tensors[0].diff().clamp_min(1)[:, None]
        return _Gather.apply(grads[0] / sizes, *ctx.saved_tensors), None, None, None


class _Extreme(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, offsets: Tensor, order: Tensor, reduce: str
    ) -> tuple[Tensor, Tensor]:
        if _has_kernel(x):
            values, slot = _graph_reduce(x.contiguous(), offsets, order, None, reduce, 4)
        else:
            values, slot = reduce_edges(x.index_select(0, order), offsets, reduce, torch.int32)
        position = torch.full_like(slot, x.shape[0], dtype=torch.int64)
        if x.shape[0]:
            place = (offsets[:-1, None] + slot).clamp_(0, x.shape[0] - 1)  # wraps without a slot
            found = order.index_select(0, place.flatten()).view_as(slot)
            position = torch.where(slot == _NO_SLOT, position, found)
        ctx.mark_non_differentiable(position)
        ctx.save_for_backward(position)
        ctx.rows = x.shape[0]
        return values, position

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        (position,) = ctx.saved_tensors
        # No position is named twice but the one past the end, for groups without rows.
        out = grads[0].new_zeros(ctx.rows + 1, position.shape[1]).scatter(0, position, grads[0])
        return out[: ctx.rows], None, None, None


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, offsets: Tensor, order: Tensor, member: Tensor, caller: str
    ) -> Tensor:
        ctx.save_for_backward(x, offsets, order, member)
        ctx.caller = caller
        return _product(x, offsets, order)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        """The derivative by a factor is the product of the others, found by dividing but by 0."""
        x, *runs = ctx.saved_tensors
        zero = x == 0
        if torch.is_grad_enabled() and not torch.compiler.is_compiling() and zero.any():
            raise NotImplementedError(
                f"{ctx.caller}: second derivatives of products with a factor of 0 are not "
                "implemented; compute this part in plain torch"
            )
        factor = x.masked_fill(zero, 1)
        others = _Gather.apply(_Product.apply(factor, *runs, ctx.caller), *runs) / factor
        zeros = _gather(_reduce(zero.to(x.dtype), runs[0], runs[1], "sum"), runs[2])
        grad = _Gather.apply(grads[0], *runs) * others
        return grad.masked_fill(zeros > zero.to(x.dtype), 0), *(None,) * 4
