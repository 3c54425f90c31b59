"""Edge convolutions: an activated message a neighbour, reduced without storing any message."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from g2vlm_fast.ops import _dispatch
from g2vlm_fast.ops._autograd import first_derivative_only
from g2vlm_fast.ops._checks import check_choice, check_instance, check_tensor
from g2vlm_fast.ops._edge_conv_backends import ACTIVATIONS, empty_gradients
from g2vlm_fast.ops._flops import flop_formula
from g2vlm_fast.ops._graph_reduce_backends import empty_winner, winner_dtype
from g2vlm_fast.ops._registration import define_op
from g2vlm_fast.ops.graph_build import Graph
from g2vlm_fast.ops.reference.graph_reduce import accumulation_dtype

MAX_GEOMETRY_TERMS = 8


def edge_conv(
    a: Tensor,
    b: Tensor,
    graph: Graph,
    geometry: Tensor | None = None,
    weight: Tensor | None = None,
    activation: str = "relu",
    reduce: str = "max",
) -> Tensor:
    """Compute ``out_i = reduce_j activation(a_i + b_j + geometry_e weight)`` over e = (j, i).

    This is EdgeConv (Wang et al., Dynamic Graph CNN for Learning on Point Clouds, 2019) with a
    one-layer edge function, ``activation(W1 x_i + W2 (x_j - x_i))``, after its linear map has
    been moved from the edges to the vertices: ``a = x (W1 - W2)^T``, ``b = x W2^T``, which
    divides its arithmetic by the degree. No backend holds a tensor of ``[E, C]``. What is small
    against the features, such as relative positions, belongs into ``geometry``: differences of
    two large vertex terms would cancel.

    Args:
        a: ``[V, C]`` float, the part of the receiving row.
        b: ``[num_sources, C]``, same dtype, the part of the source.
        graph: on the device of ``a``.
        geometry: ``[E, G]`` float with G up to 8, such as :meth:`Graph.edge_geometry` makes.
        weight: ``[G, C]`` float, given together with ``geometry``. Both are used in float32
            (float64 where ``a`` is float64), as is everything inside.
        activation: ``"none"``, ``"relu"``, ``"leaky_relu"`` (slope 0.2) or ``"silu"``.
        reduce: ``"max"``, ``"mean"`` or ``"sum"``.

    Returns:
        ``[V, C]`` in the dtype of ``a``. Rows without edges are 0; NaN as in
        :func:`graph_reduce`.

    Differentiable in a, b, geometry and weight. The gradient of a maximum goes to the first edge
    of the row that attains it. Bitwise reproducible, forward and backward.

    Raises:
        TypeError, ValueError: an argument has the wrong dtype, shape, device or value.
    """
    op = "edge_conv"
    check_instance(op, "graph", graph, Graph)
    device, sizes = graph.columns.device, {}  # type: ignore[var-annotated]
    check_tensor(op, "a", a, (graph.num_rows, "C"), _dispatch.FLOATS, sizes, device)
    check_tensor(op, "b", b, (graph.num_sources, "C"), (a.dtype,), sizes, device)
    check_choice(op, "activation", activation, ACTIVATIONS)
    check_choice(op, "reduce", reduce, ("max", "mean", "sum"))
    if (geometry is None) != (weight is None):
        given, missing = ("weight", "geometry") if geometry is None else ("geometry", "weight")
        raise ValueError(f"{op}: {missing} must be given with {given}, got None")
    if geometry is not None and weight is not None:
        edges = graph.columns.shape[0]
        check_tensor(op, "geometry", geometry, (edges, "G"), _dispatch.FLOATS, sizes, device)
        check_tensor(op, "weight", weight, ("G", "C"), _dispatch.FLOATS, sizes, device)
        if sizes["G"] > MAX_GEOMETRY_TERMS:
            raise ValueError(
                f"{op}: geometry must have at most {MAX_GEOMETRY_TERMS} columns, got {sizes['G']}"
            )
        wide = accumulation_dtype(a.dtype)
        geometry, weight = geometry.to(wide).contiguous(), weight.to(wide).contiguous()
    if a is b:  # torch.compile takes no tensor twice
        b = b.view_as(b)
    tensors = (a.contiguous(), b.contiguous(), graph.row_offsets, graph.columns, geometry, weight)
    if torch.is_grad_enabled() and any(
        each is not None and each.requires_grad for each in (a, b, geometry, weight)
    ):
        transpose = graph.transpose() if b.requires_grad else (None, None, None)
        out: Tensor = _EdgeConv.apply(*tensors, *transpose, activation, reduce, graph.short_rows)
        return out
    return _forward(*tensors, activation, reduce, 0)[0]


class _EdgeConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        *tensors, activation, reduce, short_rows = arguments
        winner_bytes = 0 if reduce != "max" else 1 if short_rows else 4
        out, winner = _forward(*tensors[:6], activation, reduce, winner_bytes)
        ctx.save_for_backward(*tensors, winner, out if reduce == "max" else out.new_empty(0))
        ctx.options = (activation, reduce)
        return out

    @staticmethod
    @first_derivative_only("edge_conv")
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        wanted = ctx.needs_input_grad
        gradients = _backward(
            grads[0], *ctx.saved_tensors, *ctx.options, wanted[1], wanted[4], wanted[5]
        )
        grad_a, grad_b, grad_geometry, grad_weight = gradients
        return (
            grad_a if wanted[0] else None,
            grad_b if wanted[1] else None,
            None,
            None,
            grad_geometry if wanted[4] else None,
            grad_weight if wanted[5] else None,
            *(None,) * 6,
        )


def _run_forward(
    a: Tensor,
    b: Tensor,
    row_offsets: Tensor,
    columns: Tensor,
    geometry: Tensor | None,
    weight: Tensor | None,
    activation: str,
    reduce: str,
    winner_bytes: int,
) -> tuple[Tensor, Tensor]:
    run = _dispatch.implementation("edge_conv", a)
    dtype = winner_dtype(winner_bytes)
    return run(a, b, row_offsets, columns, geometry, weight, activation, reduce, dtype)


def _run_backward(
    grad: Tensor,
    a: Tensor,
    b: Tensor,
    row_offsets: Tensor,
    columns: Tensor,
    geometry: Tensor | None,
    weight: Tensor | None,
    transpose_offsets: Tensor | None,
    transpose_rows: Tensor | None,
    transpose_edges: Tensor | None,
    winner: Tensor,
    out: Tensor,
    *options: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    run = _dispatch.implementation("edge_conv_backward", a)
    transpose = (transpose_offsets, transpose_rows, transpose_edges)
    return run(
        *(grad, a, b, row_offsets, columns, geometry, weight, transpose, winner, out), *options
    )


_forward = define_op(
    "edge_conv(Tensor a, Tensor b, Tensor row_offsets, Tensor columns, Tensor? geometry,"
    " Tensor? weight, str activation, str reduce, int winner_bytes) -> (Tensor, Tensor)",
    implementation=_run_forward,
    fake=lambda a, b, row_offsets, columns, geometry, weight, activation, reduce, winner_bytes: (
        torch.empty_like(a),
        empty_winner(a, a.shape[0], a.shape[1], winner_dtype(winner_bytes)),
    ),
)
_backward = define_op(
    "edge_conv_backward(Tensor grad, Tensor a, Tensor b, Tensor row_offsets, Tensor columns,"
    " Tensor? geometry, Tensor? weight, Tensor? transpose_offsets, Tensor? transpose_rows,"
    " Tensor? transpose_edges, Tensor winner, Tensor out, str activation, str reduce, bool want_b,"
    " bool want_geometry, bool want_weight) -> (Tensor, Tensor, Tensor, Tensor)",
    implementation=_run_backward,
    fake=lambda grad, a, b, row_offsets, columns, geometry, weight, *rest: empty_gradients(
        a, b, geometry, weight, *rest[-3:]
    ),
)


def _flops(a, b, row_offsets, columns, geometry, *rest, **out):  # type: ignore[no-untyped-def]
    """Of each message and channel: its terms, its activation and its reduction."""
    terms = 0 if geometry is None else geometry[1]
    return columns[0] * a[1] * (3 + 2 * terms)


def _flops_backward(grad, *rest, **out):  # type: ignore[no-untyped-def]
    want_b, want_geometry, want_weight = rest[-3:]
    terms = 0 if rest[4] is None else rest[4][1]
    forward = _flops(*rest[:5])
    return forward + rest[3][0] * grad[1] * (2 + want_b + 2 * terms * (want_geometry + want_weight))


flop_formula("edge_conv", _flops)
flop_formula("edge_conv_backward", _flops_backward)
