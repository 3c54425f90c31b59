"""The drop-in for Kaolin's distances from meshes against all pairs in plain torch."""

from __future__ import annotations

import inspect
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor

from g2vlm_fast.compat.kaolin import point_to_mesh_distance
from g2vlm_fast.ops.reference.point_to_mesh import closest_on_triangle


def batch(generator, count=3, points=9, faces=13):  # type: ignore[no-untyped-def]
    return (
        torch.randn(count, points, 3, generator=generator, dtype=torch.float64),
        torch.randn(count, faces, 3, 3, generator=generator, dtype=torch.float64),
    )


def all_pairs(points: Tensor, corners: Tensor) -> Tensor:
    ways = corners[:, None] - points[:, :, None, None]
    return closest_on_triangle(*ways.unbind(-2), 0.0)[0]


def test_the_signature_is_that_of_kaolin() -> None:
    parameters = inspect.signature(point_to_mesh_distance).parameters
    assert list(parameters) == ["pointclouds", "face_vertices"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_distances_and_faces_are_those_of_all_pairs(dtype, generator) -> None:  # type: ignore[no-untyped-def]
    points, corners = (each.to(dtype) for each in batch(generator))
    distance, face, kind = point_to_mesh_distance(points, corners)
    expected = all_pairs(points.double(), corners.double()).min(2)
    assert (distance.dtype, face.dtype, kind.dtype) == (dtype, torch.int64, torch.int32)
    assert torch.equal(face, expected.indices)
    tolerance = {torch.float16: 1e-3, torch.float32: 1e-5, torch.float64: 1e-12}[dtype]
    torch.testing.assert_close(distance.double(), expected.values, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("point", "distance", "kind"),
    [
        ([0.5, 0.5, 2.0], 4.0, 0),
        ([-1.0, -1.0, 0.0], 2.0, 1),
        ([5.0, -1.0, 0.0], 10.0, 2),
        ([-1.0, 4.0, 0.0], 5.0, 3),
        ([1.0, -2.0, 0.0], 4.0, 4),
        ([2.0, 2.0, 0.0], 2.0, 5),
        ([-3.0, 1.0, 0.0], 9.0, 6),
    ],
)
def test_the_type_names_the_nearest_part_of_the_face(
    point: list[float], distance: float, kind: int
) -> None:
    corners = torch.tensor([[[[0.0, 0, 0], [2, 0, 0], [0, 2, 0]]]])
    found = point_to_mesh_distance(torch.tensor([[point]]), corners)
    torch.testing.assert_close(found[0], torch.tensor([[distance]]))
    assert (found[1].item(), found[2].item()) == (0, kind)


def test_gradients_of_both_orders_are_right(generator) -> None:  # type: ignore[no-untyped-def]
    leaves = tuple(each.requires_grad_() for each in batch(generator))
    assert torch.autograd.gradcheck(point_to_mesh_distance, leaves)
    assert torch.autograd.gradgradcheck(lambda *x: point_to_mesh_distance(*x)[0], leaves)


@pytest.mark.parametrize(("count", "points", "faces"), [(2, 4, 0), (2, 0, 3), (0, 4, 5)])
def test_nothing_to_search_gives_zeros_with_gradient(
    count: int, points: int, faces: int, generator
) -> None:  # type: ignore[no-untyped-def]
    cloud, corners = batch(generator, count, points, faces)
    found = point_to_mesh_distance(cloud.requires_grad_(), corners)
    for each in found:
        assert each.shape == (count, points)
        assert not each.any()
    found[0].sum().backward()


def test_points_with_nan_are_unknown_and_faces_with_nan_are_never_found(generator) -> None:  # type: ignore[no-untyped-def]
    points, corners = batch(generator)
    points[1, 2, 0] = torch.nan
    corners[:, ::2, 1, 1] = torch.nan
    distance, face, kind = point_to_mesh_distance(points, corners)
    assert distance.isnan().nonzero().tolist() == [[1, 2]]
    assert (face[1, 2].item(), kind[1, 2].item()) == (0, 0)
    known = ~distance.isnan()
    assert (face[known] % 2 == 1).all()


POINTS, CORNERS = torch.rand(2, 4, 3), torch.rand(2, 5, 3, 3)


@pytest.mark.parametrize(
    ("points", "corners", "error", "message"),
    [
        (POINTS[0], CORNERS, ValueError, "pointclouds"),
        (POINTS[..., :2], CORNERS, ValueError, "pointclouds"),
        (POINTS, CORNERS[0], ValueError, "face_vertices"),
        (POINTS, CORNERS[:1], ValueError, "face_vertices"),
        (POINTS, CORNERS[:, :, :2], ValueError, "face_vertices"),
        (POINTS, CORNERS.double(), TypeError, "face_vertices"),
        (POINTS.int(), CORNERS, TypeError, "pointclouds"),
        ([1.0], CORNERS, TypeError, "pointclouds"),
    ],
)
def test_bad_arguments_are_refused_by_name(points, corners, error, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=rf"point_to_mesh_distance: .*\b{message}\b"):
        point_to_mesh_distance(points, corners)


def test_compiled_in_one_graph_the_result_is_the_same(generator) -> None:  # type: ignore[no-untyped-def]
    points, corners = batch(generator)
    compiled = torch.compile(point_to_mesh_distance, backend="aot_eager", fullgraph=True)
    pairs = zip(compiled(points, corners), point_to_mesh_distance(points, corners), strict=True)
    for one, two in pairs:
        assert torch.equal(one, two)


@pytest.mark.gpu
def test_on_a_gpu_as_on_the_cpu_without_waiting(generator, waiting_raises) -> None:  # type: ignore[no-untyped-def]
    points, corners = (each.float() for each in batch(generator, 4, 300, 500))
    there = points.cuda().requires_grad_(), corners.cuda().requires_grad_()
    for waiting in (nullcontext, waiting_raises):  # PyTorch itself may wait the first time
        with waiting():
            found = point_to_mesh_distance(*there)
            found[0].sum().backward()
    expected = point_to_mesh_distance(points, corners)
    torch.testing.assert_close(found[0].cpu(), expected[0], rtol=1e-4, atol=1e-6)
    assert (found[1].cpu() == expected[1]).float().mean() > 0.99
