"""Specification of :func:`g2vlm_fast.ops.graph_reduce`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from g2vlm_fast.ops.graph_build import Graph
from g2vlm_fast.ops.graph_reduce import graph_reduce
from g2vlm_fast.ops.specs.base import Cost, Hostile, InputFactory, Inputs, OpSpec, Tolerance
from g2vlm_fast.ops.specs.graphs import (
    hub_graph,
    random_graph,
    tied_values,
    values,
    window_graph,
)


def _case(reduce: str, channels: int, *, weighted: bool = False) -> InputFactory:
    """Duplicate edges, empty rows and sources without edges, rows and sources of two sizes."""

    def make(generator: torch.Generator) -> Inputs:
        graph = random_graph(generator, 23, 31, 70)
        return {
            "x": values(generator, 31, channels),
            "graph": graph,
            "reduce": reduce,
            "weight": values(generator, graph.num_edges) if weighted else None,
        }

    return make


def _ties(reduce: str) -> InputFactory:
    def make(generator: torch.Generator) -> Inputs:
        graph = random_graph(generator, 12, 12, 80)
        return {"x": tied_values(generator, 12, 16), "graph": graph, "reduce": reduce}

    return make


def _hub(generator: torch.Generator) -> Inputs:
    """One row whose winners do not fit a byte."""
    graph = hub_graph(generator, 40, 700)
    return {"x": values(generator, 40, 8), "graph": graph, "reduce": "max"}


def _hub_sum(generator: torch.Generator) -> Inputs:
    return {**_hub(generator), "reduce": "sum"}


def _not_finite(reduce: str) -> InputFactory:
    def make(generator: torch.Generator) -> Inputs:
        x = values(generator, 20, 6)
        x[3, 1], x[4, 2], x[5, 3], x[6, 3] = math.nan, math.inf, -math.inf, math.nan
        x[7:12, 4] = -math.inf
        return {"x": x, "graph": random_graph(generator, 15, 20, 60), "reduce": reduce}

    return make


def _sizes(rows: int, sources: int, edges: int, channels: int, reduce: str) -> InputFactory:
    def make(generator: torch.Generator) -> Inputs:
        graph = random_graph(generator, rows, sources, edges)
        return {"x": values(generator, sources, channels), "graph": graph, "reduce": reduce}

    return make


def _grid(
    rows: int, columns: int, degree: int, channels: int, *, shuffle: bool = False
) -> InputFactory:
    def make(generator: torch.Generator) -> Inputs:
        graph = window_graph(rows, columns, degree)
        if shuffle:
            order = torch.randperm(rows * columns, generator=generator).int()
            graph = Graph.from_edges(order[graph.columns], order[graph.edge_rows()], rows * columns)
        x = torch.randn(rows * columns, channels, generator=generator)
        return {"x": x, "graph": graph, "reduce": "mean"}

    return make


def _shaped(sizes: Mapping[str, Any]) -> InputFactory:
    unknown = sizes.keys() - {"vertices", "degree", "channels"}
    if unknown:
        raise ValueError(
            f"sizes must be among vertices, degree and channels, got {sorted(unknown)}"
        )
    vertices, degree, channels = (int(sizes[name]) for name in ("vertices", "degree", "channels"))
    rows = max(5, math.isqrt(vertices))
    return _grid(rows, max(5, vertices // rows), degree, channels)


def _cost(inputs: Inputs) -> Cost:
    x, graph = inputs["x"], inputs["graph"]
    rows = graph.num_rows + graph.num_sources
    indices = 4 * (graph.num_edges + graph.num_rows + 1)
    return Cost(rows * x.shape[1] * x.element_size() + indices, graph.num_edges * x.shape[1])


SPEC = OpSpec(
    op="graph_reduce",
    kernels=("graph_reduce", "graph_reduce_backward", "graph_transpose"),
    function=graph_reduce,
    small={
        "sum": _case("sum", 5),
        "mean": _case("mean", 8),
        "max": _case("max", 16),
        "min": _case("min", 7),
        "weighted_sum": _case("sum", 33, weighted=True),
        "weighted_mean": _case("mean", 40, weighted=True),
        "weighted_max": _case("max", 3, weighted=True),
        "weighted_min": _case("min", 64, weighted=True),
        "one_channel": _case("max", 1, weighted=True),
        "wide": _sizes(5, 6, 20, 520, "max"),
        "wide_sum": _sizes(5, 6, 20, 520, "sum"),
        "wide_odd": _sizes(5, 6, 20, 515, "mean"),
        "ties_max": _ties("max"),
        "ties_min": _ties("min"),
        "hub": _hub,
        "hub_sum": _hub_sum,
        "not_finite_sum": _not_finite("sum"),
        "not_finite_mean": _not_finite("mean"),
        "not_finite_max": _not_finite("max"),
        "not_finite_min": _not_finite("min"),
        "several_tiles": _sizes(6, 4, 20, 1024, "mean"),
        "no_edges": _sizes(6, 4, 0, 8, "max"),
        "no_rows": _sizes(0, 4, 0, 8, "mean"),
        "no_sources": _sizes(3, 0, 0, 8, "sum"),
        "no_channels": _sizes(3, 4, 5, 0, "max"),
    },
    timed={
        "reduce_mean_S1": _grid(1000, 1000, 6, 128),
        "reduce_mean_S1_random": _grid(1000, 1000, 6, 128, shuffle=True),
        "reduce_mean_S2": _grid(1000, 1000, 16, 128),
        "reduce_mean_S3": _grid(2000, 2500, 6, 128),
        "cpu_reduce_1M": _grid(1000, 1000, 6, 128),
    },
    timed_dtype=torch.bfloat16,
    called={
        "graph_reduce_V16": _sizes(16, 16, 48, 8, "sum"),
        "graph_reduce_V16_grad": _sizes(16, 16, 48, 8, "sum"),
    },
    shaped=_shaped,
    grad_inputs=("x", "weight"),
    tolerance={
        torch.float64: Tolerance(1e-14, 1e-14),
        torch.float32: Tolerance(2e-6, 2e-6),
        torch.float16: Tolerance(6e-4, 1e-3),
        torch.bfloat16: Tolerance(4e-3, 8e-3),
    },
    float32_inputs=("weight",),
    smooth=("sum", "mean", "max", "min", "weighted_sum", "weighted_mean", "weighted_max", "hub"),
    cost=_cost,
    suite="graph",
    hostile=(
        Hostile("unknown reduction", lambda i: {**i, "reduce": "median"}, ValueError, "reduce"),
        Hostile("no graph", lambda i: {**i, "graph": i["x"]}, TypeError, "graph"),
        Hostile("too few sources", lambda i: {**i, "x": i["x"][:-1]}, ValueError, "x"),
        Hostile("a weight a source", lambda i: {**i, "weight": i["x"][:, 0]}, ValueError, "weight"),
    ),
)
