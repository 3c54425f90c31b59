"""Edges of meshes: which there are, of what kind, with which neighbours and weights."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from g2vlm_fast.ops import Graph, MeshEdges, graph_reduce
from g2vlm_fast.ops.specs.graphs import torus_faces

# A square of two triangles, a third on its diagonal, and a flap on one side.
#   3 - 2
#   | / |      4 lies above the diagonal 0-2, 5 right of the side 1-2
#   0 - 1
FACES = torch.tensor([[0, 1, 2], [0, 2, 3], [2, 0, 4], [2, 1, 5]])


def edge_between(edges: MeshEdges, a: int, b: int) -> int:
    (found,) = (edges.vertices == torch.tensor([min(a, b), max(a, b)])).all(1).nonzero().tolist()
    return int(found[0])


def test_edges_know_their_faces() -> None:
    edges = MeshEdges.from_faces(FACES, 7)
    assert edges.vertices.tolist() == [
        [0, 1], [0, 2], [0, 3], [0, 4], [1, 2], [1, 5], [2, 3], [2, 4], [2, 5],
    ]  # fmt: skip
    assert edges.num_faces().tolist() == [1, 3, 1, 1, 2, 1, 1, 1, 1]
    assert edges.nonmanifold().nonzero().flatten().tolist() == [edge_between(edges, 0, 2)]
    assert not edges.boundary()[edge_between(edges, 1, 2)]
    assert int(edges.boundary().sum()) == 7
    diagonal = slice(*edges.sides.row_offsets[1:3].tolist())
    assert edges.sides.columns[diagonal].tolist() == [2, 3, 6]


def test_the_flags_reach_the_edges_of_the_graph_both_ways() -> None:
    edges = MeshEdges.from_faces(FACES, 7)
    flagged = edges.nonmanifold()[edges.graph_edges]
    pairs = torch.stack([edges.graph.edge_rows(), edges.graph.columns], 1)[flagged]
    assert pairs.tolist() == [[0, 2], [2, 0]]


def test_a_closed_mesh_has_two_faces_at_every_edge() -> None:
    edges = MeshEdges.from_faces(torus_faces(5, 7), 35)
    assert edges.num_edges == 3 * 35
    assert (edges.num_faces() == 2).all()
    assert (edges.neighbours() >= 0).all()


def test_neighbours_follow_the_edge_in_each_of_its_faces() -> None:
    edges = MeshEdges.from_faces(FACES[:2], 4)
    between = {frozenset(pair): edge for edge, pair in enumerate(edges.vertices.tolist())}
    one, two = (
        [frozenset(pair) for pair in ((0, 1), (1, 2))],
        [frozenset((2, 3)), frozenset((3, 0))],
    )
    diagonal = edges.neighbours()[between[frozenset((0, 2))]].tolist()
    assert diagonal == [between[one[0]], between[one[1]], between[two[0]], between[two[1]]]
    side = edges.neighbours()[between[frozenset((1, 2))]].tolist()
    assert side == [between[frozenset((0, 2))], between[frozenset((0, 1))], -1, -1]


def test_a_face_that_repeats_a_vertex_counts_once_at_its_edge() -> None:
    edges = MeshEdges.from_faces(torch.tensor([[0, 0, 1], [2, 2, 2], [1, 0, 3]]), 4)
    assert edges.vertices.tolist() == [[0, 1], [0, 3], [1, 3]]
    assert edges.num_faces().tolist() == [2, 1, 1]
    assert edges.side_edges.tolist() == [[-1, 0, 0], [-1, -1, -1], [0, 1, 2]]


def test_no_edge_is_its_own_neighbour() -> None:
    edges = MeshEdges.from_faces(torch.tensor([[0, 0, 1], [0, 1, 2], [2, 1, 0], [2, 1, 0]]), 3)
    own = torch.arange(len(edges.vertices))[:, None]
    assert not (edges.neighbours() == own).any()


@pytest.mark.parametrize(("faces", "vertices"), [(0, 0), (0, 5), (1, 3)])
def test_meshes_may_be_empty(faces: int, vertices: int) -> None:
    edges = MeshEdges.from_faces(FACES[:faces], vertices)
    assert edges.num_edges == 3 * faces
    assert edges.neighbours().shape == (3 * faces, 4)
    assert edges.cotangent_weights(torch.rand(vertices, 3)).shape == (6 * faces,)


@pytest.mark.parametrize(
    ("wrong", "place"), [(-1, r"\[0, 0\]"), (7, r"\[1, 2\]"), (2**40, r"\[3, 2\]")]
)
def test_a_vertex_out_of_range_is_named(wrong: int, place: str) -> None:
    faces = FACES.clone()
    at = [int(each) for each in place.strip("\\[]").replace("\\", "").split(", ")]
    faces[at[0], at[1]] = wrong
    with pytest.raises(ValueError, match=rf"faces must be from 0 to 5, got {wrong} at {place}"):
        MeshEdges.from_faces(faces, 6)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.integers(0, 60), st.integers(1, 20), st.integers(0, 2**31))
def test_edges_of_any_soup_agree_with_the_graph_and_with_counting(
    count: int, vertices: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    faces = torch.randint(0, vertices, (count, 3), generator=generator)
    edges = MeshEdges.from_faces(faces, vertices)
    graph = Graph.from_faces(faces, vertices)
    assert torch.equal(edges.graph.row_offsets, graph.row_offsets)
    assert torch.equal(edges.graph.columns, graph.columns)
    assert edges.graph.short_rows == graph.short_rows
    pairs = torch.stack([graph.edge_rows(), graph.columns], 1).sort(1).values
    assert torch.equal(edges.vertices[edges.graph_edges], pairs)
    for edge, (a, b) in enumerate(edges.vertices.tolist()):
        with_both = ((faces == a).any(1) & (faces == b).any(1)).nonzero().flatten()
        sides = edges.sides.columns[
            edges.sides.row_offsets[edge] : edges.sides.row_offsets[edge + 1]
        ]
        assert torch.equal(sides.long() // 3, with_both)
        assert (edges.side_edges.flatten()[sides] == edge).all()


def dense_cotangent_weights(position: Tensor, faces: Tensor) -> Tensor:
    """The definition: for every face and corner, the cotangent goes to the opposite edge."""
    weight = torch.zeros(len(position), len(position), dtype=position.dtype)
    for face in faces.tolist():
        for corner in range(3):
            o, a, b = (face[(corner + step) % 3] for step in range(3))
            u, v = position[a] - position[o], position[b] - position[o]
            angle = torch.atan2(torch.linalg.cross(u, v).norm(), u @ v)
            weight[a, b] += 0.5 / angle.tan()
            weight[b, a] += 0.5 / angle.tan()
    return weight


def test_cotangent_weights_of_a_square_by_hand() -> None:
    position = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    edges = MeshEdges.from_faces(FACES[:2], 4)
    weight = edges.cotangent_weights(position)
    undirected = torch.empty(5).index_copy_(0, edges.graph_edges.long(), weight)
    assert undirected.tolist() == [0.5, 0, 0.5, 0.5, 0.5], "right angles face the diagonal"


def test_cotangent_weights_of_an_equilateral_triangle_by_hand() -> None:
    position = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0.5, 3**0.5 / 2, 0]], dtype=torch.float64)
    weight = MeshEdges.from_faces(torch.tensor([[0, 1, 2]]), 3).cotangent_weights(position)
    torch.testing.assert_close(weight, torch.full((6,), 0.5 / 3**0.5, dtype=torch.float64))


def test_cotangent_weights_are_those_of_their_definition(generator: torch.Generator) -> None:
    faces = torch.randint(0, 9, (30, 3), generator=generator)
    faces = faces[(faces != faces.roll(1, 1)).all(1)]
    position = torch.randn(9, 3, generator=generator, dtype=torch.float64)
    edges = MeshEdges.from_faces(faces, 9)
    expected = dense_cotangent_weights(position, faces)
    found = edges.cotangent_weights(position)
    torch.testing.assert_close(found, expected[edges.graph.edge_rows(), edges.graph.columns])


def test_cotangent_weights_make_the_laplacian_of_linear_functions_vanish_inside_a_plane() -> None:
    grid = torch.cartesian_prod(torch.arange(5.0), torch.arange(5.0)).double()
    corner = (torch.arange(4)[:, None] * 5 + torch.arange(4)).flatten()
    faces = torch.cat(
        [
            torch.stack([corner, corner + 5, corner + 6], 1),
            torch.stack([corner, corner + 6, corner + 1], 1),
        ]
    )
    bent = grid + 0.2 * torch.randn(25, 2, generator=torch.Generator().manual_seed(0)).double()
    position = torch.cat([bent, torch.zeros(25, 1)], 1)
    edges = MeshEdges.from_faces(faces, 25)
    weight = edges.cotangent_weights(position)
    function = bent @ torch.tensor([[2.0], [-3.0]], dtype=torch.float64) + 7
    ones = torch.ones_like(function)
    laplacian = graph_reduce(function, edges.graph, "sum", weight) - function * graph_reduce(
        ones, edges.graph, "sum", weight
    )
    inside = ((grid > 0) & (grid < 4)).all(1)
    assert int(inside.sum()) == 9
    assert laplacian[inside].abs().max() < 1e-12
    assert laplacian[~inside].abs().max() > 1e-3


def test_cotangent_weights_are_differentiable_and_blind_to_faces_without_area() -> None:
    generator = torch.Generator().manual_seed(1)
    position = torch.randn(6, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    edges = MeshEdges.from_faces(FACES, 6)
    assert torch.autograd.gradcheck(edges.cotangent_weights, (position,))
    flat = torch.tensor([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 0, 0]], requires_grad=True)
    weight = MeshEdges.from_faces(torch.tensor([[0, 1, 2], [0, 3, 3]]), 4).cotangent_weights(flat)
    assert (weight == 0).all()
    weight.sum().backward()
    assert flat.grad is not None
    assert (flat.grad == 0).all()


def test_positions_that_do_not_fit_the_mesh_are_refused() -> None:
    edges = MeshEdges.from_faces(FACES, 6)
    with pytest.raises(ValueError, match="axis 0 of position must have size 6"):
        edges.cotangent_weights(torch.rand(5, 3))
    with pytest.raises(TypeError, match="position"):
        edges.cotangent_weights(torch.rand(6, 3).bfloat16())


@pytest.mark.gpu
def test_edges_on_the_gpu_are_those_on_the_cpu(generator: torch.Generator) -> None:
    faces = torch.randint(0, 900, (3000, 3), generator=generator)
    position = torch.randn(900, 3, generator=generator)
    here, there = MeshEdges.from_faces(faces, 900), MeshEdges.from_faces(faces.cuda(), 900)
    for name, value in there.to("cpu").tensors().items():
        assert torch.equal(value, getattr(here, name)), name
    torch.testing.assert_close(
        there.cotangent_weights(position.cuda()).cpu(),
        here.cotangent_weights(position),
        rtol=1e-4,
        atol=1e-4,
    )
