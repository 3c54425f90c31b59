"""Exact nearest neighbours between two packed point sets, both ways at once."""

from __future__ import annotations

from collections.abc import Sequence
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
from g2vlm_fast.ops._nearest_backends import METHODS, empty_gradients
from g2vlm_fast.ops._nearest_gradient import differentiable_backward
from g2vlm_fast.ops._nearest_pair_backends import empty_neighbours
from g2vlm_fast.ops._registration import define_op
from g2vlm_fast.ops.reference import nearest as reference

_OP = "nearest_pair"


def nearest_pair(
    x: Tensor,
    y: Tensor,
    *,
    x_offsets: Tensor | None = None,
    y_offsets: Tensor | None = None,
    method: str = "auto",
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Find the nearest y of every x and the nearest x of every y, exactly, segment by segment.

    The same as :func:`nearest` both ways, but both clouds are sorted, or all pairs are compared,
    only once.

    Args:
        x: ``[n, D]`` float32 or float64 (float16 and bfloat16 are upcast exactly).
        y: ``[m, D]``, same dtype and device.
        x_offsets: ``[B + 1]`` int32, the segments of x; None for one segment.
        y_offsets: ``[B + 1]`` int32, the segments of y.
        method: ``"brute"`` compares all pairs, ``"tree"`` sorts both clouds along a space-filling
            curve and searches trees of boxes, ``"auto"`` takes what is faster for so many points.
            There are trees in up to three dimensions, on CUDA for float32.

    Returns:
        ``x_distance [n]`` (squared) and ``x_index [n]`` int32 into the packed y, then
        ``y_distance [m]`` and ``y_index [m]`` into the packed x. Equal distances go to the lower
        index; points without a neighbour hold ``inf`` and ``-1``, points with a NaN coordinate
        ``nan`` and ``-1``.

    Differentiable in x and y through the distances, as :func:`nearest` is. The cpu and
    cuda backends return the same bits.

    Raises:
        TypeError, ValueError: an argument has the wrong dtype, shape, device or value.
    """
    sizes: dict[str, int] = {}
    check_tensor(_OP, "x", x, ("n", "D"), _dispatch.FLOATS, sizes)
    dtype, device = x.dtype, x.device
    check_tensor(_OP, "y", y, ("m", "D"), (dtype,), sizes, device)
    if sizes["D"] == 0:
        raise ValueError(f"{_OP}: x must have at least one coordinate, got shape [n, 0]")
    check_rows(_OP, "x", x)
    check_rows(_OP, "y", y)
    if x_offsets is not None or y_offsets is not None:
        check_offsets(_OP, "x_offsets", x_offsets, sizes, device)
        check_offsets(_OP, "y_offsets", y_offsets, sizes, device)
    check_choice(_OP, "method", method, METHODS)
    if dtype is torch.float16 or dtype is torch.bfloat16:
        x, y = x.float(), y.float()
    if (x.requires_grad or y.requires_grad) and torch.is_grad_enabled():
        return _NearestPair.apply(x, y, x_offsets, y_offsets, method)
    return _forward(x, y, x_offsets, y_offsets, method)


class _NearestPair(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x_distance, x_index, y_distance, y_index = _forward(*arguments)
        ctx.save_for_backward(*arguments[:2], x_index, y_index)
        ctx.mark_non_differentiable(x_index, y_index)
        return x_distance, x_index, y_distance, y_index

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        want_x, want_y = ctx.needs_input_grad[:2]
        given = (grads[0], grads[2], *ctx.saved_tensors, want_x, want_y)
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            x_grad, y_grad = reference.nearest_pair_backward(
                *given, backward=differentiable_backward
            )
        else:
            x_grad, y_grad = _backward(*given)
        return x_grad if want_x else None, y_grad if want_y else None, None, None, None


def _run_forward(
    x: Tensor, y: Tensor, x_offsets: Tensor | None, y_offsets: Tensor | None, method: str
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if x_offsets is not None or y_offsets is not None:
        check_offset_values(_OP, "x_offsets", x_offsets, x.shape[0])
        check_offset_values(_OP, "y_offsets", y_offsets, y.shape[0])
    return _dispatch.implementation(_OP, x)(x, y, x_offsets, y_offsets, method)


def _run_backward(
    x_grad_distance: Tensor, y_grad_distance: Tensor, x: Tensor, *arguments: Any
) -> tuple[Tensor, Tensor]:
    run = _dispatch.implementation(f"{_OP}_backward", x)
    return run(x_grad_distance, y_grad_distance, x, *arguments)


def _forward_flops(
    x: Sequence[int], y: Sequence[int], x_offsets: Sequence[int] | None, *_: Any, **__: Any
) -> int:
    """All pairs of equally long segments, once: a difference and a multiply-add a coordinate."""
    segments = 1 if x_offsets is None else x_offsets[0] - 1
    return 3 * x[0] * y[0] * x[1] // segments


def _backward_flops(
    x_grad_distance: Sequence[int], y_grad_distance: Sequence[int], x: Sequence[int], *_: Any,
    **__: Any,
) -> int:  # fmt: skip
    """A difference, a factor, a product and two sums for each coordinate of each pair."""
    return 5 * (x_grad_distance[0] + y_grad_distance[0]) * x[1]


_forward = define_op(
    f"{_OP}(Tensor x, Tensor y, Tensor? x_offsets, Tensor? y_offsets, str method) "
    "-> (Tensor, Tensor, Tensor, Tensor)",
    implementation=_run_forward,
    fake=lambda x, y, x_offsets, y_offsets, method: empty_neighbours(x, y),
)
_backward = define_op(
    f"{_OP}_backward(Tensor x_grad_distance, Tensor y_grad_distance, Tensor x, Tensor y, "
    "Tensor x_index, Tensor y_index, bool want_x, bool want_y) -> (Tensor, Tensor)",
    implementation=_run_backward,
    fake=lambda x_grad_distance, y_grad_distance, x, y, x_index, y_index, want_x, want_y: (
        empty_gradients(x, y, want_x, want_y)
    ),
)
flop_formula(_OP, _forward_flops)
flop_formula(f"{_OP}_backward", _backward_flops)
