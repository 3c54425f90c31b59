"""Specifications of :func:`g2vlm_fast.ops.edge_attention`, alone and with its linear maps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from g2vlm_fast.ops._checks import check_tensor
from g2vlm_fast.ops._dispatch import FLOATS
from g2vlm_fast.ops.edge_attention import edge_attention
from g2vlm_fast.ops.graph_build import Graph
from g2vlm_fast.ops.specs.base import Cost, Hostile, InputFactory, Inputs, OpSpec, Tolerance
from g2vlm_fast.ops.specs.graphs import hub_graph, random_graph, values, window_graph


def edge_attention_layer(
    x: Tensor,
    source_map: Tensor,
    row_map: Tensor,
    attention: Tensor,
    graph: Graph,
    geometry: Tensor | None = None,
    geometry_weight: Tensor | None = None,
) -> Tensor:
    """Apply a whole layer: both linear maps ``[H, D, C]`` of ``x [V, C]``, and the edges."""
    op, sizes = "edge_attention_layer", {}  # type: ignore[var-annotated]
    check_tensor(op, "x", x, (graph.num_rows, "C"), FLOATS, sizes, graph.device)
    check_tensor(op, "source_map", source_map, ("H", "D", "C"), (x.dtype,), sizes, x.device)
    check_tensor(op, "row_map", row_map, ("H", "D", "C"), (x.dtype,), sizes, x.device)
    maps = torch.stack([source_map, row_map])
    ends = torch.nn.functional.linear(x, maps.flatten(0, 2)).view(-1, *maps.shape[:3])
    out = edge_attention(
        ends, None, graph, attention, geometry=geometry, geometry_weight=geometry_weight
    )
    assert isinstance(out, Tensor)
    return out


def _case(
    heads: int,
    head_dim: int,
    *,
    terms: int = 0,
    dot: bool = False,
    valued: bool = False,
    both: bool = False,
    graph: Callable[[torch.Generator], Graph] = lambda g: random_graph(g, 11, 14, 40),
    **options: Any,
) -> InputFactory:
    """Duplicate edges, empty rows and sources without edges, rows and sources of two sizes."""

    def make(generator: torch.Generator) -> Inputs:
        edges = graph(generator)
        axes = (heads, head_dim)
        ends = (2, *axes) if both else axes
        return {
            "left": values(generator, edges.num_sources, *ends),
            "right": None if both else values(generator, edges.num_rows, *axes),
            "graph": edges,
            "attention": None if dot else values(generator, *axes) / math.sqrt(max(head_dim, 1)),
            "value": values(generator, edges.num_sources, *axes) if valued else None,
            "geometry": values(generator, edges.num_edges, terms) if terms else None,
            "geometry_weight": values(generator, terms, *axes) if terms else None,
            **options,
        }

    return make


def _of_four(generator: torch.Generator) -> Graph:
    """Return a graph of rows of four edges: those without have normalisers of minus infinity."""
    return Graph.from_knn(torch.randint(0, 14, (11, 4), generator=generator), 14)


def _joining_one_set(generator: torch.Generator) -> Graph:
    return random_graph(generator, 13, 13, 40)


def _peaked(generator: torch.Generator) -> Inputs:
    """Scores of a few dozen: in most rows all weights but the highest nearly vanish."""
    return {**_case(2, 8, dot=True, valued=True)(generator), "scale": 1.5}


def _not_finite(dot: bool) -> InputFactory:
    def make(generator: torch.Generator) -> Inputs:
        inputs = _case(2, 4, dot=dot, valued=True)(generator)
        inputs["left"][2, 0, 1], inputs["left"][3, 1, 2] = math.nan, math.inf
        inputs["left"][5:9, 0, 0] = -math.inf
        inputs["right"][4, 1, 3], inputs["right"][6, 0, 0] = math.nan, -math.inf
        inputs["value"][7, 0, 1], inputs["value"][10, 1, 0] = math.nan, math.inf
        return inputs

    return make


def _sizes(rows: int, sources: int, edges: int, heads: int, head_dim: int) -> InputFactory:
    return _case(heads, head_dim, terms=3, graph=lambda g: random_graph(g, rows, sources, edges))


def _cost(inputs: Inputs) -> Cost:
    left, right, graph = inputs["left"], inputs["right"], inputs["graph"]
    channels = left.shape[-2] * left.shape[-1]
    moved = left.nbytes + (0 if right is None else right.nbytes)
    moved += graph.num_rows * channels * left.element_size()
    moved += 4 * (graph.num_edges + graph.num_rows + 1)
    terms = 0
    for name in ("attention", "value", "geometry", "geometry_weight"):
        moved += inputs[name].nbytes if isinstance(inputs.get(name), Tensor) else 0
    if inputs.get("geometry") is not None:
        terms = inputs["geometry"].shape[1]
    compare = 2 if inputs.get("attention") is None else 5
    return Cost(moved, graph.num_edges * channels * (2 * terms + compare + 2))


_KERNELS = ("edge_attention", "edge_attention_backward", "graph_transpose")

SPEC = OpSpec(
    op="edge_attention",
    kernels=_KERNELS,
    function=edge_attention,
    small={
        "gatv2": _case(3, 8),
        "gatv2_everything": _case(
            2,
            5,
            terms=5,
            valued=True,
            graph=_of_four,
            negative_slope=0.05,
            scale=0.5,
            return_lse=True,
        ),
        "gatv2_wide": _case(1, 132, terms=2, graph=lambda g: random_graph(g, 4, 5, 12)),
        "gatv2_rising_slope": _case(2, 4, negative_slope=1.5),
        "dot": _case(2, 16, dot=True),
        "dot_everything": _case(
            2, 12, terms=3, dot=True, valued=True, graph=_of_four, scale=0.3, return_lse=True
        ),
        "gatv2_both_ends": _case(3, 8, terms=2, both=True, graph=_joining_one_set),
        "dot_both_ends": _case(2, 8, dot=True, valued=True, both=True, graph=_joining_one_set),
        "one_channel": _case(1, 1, terms=1),
        "peaked": _peaked,
        "hub": _case(2, 8, terms=2, return_lse=True, graph=lambda g: hub_graph(g, 12, 300)),
        "not_finite": _not_finite(dot=False),
        "not_finite_dot": _not_finite(dot=True),
        "no_edges": _sizes(6, 4, 0, 2, 4),
        "no_rows": _sizes(0, 4, 0, 2, 4),
        "no_sources": _sizes(3, 0, 0, 2, 4),
        "no_heads": _sizes(3, 4, 5, 0, 4),
        "no_channels": _sizes(3, 4, 5, 2, 0),
    },
    timed={},
    called={
        "edge_attention_V16": _case(2, 8, graph=lambda g: random_graph(g, 16, 16, 48)),
        "edge_attention_V16_grad": _case(2, 8, graph=lambda g: random_graph(g, 16, 16, 48)),
    },
    grad_inputs=("left", "right", "attention", "value", "geometry", "geometry_weight"),
    tolerance={
        torch.float64: Tolerance(1e-14, 1e-13),
        torch.float32: Tolerance(2e-6, 1e-5),
        torch.float16: Tolerance(6e-4, 2e-3),
        torch.bfloat16: Tolerance(4e-3, 1e-2),
    },
    float32_inputs=("attention", "geometry", "geometry_weight"),
    smooth=(
        "gatv2",
        "gatv2_everything",
        "gatv2_wide",
        "gatv2_rising_slope",
        "dot",
        "dot_everything",
        "gatv2_both_ends",
        "dot_both_ends",
        "one_channel",
    ),
    cost=_cost,
    suite="graph",
    hostile=(
        Hostile("no graph", lambda i: {**i, "graph": None}, TypeError, "graph"),
        Hostile("one end of two sets", lambda i: {**i, "right": None}, ValueError, "right"),
        Hostile("too few rows", lambda i: {**i, "right": i["right"][:-1]}, ValueError, "right"),
        Hostile("too few sources", lambda i: {**i, "left": i["left"][:-1]}, ValueError, "left"),
        Hostile("heads that differ", lambda i: {**i, "right": i["right"][:, 1:]}, ValueError, "H"),
        Hostile(
            "channels that differ", lambda i: {**i, "right": i["right"][..., 1:]}, ValueError, "D"
        ),
        Hostile(
            "dtypes that differ", lambda i: {**i, "right": i["right"].float()}, TypeError, "right"
        ),
        Hostile(
            "attention of one head alone",
            lambda i: {**i, "attention": i["attention"][:1]},
            ValueError,
            "attention",
        ),
        Hostile("values of the rows", lambda i: {**i, "value": i["right"]}, ValueError, "value"),
        Hostile(
            "geometry without weight",
            lambda i: {**i, "geometry": i["left"].new_zeros(i["graph"].num_edges, 2)},
            ValueError,
            "geometry_weight",
        ),
        Hostile(
            "a bias of each head for a weight",
            lambda i: {
                **i,
                "geometry": i["left"].new_zeros(i["graph"].num_edges, 2),
                "geometry_weight": i["left"].new_zeros(2, i["left"].shape[1]),
            },
            ValueError,
            "geometry_weight",
        ),
        Hostile(
            "too many terms",
            lambda i: {
                **i,
                "geometry": i["left"].new_zeros(i["graph"].num_edges, 9),
                "geometry_weight": i["left"].new_zeros(9, *i["left"].shape[1:]),
            },
            ValueError,
            "geometry",
        ),
        Hostile("infinite scale", lambda i: {**i, "scale": math.inf}, ValueError, "scale"),
        Hostile(
            "infinite slope",
            lambda i: {**i, "negative_slope": -math.inf},
            ValueError,
            "negative_slope",
        ),
    ),
)


def _grid(rows: int, columns: int, degree: int, *, shuffle: bool = False) -> Callable[..., Graph]:
    def make(generator: torch.Generator) -> Graph:
        graph = window_graph(rows, columns, degree)
        if not shuffle:
            return graph
        order = torch.randperm(rows * columns, generator=generator).int()
        return Graph.from_edges(order[graph.columns], order[graph.edge_rows()], rows * columns)

    return make


def _skewed(rows: int, edges: int) -> Callable[..., Graph]:
    """Rows and sources of very different degrees, a few of them with thousands of edges."""

    def make(generator: torch.Generator) -> Graph:
        ends = (torch.rand(2, edges, generator=generator).pow(3) * rows).long()
        order = torch.randperm(rows, generator=generator)
        return Graph.from_edges(order[ends[0]], order[ends[1]], rows, coalesce=False)

    return make


def _layer(
    graph: Callable[[torch.Generator], Graph],
    heads: int = 4,
    head_dim: int = 32,
    terms: int = 0,
) -> InputFactory:
    """Features and linear maps whose products bfloat16 holds exactly.

    On which side of its kink an activation is then does not depend on the precision of the linear
    maps, and gradients can be held against float64.
    """

    def make(generator: torch.Generator) -> Inputs:
        edges = graph(generator)
        channels = heads * head_dim

        def sparse() -> Tensor:
            linear = torch.zeros(channels, channels)
            places = torch.rand(channels, channels, generator=generator).argsort(1)[:, :2]
            signs = torch.randint(0, 2, (channels, 2), generator=generator) * 0.5 - 0.25
            return linear.scatter_(1, places, signs).view(heads, head_dim, channels)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator)

        return {
            "x": torch.randint(-8, 9, (edges.num_rows, channels), generator=generator) / 8,
            "source_map": sparse(),
            "row_map": sparse(),
            "attention": draw(heads, head_dim),
            "graph": edges,
            "geometry": draw(edges.num_edges, terms) if terms else None,
            "geometry_weight": draw(terms, heads, head_dim) if terms else None,
        }

    return make


def _shaped(sizes: Mapping[str, Any]) -> InputFactory:
    known = ("vertices", "degree", "heads", "head_dim")
    unknown = sizes.keys() - {*known, "terms"}
    if unknown:
        raise ValueError(f"sizes must be among {', '.join(known)} and terms, got {sorted(unknown)}")
    vertices, degree, heads, head_dim = (int(sizes[name]) for name in known)
    rows = max(5, math.isqrt(vertices))
    graph = _grid(rows, max(5, vertices // rows), degree)
    return _layer(graph, heads, head_dim, int(sizes.get("terms", 0)))


def _layer_cost(inputs: Inputs) -> Cost:
    """Features in and out, indices, geometry; the products of the linear maps."""
    x, graph, source_map = inputs["x"], inputs["graph"], inputs["source_map"]
    channels = source_map.shape[0] * source_map.shape[1]
    moved = x.nbytes + x.shape[0] * channels * x.element_size()
    moved += 4 * (graph.num_edges + graph.num_rows + 1)
    geometry, terms = inputs.get("geometry"), 0
    if geometry is not None:
        moved, terms = moved + geometry.nbytes, geometry.shape[1]
    edges = graph.num_edges * channels * (7 + 2 * terms)
    return Cost(moved, 4 * x.numel() * channels + edges)


LAYER = OpSpec(
    op="edge_attention_layer",
    kernels=_KERNELS,
    function=edge_attention_layer,
    small={
        "gatv2": _layer(lambda g: random_graph(g, 20, 20, 60), 2, 8),
        "gatv2_geometry": _layer(lambda g: random_graph(g, 20, 20, 60), 3, 6, 4),
        "skewed": _layer(_skewed(60, 900), 2, 4),
    },
    timed={
        "edge_attention_S1": _layer(_grid(1000, 1000, 6)),
        "edge_attention_S1_random": _layer(_grid(1000, 1000, 6, shuffle=True)),
        "edge_attention_S2": _layer(_grid(1000, 1000, 16)),
        "edge_attention_skewed": _layer(_skewed(500_000, 4_000_000)),
        "edge_attention_geometry_S1": _layer(_grid(1000, 1000, 6), terms=4),
        "cpu_edge_attention_V20k": _layer(_grid(141, 142, 6)),
    },
    timed_dtype=torch.bfloat16,
    shaped=_shaped,
    grad_inputs=("x", "source_map", "row_map", "attention", "geometry", "geometry_weight"),
    tolerance={
        torch.float64: Tolerance(1e-14, 1e-13),
        torch.float32: Tolerance(2e-6, 1e-5),
        torch.float16: Tolerance(6e-4, 2e-3),
        torch.bfloat16: Tolerance(4e-3, 1e-2),
    },
    float32_inputs=("attention", "geometry", "geometry_weight"),
    smooth=("gatv2_geometry",),
    cost=_layer_cost,
    suite="graph",
)

SPECS = (SPEC, LAYER)
