"""Graphs at their limits: one row with a million edges, more edges than int32 counts, nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from g2vlm_fast.ops import Graph, MeshEdges, edge_conv, graph_reduce, reorder_graph, segment_csr
from g2vlm_fast.ops._checks import MAX_EDGES

MILLION = 1_000_000


@pytest.fixture(scope="module")
def hub() -> Graph:
    """Row 1 of three hears a million sources in descending order, row 2 the first of them."""
    source = torch.cat([torch.arange(MILLION - 1, -1, -1), torch.zeros(1).long()])
    destination = torch.cat([torch.ones(MILLION).long(), torch.full((1,), 2)])
    return Graph.from_edges(source, destination, 3, MILLION, coalesce=False)


def test_a_hub_of_a_million_edges_is_built(hub: Graph) -> None:
    assert hub.degree().tolist() == [0, MILLION, 1]
    assert not hub.short_rows
    assert torch.equal(hub.columns[:MILLION], torch.arange(MILLION - 1, -1, -1).int())
    offsets, rows, _ = hub.transpose()
    assert offsets[:3].tolist() == [0, 2, 3]
    assert rows[:2].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("reduce", "expected"),
    [
        ("sum", MILLION * (MILLION - 1) / 2),
        ("mean", (MILLION - 1) / 2),
        ("max", MILLION - 1),
        ("min", 0),
    ],
)
def test_a_hub_is_reduced_exactly(hub: Graph, reduce: str, expected: float) -> None:
    x = torch.arange(MILLION, dtype=torch.float64)[:, None].requires_grad_()
    out = graph_reduce(x, hub, reduce)
    assert out.flatten().tolist() == [0, expected, 0]
    out[1].sum().backward()
    assert x.grad is not None
    if reduce in ("sum", "mean"):
        assert (x.grad == (1 if reduce == "sum" else 1 / MILLION)).all()
    else:
        assert x.grad.nonzero().tolist() == [[int(expected), 0]]


def test_a_hub_in_float32_keeps_its_digits(hub: Graph) -> None:
    """In one go, a million times 0.1 would be 1 % off; in runs, 2,500 roundings are 1.5e-4."""
    b = torch.full((MILLION, 1), 0.1, requires_grad=True)
    a = torch.zeros(3, 1, requires_grad=True)
    mean = graph_reduce(b, hub, "mean")[1]
    convolved = edge_conv(a, b, hub, activation="none", reduce="mean")[1]
    for found in (mean, convolved):
        assert found.item() == pytest.approx(0.1, rel=1e-4)
    (grad_a,) = torch.autograd.grad(convolved, a)
    assert grad_a.flatten().tolist() == pytest.approx([0, 1, 0], rel=1e-4)
    spread = Graph.from_edges(torch.zeros(MILLION).long(), torch.arange(MILLION), MILLION, 1)
    x = torch.ones(1, 1, requires_grad=True)
    tenth = torch.full((MILLION, 1), 0.1)
    (grad_x,) = torch.autograd.grad(graph_reduce(x, spread), x, tenth)
    assert grad_x.item() == pytest.approx(MILLION * 0.1, rel=1e-4)
    zeros = torch.zeros(MILLION, 1)
    out = edge_conv(zeros, x, spread, activation="none", reduce="sum")
    (grad_x,) = torch.autograd.grad(out, x, tenth)
    assert grad_x.item() == pytest.approx(MILLION * 0.1, rel=1e-4)


@pytest.mark.parametrize("reduce", ["max", "mean"])
def test_a_hub_is_convolved(hub: Graph, reduce: str) -> None:
    b = torch.arange(MILLION, dtype=torch.float64)[:, None].requires_grad_()
    a = torch.full((3, 1), 7.0, dtype=torch.float64, requires_grad=True)
    out = edge_conv(a, b, hub, activation="none", reduce=reduce)
    most = MILLION - 1 if reduce == "max" else (MILLION - 1) / 2
    assert out.flatten().tolist() == [0, most + 7, 7]
    out.sum().backward()
    assert a.grad is not None
    assert b.grad is not None
    assert a.grad.flatten().tolist() == pytest.approx([0, 1, 1])
    assert b.grad.sum().item() == pytest.approx(2)


def test_a_fan_of_a_million_faces_has_one_hub() -> None:
    rim = torch.arange(1, MILLION + 1, dtype=torch.int32)
    faces = torch.stack([torch.zeros_like(rim), rim, rim % MILLION + 1], 1)
    graph = Graph.from_faces(faces, MILLION + 1)
    assert int(graph.row_offsets[1]) == MILLION
    assert torch.equal(graph.columns[:MILLION], rim)
    assert (graph.degree()[1:] == 3).all()


def many(count: int, *shape: int, dtype: torch.dtype = torch.int32) -> Tensor:
    """Return ``count`` rows of zeros in the memory of one."""
    return torch.zeros(1, *shape, dtype=dtype).expand(count, *shape)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: Graph.from_edges(many(MAX_EDGES + 1), many(MAX_EDGES + 1), 3),
            "Graph.from_edges: at most 2147482624 edges",
        ),
        (
            lambda: Graph.from_faces(many(MAX_EDGES // 6 + 1, 3), 3),
            "Graph.from_faces: faces must be at most 357913770, got 357913771",
        ),
        (
            lambda: MeshEdges.from_faces(many(MAX_EDGES // 6 + 1, 3), 3),
            "MeshEdges.from_faces: faces must be at most 357913770, got 357913771",
        ),
        (
            lambda: Graph.from_knn(many(2**16, 2**15)),
            "Graph.from_knn: at most 2147482624 edges",
        ),
        (
            lambda: Graph.from_csr(many(3), many(MAX_EDGES + 1), 3),
            "Graph.from_csr: columns must have at most 2147482624 entries, got 2147482625",
        ),
        (
            lambda: Graph.from_csr(many(2**31), many(3), 3),
            "Graph.from_csr: row_offsets must have from 1 to 2147483647 entries",
        ),
        (
            lambda: segment_csr(many(MAX_EDGES + 1, 1, dtype=torch.float32), many(2), "sum"),
            "segment_csr: x must have at most 2147482624 rows",
        ),
        (
            lambda: Graph.from_edges(many(2), many(2), 2**31),
            "num_vertices must be from 0 to 2147483646, got 2147483648",
        ),
        (
            lambda: Graph.from_edges(many(2), many(2), 3, 2**31),
            "num_sources must be from 0 to 2147483646, got 2147483648",
        ),
        (
            lambda: Graph.from_faces(many(2, 3), 2**40),
            "num_vertices must be from 0 to 2147483646, got 1099511627776",
        ),
    ],
)
def test_more_than_int32_counts_is_refused_before_anything_is_built(
    build: Callable[[], object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_vertices_without_faces_stay_alone(generator: torch.Generator) -> None:
    faces = torch.tensor([[5, 9, 2]])
    graph = Graph.from_faces(faces, 12)
    assert graph.degree().nonzero().flatten().tolist() == [2, 5, 9]
    x = torch.randn(12, 3, generator=generator)
    alone = graph.degree() == 0
    for reduce in ("sum", "mean", "max", "min"):
        assert (graph_reduce(x, graph, reduce)[alone] == 0).all()
    assert (edge_conv(x, x, graph, activation="none")[alone] == 0).all()


@pytest.mark.parametrize("vertices", [0, 4])
def test_a_graph_without_edges_goes_through_everything(vertices: int) -> None:
    graph = Graph.from_edges(torch.zeros(0).long(), torch.zeros(0).long(), vertices)
    x = torch.ones(vertices, 3, requires_grad=True)
    position = torch.rand(vertices, 3)
    geometry = graph.edge_geometry(position, terms=("offset", "distance", "direction"))
    assert geometry.shape == (0, 7)
    weight = torch.ones(7, 3, requires_grad=True)
    out = graph_reduce(x, graph, "max") + edge_conv(x, x, graph, geometry, weight)
    out.sum().backward()
    assert out.tolist() == [[0.0] * 3] * vertices
    assert weight.grad is not None
    assert (weight.grad == 0).all()
    assert graph.is_symmetric()
    assert graph.reverse_edges().shape == (0,)
    assert graph.with_loops().num_edges == vertices
    assert reorder_graph(graph, position).graph.num_edges == 0
