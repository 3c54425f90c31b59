"""The gradient of the distances between queries and the targets that were found for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from g2vlm_fast.ops import _dispatch
from g2vlm_fast.ops._flops import flop_formula
from g2vlm_fast.ops._nearest_backends import empty_gradients
from g2vlm_fast.ops._registration import define_op
from g2vlm_fast.ops._segments import Groups


def remember_pairs(ctx: Any, query: Tensor, target: Tensor, index: Tensor, norm: int) -> None:
    """Keep what :func:`gradients_of_pairs` needs of a search whose first inputs are the points."""
    ctx.save_for_backward(query, target, index)
    ctx.norm = norm
    ctx.mark_non_differentiable(index)


def gradients_of_pairs(ctx: Any, grad_distance: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Return the gradients of query and target; None for one that is not wanted."""
    query, target, index = ctx.saved_tensors
    want_query, want_target = ctx.needs_input_grad[:2]
    twice = torch.is_grad_enabled() and not torch.compiler.is_compiling()
    backward = differentiable_backward if twice else _backward
    grad_query, grad_target = backward(
        grad_distance, query, target, index, ctx.norm, want_query, want_target
    )
    return grad_query if want_query else None, grad_target if want_target else None


def differentiable_backward(
    grad_distance: Tensor,
    query: Tensor,
    target: Tensor,
    index: Tensor,
    norm: int,
    want_query: bool,
    want_target: bool,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of query and target with a graph of their own, for ``create_graph``.

    Sums over the queries that a target is nearest to are in order of the queries, and nothing waits
    for a GPU. A gradient that is not wanted comes back without elements.
    """
    if target.shape[0] == 0:
        return query.new_zeros(query.shape if want_query else 0), target.clone()
    groups = Groups(index.clamp_min(0).flatten(), target.shape[0])
    missing = (index < 0).unsqueeze(-1)
    way = query.unsqueeze(1) - groups.take(target).view(*index.shape, target.shape[1])
    way = torch.where(missing, 0, way)
    slope = 2 * way if norm == 2 else way.sign()
    grad = torch.where(missing, 0, grad_distance.unsqueeze(-1)) * slope
    return (
        grad.sum(1) if want_query else query.new_zeros(0),
        groups.sum(-grad.flatten(0, 1)) if want_target else target.new_zeros(0),
    )


def _run_backward(grad_distance: Tensor, query: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:
    run = _dispatch.implementation("nearest_backward", query)
    return run(grad_distance, query, *arguments)


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


_backward = define_op(
    "nearest_backward(Tensor grad_distance, Tensor query, Tensor target, Tensor index, int norm, "
    "bool want_query, bool want_target) -> (Tensor, Tensor)",
    implementation=_run_backward,
    fake=lambda grad_distance, query, target, index, norm, want_query, want_target: empty_gradients(
        query, target, want_query, want_target
    ),
)
flop_formula("nearest_backward", _backward_flops)
