"""Distances from triangles; what every op promises is in test_every_op.py."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from g2vlm_fast import _C
from g2vlm_fast.ops import mesh_to_point, point_to_mesh, use_backend
from g2vlm_fast.ops.reference import point_to_mesh as reference
from g2vlm_fast.ops.specs.meshes import room_with_points, soup

TRIANGLE = torch.tensor([[0.0, 0, 0], [2, 0, 0], [0, 2, 0]])
FACE = torch.tensor([[0, 1, 2]], dtype=torch.int32)


@pytest.mark.parametrize(
    ("point", "distance", "weights"),
    [
        ([0.5, 0.5, 3.0], 9.0, [0.5, 0.25, 0.25]),
        ([-1.0, -2.0, 0.0], 5.0, [1, 0, 0]),
        ([4.0, -1.0, 2.0], 9.0, [0, 1, 0]),
        ([-1.0, 5.0, 0.0], 10.0, [0, 0, 1]),
        ([1.0, -1.0, 1.0], 2.0, [0.5, 0.5, 0]),
        ([-2.0, 0.5, 0.0], 4.0, [0.75, 0, 0.25]),
        ([2.0, 2.0, 1.0], 3.0, [0, 0.5, 0.5]),
        ([1.0, 0.5, 0.0], 0.0, [0.25, 0.5, 0.25]),
        ([0.0, 2.0, 0.0], 0.0, [0, 0, 1]),
    ],
)
@pytest.mark.parametrize("corners", list(itertools.permutations(range(3))))
def test_each_region_of_a_triangle(
    point: list[float], distance: float, weights: list[float], corners: tuple[int, ...]
) -> None:
    faces = torch.tensor([corners], dtype=torch.int32)
    for found in (
        point_to_mesh(torch.tensor([point]), TRIANGLE, faces),
        mesh_to_point(TRIANGLE, faces, torch.tensor([point])),
    ):
        torch.testing.assert_close(found[0], torch.tensor([distance]))
        assert found[1].tolist() == [0]
        torch.testing.assert_close(found[2], torch.tensor([weights]).float()[:, list(corners)])


def _exact_distance(points: Tensor, corners: Tensor) -> Tensor:
    """Distances of all pairs in extended precision, by the sides of the planes through the edges.

    An independent way: the foot on the plane counts where it lies to the left of all three edges.
    """
    p, c = (each.numpy().astype(numpy.longdouble) for each in (points, corners))
    ways = p[:, None, None] - c[None]
    edges = numpy.roll(c, -1, 1) - c
    square = numpy.maximum((edges**2).sum(-1), 1e-300)
    along = ((ways * edges).sum(-1) / square).clip(0, 1)
    to_edges = ((ways - along[..., None] * edges) ** 2).sum(-1).min(-1)
    normal = numpy.cross(edges[:, 0], edges[:, 1])
    left = ((numpy.cross(normal[:, None], edges) * ways).sum(-1) >= 0).all(-1)
    area = (normal**2).sum(-1)
    height = (ways[:, :, 0] * normal).sum(-1) ** 2 / numpy.maximum(area, 1e-300)
    exact = numpy.sqrt(numpy.where(left & (area > 0), height, to_edges))
    return torch.from_numpy(exact.astype(numpy.float64))


SHAPES: dict[str, Callable[[Tensor], Tensor]] = {
    "plain": lambda c: c,
    "small": lambda c: c[:, :1] + 0.02 * (c - c[:, :1]),
    "needles": lambda c: torch.stack([c[:, 0], c[:, 1], c[:, 1] + 1e-4 * c[:, 2]], 1),
    "caps": lambda c: torch.stack([c[:, 0], c[:, 1], c[:, :2].mean(1) + 1e-4 * c[:, 2]], 1),
    "needles_of_a_millionth": lambda c: torch.stack([c[:, 0], c[:, 1], c[:, 1] + 1e-6], 1),
    "collinear": lambda c: torch.stack([c[:, 0], c[:, 1], c[:, :2].mean(1)], 1),
    "points": lambda c: c[:, :1].expand(-1, 3, -1),
    "all_identical": lambda c: c[:1].expand_as(c),
    "far_away": lambda c: c + torch.tensor([1000.0, -700.0, 3.0]),
    "one_large": lambda c: torch.cat([50 * c[:1], c[1:, :1] + 0.02 * (c[1:] - c[1:, :1])]),
    "a_tenth_large": lambda c: torch.where(torch.arange(len(c))[:, None, None] % 10 == 3, 9 * c, c),
}


def _mesh(name: str, faces: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, torch.Generator]:
    generator = torch.Generator().manual_seed(faces)
    corners = SHAPES[name](torch.randn(faces, 3, 3, generator=generator))
    rows = torch.arange(3 * faces, dtype=torch.int32).view(-1, 3)
    return corners.reshape(-1, 3).to(dtype), rows, generator


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("name", SHAPES)
def test_distances_are_right_to_a_few_roundings_of_the_size(
    name: str, scale: float, dtype: torch.dtype
) -> None:
    vertices, faces, generator = _mesh(name, 500, dtype)
    corners = vertices[faces.long()]
    weights = torch.rand(400, 3, generator=generator).to(dtype)
    on = (weights / weights.sum(1, keepdim=True))[..., None] * corners[:400]
    off = torch.randn(400, 3, generator=generator).to(dtype)
    points = on.sum(1) + off * torch.logspace(-6, 1, 400)[:, None].to(dtype)
    points, vertices = points * scale, vertices * scale
    pairs = _exact_distance(points, vertices[faces.long()])
    size = (points[:, None, None] - vertices[faces.long()]).abs().amax((-1, -2)).double()
    allowed = 32 * torch.finfo(dtype).eps * size
    for found, axis in (
        (point_to_mesh(points, vertices, faces), 1),
        (mesh_to_point(vertices, faces, points), 0),
    ):
        distance, index, weights = found
        assert (index >= 0).all()
        truth = pairs.amin(axis)
        row = torch.arange(len(index))
        pair = (row, index.long()) if axis == 1 else (index.long(), row)
        error = (distance.double().sqrt() - truth).abs()
        assert (error <= allowed[pair]).all(), (error / allowed[pair]).amax()
        assert (weights >= 0).all()
        ways = vertices[faces[pair[1]].long()].double() - points[pair[0], None].double()
        named = (weights.double()[..., None] * ways).sum(1).norm(dim=1)
        assert ((named - truth).abs() <= allowed[pair]).all()


def _search(
    points: Tensor, vertices: Tensor, faces: Tensor, *, from_mesh: bool, threads: int = 2,
    bound: float = torch.inf, **offsets: Tensor,
) -> list[Tensor]:  # fmt: skip
    rows = len(faces if from_mesh else points)
    found = [
        points.new_empty(rows),
        torch.empty(rows, dtype=torch.int32),
        points.new_empty(rows, 3),
    ]
    ends = [offsets.get(name) for name in ("point_offsets", "face_offsets")]
    _C.point_to_mesh_cpu(points, vertices, faces, *ends, from_mesh, 0.0, bound, *found, threads)
    return found


def _all_pairs(points: Tensor, vertices: Tensor, faces: Tensor, **options: Any) -> list[Tensor]:
    """Search for one at a time: too few for a tree."""
    if options["from_mesh"]:
        rows = [_search(points, vertices, faces[i : i + 1], **options) for i in range(len(faces))]
    else:
        rows = [_search(points[i : i + 1], vertices, faces, **options) for i in range(len(points))]
    return [torch.cat(each) for each in zip(*rows, strict=True)]


def _assert_same(found: list[Tensor], truth: list[Tensor]) -> None:
    for one, two in zip(found, truth, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("from_mesh", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_a_tree_finds_what_looking_at_all_pairs_finds(
    name: str, from_mesh: bool, dtype: torch.dtype
) -> None:
    vertices, faces, generator = _mesh(name, 700, dtype)
    points = torch.randn(600, 3, generator=generator).to(dtype)
    points[::2] = vertices[:300] + 1e-3 * points[::2]
    for bound in (torch.inf, 0.05):
        options = {"from_mesh": from_mesh, "bound": bound}
        tree = _search(points, vertices, faces, **options)
        _assert_same(tree, _all_pairs(points, vertices, faces, **options))


@pytest.mark.parametrize("from_mesh", [False, True])
def test_a_large_room_is_searched_alike_by_any_number_of_threads(from_mesh: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    points, vertices, faces = room_with_points(generator, 20_000, 30_000)
    points, vertices = points.float(), vertices.float()
    found = _search(points, vertices, faces, from_mesh=from_mesh)
    for threads in (1, 3):
        _assert_same(_search(points, vertices, faces, from_mesh=from_mesh, threads=threads), found)
    some = torch.arange(0, len(found[0]), 200)
    few = (points, vertices, faces[some]) if from_mesh else (points[some], vertices, faces)
    _assert_same([each[some] for each in found], _all_pairs(*few, from_mesh=from_mesh))


@pytest.mark.parametrize("from_mesh", [False, True])
def test_what_is_not_finite_finds_nothing_and_is_never_found(from_mesh: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    vertices, faces = soup(generator, 900, 700)
    points = torch.randn(500, 3, generator=generator, dtype=torch.float64)
    for bad in (points, vertices):
        bad[::7, 0], bad[3::11, 1], bad[5::13, 2] = torch.nan, torch.inf, -torch.inf
    tree = _search(points, vertices, faces, from_mesh=from_mesh)
    _assert_same(tree, _all_pairs(points, vertices, faces, from_mesh=from_mesh))
    distance, index, weights = tree
    corners = vertices[faces.long()].flatten(1)
    searchers, partners = (corners, points) if from_mesh else (points, corners)
    unknown, finite = searchers.isnan().any(1), searchers.isfinite().all(1)
    assert torch.equal(distance.isnan(), unknown)
    assert torch.equal(weights.isnan().all(1), unknown)
    assert torch.equal(index >= 0, finite)
    assert torch.equal(distance.isinf(), ~unknown & ~finite)
    assert not weights[distance.isinf()].any()
    assert partners[index[finite].long()].isfinite().all()


def test_squared_distances_that_overflow_are_no_distances() -> None:
    points = torch.tensor([[3e38, 0, 0], [0, 0, 1.0]])
    distance, index, _ = point_to_mesh(points, TRIANGLE, FACE)
    assert distance.tolist() == [torch.inf, 1.0]
    assert index.tolist() == [-1, 0]


@pytest.mark.parametrize("copies", [3, 900])
def test_equal_distances_go_to_the_lower_row(copies: int) -> None:
    points = torch.randn(300, 3, generator=torch.Generator().manual_seed(0))
    assert not point_to_mesh(points, TRIANGLE, FACE.expand(copies, 3))[1].any()
    assert not mesh_to_point(TRIANGLE, FACE.expand(300, 3), points[:1].expand(copies, 3))[1].any()


def test_a_partner_exactly_at_the_bound_counts() -> None:
    points = torch.tensor([[0.5, 0.5, 2.0], [0.5, 0.5, 3.0]])
    distance, index, weights = point_to_mesh(points, TRIANGLE, FACE, max_distance=2.0)
    assert distance.tolist() == [4.0, torch.inf]
    assert index.tolist() == [0, -1]
    assert not weights[1].any()
    assert mesh_to_point(TRIANGLE, FACE, points, max_distance=2.0)[1].tolist() == [0]
    assert mesh_to_point(TRIANGLE, FACE, points, max_distance=1.9)[1].tolist() == [-1]


@pytest.mark.parametrize(("area", "distance"), [(0.0, 1.0), (2.0, 1.0), (2.1, 1.25)])
def test_triangles_below_the_least_area_count_as_their_edges(area: float, distance: float) -> None:
    points = torch.tensor([[0.5, 0.5, 1.0]])
    for found in (
        point_to_mesh(points, TRIANGLE, FACE, min_triangle_area=area),
        mesh_to_point(TRIANGLE, FACE, points, min_triangle_area=area),
    ):
        torch.testing.assert_close(found[0], torch.tensor([distance]))


@st.composite
def _ragged(draw: st.DrawFn) -> dict[str, Any]:
    """Segments large and small, many of them empty, on grids from coarse to fine."""
    lengths = st.sampled_from([0, 0, 1, 7, 60, 300, 700])
    count = draw(st.integers(1, 5))
    points = draw(st.lists(lengths, min_size=count, max_size=count))
    faces = draw(st.lists(lengths, min_size=count, max_size=count))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    cells = draw(st.sampled_from([2, 30, 10**6]))
    scale = draw(st.sampled_from([1e-6, 0.25, 1e6]))
    grid = scale * torch.randint(-cells, cells, (sum(points) + 50, 3), generator=generator)
    return {
        "points": grid[50:].clone(),
        "vertices": grid[:50].clone(),
        "faces": torch.randint(0, 50, (sum(faces), 3), generator=generator).int(),
        "point_offsets": torch.tensor([0, *points]).cumsum(0).int(),
        "face_offsets": torch.tensor([0, *faces]).cumsum(0).int(),
        "from_mesh": draw(st.booleans()),
        "bound": draw(st.sampled_from([torch.inf, 0.0, 3 * scale])),
    }


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(arguments=_ragged())
def test_ragged_segments_are_searched_each_on_its_own(arguments: dict[str, Any]) -> None:
    found = _search(**arguments)
    _assert_same(_search(**arguments, threads=1), found)
    points, vertices, faces, *ends = (arguments.pop(name) for name in list(arguments)[:5])
    mine, others = ends[::-1] if arguments["from_mesh"] else ends
    for segment in range(len(mine) - 1):
        begin, end = mine[segment : segment + 2].tolist()
        if begin == end:
            continue
        p0, p1 = ends[0][segment : segment + 2].tolist()
        f0, f1 = ends[1][segment : segment + 2].tolist()
        truth = _all_pairs(points[p0:p1], vertices, faces[f0:f1], **arguments)
        index = truth[1]
        truth[1] = torch.where(index < 0, index, index + others[segment])
        _assert_same([each[begin:end] for each in found], truth)


@pytest.mark.parametrize("from_mesh", [False, True])
@pytest.mark.parametrize("hit", ["everywhere", "one"])
def test_gradients_are_right_and_the_same_on_any_number_of_threads(
    hit: str, from_mesh: bool
) -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(30_000, 3, generator=generator)
    vertices = torch.randn(9_000, 3, generator=generator)
    faces = torch.randint(0, 9_000, (20_000, 3), generator=generator).int()
    rows, partners = (20_000, 30_000) if from_mesh else (30_000, 20_000)
    last = partners if hit == "everywhere" else 1
    index = torch.randint(-1, last, (rows,), generator=generator).int()
    weights = torch.rand(rows, 3, generator=generator)
    grad = torch.randn(rows, generator=generator)
    inputs = (grad, points, vertices, faces, index, weights / weights.sum(1, keepdim=True))

    def gradients(threads: int) -> list[Tensor]:
        found = [torch.empty_like(points), torch.empty_like(vertices)]
        _C.point_to_mesh_backward_cpu(*inputs, from_mesh, *found, threads)
        return found

    alone = gradients(1)
    for threads in (2, 3):
        _assert_same(gradients(threads), alone)
    doubles = [each.double() if each.is_floating_point() else each for each in inputs]
    truth = reference.point_to_mesh_backward(*doubles, from_mesh, True, True)
    for found, exact in zip(alone, truth, strict=True):
        assert (found.double() - exact).norm() <= 2e-6 * exact.norm()


def test_the_gradient_pulls_the_point_and_the_corners_by_their_weights() -> None:
    points = torch.tensor([[0.5, 0.5, 3.0]], requires_grad=True)
    vertices = TRIANGLE.clone().requires_grad_()
    distance, index, weights = point_to_mesh(points, vertices, FACE)
    distance.backward()
    assert points.grad is not None
    assert vertices.grad is not None
    assert points.grad.tolist() == [[0, 0, 6]]
    assert vertices.grad.tolist() == [[0, 0, -3], [0, 0, -1.5], [0, 0, -1.5]]
    assert not index.requires_grad
    assert not weights.requires_grad


@pytest.mark.parametrize(("of_points", "of_vertices"), [(True, False), (False, True)])
def test_gradients_that_are_not_asked_for_are_not_made(of_points: bool, of_vertices: bool) -> None:
    points = torch.rand(40, 3, requires_grad=of_points)
    vertices = torch.rand(50, 3, requires_grad=of_vertices)
    faces = torch.arange(48, dtype=torch.int32).view(16, 3)
    point_to_mesh(points, vertices, faces)[0].sum().backward()
    mesh_to_point(vertices, faces, points)[0].sum().backward()
    assert (points.grad is not None) == of_points
    assert (vertices.grad is not None) == of_vertices


@pytest.mark.parametrize("from_mesh", [False, True])
def test_second_derivatives_are_right_inside_on_edges_and_at_corners(from_mesh: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    vertices, faces = soup(generator, 9, 12)
    spread = 4 if from_mesh else 2
    points = spread * torch.randn(15, 3, generator=generator, dtype=torch.float64)

    def distances(points: Tensor, vertices: Tensor) -> Tensor:
        if from_mesh:
            return mesh_to_point(vertices, faces, points)[0]
        return point_to_mesh(points, vertices, faces)[0]

    weights = (mesh_to_point(vertices, faces, points) if from_mesh
               else point_to_mesh(points, vertices, faces))[2]  # fmt: skip
    assert set((weights > 0).sum(1).tolist()) == {1, 2, 3}
    leaves = (points.requires_grad_(), vertices.requires_grad_())
    assert torch.autograd.gradcheck(distances, leaves)
    assert torch.autograd.gradgradcheck(distances, leaves)


@pytest.mark.parametrize("row", [-1, 3, 2**31 - 1])
def test_a_face_that_names_no_vertex_is_refused_by_value(row: int) -> None:
    faces = torch.tensor([[0, 1, 2], [0, row, 2]], dtype=torch.int32)
    message = f"faces must be rows of the vertices, from 0 to 2, got {row}"
    with pytest.raises(ValueError, match=f"point_to_mesh: {message}"):
        point_to_mesh(torch.zeros(1, 3), TRIANGLE, faces)
    with pytest.raises(ValueError, match=f"mesh_to_point: {message}"):
        mesh_to_point(TRIANGLE, faces, torch.zeros(1, 3))


def test_the_kernel_passes_over_faces_that_name_no_vertex() -> None:
    """They are refused before they come here; it reads nothing out of bounds all the same."""
    faces = torch.tensor([[0, 1, 5], [-3, 1, 2], [0, 1, 2]], dtype=torch.int32)
    points = torch.tensor([[0.5, 0.5, 1.0]])
    assert _search(points, TRIANGLE, faces, from_mesh=False)[1].tolist() == [2]
    distance, index, weights = _search(points, TRIANGLE, faces, from_mesh=True)
    assert index.tolist() == [-1, -1, 0]
    assert distance.isnan().tolist() == [True, True, False]
    assert weights.isnan().all(1).tolist() == [True, True, False]


@pytest.mark.parametrize("from_mesh", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_give_the_place_on_slivers_with_a_short_first_edge(
    from_mesh: bool, dtype: torch.dtype, generator: torch.Generator
) -> None:
    count = 500
    a, long, short, inside = (
        torch.rand(count, 3, generator=generator, dtype=dtype) for _ in range(4)
    )
    corners = torch.stack([a, a + short / 10_000, a + long], 1)
    points = (corners * (inside / inside.sum(1, keepdim=True))[..., None]).sum(1)
    faces = torch.arange(3 * count, dtype=torch.int32).view(count, 3)
    offsets = torch.arange(count + 1, dtype=torch.int32)
    options: dict[str, Any] = {"point_offsets": offsets, "face_offsets": offsets}
    if from_mesh:
        weights = mesh_to_point(corners.view(-1, 3), faces, points, **options)[2]
    else:
        weights = point_to_mesh(points, corners.view(-1, 3), faces, **options)[2]
    eps = torch.finfo(dtype).eps
    assert (weights.sum(1) - 1).abs().max() <= 2 * eps
    apart = (weights.double()[..., None] * (corners - points[:, None]).double()).sum(1)
    assert apart.norm(dim=1).max() <= 32 * eps


def test_both_ways_agree_on_the_distance_of_one_pair() -> None:
    generator = torch.Generator().manual_seed(0)
    points, corners = torch.randn(200, 3, generator=generator), torch.randn(200, 3, 3)
    ends = torch.arange(201, dtype=torch.int32)
    faces = torch.arange(600, dtype=torch.int32).view(200, 3)
    offsets = {"point_offsets": ends, "face_offsets": ends}
    forth = point_to_mesh(points, corners.flatten(0, 1), faces, **offsets)
    back = mesh_to_point(corners.flatten(0, 1), faces, points, **offsets)
    for one, two in zip(forth, back, strict=True):
        torch.testing.assert_close(one, two)


def test_the_reference_answers_where_it_is_asked_to() -> None:
    generator = torch.Generator().manual_seed(0)
    points, vertices, faces = room_with_points(generator, 300, 500)
    found = point_to_mesh(points, vertices, faces)
    with use_backend("reference", "point_to_mesh"):
        truth = point_to_mesh(points, vertices, faces)
    torch.testing.assert_close(found[0], truth[0])


def test_memory_grows_with_the_rows_alone() -> None:
    script = """
import resource, torch
from g2vlm_fast.ops import mesh_to_point, point_to_mesh
from g2vlm_fast.ops.specs.meshes import room_with_points
torch.set_num_threads(2)
n = 200_000
points, vertices, faces = room_with_points(torch.Generator().manual_seed(0), n, n)
points, vertices = points.float(), vertices.float()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
point_to_mesh(points, vertices, faces)
mesh_to_point(vertices, faces, points)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / (2 * n))
"""
    command = [sys.executable, "-W", "ignore", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert float(done.stdout) < 200
