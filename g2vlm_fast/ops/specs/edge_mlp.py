"""Specifications of :func:`g2vlm_fast.ops.edge_mlp`: maxima, means and sums, and a whole layer."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from g2vlm_fast.ops._checks import check_tensor
from g2vlm_fast.ops._dispatch import FLOATS
from g2vlm_fast.ops.edge_mlp import edge_mlp
from g2vlm_fast.ops.graph_build import Graph
from g2vlm_fast.ops.reference.edge_conv import activate, preactivation
from g2vlm_fast.ops.reference.graph_reduce import accumulation_dtype, reduce_edges
from g2vlm_fast.ops.specs.base import Cost, Hostile, InputFactory, Inputs, OpSpec, Tolerance
from g2vlm_fast.ops.specs.graphs import hub_graph, random_graph, values, window_graph

GraphFactory = Callable[[torch.Generator], Graph]


def by_messages(
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
    """Compute the op as it is written, message by message, with torch's own gradients."""
    wide = accumulation_dtype(a.dtype)
    rows = graph.edge_rows().long()
    z = preactivation(a, b, rows, graph.columns, geometry, geometry_weight)
    message = activate(z, activation) @ weight.to(wide)
    if bias is not None:
        message = message + bias.to(wide)
    if reduce != "max" or graph.num_edges == 0:
        kind = "sum" if reduce == "max" else reduce
        return reduce_edges(message, graph.row_offsets, kind, None)[0].to(a.dtype)
    _, slot = reduce_edges(message.detach(), graph.row_offsets, "max", torch.int32)
    filled = graph.row_offsets.diff()[:, None] > 0
    first = torch.where(filled, graph.row_offsets[:-1, None] + slot, 0)
    return torch.where(filled, message.gather(0, first.long()), 0).to(a.dtype)


def edge_mlp_layer(
    x: Tensor,
    center: Tensor,
    difference: Tensor,
    graph: Graph,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: str = "relu",
    reduce: str = "max",
) -> Tensor:
    """Apply a whole layer: the first map ``[H, C]`` twice to ``x [V, C]``, and the edges."""
    op, sizes = "edge_mlp_layer", {}  # type: ignore[var-annotated]
    check_tensor(op, "x", x, (graph.num_rows, "C"), FLOATS, sizes, graph.device)
    check_tensor(op, "center", center, ("H", "C"), (x.dtype,), sizes, x.device)
    check_tensor(op, "difference", difference, ("H", "C"), (x.dtype,), sizes, x.device)
    a = torch.nn.functional.linear(x, center - difference)
    b = torch.nn.functional.linear(x, difference)
    return edge_mlp(a, b, graph, weight, bias, activation=activation, reduce=reduce)


def _layer_by_messages(
    x: Tensor, center: Tensor, difference: Tensor, graph: Graph, weight: Tensor, **options: object
) -> Tensor:
    a, b = x @ (center - difference).T, x @ difference.T
    return by_messages(a, b, graph, weight, **options)  # type: ignore[arg-type]


def _eighths(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randint(-8, 9, shape, generator=generator).double() / 8


def _two_a_column(generator: torch.Generator, rows: int, columns: int) -> Tensor:
    """Return a map that takes two of its inputs for each output, by a quarter or a half."""
    kept = min(2, rows)
    places = torch.rand(columns, rows, generator=generator).argsort(1)[:, :kept]
    factors = (torch.randint(0, 4, (columns, kept), generator=generator) - 1.5).sign() / 2
    factors = factors / torch.randint(1, 3, (columns, kept), generator=generator)
    return torch.zeros(columns, rows, dtype=torch.float64).scatter_(1, places, factors.double()).T


def _exact(
    graph: GraphFactory,
    hidden: int,
    channels: int,
    activation: str = "relu",
    *,
    bias: bool = True,
    reduce: str = "max",
) -> InputFactory:
    """Numbers of which bfloat16 holds all sums and products, so that no rounding picks a winner.

    Many messages of a row are equal.
    """

    def make(generator: torch.Generator) -> Inputs:
        edges = graph(generator)
        return {
            "a": _eighths(generator, edges.num_rows, hidden),
            "b": _eighths(generator, edges.num_sources, hidden),
            "graph": edges,
            "weight": _two_a_column(generator, hidden, channels).contiguous(),
            "bias": _eighths(generator, channels) if bias else None,
            "activation": activation,
            "reduce": reduce,
        }

    return make


def _apart(
    hidden: int, channels: int, activation: str, terms: int = 0, *, bias: bool = True
) -> InputFactory:
    """Messages of a row that no precision confuses: sources are steps of a quarter apart."""

    def make(generator: torch.Generator) -> Inputs:
        graph = random_graph(generator, 14, 15, 45, coalesce=True)
        step = 1 + torch.randperm(15, generator=generator)[:, None]
        sign = torch.randint(0, 2, (channels,), generator=generator) * 2 - 1
        noise = values(generator, hidden, channels) / (10 * math.sqrt(hidden))
        return {
            "a": 0.1 * values(generator, 14, hidden),
            "b": step / 4 + 0.05 * values(generator, 15, hidden),
            "graph": graph,
            "weight": sign / hidden + noise,
            "bias": values(generator, channels) if bias else None,
            "geometry": 0.2 * values(generator, graph.num_edges, terms) if terms else None,
            "geometry_weight": 0.2 * values(generator, terms, hidden) if terms else None,
            "activation": activation,
        }

    return make


def _not_finite(generator: torch.Generator) -> Inputs:
    inputs = _exact(lambda g: random_graph(g, 14, 15, 45), 8, 8, "none")(generator)
    inputs["a"][2, 1], inputs["a"][3, 2] = math.nan, math.inf
    inputs["b"][4, 3], inputs["b"][5:9, 4] = math.nan, -math.inf
    return inputs


def _random(
    rows: int, sources: int, edges: int, hidden: int, channels: int, **options: object
) -> InputFactory:
    def graph(generator: torch.Generator) -> Graph:
        return random_graph(generator, rows, sources, edges)

    return _exact(graph, hidden, channels, **options)  # type: ignore[arg-type]


def _smooth(reduce: str, activation: str, hidden: int, channels: int, terms: int) -> InputFactory:
    """For reductions without winners: any numbers, duplicate edges, empty rows."""

    def make(generator: torch.Generator) -> Inputs:
        graph = random_graph(generator, 23, 31, 70)
        return {
            "a": values(generator, 23, hidden),
            "b": values(generator, 31, hidden),
            "graph": graph,
            "weight": values(generator, hidden, channels) / math.sqrt(hidden),
            "bias": values(generator, channels),
            "geometry": values(generator, graph.num_edges, terms) if terms else None,
            "geometry_weight": values(generator, terms, hidden) if terms else None,
            "activation": activation,
            "reduce": reduce,
        }

    return make


def _grid(rows: int, columns: int, degree: int) -> GraphFactory:
    return lambda generator: window_graph(rows, columns, degree)


def _shuffled_grid(rows: int, columns: int, degree: int) -> GraphFactory:
    def make(generator: torch.Generator) -> Graph:
        graph, count = window_graph(rows, columns, degree), rows * columns
        order = torch.randperm(count, generator=generator).int()
        return Graph.from_edges(order[graph.columns], order[graph.edge_rows()], count)

    return make


def _thinned_grid(rows: int, columns: int, degree: int, mean: float) -> GraphFactory:
    """A grid that has lost edges at random: degrees are binomial."""

    def make(generator: torch.Generator) -> Graph:
        graph = window_graph(rows, columns, degree)
        kept = torch.rand(graph.num_edges, generator=generator) < mean / degree
        return Graph.from_edges(graph.columns[kept], graph.edge_rows()[kept], rows * columns)

    return make


def _cost(inputs: Inputs) -> Cost:
    """Vertex tensors in and out, indices, geometry; the products of the second map."""
    a, b, graph, weight = inputs["a"], inputs["b"], inputs["graph"], inputs["weight"]
    hidden, channels = weight.shape
    moved = a.nbytes + b.nbytes + weight.nbytes + a.shape[0] * channels * a.element_size()
    moved += 4 * (graph.num_edges + graph.num_rows + 1)
    geometry, terms = inputs.get("geometry"), 0
    if geometry is not None:
        moved, terms = moved + geometry.nbytes, geometry.shape[1]
    mapped = graph.num_edges if inputs.get("reduce", "max") == "max" else graph.num_rows
    products = 2 * mapped * hidden * channels
    return Cost(moved, graph.num_edges * hidden * (2 + 2 * terms) + products)


_HOSTILE = (
    Hostile("unknown activation", lambda i: {**i, "activation": "gelu"}, ValueError, "activation"),
    Hostile("unknown reduction", lambda i: {**i, "reduce": "min"}, ValueError, "reduce"),
    Hostile("no graph", lambda i: {**i, "graph": None}, TypeError, "graph"),
    Hostile("no second map", lambda i: {**i, "weight": None}, TypeError, "weight"),
    Hostile("too few rows", lambda i: {**i, "a": i["a"][:-1]}, ValueError, "a"),
    Hostile("too few sources", lambda i: {**i, "b": i["b"][:-1]}, ValueError, "b"),
    Hostile("a map of others", lambda i: {**i, "weight": i["weight"][:-1]}, ValueError, "weight"),
    Hostile("a longer bias", lambda i: {**i, "bias": i["a"].new_zeros(99)}, ValueError, "bias"),
    Hostile("dtypes differ", lambda i: {**i, "weight": i["weight"].float()}, TypeError, "weight"),
    Hostile(
        "geometry without its weight",
        lambda i: {**i, "geometry": i["a"].new_zeros(i["graph"].num_edges, 2)},
        ValueError,
        "geometry_weight",
    ),
    Hostile(
        "too many terms",
        lambda i: {
            **i,
            "geometry": i["a"].new_zeros(i["graph"].num_edges, 9),
            "geometry_weight": i["a"].new_zeros(9, i["a"].shape[1]),
        },
        ValueError,
        "geometry",
    ),
)
_GRADIENTS = ("a", "b", "weight", "bias", "geometry", "geometry_weight")
_TOLERANCE = {
    torch.float64: Tolerance(1e-14, 1e-13),
    torch.float32: Tolerance(2e-6, 2e-6),
    torch.float16: Tolerance(1e-3, 2e-3),
    torch.bfloat16: Tolerance(5e-3, 1e-2),
}

SPEC = OpSpec(
    op="edge_mlp",
    kernels=("edge_mlp", "edge_mlp_backward", "graph_transpose"),
    function=edge_mlp,
    reference=by_messages,
    small={
        "relu": _random(14, 15, 45, 16, 24),
        "none": _random(14, 15, 45, 5, 7, activation="none", bias=False),
        "silu": _apart(24, 16, "silu"),
        "silu_geometry": _apart(16, 20, "silu", 5),
        "leaky_geometry": _apart(8, 33, "leaky_relu", 4, bias=False),
        "one_channel": _random(14, 15, 45, 1, 1),
        "wide": _random(5, 7, 12, 20, 135),
        "widely_hidden": _random(5, 7, 12, 135, 36),
        "hub": _exact(lambda g: hub_graph(g, 16, 270), 8, 16),
        "not_finite": _not_finite,
        "no_edges": _random(6, 4, 0, 8, 8),
        "no_rows": _random(0, 4, 0, 8, 8),
        "no_sources": _random(3, 0, 0, 8, 8),
        "nothing_hidden": _random(3, 4, 5, 0, 4),
        "no_channels": _random(3, 4, 5, 6, 0),
    },
    timed={
        "edge_mlp_S1": _exact(_grid(1000, 1000, 6), 128, 128),
        "edge_mlp_S1_random": _exact(_shuffled_grid(1000, 1000, 6), 128, 128),
        "edge_mlp_S1_irregular": _exact(_thinned_grid(1000, 1000, 16, 6), 128, 128),
        "edge_mlp_S2": _exact(_grid(1000, 1000, 16), 128, 128),
        "cpu_edge_mlp_20k": _exact(_grid(100, 200, 6), 128, 128),
    },
    timed_dtype=torch.bfloat16,
    called={
        "edge_mlp_V16": _random(16, 16, 48, 8, 8),
        "edge_mlp_V16_grad": _random(16, 16, 48, 8, 8),
    },
    grad_inputs=_GRADIENTS,
    tolerance=_TOLERANCE,
    float32_inputs=("geometry", "geometry_weight"),
    smooth=("silu", "silu_geometry", "leaky_geometry"),
    refused={
        "cuda": (
            *("none", "silu_geometry", "leaky_geometry", "one_channel"),
            *("wide", "widely_hidden", "nothing_hidden", "no_channels"),
        )
    },
    cost=_cost,
    suite="graph",
    hostile=_HOSTILE,
)

REDUCED = OpSpec(
    op="edge_mlp_reduced",
    kernels=("edge_conv", "edge_conv_backward", "graph_transpose"),
    function=edge_mlp,
    reference=by_messages,
    small={
        "mean": _smooth("mean", "relu", 16, 12, 0),
        "mean_silu_geometry": _smooth("mean", "silu", 7, 20, 4),
        "sum_leaky_geometry": _smooth("sum", "leaky_relu", 24, 5, 2),
        "sum_hub": _exact(lambda g: hub_graph(g, 40, 300), 8, 6, reduce="sum"),
        "mean_no_edges": _random(6, 4, 0, 8, 4, reduce="mean"),
        "sum_no_rows": _random(0, 4, 0, 8, 4, reduce="sum"),
        "sum_nothing_hidden": _random(3, 4, 5, 0, 4, reduce="sum"),
    },
    timed={"edge_mlp_mean_S1": _exact(_grid(1000, 1000, 6), 128, 128, reduce="mean")},
    timed_dtype=torch.bfloat16,
    grad_inputs=_GRADIENTS,
    tolerance=_TOLERANCE,
    float32_inputs=("geometry", "geometry_weight"),
    smooth=("mean_silu_geometry",),
    cost=_cost,
    suite="graph",
    hostile=_HOSTILE[:2],
)


def _layer(graph: GraphFactory, channels: int) -> InputFactory:
    """As :func:`_exact`: eighths, taken by halves and quarters, twice."""

    def make(generator: torch.Generator) -> Inputs:
        edges = graph(generator)
        return {
            "x": _eighths(generator, edges.num_rows, channels),
            "center": _two_a_column(generator, channels, channels).T.contiguous(),
            "difference": _two_a_column(generator, channels, channels).T.contiguous(),
            "graph": edges,
            "weight": _two_a_column(generator, channels, channels).contiguous(),
            "bias": _eighths(generator, channels),
        }

    return make


def _layer_cost(inputs: Inputs) -> Cost:
    x, graph = inputs["x"], inputs["graph"]
    hidden, channels = inputs["weight"].shape
    moved = x.nbytes + x.shape[0] * channels * x.element_size()
    moved += 4 * (graph.num_edges + graph.num_rows + 1)
    first = 4 * x.shape[0] * x.shape[1] * hidden
    return Cost(moved, first + graph.num_edges * 2 * hidden * (1 + channels))


def _layer_apart(generator: torch.Generator) -> Inputs:
    """As :func:`_apart`: the first map hands on what tells sources apart.

    Their mean is 0, as the gradients of the two parts of that map cancel where features agree.
    """
    step = 1 + torch.randperm(20, generator=generator)[:, None]
    like_itself = torch.eye(12, dtype=torch.float64)
    inputs = _apart(12, 16, "silu")(generator)
    return {
        "x": (step - 10.5) / 4 + 0.1 * values(generator, 20, 12),
        "center": like_itself + 0.02 * values(generator, 12, 12),
        "difference": like_itself,
        "graph": random_graph(generator, 20, 20, 60, coalesce=True),
        "weight": inputs["weight"],
        "bias": inputs["bias"],
        "activation": "leaky_relu",
    }


LAYER = OpSpec(
    op="edge_mlp_layer",
    kernels=SPEC.kernels,
    function=edge_mlp_layer,
    reference=_layer_by_messages,
    small={"max": _layer(lambda g: random_graph(g, 20, 20, 60), 16), "leaky": _layer_apart},
    timed={"edge_mlp_layer_S1": _layer(_grid(1000, 1000, 6), 128)},
    timed_dtype=torch.bfloat16,
    grad_inputs=("x", "center", "difference", "weight", "bias"),
    tolerance=_TOLERANCE,
    smooth=("leaky",),
    refused={"cuda": ("leaky",)},
    cost=_layer_cost,
    suite="graph",
)

SPECS = (SPEC, REDUCED, LAYER)
