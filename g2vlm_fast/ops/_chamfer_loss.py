"""The registered op that turns the distances of two clouds into one loss."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from g2vlm_fast import _C
from g2vlm_fast.ops import _dispatch
from g2vlm_fast.ops._chamfer_terms import (
    ROBUST,
    Direction,
    directions_of,
    penalty,
    penalty_slope,
    reduce_terms,
)
from g2vlm_fast.ops._flops import flop_formula
from g2vlm_fast.ops._registration import define_op

_OP = "chamfer_loss"

Inputs = tuple[Tensor, Tensor | None, Tensor | None, Tensor | None, Tensor | None, Tensor | None]
Options = tuple[int, int, float, bool, bool]


def chamfer_loss(
    distances: list[Tensor],
    weights: tuple[Tensor | None, Tensor | None],
    offsets: tuple[Tensor | None, Tensor | None],
    y_length: int,
    *,
    squared: bool,
    robust: str | None,
    scale: float | None,
    mean: bool,
) -> Tensor:
    """Return the loss of :func:`chamfer_distance` for the reductions "mean" and "sum".

    Args:
        distances: squared, ``[n]`` and, unless one-sided, ``[m]``.
        weights: of x and y.
        offsets: of x and y.
        y_length: m, which one-sided distances do not tell.
        squared, robust, scale: the penalty.
        mean: or sum.
    """
    y_distance = distances[1] if len(distances) == 2 else None
    y_weights = None if y_distance is None else weights[1]
    inputs = (distances[0], y_distance, weights[0], y_weights, *offsets)
    options = (y_length, ROBUST.index(robust), scale or 1.0, squared, mean)
    if torch.is_grad_enabled() and any(
        each is not None and each.requires_grad for each in inputs[:4]
    ):
        return _ChamferLoss.apply(*inputs, *options)[0]
    return _forward(*inputs, *options)[0]


def _present(inputs: Inputs) -> list[Tensor]:
    return [each for each in inputs[:2] if each is not None]


def _directions(inputs: Inputs, options: Options) -> list[Direction]:
    return directions_of(_present(inputs), options[0], inputs[4:], inputs[2:4])


def _penalties(directions: list[Direction], inputs: Inputs, options: Options) -> list[Tensor]:
    _, kind, scale, squared, _ = options
    return [
        penalty(direction.matched(distance), squared, ROBUST[kind], scale)
        for direction, distance in zip(directions, _present(inputs), strict=True)
    ]


def composite(inputs: Inputs, options: Options) -> Tensor:
    """Return the loss in plain torch, which can be differentiated twice."""
    directions = _directions(inputs, options)
    penalties = _penalties(directions, inputs, options)
    return reduce_terms(directions, penalties, "mean" if options[-1] else "sum")


class _ChamferLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor]:
        loss, share = _forward(*arguments)
        ctx.save_for_backward(*arguments[:6], share)
        ctx.options = arguments[6:]
        ctx.mark_non_differentiable(share)
        ctx.set_materialize_grads(False)
        return loss, share

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor | None, _: Any) -> tuple[Any, ...]:
        if grad_loss is None:
            return (None,) * 11
        *inputs, share = ctx.saved_tensors
        needed = ctx.needs_input_grad[:4]
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            wanted = [each for each, need in zip(inputs, needed, strict=False) if need]
            loss = composite(tuple(inputs), ctx.options)
            twice = iter(torch.autograd.grad(loss, wanted, grad_loss, create_graph=True))
            gradients = [next(twice) if need else None for need in needed]
        else:
            found = _backward(grad_loss, share, *inputs, *ctx.options)
            gradients = [
                gradient if need else None for gradient, need in zip(found, needed, strict=True)
            ]
        return (*gradients, *(None,) * 7)


def _empty_gradients(inputs: tuple[Tensor | None, ...], like: Tensor) -> tuple[Tensor, ...]:
    """Return storage for the gradients of distances and weights; no elements for what is None."""
    return tuple(
        like.new_empty(0) if each is None else like.new_empty(*each.shape) for each in inputs[:4]
    )


def _forward_reference(*arguments: Any) -> tuple[Tensor, Tensor]:
    """Return the loss, and for each cloud and segment d loss / d (w p) and the mean of p."""
    inputs, options = cast("Inputs", arguments[:6]), cast("Options", arguments[6:])
    mean = options[-1]
    directions = _directions(inputs, options)
    penalties = _penalties(directions, inputs, options)
    share = arguments[0].new_zeros(2, _segments(arguments[4]), 2)
    for cloud, (direction, paid) in enumerate(zip(directions, penalties, strict=True)):
        comparable = direction.comparable
        if comparable is None:
            comparable = direction.segments.count > 0
        if not mean:
            share[cloud, :, 0] = comparable.to(share.dtype)
            continue
        total = direction.total_weight(share.dtype)
        each = torch.where(total == 0, 0, 1 / total)
        share[cloud, :, 0] = torch.where(comparable, each, 0) / comparable.sum().clamp_min(1)
        share[cloud, :, 1] = direction.mean(paid)
    return reduce_terms(directions, penalties, "mean" if mean else "sum"), share


def _backward_reference(grad_loss: Tensor, share: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    inputs, options = cast("Inputs", arguments[:6]), cast("Options", arguments[6:])
    _, kind, scale, squared, _ = options
    directions = _directions(inputs, options)
    penalties = _penalties(directions, inputs, options)
    gradients = list(_empty_gradients(arguments[:4], arguments[0]))
    for cloud, (direction, paid) in enumerate(zip(directions, penalties, strict=True)):
        square = direction.matched(cast("Tensor", inputs[cloud]))
        of_rows = direction.segments.rows(share[cloud])
        factor = grad_loss * of_rows[:, 0]
        slope = penalty_slope(square, squared, ROBUST[kind], scale)
        gradients[cloud] = torch.where(factor == 0, 0, factor * direction.weighted(slope))
        if inputs[2 + cloud] is not None:
            gradients[2 + cloud] = torch.where(factor == 0, 0, factor * (paid - of_rows[:, 1]))
    return tuple(gradients)


def _dense(tensors: tuple[Tensor | None, ...]) -> list[Any]:
    return [None if each is None else each.contiguous() for each in tensors]


def _segments(x_offsets: Tensor | None) -> int:
    return 1 if x_offsets is None else x_offsets.shape[0] - 1


def _forward_cuda(*arguments: Any) -> tuple[Tensor, Tensor]:
    x_distance, _, _, _, x_offsets, _, y_length, *_ = arguments
    segments = _segments(x_offsets)
    space = _C.chamfer_loss_workspace_cuda(x_distance.shape[0], y_length, segments)
    loss = x_distance.new_empty(())
    share = x_distance.new_empty(2, segments, 2)
    workspace = x_distance.new_empty(space, dtype=torch.uint8)
    results: list[Any] = [loss, share, workspace]
    _C.chamfer_loss_cuda(*_dense(arguments[:6]), *arguments[6:], *results)
    return loss, share


def _backward_cuda(grad_loss: Tensor, share: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    gradients = _empty_gradients(arguments[:4], arguments[0])
    present: list[Any] = [
        None if each is None else gradient
        for each, gradient in zip(arguments[:4], gradients, strict=True)
    ]
    _C.chamfer_loss_backward_cuda(
        grad_loss.contiguous(), share, *_dense(arguments[:6]), *arguments[6:], *present
    )
    return gradients


def _run_forward(x_distance: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:
    return _dispatch.implementation(_OP, x_distance)(x_distance, *arguments)


def _run_backward(grad_loss: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    return _dispatch.implementation(f"{_OP}_backward", grad_loss)(grad_loss, *arguments)


def _forward_fake(x_distance: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:
    return x_distance.new_empty(()), x_distance.new_empty(2, _segments(arguments[3]), 2)


def _backward_fake(grad_loss: Tensor, share: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    return _empty_gradients(arguments[:4], arguments[0])


_PENALTY_FLOPS = {None: 0, "huber": 4, "geman_mcclure": 3, "truncated": 1}
_SLOPE_FLOPS = {None: 0, "huber": 3, "geman_mcclure": 4, "truncated": 1}


def _forward_flops(*arguments: Any, **_: Any) -> int:
    """For each distance its penalty, a product with its weight, and a sum, for a mean two."""
    kind, _scale, squared, mean = arguments[7:]
    each = _PENALTY_FLOPS[ROBUST[kind]] + (not squared)
    return sum(
        distance[0] * (each + 1 + (weights is not None) * (1 + mean))
        for distance, weights in _shapes(arguments)
    )


def _backward_flops(grad_loss: Any, share: Any, *arguments: Any, **_: Any) -> int:
    """For each distance a slope and a product; for each weight a product, a penalty, two more."""
    kind, _scale, squared, _mean = arguments[7:]
    slope = _SLOPE_FLOPS[ROBUST[kind]] + 2 * (not squared)
    weighting = 1 + _PENALTY_FLOPS[ROBUST[kind]] + (not squared) + 2
    return sum(
        distance[0] * (slope + 1 + (weights is not None) * weighting)
        for distance, weights in _shapes(arguments)
    )


def _shapes(arguments: tuple[Any, ...]) -> list[tuple[Any, Any]]:
    """Return the shapes of the distances that there are, each with that of its weights or None."""
    pairs = zip(arguments[:2], arguments[2:4], strict=True)
    return [(distance, weights) for distance, weights in pairs if distance is not None]


_ARGUMENTS = (
    "Tensor x_distance, Tensor? y_distance, Tensor? x_weights, Tensor? y_weights, "
    "Tensor? x_offsets, Tensor? y_offsets, SymInt y_length, int penalty, float scale, "
    "bool squared, bool mean"
)
_forward = define_op(
    f"{_OP}({_ARGUMENTS}) -> (Tensor, Tensor)", implementation=_run_forward, fake=_forward_fake
)
_backward = define_op(
    f"{_OP}_backward(Tensor grad_loss, Tensor share, {_ARGUMENTS}) "
    "-> (Tensor, Tensor, Tensor, Tensor)",
    implementation=_run_backward,
    fake=_backward_fake,
)
for _op, _cuda, _reference in (
    (_OP, _forward_cuda, _forward_reference),
    (f"{_OP}_backward", _backward_cuda, _backward_reference),
):
    _dispatch.register_backend(_op, "cuda", _cuda, devices=("cuda",), dtypes=_dispatch.FLOAT32)
    _dispatch.register_backend(
        _op, "reference", _reference, devices=("cpu", "cuda"), dtypes=_dispatch.FLOAT32_64
    )
flop_formula(_OP, _forward_flops)
flop_formula(f"{_OP}_backward", _backward_flops)
