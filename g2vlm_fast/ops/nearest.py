"""Exact nearest neighbours of packed point sets."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from g2vlm_fast import _C
from g2vlm_fast.ops import _dispatch
from g2vlm_fast.ops._checks import check_choice, check_offsets, check_tensor, offsets_or_whole
from g2vlm_fast.ops._registration import define_op
from g2vlm_fast.ops.reference import nearest as reference

MAX_NEIGHBOURS = 64


class Nearest(NamedTuple):
    """Neighbours of each query, by rising (distance, index)."""

    distance: Tensor
    index: Tensor


def nearest(
    query: Tensor,
    target: Tensor,
    *,
    k: int = 1,
    query_offsets: Tensor | None = None,
    target_offsets: Tensor | None = None,
    norm: int = 2,
    max_distance: float | None = None,
) -> Nearest:
    """Find the k nearest targets of every query, exactly, within each packed segment.

    Args:
        query: ``[n, D]`` float32 or float64 (float16 and bfloat16 are upcast exactly).
        target: ``[m, D]``, same dtype and device.
        k: neighbours a query, 1 to 64.
        query_offsets: ``[B + 1]`` int32, the segments of the queries; None for one segment.
        target_offsets: ``[B + 1]`` int32, the segments of the targets.
        norm: 2 for squared Euclidean distance, 1 for the sum of absolute differences.
        max_distance: neighbours farther than this (metres, not squared) are left out.

    Returns:
        ``distance [n, k]`` (squared for ``norm=2``) and ``index [n, k]`` int32 into the packed
        targets. Equal distances go to the lower index. Slots without a neighbour hold
        ``inf`` and ``-1``; queries with a NaN coordinate hold ``nan`` and ``-1``.

    Differentiable in query and target through the distance: the gradient is that of the chosen
    pair, and zero where there is none.

    Raises:
        TypeError, ValueError: an argument has the wrong dtype, shape, device or value.
    """
    op, sizes = "nearest", {}  # type: ignore[var-annotated]
    check_tensor(op, "query", query, ("n", "D"), _dispatch.FLOATS, sizes)
    check_tensor(op, "target", target, ("m", "D"), {query.dtype}, sizes, query.device)
    check_choice(op, "norm", norm, (1, 2))
    if not 1 <= k <= MAX_NEIGHBOURS:
        raise ValueError(f"{op}: k must be from 1 to {MAX_NEIGHBOURS}, got {k}")
    if query.shape[1] == 0:
        raise ValueError(
            f"{op}: points need at least one coordinate, got shape {list(query.shape)}"
        )
    query_offsets = offsets_or_whole(
        op, "query_offsets", query_offsets, query.shape[0], query.device
    )
    target_offsets = offsets_or_whole(
        op, "target_offsets", target_offsets, target.shape[0], query.device
    )
    if query_offsets.shape != target_offsets.shape:
        raise ValueError(
            f"{op}: query_offsets and target_offsets must describe as many segments, got "
            f"{query_offsets.shape[0] - 1} and {target_offsets.shape[0] - 1}"
        )
    bound = torch.inf
    if max_distance is not None:
        if not max_distance >= 0:
            raise ValueError(f"{op}: max_distance must be at least 0, got {max_distance}")
        bound = max_distance**norm
    if query.dtype in (torch.float16, torch.bfloat16):
        query, target = query.float(), target.float()
    arguments = (query, target, query_offsets, target_offsets, k, norm, bound)
    if torch.is_grad_enabled() and (query.requires_grad or target.requires_grad):
        return Nearest(*_Nearest.apply(*arguments))
    return Nearest(*_forward(*arguments))


class _Nearest(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor]:
        query, target, _, _, _, norm, _ = arguments
        distance, index = _forward(*arguments)
        ctx.save_for_backward(query, target, index)
        ctx.norm = norm
        ctx.mark_non_differentiable(index)
        return distance, index

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        query, target, index = ctx.saved_tensors
        grad_query, grad_target = _backward(grads[0].contiguous(), query, target, index, ctx.norm)
        return grad_query, grad_target, None, None, None, None, None


def _forward_implementation(
    query: Tensor,
    target: Tensor,
    query_offsets: Tensor,
    target_offsets: Tensor,
    k: int,
    norm: int,
    max_distance: float,
) -> tuple[Tensor, Tensor]:
    check_offsets("nearest", "query_offsets", query_offsets, query.shape[0])
    check_offsets("nearest", "target_offsets", target_offsets, target.shape[0])
    arguments = (query, target, query_offsets, target_offsets, k, norm, max_distance)
    return _dispatch.run("nearest", query, *(arguments))


def _empty(query: Tensor, k: int) -> tuple[Tensor, Tensor]:
    shape = (query.shape[0], k)
    return query.new_empty(shape), query.new_empty(shape, dtype=torch.int32)


def _cpu(
    query: Tensor,
    target: Tensor,
    query_offsets: Tensor,
    target_offsets: Tensor,
    k: int,
    norm: int,
    max_distance: float,
) -> tuple[Tensor, Tensor]:
    distance, index = _empty(query, k)
    _C.nearest_cpu(
        query.contiguous(),
        target.contiguous(),
        query_offsets,
        target_offsets,
        distance,
        index,
        norm,
        max_distance,
        torch.get_num_threads(),
    )
    return distance, index


_dispatch.register_backend("nearest", "cpu", _cpu, devices=("cpu",), dtypes=_dispatch.FLOAT32_64)
_dispatch.register_backend(
    "nearest",
    "reference",
    reference.nearest,
    devices=("cpu", "cuda"),
    dtypes=_dispatch.FLOAT32_64,
)

_forward = define_op(
    "nearest(Tensor query, Tensor target, Tensor query_offsets, Tensor target_offsets, int k, "
    "int norm, float max_distance) -> (Tensor, Tensor)",
    implementation=_forward_implementation,
    fake=lambda query, target, query_offsets, target_offsets, k, norm, bound: _empty(query, k),
)
_backward = define_op(
    "nearest_backward(Tensor grad_distance, Tensor query, Tensor target, Tensor index, int norm)"
    " -> (Tensor, Tensor)",
    implementation=reference.nearest_backward,
    fake=lambda grad_distance, query, target, index, norm: (
        torch.empty_like(query),
        torch.empty_like(target),
    ),
)
