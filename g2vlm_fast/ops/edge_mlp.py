"""Edge convolutions with a two-layer message, reduced without storing any message."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from g2vlm_fast.ops import _dispatch
from g2vlm_fast.ops._autograd import first_derivative_only
from g2vlm_fast.ops._checks import check_choice, check_instance, check_tensor
from g2vlm_fast.ops._edge_conv_backends import ACTIVATIONS
from g2vlm_fast.ops._edge_mlp_backends import GRADIENTS, empty_gradients
from g2vlm_fast.ops._flops import flop_formula
from g2vlm_fast.ops._graph_reduce_backends import empty_winner, winner_dtype
from g2vlm_fast.ops._registration import define_op
from g2vlm_fast.ops.edge_conv import MAX_GEOMETRY_TERMS, edge_conv
from g2vlm_fast.ops.graph_build import Graph
from g2vlm_fast.ops.reference.graph_reduce import accumulation_dtype


def edge_mlp(
    a: Tensor,
    b: Tensor,
    graph: Graph,
    weight: Tensor,
    bias: Tensor | None = None,
    geometry: Tensor | None = None,
    geometry_weight: Tensor | None = None,
    activation: str = "relu",
    reduce: str = "max",
) -> Tensor:
    """Compute ``out_i = reduce_j (h_e weight + bias)`` over the edges e = (j, i).

    Here ``h_e = activation(a_i + b_j + geometry_e geometry_weight)`` is the hidden row of an edge.
    This is the message of two linear maps that EdgeConv (Wang et al., Dynamic Graph CNN for
    Learning on Point Clouds, 2019) and PointNet++ (Qi et al., 2017) are used with. The first map
    has been moved to the vertices, as of :func:`edge_conv`. The second one has to be applied to
    every edge where a maximum follows: backends work on tiles of edges and never hold a tensor of
    ``[E, H]`` or ``[E, C]``. A mean and a sum commute with it, so that there the op is an
    :func:`edge_conv` whose reduced hidden rows are multiplied once a vertex: ``degree`` times less
    work. An activation behind a maximum that never decreases (``relu``, ``leaky_relu``) commutes
    with it, too: apply it to the result.

    Args:
        a: ``[V, H]`` float, the part of the receiving row, with the bias of the first map; zeros
            where the message knows the source alone.
        b: ``[num_sources, H]``, same dtype, the part of the source.
        graph: on the device of ``a``.
        weight: ``[H, C]``, same dtype, the second map.
        bias: ``[C]``, same dtype; None for 0.
        geometry: ``[E, G]`` float with G up to 8, such as :meth:`Graph.edge_geometry` makes.
        geometry_weight: ``[G, H]`` float, given together with ``geometry``. Both are used in
            float32 (float64 where ``a`` is float64).
        activation: ``"none"``, ``"relu"``, ``"leaky_relu"`` (slope 0.2) or ``"silu"``.
        reduce: ``"max"``, ``"mean"`` or ``"sum"``.

    Returns:
        ``[V, C]`` in the dtype of ``a``. Rows without edges are 0, whatever the bias. A NaN among
        the messages of a row makes that channel NaN. Half precision rounds what is activated (under
        a mean or a sum, its reduced rows) to the dtype of ``a`` and sums products in float32.

    Differentiable in every tensor. The gradient of a maximum goes to the first edge of the row that
    attains it, or to the first NaN. Bitwise reproducible, forward and backward, on one machine with
    one number of threads. ``use_backend(..., "edge_mlp")`` chooses for maxima; means and sums run
    on the backend of ``edge_conv``.

    On a GPU maxima run on the backend ``cuda`` in float16 and bfloat16 where H is a multiple of 8
    up to 128, C a multiple of 8, no geometry is given and a and b begin at multiples
    of 16 bytes (views may not); all else, float32 and every backward pass run in ``triton``.
    Asked for by name, ``cuda`` refuses what it has no kernel for; its backward pass is Triton's.

    Raises:
        TypeError, ValueError: an argument has the wrong dtype, shape, device or value.
    """
    op = "edge_mlp"
    check_instance(op, "graph", graph, Graph)
    device, sizes = graph.columns.device, {}  # type: ignore[var-annotated]
    check_tensor(op, "a", a, (graph.num_rows, "H"), _dispatch.FLOATS, sizes, device)
    check_tensor(op, "b", b, (graph.num_sources, "H"), (a.dtype,), sizes, device)
    check_tensor(op, "weight", weight, ("H", "C"), (a.dtype,), sizes, device)
    if bias is not None:
        check_tensor(op, "bias", bias, ("C",), (a.dtype,), sizes, device)
    check_choice(op, "activation", activation, ACTIVATIONS)
    check_choice(op, "reduce", reduce, ("max", "mean", "sum"))
    if (geometry is None) != (geometry_weight is None):
        names = ("geometry", "geometry_weight")
        given, missing = names if geometry_weight is None else reversed(names)
        raise ValueError(f"{op}: {missing} must be given with {given}, got None")
    if geometry is not None and geometry_weight is not None:
        edges = graph.columns.shape[0]
        check_tensor(op, "geometry", geometry, (edges, "G"), _dispatch.FLOATS, sizes, device)
        check_tensor(
            op, "geometry_weight", geometry_weight, ("G", "H"), _dispatch.FLOATS, sizes, device
        )
        if sizes["G"] > MAX_GEOMETRY_TERMS:
            raise ValueError(
                f"{op}: geometry must have at most {MAX_GEOMETRY_TERMS} columns, got {sizes['G']}"
            )
    if reduce != "max":
        hidden = edge_conv(a, b, graph, geometry, geometry_weight, activation, reduce)
        return _map_reduced(hidden, graph, weight, bias, reduce)
    return _maximum(a, b, graph, weight, bias, geometry, geometry_weight, activation)


def _map_reduced(
    hidden: Tensor, graph: Graph, weight: Tensor, bias: Tensor | None, reduce: str
) -> Tensor:
    """Apply the second map to the mean or the sum of the hidden rows."""
    with torch.autocast(hidden.device.type, enabled=False):
        out = hidden @ weight
    if bias is None:
        return out
    degree = graph.row_offsets.diff()[:, None]
    if reduce == "sum":  # in the wide dtype: float16 ends at 65504 edges
        offset = degree.to(accumulation_dtype(out.dtype)) * bias
        return torch.where(degree > 0, (out + offset).to(out.dtype), 0)
    return torch.where(degree > 0, out + bias, 0)


def _maximum(
    a: Tensor,
    b: Tensor,
    graph: Graph,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Tensor | None,
    geometry_weight: Tensor | None,
    activation: str,
) -> Tensor:
    if geometry is not None and geometry_weight is not None:
        wide = accumulation_dtype(a.dtype)
        geometry = geometry.to(wide).contiguous()
        geometry_weight = geometry_weight.to(wide).contiguous()
    if a is b:  # torch.compile takes no tensor twice
        b = b.view_as(b)
    floats = (a, b, weight, bias, geometry, geometry_weight)
    dense = [None if each is None else each.contiguous() for each in floats]
    tensors = (*dense[:2], graph.row_offsets, graph.columns, *dense[2:])
    if torch.is_grad_enabled() and any(each is not None and each.requires_grad for each in floats):
        transpose = graph.transpose() if b.requires_grad else (None, None, None)
        out: Tensor = _EdgeMLP.apply(*tensors, *transpose, activation, graph.short_rows)
        return out
    return _forward(*tensors, activation, 0)[0]


class _EdgeMLP(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        *tensors, activation, short_rows = arguments
        out, winner = _forward(*tensors[:8], activation, 1 if short_rows else 4)
        a, b, row_offsets, columns, weight, _, *rest = tensors
        ctx.save_for_backward(a, b, row_offsets, columns, weight, *rest, winner)
        ctx.activation = activation
        return out

    @staticmethod
    @first_derivative_only("edge_mlp")
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        needed = ctx.needs_input_grad
        wanted = [needed[place] for place in _DIFFERENTIABLE]
        found = _backward(grads[0].contiguous(), *ctx.saved_tensors, ctx.activation, wanted)
        gradients: list[Tensor | None] = [None] * len(needed)
        for place, gradient, want in zip(_DIFFERENTIABLE, found, wanted, strict=True):
            gradients[place] = gradient if want else None
        return tuple(gradients)


_DIFFERENTIABLE = (0, 1, 4, 5, 6, 7)  # among the arguments, in the order of GRADIENTS


def _run_forward(
    a: Tensor,
    b: Tensor,
    row_offsets: Tensor,
    columns: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Tensor | None,
    geometry_weight: Tensor | None,
    activation: str,
    winner_bytes: int,
) -> tuple[Tensor, Tensor]:
    tensors = (a, b, row_offsets, columns, weight, bias, geometry, geometry_weight)
    arguments = (*tensors, activation, winner_dtype(winner_bytes))
    run = _dispatch.implementation("edge_mlp", a, arguments)
    found: tuple[Tensor, Tensor] = run(*arguments)
    return found


def _run_backward(
    grad: Tensor,
    a: Tensor,
    b: Tensor,
    row_offsets: Tensor,
    columns: Tensor,
    weight: Tensor,
    geometry: Tensor | None,
    geometry_weight: Tensor | None,
    transpose_offsets: Tensor | None,
    transpose_rows: Tensor | None,
    transpose_edges: Tensor | None,
    winner: Tensor,
    activation: str,
    wanted: list[bool],
) -> tuple[Tensor, ...]:
    run = _dispatch.implementation("edge_mlp_backward", a)
    transpose = (transpose_offsets, transpose_rows, transpose_edges)
    tensors = (grad, a, b, row_offsets, columns, weight, geometry, geometry_weight)
    found: tuple[Tensor, ...] = run(*tensors, transpose, winner, activation, wanted)
    return found


_forward = define_op(
    "edge_mlp(Tensor a, Tensor b, Tensor row_offsets, Tensor columns, Tensor weight, Tensor? bias,"
    " Tensor? geometry, Tensor? geometry_weight, str activation, int winner_bytes)"
    " -> (Tensor, Tensor)",
    implementation=_run_forward,
    fake=lambda a, b, row_offsets, columns, weight, *rest: (
        a.new_empty(a.shape[0], weight.shape[1]),
        empty_winner(a, a.shape[0], weight.shape[1], winner_dtype(rest[-1])),
    ),
)
_backward = define_op(
    "edge_mlp_backward(Tensor grad, Tensor a, Tensor b, Tensor row_offsets, Tensor columns,"
    " Tensor weight, Tensor? geometry, Tensor? geometry_weight, Tensor? transpose_offsets,"
    " Tensor? transpose_rows, Tensor? transpose_edges, Tensor winner, str activation,"
    " bool[] wanted) -> (" + ", ".join(["Tensor"] * len(GRADIENTS)) + ")",
    implementation=_run_backward,
    fake=lambda grad, a, b, row_offsets, columns, weight, geometry, geometry_weight, *rest: (
        empty_gradients(a, b, weight, geometry, geometry_weight, rest[-1])
    ),
)


def _hidden_flops(a, columns, geometry):  # type: ignore[no-untyped-def]
    """Of each edge and hidden channel: its terms and its activation."""
    return columns[0] * a[1] * (2 + (0 if geometry is None else 2 * geometry[1]))


def _flops(a, b, row_offsets, columns, weight, bias, geometry, *rest, **out):  # type: ignore[no-untyped-def]
    products = 2 * weight[0] * weight[1] + weight[1]
    return _hidden_flops(a, columns, geometry) + columns[0] * products


def _flops_backward(  # type: ignore[no-untyped-def]
    grad, a, b, row_offsets, columns, weight, geometry, *rest, **out
):
    """The hidden rows again, their gradients, and what each wanted gradient sums of them."""
    of_a, of_b, of_weight, of_bias, of_geometry, of_geometry_weight = rest[-1]
    products = 2 * weight[0] * weight[1]
    terms = 0 if geometry is None else 2 * geometry[1]
    hidden = a[1] * (of_a + of_b + terms * (of_geometry + of_geometry_weight))
    through = of_a or of_b or of_geometry or of_geometry_weight
    work = products * (through + of_weight) + hidden + weight[1] * of_bias
    return _hidden_flops(a, columns, geometry) + columns[0] * work


flop_formula("edge_mlp", _flops)
flop_formula("edge_mlp_backward", _flops_backward)
