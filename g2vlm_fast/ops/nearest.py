"""Exact nearest neighbours of packed point sets."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from g2vlm_fast.ops import _dispatch
from g2vlm_fast.ops._checks import (
    check_choice,
    check_offset_values,
    check_offsets,
    check_rows,
    check_tensor,
)
from g2vlm_fast.ops._flops import flop_formula
from g2vlm_fast.ops._nearest_arguments import all_pairs_flops, check_neighbours, checked_bound
from g2vlm_fast.ops._nearest_backends import METHODS, empty_neighbours
from g2vlm_fast.ops._nearest_gradient import gradients_of_pairs, remember_pairs
from g2vlm_fast.ops._registration import define_op


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
    pair, and zero where there is none; twice, too, in plain torch. To search the same targets many
    times, build a :class:`NearestIndex`.

    Squared distances are one chain of fused multiply-adds in axis order, others ordered sums,
    with a relative error of at most ``(D + 2) 2^-24`` in float32. The cpu and cuda backends and
    every method return the same bits; the reference may differ in the last. Trees need no tolerance
    for that: rounding is monotone, so the same chain on the gaps between a query and a box is at
    most the computed distance of any target in the box, and a box is left out only where that
    bound, or at equality the lowest index in the box, comes after the k-th neighbour so far
    (``csrc/include/g2vlm/nearest.h`` has the proof in full).

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


_forward = define_op(
    "nearest(Tensor query, Tensor target, Tensor? query_offsets, Tensor? target_offsets, int k, "
    "int norm, float max_distance, str method) -> (Tensor, Tensor)",
    implementation=_run_forward,
    fake=lambda query, target, query_offsets, target_offsets, k, norm, max_distance, method: (
        empty_neighbours(query, k)
    ),
)
flop_formula("nearest", all_pairs_flops)
