"""Reverse edges, symmetry, and graphs reordered along a curve."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from g2vlm_fast.ops import Graph, edge_conv, graph_reduce, reorder_graph, use_backend
from g2vlm_fast.ops.specs.graphs import random_graph, torus_faces, window_graph


def test_the_reverse_of_an_edge_joins_the_same_ends() -> None:
    graph = Graph.from_faces(torus_faces(4, 5), 20)
    reverse, rows = graph.reverse_edges().long(), graph.edge_rows()
    assert torch.equal(rows[reverse], graph.columns)
    assert torch.equal(graph.columns[reverse], rows)
    assert graph.reverse_edges() is graph.reverse_edges(), "it is made once"


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.integers(0, 60), st.integers(1, 12), st.integers(0, 2**31))
def test_every_edge_of_a_doubled_graph_pairs_with_one_other(
    edges: int, vertices: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randint(0, vertices, (2, edges), generator=generator)
    both = torch.randperm(2 * edges, generator=generator)
    graph = Graph.from_edges(
        torch.cat([a, b])[both], torch.cat([b, a])[both], vertices, coalesce=False
    )
    assert graph.symmetric is None
    assert graph.is_symmetric()
    reverse = graph.reverse_edges().long()
    assert torch.equal(reverse[reverse], torch.arange(2 * edges))
    assert torch.equal(graph.edge_rows()[reverse], graph.columns)


def test_a_graph_without_a_reverse_edge_is_not_symmetric() -> None:
    a, b = torch.tensor([0, 1, 0]), torch.tensor([1, 0, 2])
    graph = Graph.from_edges(a, b, 3)
    assert not graph.is_symmetric()
    with pytest.raises(ValueError, match="a graph that is not symmetric"):
        graph.reverse_edges()
    twice = Graph.from_edges(torch.tensor([0, 0, 1]), torch.tensor([1, 1, 0]), 2, coalesce=False)
    assert not twice.is_symmetric(), "one of two equal edges has no reverse"
    assert not Graph.from_edges(a, b, 3, 4).is_symmetric(), "two sets"
    assert Graph.from_edges(a[:0], b[:0], 0).is_symmetric()


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("reduce", ["max", "mean", "sum"])
def test_what_a_reordered_graph_computes_is_the_same(
    generator: torch.Generator, backend: str, reduce: str
) -> None:
    graph = random_graph(generator, 200, 200, 1500)
    position = torch.randn(200, 3, generator=generator)
    a, b = torch.randn(2, 200, 24, generator=generator)
    geometry = graph.edge_geometry(position)
    weight = torch.randn(4, 24, generator=generator)
    moved = reorder_graph(graph, position)
    with use_backend(backend):
        expected = edge_conv(a, b, graph, geometry, weight, "silu", reduce)
        there = moved.graph.edge_geometry(moved.apply(position))
        assert torch.equal(there, moved.apply_to_edges(geometry))
        found = edge_conv(
            moved.apply(a), moved.apply(b), moved.graph, there, weight, "silu", reduce
        )
        if backend == "cpu":
            assert torch.equal(moved.undo(found), expected)
        else:  # torch's products of matrices depend on where in a matrix a row is
            torch.testing.assert_close(moved.undo(found), expected)


def test_gradients_through_a_reordered_graph_agree(generator: torch.Generator) -> None:
    graph = random_graph(generator, 50, 50, 400)
    position = torch.randn(50, 3, generator=generator)
    x = torch.randn(50, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    out = torch.randn(50, 4, generator=generator, dtype=torch.float64)
    moved = reorder_graph(graph, position)
    expected = torch.autograd.grad(graph_reduce(x, graph), x, out)[0]
    found = moved.undo(graph_reduce(moved.apply(x), moved.graph))
    torch.testing.assert_close(torch.autograd.grad(found, x, out)[0], expected)


def test_the_order_brings_neighbours_near(generator: torch.Generator) -> None:
    shuffle = torch.randperm(4096, generator=generator)
    grid = torch.cartesian_prod(*[torch.arange(16.0)] * 3)
    position = grid[shuffle]
    graph = Graph.from_knn(torch.randint(0, 4096, (4096, 1), generator=generator))
    order = reorder_graph(graph, position).order.long()
    step = (position[order][1:] - position[order][:-1]).norm(dim=1)
    assert step.mean() < 2
    first_octant = position[order[:512]]
    assert first_octant.amax() < 8, "a Morton curve fills one octant before the next"


def test_scenes_stay_together_and_in_order(generator: torch.Generator) -> None:
    position = torch.randn(30, 3, generator=generator)
    offsets = torch.tensor([0, 12, 12, 30], dtype=torch.int32)
    graph = random_graph(generator, 30, 30, 90)
    order = reorder_graph(graph, position, offsets).order
    assert order[:12].sort().values.tolist() == list(range(12))
    for begin, end in ((0, 12), (12, 30)):
        alone = Graph.from_knn(torch.zeros(end - begin, 1, dtype=torch.long))
        # The grid covers all scenes, so a scene alone may be ordered by a finer one.
        assert sorted((order[begin:end] - begin).tolist()) == sorted(
            reorder_graph(alone, position[begin:end]).order.tolist()
        )


@pytest.mark.parametrize(
    "position",
    [
        torch.full((40, 3), math.nan),
        torch.full((40, 3), 7.5),
        torch.randn(40, 3).double() * 1e300,
        torch.randn(40, 3) * torch.tensor([1.0, math.inf, 1.0]),
        torch.randn(40, 3) * 1e-42,
    ],
    ids=["nan", "equal", "huge", "infinite", "tiny"],
)
def test_any_positions_make_a_permutation(
    generator: torch.Generator, position: torch.Tensor
) -> None:
    graph = random_graph(generator, 40, 40, 100)
    moved = reorder_graph(graph, position)
    assert moved.order.sort().values.tolist() == list(range(40))
    assert torch.equal(moved.order[moved.rank.long()], torch.arange(40).int())
    x = torch.randn(40, 2, generator=generator)
    assert torch.equal(
        moved.undo(graph_reduce(moved.apply(x), moved.graph)), graph_reduce(x, graph)
    )


def test_equal_positions_keep_their_order(generator: torch.Generator) -> None:
    moved = reorder_graph(random_graph(generator, 9, 9, 20), torch.ones(9, 3))
    assert moved.order.tolist() == list(range(9))


def test_an_empty_graph_is_reordered() -> None:
    graph = Graph.from_knn(torch.zeros(0, 3, dtype=torch.long))
    assert reorder_graph(graph, torch.zeros(0, 3)).graph.num_rows == 0


def test_flags_survive_reordering() -> None:
    graph = window_graph(6, 7, 6)
    assert reorder_graph(graph, torch.rand(42, 3)).graph.short_rows
    mesh = Graph.from_faces(torus_faces(3, 4), 12)
    moved = reorder_graph(mesh, torch.rand(12, 3)).graph
    assert moved.symmetric
    assert torch.equal(moved.edge_rows()[moved.reverse_edges().long()], moved.columns)


def test_what_cannot_be_reordered_is_refused(generator: torch.Generator) -> None:
    graph, position = random_graph(generator, 4, 5, 9), torch.rand(4, 3)
    with pytest.raises(ValueError, match="as many sources as rows, got 5 sources and 4 rows"):
        reorder_graph(graph, position)
    square = random_graph(generator, 4, 4, 9)
    with pytest.raises(ValueError, match="axis 0 of position"):
        reorder_graph(square, position[:3])
    with pytest.raises(TypeError, match="position must be float32 or float64"):
        reorder_graph(square, position.bfloat16())
    with pytest.raises(ValueError, match=r"offsets must start at 0"):
        reorder_graph(square, position, torch.tensor([0, 3], dtype=torch.int32))
    with pytest.raises(TypeError, match="graph must be a Graph"):
        reorder_graph(position, position)  # type: ignore[arg-type]


@pytest.mark.gpu
def test_a_reordered_graph_on_the_gpu_is_that_on_the_cpu(
    generator: torch.Generator, waiting_raises
) -> None:  # type: ignore[no-untyped-def]
    graph = random_graph(generator, 3000, 3000, 20_000)
    position = torch.randn(3000, 3, generator=generator)
    here, there, place = reorder_graph(graph, position), graph.to("cuda"), position.cuda()
    with waiting_raises():
        moved = reorder_graph(there, place)
    assert torch.equal(moved.order.cpu(), here.order)
    assert torch.equal(moved.graph.columns.cpu(), here.graph.columns)
    x = torch.randn(3000, 64, generator=generator).cuda()
    found = moved.undo(graph_reduce(moved.apply(x), moved.graph))
    assert torch.equal(found, graph_reduce(x, there))
