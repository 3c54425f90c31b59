"""The CUDA kernels of point_to_mesh: distances of the CPU, streams, graphs, wrong input."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from cuda_graphs import capture
from torch import Tensor

from g2vlm_fast.ops import BackendError, mesh_to_point, point_to_mesh, use_backend
from g2vlm_fast.ops.reference import point_to_mesh as reference
from g2vlm_fast.ops.reference.point_to_mesh import corners_of
from g2vlm_fast.ops.specs.meshes import room_with_points

pytestmark = pytest.mark.gpu

Mesh = tuple[Tensor, Tensor, Tensor]


def _search(mesh: Mesh, from_mesh: bool, **options: Any) -> tuple[Tensor, Tensor, Tensor]:
    points, vertices, faces = mesh
    if from_mesh:
        return mesh_to_point(vertices, faces, points, **options)
    return point_to_mesh(points, vertices, faces, **options)


def _assert_as_on_the_cpu(mesh: Mesh, from_mesh: bool, **options: Any) -> None:
    """Distances agree to roundings of the coordinates; the named pair is as near as it says."""
    on_device = {
        name: value.cuda() if isinstance(value, Tensor) else value
        for name, value in options.items()
    }
    true_distance, true_index, _ = _search(mesh, from_mesh, **options)
    there: Mesh = tuple(each.cuda() for each in mesh)  # type: ignore[assignment]
    distance, index, weights = (each.cpu() for each in _search(there, from_mesh, **on_device))
    found = true_index >= 0
    assert torch.equal(index >= 0, found)
    assert torch.equal(distance.isnan(), true_distance.isnan())
    assert torch.equal(distance.isinf(), true_distance.isinf())
    assert torch.equal(weights.isnan().all(1), distance.isnan())
    assert not weights[distance.isinf()].any()
    if not found.any():
        return
    points, vertices, faces = (each.double() if each.is_floating_point() else each for each in mesh)
    searcher, partner = found.nonzero()[:, 0], index[found].long()
    point, face = (partner, searcher) if from_mesh else (searcher, partner)
    ways = corners_of(vertices, faces[face]) - points[point, None]
    allowed = 64 * torch.finfo(torch.float32).eps * ways.abs().amax((1, 2))
    true_distance, distance = (each[found].double().sqrt() for each in (true_distance, distance))
    assert ((distance - true_distance).abs() <= allowed).all()
    named = (weights[found].double()[..., None] * ways).sum(1).norm(dim=1)
    assert ((named - true_distance).abs() <= allowed).all()
    assert (weights[found] >= 0).all()
    torch.testing.assert_close(weights[found].sum(1), torch.ones(len(searcher)))


SHAPES: dict[str, Callable[[Tensor], Tensor]] = {
    "plain": lambda c: c,
    "small": lambda c: c[:, :1] + 0.02 * (c - c[:, :1]),
    "needles": lambda c: torch.stack([c[:, 0], c[:, 1], c[:, 1] + 1e-4 * c[:, 2]], 1),
    "caps": lambda c: torch.stack([c[:, 0], c[:, 1], c[:, :2].mean(1) + 1e-4 * c[:, 2]], 1),
    "collinear": lambda c: torch.stack([c[:, 0], c[:, 1], c[:, :2].mean(1)], 1),
    "points": lambda c: c[:, :1].expand(-1, 3, -1),
    "all_identical": lambda c: c[:1].expand_as(c),
    "far_away": lambda c: c + torch.tensor([1000.0, -700.0, 3.0]),
    "micrometres": lambda c: 1e-6 * c,
    "megametres": lambda c: 1e6 * c,
    "one_large": lambda c: torch.cat([50 * c[:1], c[1:, :1] + 0.02 * (c[1:] - c[1:, :1])]),
    "a_tenth_large": lambda c: torch.where(torch.arange(len(c))[:, None, None] % 10 == 3, 9 * c, c),
    "mixed_scales": lambda c: c * torch.exp(8 * c[:, :1, :1].sin()),
}


def _mesh(shape: Callable[[Tensor], Tensor], points: int, faces: int) -> Mesh:
    """A soup of triangles, and points on it, near it and off it."""
    generator = torch.Generator().manual_seed(points + faces)
    corners = shape(torch.randn(faces, 3, 3, generator=generator))
    cloud = shape(torch.randn(points, 3, 3, generator=generator))[:, 0].clone()
    near = min(points, faces) // 2
    weights = torch.rand(near, 3, generator=generator)
    on = ((weights / weights.sum(1, keepdim=True))[..., None] * corners[:near]).sum(1)
    size = corners[:near].abs().amax((1, 2), keepdim=True)[:, 0]
    cloud[:near] = on + torch.logspace(-7, 0, near)[:, None] * size
    cloud[: near // 4] = corners[: near // 4, 0]
    cloud[near // 4 : near // 2] = corners[near // 4 : near // 2, :2].mean(1)
    rows = torch.arange(3 * faces, dtype=torch.int32).view(-1, 3)
    return cloud, corners.reshape(-1, 3), rows


@pytest.mark.parametrize("from_mesh", [False, True])
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(
    ("points", "faces"), [(1, 1), (100, 33), (129, 1025), (3000, 700), (9000, 12000)]
)
def test_distances_are_those_of_the_cpu(
    name: str, points: int, faces: int, from_mesh: bool
) -> None:
    mesh = _mesh(SHAPES[name], points, faces)
    _assert_as_on_the_cpu(mesh, from_mesh)
    reach = float(mesh[0].abs().amax()) * 0.05
    found = _search(mesh, from_mesh)[0].sqrt()
    if ((found - reach).abs() > 1e-4 * reach).all():  # or roundings decide who is found
        _assert_as_on_the_cpu(mesh, from_mesh, max_distance=reach)


@pytest.mark.parametrize("from_mesh", [False, True])
@pytest.mark.parametrize(("points", "faces"), [(0, 5), (5, 0), (0, 0), (50_000, 1), (1, 50_000)])
def test_one_sided_sizes(points: int, faces: int, from_mesh: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    vertices = torch.randn(9, 3, generator=generator)
    rows = torch.randint(0, 9, (faces, 3), generator=generator).int()
    _assert_as_on_the_cpu((torch.randn(points, 3, generator=generator), vertices, rows), from_mesh)


@pytest.mark.parametrize("from_mesh", [False, True])
def test_a_large_room_is_searched_as_on_the_cpu(from_mesh: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    points, vertices, faces = room_with_points(generator, 100_000, 200_000)
    mesh = (points.float(), vertices.float(), faces)
    _assert_as_on_the_cpu(mesh, from_mesh)
    _assert_as_on_the_cpu(mesh, from_mesh, min_triangle_area=5e-3)


@pytest.mark.parametrize("from_mesh", [False, True])
def test_what_is_not_finite_finds_nothing_and_is_never_found(from_mesh: bool) -> None:
    points, vertices, faces = _mesh(SHAPES["plain"], 3000, 4000)
    for bad in (points, vertices):
        bad[::7, 0], bad[3::11, 1], bad[5::13, 2] = torch.nan, torch.inf, -torch.inf
    _assert_as_on_the_cpu((points, vertices, faces), from_mesh)


@pytest.mark.parametrize("from_mesh", [False, True])
def test_equal_distances_go_to_the_lower_row(from_mesh: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    corners = torch.randn(3, 3, generator=generator).cuda()
    face = torch.tensor([[0, 1, 2]], dtype=torch.int32, device="cuda")
    points = torch.randn(2000, 3, generator=generator).cuda()
    mesh = (points[:1].expand(3000, 3), corners, face.expand(5, 3))
    if not from_mesh:
        mesh = (points, corners, face.expand(3000, 3))
    assert not _search(mesh, from_mesh)[1].any()


def _ragged(seed: int) -> tuple[Mesh, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(0, 90, (2, 500), generator=generator)
    lengths[:, ::7] = 0
    lengths[0, ::5] = 0
    lengths[0, 6], lengths[1, 9] = 3000, 4000
    offsets = torch.cat([torch.zeros(2, 1, dtype=torch.long), lengths.cumsum(1)], dim=1).int()
    points = torch.randn(int(offsets[0, -1]), 3, generator=generator)
    vertices = torch.randn(700, 3, generator=generator)
    faces = torch.randint(0, 700, (int(offsets[1, -1]), 3), generator=generator).int()
    return (points, vertices, faces), {"point_offsets": offsets[0], "face_offsets": offsets[1]}


@pytest.mark.parametrize("from_mesh", [False, True])
def test_many_ragged_segments(from_mesh: bool) -> None:
    mesh, offsets = _ragged(0)
    mesh[0][::50, 1] = torch.nan
    _assert_as_on_the_cpu(mesh, from_mesh, **offsets)


@pytest.mark.parametrize("from_mesh", [False, True])
@pytest.mark.parametrize(
    "wrong", [(0, 10, 20), (5, 7, 40), (-9, 900, -3), (40, 20, 0), (2**31 - 1, 0, 2**31 - 1)]
)
def test_wrong_offsets_read_nothing_out_of_bounds(wrong: tuple[int, ...], from_mesh: bool) -> None:
    mesh = tuple(each[:40].cuda() for each in _mesh(SHAPES["plain"], 40, 40))
    faces = mesh[2].remainder(40)
    offsets = torch.tensor(wrong, dtype=torch.int32, device="cuda")
    right = torch.tensor([0, 20, 40], dtype=torch.int32, device="cuda")
    for ends in ((offsets, right), (right, offsets), (offsets, offsets)):
        points = mesh[0].clone().requires_grad_()
        vertices = mesh[1].clone().requires_grad_()
        distance, index, weights = _search(
            (points, vertices, faces), from_mesh, point_offsets=ends[0], face_offsets=ends[1]
        )
        assert index.max() < 40
        assert index.min() >= -1
        assert torch.equal(distance.isfinite(), index >= 0)
        assert torch.equal(weights.isnan().all(1), distance.isnan())
        distance.nan_to_num(0, 0, 0).sum().backward()
        torch.cuda.synchronize()


@pytest.mark.parametrize("from_mesh", [False, True])
def test_searchers_that_no_segment_covers_are_unknown(from_mesh: bool) -> None:
    points, vertices, faces = (each.cuda() for each in _mesh(SHAPES["plain"], 30, 30))
    offsets = torch.tensor([0, 10, 20], dtype=torch.int32, device="cuda")
    distance, index, weights = _search(
        (points, vertices, faces), from_mesh, point_offsets=offsets, face_offsets=offsets
    )
    assert (index[:20] >= 0).all()
    assert (index[20:] == -1).all()
    assert distance[20:].isnan().all()
    assert weights[20:].isnan().all()


@pytest.mark.parametrize("from_mesh", [False, True])
@pytest.mark.parametrize("row", [-1, 900, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("count", [300, 5000])
def test_faces_that_name_no_vertex_are_never_found(row: int, count: int, from_mesh: bool) -> None:
    points, vertices, faces = (each.cuda() for each in _mesh(SHAPES["plain"], count, 300))
    points.requires_grad_()
    vertices.requires_grad_()
    faces[::3, 1] = row
    distance, index, weights = _search((points, vertices, faces), from_mesh)
    if from_mesh:
        assert distance[::3].isnan().all()
        assert weights[::3].isnan().all()
        assert (index[::3] == -1).all()
        keep = torch.ones(300, dtype=torch.bool, device="cuda")
        keep[::3] = False
        assert (index[keep] >= 0).all()
    else:
        assert (index.remainder(3) != 0).all()
        assert (index >= 0).all()
    gradients = torch.autograd.grad(distance.nan_to_num(0, 0, 0).sum(), [points, vertices])
    assert all(each.isfinite().all() for each in gradients)


def _gradients(mesh: Mesh, from_mesh: bool, grad: Tensor, **offsets: Tensor) -> tuple[Tensor, ...]:
    points, vertices = (each.detach().requires_grad_() for each in mesh[:2])
    distance = _search((points, vertices, mesh[2]), from_mesh, **offsets)[0]
    return torch.autograd.grad(distance, [points, vertices], grad)


@pytest.mark.parametrize("from_mesh", [False, True])
@pytest.mark.parametrize(
    ("points", "faces"), [(1000, 900), (100_000, 60_000), (200_000, 3), (3, 200_000)]
)
def test_gradients_are_right_and_repeat_to_the_bit(
    points: int, faces: int, from_mesh: bool
) -> None:
    generator = torch.Generator().manual_seed(points)
    cloud, vertices, rows = room_with_points(generator, points, faces)
    mesh = (cloud.float().cuda(), vertices.float().cuda(), rows.cuda())
    grad = torch.randn(faces if from_mesh else points, generator=generator).cuda()
    found = _gradients(mesh, from_mesh, grad)
    for _ in range(20):
        for one, again in zip(found, _gradients(mesh, from_mesh, grad), strict=True):
            assert torch.equal(one, again)
    _, index, weights = _search(mesh, from_mesh)
    doubles = (grad.double(), *(each.double() for each in mesh[:2]), mesh[2], index)
    truth = reference.point_to_mesh_backward(*doubles, weights.double(), from_mesh, True, True)
    # Where pairs touch, coordinates of metres round to more than what is between them.
    rounding = 2e-7 * grad.norm()
    for one, true in zip(found, truth, strict=True):
        assert (one.double() - true).norm() <= 2e-6 * true.norm() + rounding
    alone = mesh[0].clone().requires_grad_()
    (of_points,) = torch.autograd.grad(_search((alone, *mesh[1:]), from_mesh)[0], alone, grad)
    assert torch.equal(of_points, found[0])


@pytest.mark.parametrize("from_mesh", [False, True])
def test_a_vertex_hit_by_everyone_gets_the_whole_gradient(from_mesh: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(100_000, 3, generator=generator).cuda()
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [99, 0, 0]], device="cuda")
    faces = torch.tensor([[0, 1, 2]], dtype=torch.int32, device="cuda")
    if from_mesh:
        points, faces = points[:1], faces.expand(100_000, 3)
    mesh = (points, vertices, faces)
    grad = torch.randn(100_000, generator=generator).cuda()
    found = _gradients(mesh, from_mesh, grad)
    _, index, weights = _search(mesh, from_mesh)
    doubles = (grad.double(), points.double(), vertices.double(), faces, index, weights.double())
    truth = reference.point_to_mesh_backward(*doubles, from_mesh, True, True)
    scale = grad.double().norm() * 2  # the sums cancel
    for one, true in zip(found, truth, strict=True):
        assert (one.double() - true).norm() <= 1e-6 * max(scale, true.norm())
    assert not found[1][3].any()


def _step(mesh: Mesh, offsets: Tensor) -> tuple[Tensor, ...]:
    points, vertices, faces = mesh
    ends = {"point_offsets": offsets, "face_offsets": offsets}
    forth = point_to_mesh(points, vertices, faces, **ends)
    back = mesh_to_point(vertices, faces, points, **ends)
    loss = forth[0].sum() + back[0].sum()
    return (*forth, *back, *torch.autograd.grad(loss, [points, vertices]))


def _small_step() -> tuple[Mesh, Tensor]:
    points, vertices, faces = (each.cuda() for each in _mesh(SHAPES["plain"], 1000, 1000))
    offsets = torch.tensor([0, 300, 1000], dtype=torch.int32, device="cuda")
    return (points.requires_grad_(), vertices.requires_grad_(), faces), offsets


def test_nothing_waits_for_the_device(waiting_raises: Callable[[], AbstractContextManager]) -> None:
    mesh, offsets = _small_step()
    _step(mesh, offsets)
    with waiting_raises():
        _step(mesh, offsets)


@pytest.mark.filterwarnings("ignore:The AccumulateGrad node:UserWarning")
def test_forward_and_backward_replay_as_a_cuda_graph() -> None:
    mesh, offsets = _small_step()
    _, captured, graph = capture(lambda: _step(mesh, offsets))
    with torch.no_grad():
        mesh[0].copy_(torch.randn_like(mesh[0]))
        mesh[1].mul_(2).add_(torch.randn_like(mesh[1]))
    graph.replay()
    for replayed, eager in zip(captured, _step(mesh, offsets), strict=True):
        assert torch.equal(replayed, eager)


def test_work_is_enqueued_on_the_current_stream() -> None:
    stream = torch.cuda.Stream()
    points, vertices, faces = (each.cuda() for each in _mesh(SHAPES["plain"], 1500, 500))
    cloud = torch.full_like(points, 9.0)
    truth = point_to_mesh(points, vertices, faces)[0]
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)
        cloud.copy_(points)
        found = point_to_mesh(cloud, vertices, faces)[0]
    stream.synchronize()
    assert torch.equal(found, truth)


def test_memory_grows_with_the_rows_alone() -> None:
    n = 200_000
    points, vertices = (torch.rand(n, 3, device="cuda", requires_grad=True) for _ in range(2))
    faces = torch.randint(0, n, (n, 3), device="cuda").int()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    point_to_mesh(points, vertices, faces)[0].sum().backward()
    mesh_to_point(vertices, faces, points)[0].sum().backward()
    assert torch.cuda.max_memory_allocated() - before < 400 * 2 * n


def test_double_precision_is_refused_by_name_and_left_to_the_reference() -> None:
    points, vertices, faces = (each.cuda() for each in _mesh(SHAPES["plain"], 50, 40))
    with pytest.raises(BackendError, match=r"cuda backend takes float32, got float64"):
        point_to_mesh(points.double(), vertices.double(), faces)
    with use_backend("reference", "point_to_mesh"):
        exact = point_to_mesh(points.double(), vertices.double(), faces)[0]
    torch.testing.assert_close(point_to_mesh(points, vertices, faces)[0], exact.float())


@pytest.mark.parametrize("from_mesh", [False, True])
def test_weights_of_slivers_with_a_short_first_edge_give_the_place(from_mesh: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    count = 500
    a, long, short, inside = (torch.rand(count, 3, generator=generator) for _ in range(4))
    corners = torch.stack([a, a + short / 10_000, a + long], 1)
    points = (corners * (inside / inside.sum(1, keepdim=True))[..., None]).sum(1)
    faces = torch.arange(3 * count, dtype=torch.int32).view(count, 3)
    offsets = torch.arange(count + 1, dtype=torch.int32).cuda()
    mesh = (points.cuda(), corners.view(-1, 3).cuda(), faces.cuda())
    weights = _search(mesh, from_mesh, point_offsets=offsets, face_offsets=offsets)[2].cpu()
    eps = torch.finfo(torch.float32).eps
    assert (weights.sum(1) - 1).abs().max() <= 2 * eps
    apart = (weights.double()[..., None] * (corners - points[:, None]).double()).sum(1)
    assert apart.norm(dim=1).max() <= 32 * eps


@pytest.mark.parametrize("from_mesh", [False, True])
def test_infinite_coordinates_do_not_search_everything(from_mesh: bool) -> None:
    """Half a million walks through every leaf would take minutes."""
    generator = torch.Generator().manual_seed(0)
    points, vertices = (torch.rand(n, 3, generator=generator) for n in (500_000, 300_000))
    (vertices if from_mesh else points)[:, 1] = torch.inf
    faces = torch.randint(300_000, (500_000, 3), generator=generator, dtype=torch.int32)
    mesh = (points.cuda(), vertices.cuda(), faces.cuda())
    distance, index, weights = _search(mesh, from_mesh)
    assert (distance == torch.inf).all()
    assert (index == -1).all()
    assert not weights.any()
