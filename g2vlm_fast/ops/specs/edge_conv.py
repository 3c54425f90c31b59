"""Specifications of :func:`g2vlm_fast.ops.edge_conv`, alone and with its linear maps."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from g2vlm_fast.ops._checks import check_tensor
from g2vlm_fast.ops._dispatch import FLOATS
from g2vlm_fast.ops.edge_conv import edge_conv
from g2vlm_fast.ops.graph_build import Graph
from g2vlm_fast.ops.specs.base import Cost, Hostile, InputFactory, Inputs, OpSpec, Tolerance
from g2vlm_fast.ops.specs.graphs import hub_graph, random_graph, tied_values, values, window_graph


def edge_conv_layer(
    x: Tensor,
    center: Tensor,
    difference: Tensor,
    graph: Graph,
    geometry: Tensor | None = None,
    weight: Tensor | None = None,
    activation: str = "relu",
    reduce: str = "max",
) -> Tensor:
    """Apply a whole layer: both linear maps ``[C', C]`` of ``x [V, C]``, and the edges."""
    op, sizes = "edge_conv_layer", {}  # type: ignore[var-annotated]
    check_tensor(op, "x", x, (graph.num_rows, "C"), FLOATS, sizes, graph.device)
    check_tensor(op, "center", center, ("C'", "C"), (x.dtype,), sizes, x.device)
    check_tensor(op, "difference", difference, ("C'", "C"), (x.dtype,), sizes, x.device)
    a = torch.nn.functional.linear(x, center - difference)
    b = torch.nn.functional.linear(x, difference)
    return edge_conv(a, b, graph, geometry, weight, activation, reduce)


def _case(activation: str, reduce: str, channels: int, terms: int = 0) -> InputFactory:
    """Duplicate edges, empty rows and sources without edges, rows and sources of two sizes."""

    def make(generator: torch.Generator) -> Inputs:
        graph = random_graph(generator, 23, 31, 70)
        return {
            "a": values(generator, 23, channels),
            "b": values(generator, 31, channels),
            "graph": graph,
            "geometry": values(generator, graph.num_edges, terms) if terms else None,
            "weight": values(generator, terms, channels) if terms else None,
            "activation": activation,
            "reduce": reduce,
        }

    return make


def _ties(generator: torch.Generator) -> Inputs:
    graph = random_graph(generator, 12, 12, 80)
    a, b = tied_values(generator, 12, 16), tied_values(generator, 12, 16)
    return {"a": a, "b": b, "graph": graph, "activation": "leaky_relu", "reduce": "max"}


def _hub(reduce: str) -> InputFactory:
    """One row whose winners do not fit a byte."""

    def make(generator: torch.Generator) -> Inputs:
        graph = hub_graph(generator, 40, 700)
        return {
            "a": values(generator, 40, 8),
            "b": values(generator, 40, 8),
            "graph": graph,
            "geometry": values(generator, graph.num_edges, 2),
            "weight": values(generator, 2, 8),
            "activation": "silu",
            "reduce": reduce,
        }

    return make


def _not_finite(generator: torch.Generator) -> Inputs:
    inputs = _case("none", "max", 6)(generator)
    inputs["a"][2, 1], inputs["a"][3, 2] = math.nan, math.inf
    inputs["b"][4, 3], inputs["b"][5:9, 4] = math.nan, -math.inf
    return inputs


def _sizes(rows: int, sources: int, edges: int, channels: int) -> InputFactory:
    def make(generator: torch.Generator) -> Inputs:
        graph = random_graph(generator, rows, sources, edges)
        return {
            "a": values(generator, rows, channels),
            "b": values(generator, sources, channels),
            "graph": graph,
            "geometry": values(generator, graph.num_edges, 3),
            "weight": values(generator, 3, channels),
        }

    return make


def _cost(inputs: Inputs) -> Cost:
    a, b, graph = inputs["a"], inputs["b"], inputs["graph"]
    geometry, weight = inputs.get("geometry"), inputs.get("weight")
    moved = 2 * a.nbytes + b.nbytes + 4 * (graph.num_edges + graph.num_rows + 1)
    terms = 0
    if geometry is not None and weight is not None:
        moved += geometry.nbytes + weight.nbytes
        terms = geometry.shape[1]
    return Cost(moved, graph.num_edges * a.shape[1] * (3 + 2 * terms))


_KERNELS = ("edge_conv", "edge_conv_backward", "graph_transpose")

SPEC = OpSpec(
    op="edge_conv",
    kernels=_KERNELS,
    function=edge_conv,
    small={
        "max": _case("relu", "max", 16),
        "max_none": _case("none", "max", 5),
        "max_leaky_geometry": _case("leaky_relu", "max", 8, 4),
        "max_silu_geometry": _case("silu", "max", 24, 5),
        "mean": _case("relu", "mean", 16),
        "mean_none_geometry": _case("none", "mean", 6, 2),
        "mean_silu_geometry": _case("silu", "mean", 40, 4),
        "mean_leaky": _case("leaky_relu", "mean", 3),
        "sum_relu_geometry": _case("relu", "sum", 33, 8),
        "sum_none": _case("none", "sum", 8),
        "one_channel": _case("silu", "sum", 1, 1),
        "wide": _case("relu", "max", 520, 4),
        "wide_mean": _case("silu", "mean", 520, 7),
        "wide_odd": _case("silu", "sum", 515, 3),
        "ties": _ties,
        "hub_max": _hub("max"),
        "hub_mean": _hub("mean"),
        "not_finite": _not_finite,
        "no_edges": _sizes(6, 4, 0, 8),
        "no_rows": _sizes(0, 4, 0, 8),
        "no_sources": _sizes(3, 0, 0, 8),
        "no_channels": _sizes(3, 4, 5, 0),
    },
    timed={},
    grad_inputs=("a", "b", "geometry", "weight"),
    tolerance={
        torch.float64: Tolerance(1e-14, 1e-13),
        torch.float32: Tolerance(2e-6, 2e-6),
        torch.float16: Tolerance(6e-4, 1e-3),
        torch.bfloat16: Tolerance(4e-3, 8e-3),
    },
    float32_inputs=("geometry", "weight"),
    smooth=(
        "max",
        "max_none",
        "max_leaky_geometry",
        "max_silu_geometry",
        "mean",
        "mean_none_geometry",
        "mean_silu_geometry",
        "mean_leaky",
        "sum_relu_geometry",
        "sum_none",
        "hub_max",
        "hub_mean",
    ),
    cost=_cost,
    suite="graph",
    hostile=(
        Hostile(
            "unknown activation", lambda i: {**i, "activation": "gelu"}, ValueError, "activation"
        ),
        Hostile("unknown reduction", lambda i: {**i, "reduce": "min"}, ValueError, "reduce"),
        Hostile("no graph", lambda i: {**i, "graph": None}, TypeError, "graph"),
        Hostile("too few rows", lambda i: {**i, "a": i["a"][:-1]}, ValueError, "a"),
        Hostile("too few sources", lambda i: {**i, "b": i["b"][:-1]}, ValueError, "b"),
        Hostile("channels that differ", lambda i: {**i, "b": i["b"][:, :-1]}, ValueError, "b"),
        Hostile("dtypes that differ", lambda i: {**i, "b": i["b"].float()}, TypeError, "b"),
        Hostile(
            "geometry without weight",
            lambda i: {**i, "geometry": i["a"].new_zeros(i["graph"].num_edges, 2)},
            ValueError,
            "weight",
        ),
        Hostile(
            "too many terms",
            lambda i: {
                **i,
                "geometry": i["a"].new_zeros(i["graph"].num_edges, 9),
                "weight": i["a"].new_zeros(9, i["a"].shape[1]),
            },
            ValueError,
            "geometry",
        ),
    ),
)


def _layer(graph: Any, channels: int, reduce: str, terms: int = 0) -> InputFactory:
    """Features and linear maps whose products bfloat16 holds exactly.

    Which edge wins, and on which side of its kink an activation is, then do not depend on the
    precision of the linear maps, and gradients can be held against float64.
    """

    def make(generator: torch.Generator) -> Inputs:
        edges: Graph = graph(generator)
        x = torch.randint(-8, 9, (edges.num_rows, channels), generator=generator) / 8

        def sparse() -> Tensor:
            weight = torch.zeros(channels, channels)
            places = torch.rand(channels, channels, generator=generator).argsort(1)[:, :2]
            signs = torch.randint(0, 2, (channels, 2), generator=generator) * 0.5 - 0.25
            return weight.scatter_(1, places, signs)

        return {
            "x": x,
            "center": sparse(),
            "difference": sparse(),
            "graph": edges,
            "geometry": torch.randn(edges.num_edges, terms, generator=generator) if terms else None,
            "weight": torch.randn(terms, channels, generator=generator) if terms else None,
            "reduce": reduce,
        }

    return make


def _layer_cost(inputs: Inputs) -> Cost:
    """Features in and out, indices, geometry; the products of the linear maps."""
    x, graph, center = inputs["x"], inputs["graph"], inputs["center"]
    out = x.shape[0] * center.shape[0]
    moved = x.nbytes + out * x.element_size() + 4 * (graph.num_edges + graph.num_rows + 1)
    geometry, terms = inputs.get("geometry"), 0
    if geometry is not None:
        moved, terms = moved + geometry.nbytes, geometry.shape[1]
    edges = graph.num_edges * center.shape[0] * (3 + 2 * terms)
    return Cost(moved, 4 * out * x.shape[1] + edges)


LAYER = OpSpec(
    op="edge_conv_layer",
    kernels=_KERNELS,
    function=edge_conv_layer,
    small={
        "max": _layer(lambda g: random_graph(g, 20, 20, 60), 8, "max"),
        "mean_geometry": _layer(lambda g: random_graph(g, 20, 20, 60), 16, "mean", 4),
    },
    timed={
        "edge_conv_max_S1": _layer(lambda g: window_graph(1000, 1000, 6), 128, "max"),
        "edge_conv_max_S2": _layer(lambda g: window_graph(1000, 1000, 16), 128, "max"),
        "edge_conv_geometry_S1": _layer(lambda g: window_graph(1000, 1000, 6), 128, "mean", 4),
    },
    timed_dtype=torch.bfloat16,
    grad_inputs=("x", "center", "difference", "geometry", "weight"),
    tolerance={
        torch.float64: Tolerance(1e-14, 1e-13),
        torch.float32: Tolerance(2e-6, 2e-6),
        torch.float16: Tolerance(6e-4, 2e-3),
        torch.bfloat16: Tolerance(4e-3, 1e-2),
    },
    float32_inputs=("geometry", "weight"),
    smooth=("mean_geometry",),
    cost=_layer_cost,
    suite="graph",
)

SPECS = (SPEC, LAYER)
