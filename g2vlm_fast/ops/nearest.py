"""Exact nearest neighbours of packed point sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from g2vlm_fast.ops import _dispatch
from g2vlm_fast.ops._checks import (
    INT32_MAX,
    check_choice,
    check_integer,
    check_number,
    check_offset_values,
    check_offsets,
    check_rows,
    check_tensor,
)
from g2vlm_fast.ops._flops import flop_formula
from g2vlm_fast.ops._nearest_backends import METHODS, empty_gradients, empty_neighbours
from g2vlm_fast.ops._registration import define_op
from g2vlm_fast.ops.reference import nearest as reference


def nearest(
    query: Tensor,
    target: Tensor,
    *,
    k: int = 1,
    query_offsets: Tensor | None = None,
    target_offsets: Tensor | None = None,
    norm: int = 2,
    max_distance: float | None = None,
    method: str = "auto",
) -> tuple[Tensor, Tensor]:
    """Find the k nearest targets of every query, exactly, within each packed segment.

    Args:
        query: ``[n, D]`` float32 or float64 (float16 and bfloat16 are upcast exactly).
        target: ``[m, D]``, same dtype and device.
        k: neighbours a query, at least 1; n k is at most 2^31 - 1.
        query_offsets: ``[B + 1]`` int32, the segments of the queries; None for one segment.
        target_offsets: ``[B + 1]`` int32, the segments of the targets.
        norm: 2 for squared Euclidean distance, 1 for the sum of absolute differences.
        max_distance: neighbours farther than this are left out. In the unit of the points for
            either norm; with ``norm=2`` its square is compared with the squared distance.
        method: ``"brute"`` compares all pairs, ``"tree"`` sorts the points along a space-filling
            curve and searches a tree of boxes, ``"auto"`` takes what is faster for so many points.
            A tree wants at most three dimensions, and float32 on CUDA.

    Returns:
        ``distance [n, k]`` (squared for ``norm=2``) and ``index [n, k]`` int32 into the packed
        targets, by rising (distance, index): equal distances go to the lower index. Slots
        without a neighbour hold ``inf`` and ``-1``; queries with a NaN coordinate hold ``nan``
        and ``-1``; targets with a NaN coordinate are never found. Offsets on a GPU are not read
        back: where they are wrong, queries that no segment covers hold ``nan`` and ``-1``.

    Differentiable in query and target through the distance: the gradient is that of the chosen
    pair, and zero where there is none; twice, too, in plain torch. Every backend and every method
    returns the same bits. To search the same targets many times, build a :class:`NearestIndex`.

    Raises:
        TypeError, ValueError: an argument has the wrong dtype, shape, device or value.
        BackendError: there is no tree for such points.
    """
    sizes: dict[str, int] = {}
    check_tensor("nearest", "query", query, ("n", "D"), _dispatch.FLOATS, sizes)
    dtype, device = query.dtype, query.device
    check_tensor("nearest", "target", target, ("m", "D"), (dtype,), sizes, device)
    if sizes["D"] == 0:
        raise ValueError("nearest: query must have at least one coordinate, got shape [n, 0]")
    check_rows("nearest", "query", query)
    check_rows("nearest", "target", target)
    check_choice("nearest", "method", method, METHODS)
    if query_offsets is not None or target_offsets is not None:
        check_offsets("nearest", "query_offsets", query_offsets, sizes, device)
        check_offsets("nearest", "target_offsets", target_offsets, sizes, device)
    check_neighbours("nearest", k, sizes["n"])
    bound = checked_bound("nearest", norm, max_distance)
    if dtype is torch.float16 or dtype is torch.bfloat16:
        query, target = query.float(), target.float()
    arguments = (query, target, query_offsets, target_offsets, k, norm, bound, method)
    if (query.requires_grad or target.requires_grad) and torch.is_grad_enabled():
        return _Nearest.apply(*arguments)
    return _forward(*arguments)


def check_neighbours(op: str, k: int, queries: int) -> None:
    """Check how many neighbours are searched for, and that all of them can be counted."""
    check_integer(op, "k", k, 1, INT32_MAX)
    if queries * k > INT32_MAX:
        raise ValueError(
            f"{op}: k must leave n * k at most {INT32_MAX}, got k = {k} for {queries} queries; "
            "search for fewer queries at a time"
        )


def checked_bound(op: str, norm: int, max_distance: float | None) -> float:
    """Check a norm and a largest distance, and return it in the unit of that norm's distances."""
    check_choice(op, "norm", norm, (1, 2))
    if max_distance is None:
        return torch.inf
    check_number(op, "max_distance", max_distance)
    if max_distance < 0:
        raise ValueError(f"{op}: max_distance must be at least 0, got {max_distance}")
    return float(max_distance) if norm == 1 else float(max_distance) * max_distance


class _Nearest(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor]:
        query, target, *_, norm, _, _ = arguments
        distance, index = _forward(*arguments)
        remember_pairs(ctx, query, target, index, norm)
        return distance, index

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        return *gradients_of_pairs(ctx, grads[0]), *(None,) * 6


def remember_pairs(ctx: Any, query: Tensor, target: Tensor, index: Tensor, norm: int) -> None:
    """Keep what :func:`gradients_of_pairs` needs of a search whose first inputs are the points."""
    ctx.save_for_backward(query, target, index)
    ctx.norm = norm
    ctx.mark_non_differentiable(index)


def gradients_of_pairs(ctx: Any, grad_distance: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Return the gradients of query and target; None for one that is not wanted."""
    query, target, index = ctx.saved_tensors
    want_query, want_target = ctx.needs_input_grad[:2]
    # Under create_graph the gradients need a graph of their own: plain torch has one.
    twice = torch.is_grad_enabled() and not torch.compiler.is_compiling()
    backward = reference.nearest_backward if twice else _backward
    grad_query, grad_target = backward(
        grad_distance, query, target, index, ctx.norm, want_query, want_target
    )
    return grad_query if want_query else None, grad_target if want_target else None


def _run_forward(
    query: Tensor,
    target: Tensor,
    query_offsets: Tensor | None,
    target_offsets: Tensor | None,
    k: int,
    norm: int,
    max_distance: float,
    method: str,
) -> tuple[Tensor, Tensor]:
    if query_offsets is not None or target_offsets is not None:
        check_offset_values("nearest", "query_offsets", query_offsets, query.shape[0])
        check_offset_values("nearest", "target_offsets", target_offsets, target.shape[0])
    run = _dispatch.implementation("nearest", query)
    return run(query, target, query_offsets, target_offsets, k, norm, max_distance, method)


def _run_backward(grad_distance: Tensor, query: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:
    run = _dispatch.implementation("nearest_backward", query)
    return run(grad_distance, query, *arguments)


def all_pairs_flops(
    query: Sequence[int],
    target: Sequence[int],
    query_offsets: Sequence[int] | None,
    target_offsets: Sequence[int] | None,
    *options: Any,
    **_: Any,
) -> int:
    """All pairs of equally long segments: a difference and a multiply-add a coordinate."""
    offsets = query_offsets or target_offsets
    segments = 1 if offsets is None else offsets[0] - 1
    return 3 * query[0] * target[0] * query[1] // segments


def _backward_flops(
    grad_distance: Sequence[int],
    query: Sequence[int],
    target: Sequence[int],
    index: Sequence[int],
    norm: int,
    want_query: bool,
    want_target: bool,
    **_: Any,
) -> int:
    """A difference, a factor, a product and a sum for each coordinate of each pair."""
    return 4 * index[0] * index[1] * query[1] * (want_query + want_target)


_forward = define_op(
    "nearest(Tensor query, Tensor target, Tensor? query_offsets, Tensor? target_offsets, int k, "
    "int norm, float max_distance, str method) -> (Tensor, Tensor)",
    implementation=_run_forward,
    fake=lambda query, target, query_offsets, target_offsets, k, norm, max_distance, method: (
        empty_neighbours(query, k)
    ),
)
_backward = define_op(
    "nearest_backward(Tensor grad_distance, Tensor query, Tensor target, Tensor index, int norm, "
    "bool want_query, bool want_target) -> (Tensor, Tensor)",
    implementation=_run_backward,
    fake=lambda grad_distance, query, target, index, norm, want_query, want_target: empty_gradients(
        query, target, want_query, want_target
    ),
)
flop_formula("nearest", all_pairs_flops)
flop_formula("nearest_backward", _backward_flops)
