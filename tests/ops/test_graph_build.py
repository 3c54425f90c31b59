"""Graphs: what their constructors build and refuse, and what a graph can say of itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import pairwise

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor
from torch.utils import _pytree as pytree

from g2vlm_fast.ops import Graph, _graph_build_backends, graph_build, use_backend
from g2vlm_fast.ops.specs.graphs import hub_graph, random_graph, torus_faces, window_graph


def rows_of(graph: Graph) -> list[list[int]]:
    ends = graph.row_offsets.tolist()
    columns = graph.columns.tolist()
    return [columns[begin:end] for begin, end in pairwise(ends)]


def same(a: Graph, b: Graph) -> bool:
    return torch.equal(a.row_offsets, b.row_offsets) and torch.equal(a.columns, b.columns)


def test_a_mesh_joins_the_ends_of_its_edges_both_ways() -> None:
    faces = torch.tensor([[0, 1, 2], [2, 1, 3]])
    graph = Graph.from_faces(faces, 5)
    assert rows_of(graph) == [[1, 2], [0, 2, 3], [0, 1, 3], [1, 2], []]
    assert graph.num_sources == 5
    assert graph.row_offsets.dtype == graph.columns.dtype == torch.int32


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_a_face_that_repeats_a_vertex_gives_its_proper_edges_alone(backend: str) -> None:
    with use_backend(backend):
        graph = Graph.from_faces(torch.tensor([[0, 0, 1], [2, 2, 2]]), 3)
    assert rows_of(graph) == [[1], [0], []]


def test_every_vertex_of_a_closed_grid_has_six_neighbours() -> None:
    graph = Graph.from_faces(torus_faces(20, 30), 600)
    assert (graph.row_offsets.diff() == 6).all()
    window = window_graph(20, 30, 6)
    assert same(graph, Graph.from_edges(window.columns, window.edge_rows(), 600))


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize(("wrong", "shown"), [(-1, "-1"), (7, "7"), (2**32, str(2**32))])
def test_a_face_out_of_range_is_named(backend: str, wrong: int, shown: str) -> None:
    faces = torch.tensor([[0, 1, 2], [3, wrong, 4]])
    with use_backend(backend), pytest.raises(ValueError, match=rf"faces .*got {shown} at \[1, 1\]"):
        Graph.from_faces(faces, 7)


def test_edges_of_a_row_keep_their_order_and_duplicates_unless_coalesced() -> None:
    source, destination = torch.tensor([5, 1, 5, 0, 1]), torch.tensor([1, 1, 1, 0, 1])
    as_given = Graph.from_edges(source, destination, 2, 6, coalesce=False)
    assert rows_of(as_given) == [[0], [5, 1, 5, 1]]
    assert rows_of(Graph.from_edges(source, destination, 2, 6)) == [[0], [1, 5]]


def test_neighbours_that_are_missing_leave_no_edge() -> None:
    graph = Graph.from_knn(torch.tensor([[2, -1], [-1, -1], [0, 9]]), 10)
    assert rows_of(graph) == [[2], [], [0, 9]]
    with pytest.raises(ValueError, match=r"index .*got 10 at \[0, 1\]"):
        Graph.from_knn(torch.tensor([[0, 10]]), 10)
    with pytest.raises(ValueError, match=r"index .*got -2"):
        Graph.from_knn(torch.tensor([[0, -2]]), 10)


@pytest.mark.parametrize(
    ("row_offsets", "columns", "argument"),
    [
        ([0, 2], [0, 3], "columns"),
        ([0, 2], [0, -1], "columns"),
        ([0, 1], [0, 0], "row_offsets"),
        ([1, 2], [0, 0], "row_offsets"),
        ([0, 2, 1, 2], [0, 0], "row_offsets"),
        ([], [], "row_offsets"),
    ],
)
def test_compressed_rows_are_checked(
    row_offsets: list[int], columns: list[int], argument: str
) -> None:
    with pytest.raises(ValueError, match=argument):
        Graph.from_csr(
            torch.tensor(row_offsets, dtype=torch.int32),
            torch.tensor(columns, dtype=torch.int32),
            3,
        )


def test_compressed_rows_are_taken_over(generator: torch.Generator) -> None:
    graph = random_graph(generator, 9, 12, 40)
    assert same(Graph.from_csr(graph.row_offsets, graph.columns, 12), graph)


def _builders(generator: torch.Generator) -> dict[str, tuple[Graph, Callable[[int], Graph]]]:
    """Every constructor that takes a number of edges, without and with it."""
    faces = torus_faces(4, 5)
    source, row = torch.randint(0, 9, (2, 60), generator=generator)
    index = torch.randint(-1, 9, (12, 5), generator=generator)
    return {
        "faces": (Graph.from_faces(faces, 20), lambda n: Graph.from_faces(faces, 20, num_edges=n)),
        "edges": (
            Graph.from_edges(source, row, 9),
            lambda n: Graph.from_edges(source, row, 9, num_edges=n),
        ),
        "list": (
            Graph.from_edges(source, row, 9, coalesce=False),
            lambda n: Graph.from_edges(source, row, 9, coalesce=False, num_edges=n),
        ),
        "neighbours": (Graph.from_knn(index), lambda n: Graph.from_knn(index, num_edges=n)),
    }


@pytest.mark.parametrize("kind", ["faces", "edges", "list", "neighbours"])
@pytest.mark.parametrize("reading", [True, False])
def test_a_number_of_edges_that_is_known_needs_no_reading_back(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch, kind: str, reading: bool
) -> None:
    graph, build = _builders(generator)[kind]
    if not reading:  # as on a GPU
        for module in (graph_build, _graph_build_backends):
            monkeypatch.setattr(module, "waits", lambda like, num_edges: num_edges is None)
    found = build(graph.num_edges)
    assert same(found, graph)
    assert found.symmetric == graph.symmetric
    for wrong in (graph.num_edges - 1, graph.num_edges + 1):
        with pytest.raises(ValueError if reading else RuntimeError, match="num_edges"):
            build(wrong)
    with pytest.raises(TypeError, match="num_edges must be an int"):
        build(3.0)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.integers(0, 60), st.integers(1, 40), st.integers(0, 2**31))
def test_native_graphs_are_those_of_the_reference(faces: int, vertices: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.randint(0, vertices, (faces, 3), generator=generator)
    graph = Graph.from_faces(corners, vertices)
    directed = random_graph(generator, vertices, vertices + 3, 3 * faces)
    with use_backend("reference"):
        assert same(graph, Graph.from_faces(corners, vertices))
        for each in (graph, directed):
            fresh = dataclasses.replace(each, cached_transpose=None)
            expected = fresh.transpose()
            with use_backend("cpu"):
                for a, b in zip(each.transpose(), expected, strict=True):
                    assert torch.equal(a, b)


def test_the_transpose_lists_the_edges_of_each_source(generator: torch.Generator) -> None:
    graph = random_graph(generator, 7, 9, 30)
    offsets, rows, edges = graph.transpose()
    for source in range(9):
        mine = slice(int(offsets[source]), int(offsets[source + 1]))
        found = edges[mine].tolist()
        assert found == (graph.columns == source).nonzero().flatten().tolist()
        assert torch.equal(rows[mine], graph.edge_rows()[edges[mine].long()])
    assert graph.transpose().offsets is offsets, "it is made once"


def test_the_transpose_of_a_graph_that_was_not_checked_is_refused() -> None:
    offsets, columns = torch.tensor([0, 2], dtype=torch.int32), torch.tensor([0, 5])
    graph = Graph(row_offsets=offsets, columns=columns.int(), num_sources=3)
    with pytest.raises(ValueError, match="columns"):
        graph.transpose()


def test_a_graph_is_frozen_and_a_pytree(generator: torch.Generator) -> None:
    graph = random_graph(generator, 5, 6, 20)
    with pytest.raises(dataclasses.FrozenInstanceError):
        graph.num_sources = 3  # type: ignore[misc]
    graph.transpose()
    leaves, structure = pytree.tree_flatten(graph)
    again = pytree.tree_unflatten(leaves, structure)
    assert same(graph, again)
    assert torch.equal(again.transpose().edges, graph.transpose().edges)
    assert graph.to("meta").columns.is_meta


def test_edge_geometry_sees_the_source_from_the_row() -> None:
    position = torch.tensor([[0.0, 0, 0], [3.0, 4, 0]])
    normal = torch.tensor([[1.0, 0, 0], [0.0, 0, 1]])
    graph = Graph.from_edges(torch.tensor([1]), torch.tensor([0]), 2)
    terms = ("offset", "distance", "direction", "normal_dot", "normal_angle", "source_normal_angle")
    found = graph.edge_geometry(position, normal, terms=terms)
    torch.testing.assert_close(found, torch.tensor([[3.0, 4, 0, 5, 0.6, 0.8, 0, 0, 0.6, 0]]))


def test_edge_geometry_between_two_sets() -> None:
    graph = Graph.from_edges(torch.tensor([2, 0]), torch.tensor([0, 1]), 2, 3)
    rows, sources = torch.zeros(2, 3), torch.arange(9.0).view(3, 3)
    found = graph.edge_geometry(rows, source_position=sources, terms=("offset",))
    assert torch.equal(found, sources[[2, 0]])


def test_edge_geometry_is_differentiable_and_flat_at_distance_zero() -> None:
    graph = Graph.from_knn(torch.tensor([[1, 2], [0, 2], [0, 0], [3, 1]]))
    generator = torch.Generator().manual_seed(0)
    position = torch.randn(4, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    normal = torch.randn(4, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    joined = Graph.from_knn(torch.tensor([[1, 2], [0, 2], [0, 1], [2, 1]]))
    terms = ("offset", "distance", "direction", "normal_dot", "normal_angle", "source_normal_angle")
    assert torch.autograd.gradcheck(
        lambda p, n: joined.edge_geometry(p, n, terms=terms), (position, normal)
    )
    loop = graph.edge_geometry(position, normal, terms=("distance", "direction", "normal_angle"))
    loop[6].sum().backward()  # the loop of vertex 3
    assert (loop[6] == 0).all()
    assert position.grad is not None
    assert (position.grad == 0).all()


def test_edge_geometry_refuses_what_it_cannot_compute(generator: torch.Generator) -> None:
    graph, position = random_graph(generator, 4, 4, 6), torch.zeros(4, 3)
    with pytest.raises(ValueError, match="terms"):
        graph.edge_geometry(position, terms=("angle",))
    with pytest.raises(ValueError, match="terms"):
        graph.edge_geometry(position, terms=())
    with pytest.raises(ValueError, match="normal"):
        graph.edge_geometry(position, terms=("normal_dot",))
    with pytest.raises(TypeError, match="position"):
        graph.edge_geometry(position.bfloat16())
    with pytest.raises(ValueError, match="position"):
        graph.edge_geometry(position[:3])


@pytest.mark.gpu
def test_a_known_number_of_edges_spares_the_wait(waiting_raises) -> None:  # type: ignore[no-untyped-def]
    faces, index = torus_faces(4, 5).cuda(), torch.zeros(7, 3, dtype=torch.int32, device="cuda")
    graph = Graph.from_faces(faces, 20)
    with waiting_raises():
        found = Graph.from_faces(faces, 20, num_edges=120)
        listed = Graph.from_edges(index[:, 0], index[:, 0], 7, coalesce=False, num_edges=7)
        neighbours = Graph.from_knn(index, num_edges=21)
    assert same(found, graph)
    assert listed.num_edges == 7
    assert neighbours.num_edges == 21


def _mangled_mesh(generator: torch.Generator) -> tuple[Tensor, int]:
    """Rows of every length class: none, a few, dozens, and thousands."""
    fan = torch.randperm(5000, generator=generator) + 1
    hub = torch.stack([torch.zeros_like(fan), fan, fan % 5000 + 1], dim=1)
    dense = torch.randint(0, 60, (4000, 3), generator=generator)
    sparse = torch.randint(0, 9000, (3000, 3), generator=generator)
    return torch.cat([hub, dense, sparse])[torch.randperm(12000, generator=generator)], 9100


@pytest.mark.gpu
def test_graphs_on_the_gpu_are_those_on_the_cpu(generator: torch.Generator) -> None:
    faces, vertices = _mangled_mesh(generator)
    graph = Graph.from_faces(faces, vertices)
    hub = hub_graph(generator, 3000, 20_000)
    for index_dtype in (torch.int32, torch.int64):
        assert same(Graph.from_faces(faces.to("cuda", index_dtype), vertices).to("cpu"), graph)
    for each in (graph, hub):
        source, row = each.columns.cuda(), each.edge_rows().cuda()
        for coalesce in (False, True):
            there = Graph.from_edges(source, row, each.num_rows, coalesce=coalesce).to("cpu")
            here = Graph.from_edges(source.cpu(), row.cpu(), each.num_rows, coalesce=coalesce)
            assert same(there, here)
        fresh = dataclasses.replace(each, cached_transpose=None)
        for a, b in zip(fresh.to("cuda").transpose(), each.transpose(), strict=True):
            assert torch.equal(a.cpu(), b)


@pytest.mark.gpu
def test_an_index_out_of_range_on_the_gpu_is_named_and_harms_nothing() -> None:
    faces = torch.tensor([[0, 1, 2], [3, 2**31 - 5, 4]], device="cuda")
    with pytest.raises(ValueError, match=r"faces .*at \[1, 1\]"):
        Graph.from_faces(faces, 7)
    with pytest.raises(ValueError, match="source"):
        Graph.from_edges(faces[:, 1], faces[:, 0], 7)
    torch.cuda.synchronize()
