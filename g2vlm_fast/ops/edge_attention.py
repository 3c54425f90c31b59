"""Attention from each row of a graph to its sources, without storing any message."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from g2vlm_fast.ops import _dispatch
from g2vlm_fast.ops._autograd import first_derivative_only
from g2vlm_fast.ops._checks import check_flag, check_instance, check_number, check_tensor
from g2vlm_fast.ops._edge_attention_arguments import (
    Edges,
    Transposed,
    Vertices,
    empty_gradients,
    empty_results,
)
from g2vlm_fast.ops._edge_attention_backends import register
from g2vlm_fast.ops._flops import flop_formula
from g2vlm_fast.ops._registration import define_op
from g2vlm_fast.ops.edge_conv import MAX_GEOMETRY_TERMS
from g2vlm_fast.ops.graph_build import Graph
from g2vlm_fast.ops.reference.graph_reduce import accumulation_dtype


def edge_attention(
    left: Tensor,
    right: Tensor | None,
    graph: Graph,
    attention: Tensor | None = None,
    *,
    value: Tensor | None = None,
    geometry: Tensor | None = None,
    geometry_weight: Tensor | None = None,
    negative_slope: float = 0.2,
    scale: float | None = None,
    return_lse: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Let each row attend to its sources: ``out_i = sum_e p_e value_j`` over its edges e = (j, i).

    The ``p_e`` are the softmax over the row's edges, in each head, of the scores

    * ``scale * attention . leaky_relu(k_e + right_i)`` where ``attention`` is given: the dynamic
      attention of GATv2 (Brody, Alon and Yahav, How Attentive are Graph Attention Networks?, 2022);
    * ``scale * right_i . k_e`` where it is not: dot-product attention (Vaswani et al., 2017),

    with the key ``k_e = left_j + geometry_e geometry_weight``. Geometry enters the key, not the
    score, so that what it says of an edge may depend on both of its ends; this is also where GATv2
    takes features of edges. It does not enter the value. No backend holds a tensor of
    ``[E, H, D]``; the backward pass on a CPU holds two of ``[E, H]``.

    Args:
        left: ``[num_sources, H, D]`` float, the part of the source; or ``[V, 2, H, D]``, that and
            the part of the receiving row of every vertex, as one linear map of twice the channels
            makes them: gradients then go back through one map too.
        right: ``[V, H, D]``, same dtype, the part of the receiving row; None where ``left`` has
            both.
        graph: on the device of ``left``.
        attention: ``[H, D]`` float; None for dot products.
        value: ``[num_sources, H, D]``, dtype of ``left``; ``left`` when left out, as in GATv2.
        geometry: ``[E, G]`` float with G up to 8, such as :meth:`Graph.edge_geometry` makes.
        geometry_weight: ``[G, H, D]`` float, given together with ``geometry``. These two and
            ``attention`` are used in float32 (float64 where ``left`` is float64), as is
            everything inside.
        negative_slope: of ``leaky_relu``; finite.
        scale: of the scores, finite; 1 with ``attention`` and ``1 / sqrt(D)`` without when left
            out.
        return_lse: also return the log of each row's sum of exponentials of its scores.

    Returns:
        ``[V, H, D]`` in the dtype of ``left``; rows without edges are 0. With ``return_lse`` a pair
        of it and ``[V, H]`` in float32 (float64 for float64), minus infinity for rows without
        edges. A head of a row is NaN where a score is NaN or infinity, or where all are minus
        infinity; a NaN in a value makes its channel NaN.

    Differentiable in every tensor, also through the second output. Bitwise reproducible, forward
    and backward.

    Raises:
        TypeError, ValueError: an argument has the wrong dtype, shape, device or value.
    """
    op = "edge_attention"
    check_instance(op, "graph", graph, Graph)
    device, sizes = graph.columns.device, {}  # type: ignore[var-annotated]
    axes, of_sources = ("H", "D"), (graph.num_sources, "H", "D")
    if right is None:
        if graph.num_sources != graph.num_rows:
            raise ValueError(
                f"{op}: right must be given where a graph joins {graph.num_sources} sources and "
                f"{graph.num_rows} rows, got None"
            )
        of_both = (graph.num_rows, 2, *axes)
        check_tensor(op, "left", left, of_both, _dispatch.FLOATS, sizes, device)
    else:
        check_tensor(op, "left", left, of_sources, _dispatch.FLOATS, sizes, device)
        check_tensor(op, "right", right, (graph.num_rows, *axes), (left.dtype,), sizes, device)
    wide = accumulation_dtype(left.dtype)
    if attention is not None:
        check_tensor(op, "attention", attention, axes, _dispatch.FLOATS, sizes, device)
        attention = attention.to(wide).contiguous()
    if value is not None:
        check_tensor(op, "value", value, of_sources, (left.dtype,), sizes, device)
    if (geometry is None) != (geometry_weight is None):
        names = ("geometry_weight", "geometry")
        given, missing = names if geometry is None else names[::-1]
        raise ValueError(f"{op}: {missing} must be given with {given}, got None")
    if geometry is not None and geometry_weight is not None:
        of_edges, of_terms = (graph.columns.shape[0], "G"), ("G", *axes)
        floats = _dispatch.FLOATS
        check_tensor(op, "geometry", geometry, of_edges, floats, sizes, device)
        check_tensor(op, "geometry_weight", geometry_weight, of_terms, floats, sizes, device)
        if sizes["G"] > MAX_GEOMETRY_TERMS:
            raise ValueError(
                f"{op}: geometry must have at most {MAX_GEOMETRY_TERMS} columns, got {sizes['G']}"
            )
        geometry = geometry.to(wide).contiguous()
        geometry_weight = geometry_weight.to(wide).contiguous()
    negative_slope = _finite(op, "negative_slope", negative_slope)
    if scale is None:
        scale = 1.0 if attention is not None else max(sizes["D"], 1) ** -0.5
    scale = _finite(op, "scale", scale)
    check_flag(op, "return_lse", return_lse)
    if value is left:
        value = None
    if right is not None:
        if right is left:  # torch.compile takes no tensor twice
            right = right.view_as(right)
        if value is right:
            value = right.view_as(right)
        right = right.contiguous()
    if value is not None:
        value = value.contiguous()
    vertices = Vertices(left.contiguous(), right, attention, value)
    edges = Edges(graph.row_offsets, graph.columns, geometry, geometry_weight)
    differentiable = (*vertices, geometry, geometry_weight)
    if torch.is_grad_enabled() and any(
        each is not None and each.requires_grad for each in differentiable
    ):
        sources_want = left.requires_grad or (value is not None and value.requires_grad)
        transpose = graph.transpose() if sources_want else (None, None, None)
        out, lse = _EdgeAttention.apply(*vertices, *edges, *transpose, negative_slope, scale)
    else:
        out, lse = _forward(*vertices, *edges, negative_slope, scale)
    return (out, lse) if return_lse else out


def _finite(op: str, argument: str, value: Any) -> float:
    number = check_number(op, argument, value)
    if not math.isfinite(number):
        raise ValueError(f"{op}: {argument} must be finite, got {value!r}")
    return number


class _EdgeAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor]:
        *tensors, negative_slope, scale = arguments
        out, lse = _forward(*tensors[:8], negative_slope, scale)
        ctx.save_for_backward(*tensors, lse)
        ctx.options = (negative_slope, scale)
        ctx.set_materialize_grads(False)
        return out, lse

    @staticmethod
    @first_derivative_only("edge_attention")
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        grad, grad_lse = grads
        if grad is None:
            left, *_, lse = ctx.saved_tensors
            grad = left.new_zeros(*lse.shape, left.shape[-1])
        needs = ctx.needs_input_grad
        wanted = [*needs[:4], *needs[6:8]]
        found = _backward(grad, grad_lse, *ctx.saved_tensors, *ctx.options, wanted)
        found = [each if want else None for each, want in zip(found, wanted, strict=True)]
        return (*found[:4], None, None, *found[4:], *(None,) * 5)


def _run_forward(*arguments: Any) -> tuple[Tensor, Tensor]:
    vertices, edges = Vertices(*arguments[:4]), Edges(*arguments[4:8])
    run = _dispatch.implementation("edge_attention", vertices.left)
    found: tuple[Tensor, Tensor] = run(vertices, edges, *arguments[8:])
    return found


def _run_backward(grad: Tensor, grad_lse: Tensor | None, *arguments: Any) -> tuple[Tensor, ...]:
    vertices, edges = Vertices(*arguments[:4]), Edges(*arguments[4:8])
    transpose = Transposed(*arguments[8:11])
    run = _dispatch.implementation("edge_attention_backward", vertices.left)
    if grad_lse is not None:
        grad_lse = grad_lse.contiguous()
    grad = grad.contiguous()
    return tuple(run(grad, grad_lse, vertices, edges, transpose, *arguments[11:]))


_INPUTS = (
    "Tensor left, Tensor? right, Tensor? attention, Tensor? value, Tensor row_offsets,"
    " Tensor columns, Tensor? geometry, Tensor? geometry_weight"
)
_forward = define_op(
    f"edge_attention({_INPUTS}, float negative_slope, float scale) -> (Tensor, Tensor)",
    implementation=_run_forward,
    fake=lambda *arguments: empty_results(Vertices(*arguments[:4])),
)
_backward = define_op(
    f"edge_attention_backward(Tensor grad, Tensor? grad_lse, {_INPUTS},"
    " Tensor? transpose_offsets, Tensor? transpose_rows, Tensor? transpose_edges, Tensor lse,"
    " float negative_slope, float scale, bool[] wanted)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    implementation=_run_backward,
    fake=lambda grad, grad_lse, *arguments: tuple(
        empty_gradients(Vertices(*arguments[:4]), Edges(*arguments[4:8]), arguments[-1])
    ),
)
register("edge_attention")


def _of_key(left, attention, geometry):  # type: ignore[no-untyped-def]
    """Operations that make a channel of an edge's key and compare it with the row."""
    terms = 0 if geometry is None else geometry[1]
    return 2 * terms + (2 if attention is None else 5)


def _flops(left, right, attention, value, row_offsets, columns, geometry, *rest, **out):  # type: ignore[no-untyped-def]
    """Of each message and channel: its score and its share of the sum."""
    channels = columns[0] * left[-2] * left[-1]
    return channels * (_of_key(left, attention, geometry) + 2)


def _flops_backward(grad, grad_lse, *rest, **out):  # type: ignore[no-untyped-def]
    """The scores again, the pull of each value, and two operations for each sum of a gradient."""
    left, right, attention, _, _, columns, geometry = rest[:7]
    terms = 0 if geometry is None else geometry[1]
    ends = sum(rest[-1][:4]) + (right is None and rest[-1][0])
    sums = 2 * (ends + terms * sum(rest[-1][4:]))
    channels = columns[0] * left[-2] * left[-1]
    return channels * (_of_key(left, attention, geometry) + 2 + sums)


flop_formula("edge_attention", _flops)
flop_formula("edge_attention_backward", _flops_backward)
