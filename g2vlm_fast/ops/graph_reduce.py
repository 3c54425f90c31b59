"""Sums, means and extremes over the neighbours of each row of a graph."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from g2vlm_fast.ops import _dispatch
from g2vlm_fast.ops._autograd import first_derivative_only
from g2vlm_fast.ops._checks import check_choice, check_instance, check_tensor
from g2vlm_fast.ops._flops import flop_formula
from g2vlm_fast.ops._graph_reduce_backends import (
    REDUCTIONS,
    empty_gradients,
    empty_outputs,
    winner_dtype,
)
from g2vlm_fast.ops._registration import define_op
from g2vlm_fast.ops.graph_build import Graph
from g2vlm_fast.ops.reference.graph_reduce import accumulation_dtype

EXTREMES = ("max", "min")


def graph_reduce(
    x: Tensor, graph: Graph, reduce: str = "sum", weight: Tensor | None = None
) -> Tensor:
    """Reduce, for each row i of ``graph``, the messages ``weight_e x_j`` of its edges e = (j, i).

    Args:
        x: ``[num_sources, C]`` float; sums run in float32 (float64 for float64).
        graph: on the device of ``x``.
        reduce: ``"sum"``; ``"mean"``, the sum over the number of edges; ``"max"`` or ``"min"``.
        weight: ``[E]`` float, one factor an edge, used in the precision of the sums; None for 1.

    Returns:
        ``[V, C]`` in the dtype of ``x``. Rows without edges are 0. A NaN among the messages of a
        row makes that channel NaN, for every reduction.

    Differentiable in ``x`` and ``weight``. The gradient of an extreme goes to one edge: the first
    of the row that attains it, or the first NaN. Bitwise reproducible, forward and backward.

    Raises:
        TypeError, ValueError: an argument has the wrong dtype, shape, device or value.
    """
    op = "graph_reduce"
    check_instance(op, "graph", graph, Graph)
    check_tensor(op, "x", x, (graph.num_sources, "C"), _dispatch.FLOATS, {}, graph.columns.device)
    check_choice(op, "reduce", reduce, REDUCTIONS)
    if weight is not None:
        edges = (graph.columns.shape[0],)
        check_tensor(op, "weight", weight, edges, _dispatch.FLOATS, {}, x.device)
        weight = weight.to(accumulation_dtype(x.dtype)).contiguous()
    x = x.contiguous()
    row_offsets, columns = graph.row_offsets, graph.columns
    if torch.is_grad_enabled() and (
        x.requires_grad or (weight is not None and weight.requires_grad)
    ):
        transpose = graph.transpose() if x.requires_grad else (None, None, None)
        out: Tensor = _GraphReduce.apply(
            x, row_offsets, columns, weight, *transpose, reduce, graph.short_rows
        )
        return out
    return _forward(x, row_offsets, columns, weight, reduce, 0)[0]


class _GraphReduce(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        row_offsets: Tensor,
        columns: Tensor,
        weight: Tensor | None,
        transpose_offsets: Tensor | None,
        transpose_rows: Tensor | None,
        transpose_edges: Tensor | None,
        reduce: str,
        short_rows: bool,
    ) -> Tensor:
        winner_bytes = 0 if reduce not in EXTREMES else 1 if short_rows else 4
        out, winner = _forward(x, row_offsets, columns, weight, reduce, winner_bytes)
        kept = x if weight is not None and weight.requires_grad else None
        ctx.reduce = reduce
        ctx.save_for_backward(
            kept,
            row_offsets,
            columns,
            weight,
            transpose_offsets,
            transpose_rows,
            transpose_edges,
            winner,
        )
        return out

    @staticmethod
    @first_derivative_only("graph_reduce")
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        grad_x, grad_weight = _backward(
            grads[0].contiguous(),
            *ctx.saved_tensors,
            ctx.reduce,
            ctx.needs_input_grad[0],
            ctx.needs_input_grad[3],
        )
        return (
            grad_x if ctx.needs_input_grad[0] else None,
            None,
            None,
            grad_weight if ctx.needs_input_grad[3] else None,
            *(None,) * 5,
        )


def _forward_implementation(
    x: Tensor,
    row_offsets: Tensor,
    columns: Tensor,
    weight: Tensor | None,
    reduce: str,
    winner_bytes: int,
) -> tuple[Tensor, Tensor]:
    run = _dispatch.implementation("graph_reduce", x)
    dtype = winner_dtype(winner_bytes)
    found: tuple[Tensor, Tensor] = run(x, row_offsets, columns, weight, reduce, dtype)
    return found


def _backward_implementation(
    grad: Tensor,
    x: Tensor | None,
    row_offsets: Tensor,
    columns: Tensor,
    weight: Tensor | None,
    transpose_offsets: Tensor | None,
    transpose_rows: Tensor | None,
    transpose_edges: Tensor | None,
    winner: Tensor,
    reduce: str,
    want_x: bool,
    want_weight: bool,
) -> tuple[Tensor, Tensor]:
    run = _dispatch.implementation("graph_reduce_backward", grad)
    transpose = (transpose_offsets, transpose_rows, transpose_edges)
    found: tuple[Tensor, Tensor] = run(
        *(grad, x, row_offsets, columns, weight, transpose, winner, reduce), want_x, want_weight
    )
    return found


_forward = define_op(
    "graph_reduce(Tensor x, Tensor row_offsets, Tensor columns, Tensor? weight, str reduce,"
    " int winner_bytes) -> (Tensor, Tensor)",
    implementation=_forward_implementation,
    fake=lambda x, row_offsets, columns, weight, reduce, winner_bytes: empty_outputs(
        x, row_offsets, winner_dtype(winner_bytes)
    ),
)
_backward = define_op(
    "graph_reduce_backward(Tensor grad, Tensor? x, Tensor row_offsets, Tensor columns,"
    " Tensor? weight, Tensor? transpose_offsets, Tensor? transpose_rows, Tensor? transpose_edges,"
    " Tensor winner, str reduce, bool want_x, bool want_weight) -> (Tensor, Tensor)",
    implementation=_backward_implementation,
    fake=lambda grad, x, row_offsets, columns, weight, transpose_offsets, *rest: empty_gradients(
        grad, columns, transpose_offsets, *rest[-2:]
    ),
)


def _flops(x, row_offsets, columns, weight, *options, **out):  # type: ignore[no-untyped-def]
    """One operation a message and channel, two where it has a weight."""
    return columns[0] * x[1] * (1 if weight is None else 2)


def _flops_backward(grad, x, row_offsets, columns, weight, *rest, **out):  # type: ignore[no-untyped-def]
    want_x, want_weight = rest[-2:]
    per_message = want_x * (1 if weight is None else 2) + 2 * want_weight
    return columns[0] * grad[1] * per_message


flop_formula("graph_reduce", _flops)
flop_formula("graph_reduce_backward", _flops_backward)
