"""The drop-in for PyTorch3D's distance of clouds and meshes against loops in plain torch."""

from __future__ import annotations

import inspect
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor

from g2vlm_fast.compat.pytorch3d import point_mesh_face_distance
from g2vlm_fast.ops.reference.point_to_mesh import closest_on_triangle


class Meshes:
    """What our function reads of ``pytorch3d.structures.Meshes``."""

    def __init__(self, vertices: list[Tensor], faces: list[Tensor]) -> None:
        self.vertices, self.faces = vertices, faces

    def __len__(self) -> int:
        return len(self.vertices)

    def verts_packed(self) -> Tensor:
        return torch.cat(self.vertices) if self.vertices else torch.zeros(0, 3)

    def faces_packed(self) -> Tensor:
        first, packed = 0, [torch.zeros(0, 3, dtype=torch.int64, device=self.device)]
        for vertices, faces in zip(self.vertices, self.faces, strict=True):
            packed.append(faces + first)
            first += len(vertices)
        return torch.cat(packed)

    def num_faces_per_mesh(self) -> Tensor:
        return torch.tensor([len(each) for each in self.faces], device=self.device)

    @property
    def device(self) -> torch.device:
        return self.vertices[0].device if self.vertices else torch.device("cpu")


class Clouds:
    """What our function reads of ``pytorch3d.structures.Pointclouds``."""

    def __init__(self, points: list[Tensor]) -> None:
        self.points = points

    def __len__(self) -> int:
        return len(self.points)

    def points_packed(self) -> Tensor:
        return torch.cat(self.points) if self.points else torch.zeros(0, 3)

    def num_points_per_cloud(self) -> Tensor:
        device = self.points[0].device if self.points else "cpu"
        return torch.tensor([len(each) for each in self.points], device=device)


def batch(generator, points=(7, 1, 20), faces=(5, 9, 2), size=1.0):  # type: ignore[no-untyped-def]
    vertices = [size * torch.randn(12, 3, generator=generator, dtype=torch.float64) for _ in faces]
    rows = [
        torch.stack([torch.randperm(12, generator=generator)[:3] for _ in range(n)])
        if n
        else torch.zeros(0, 3, dtype=torch.int64)
        for n in faces
    ]
    clouds = [size * torch.randn(n, 3, generator=generator, dtype=torch.float64) for n in points]
    return vertices, rows, clouds


def expected(  # type: ignore[no-untyped-def]
    vertices, rows, clouds, min_area: float
) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for corners, faces, points in zip(vertices, rows, clouds, strict=True):
        if len(faces) and len(points):
            ways = corners[faces][None] - points[:, None, None]
            pairs, _ = closest_on_triangle(*ways.unbind(-2), min_area)
            total = total + pairs.min(1).values.mean() + pairs.min(0).values.mean()
    return total / len(clouds)


def test_the_signature_is_that_of_pytorch3d() -> None:
    parameters = inspect.signature(point_mesh_face_distance).parameters
    assert [(name, each.default) for name, each in parameters.items()] == [
        ("meshes", inspect.Parameter.empty),
        ("pcls", inspect.Parameter.empty),
        ("min_triangle_area", 5e-3),
    ]


@pytest.mark.parametrize("size", [1.0, 0.05])
@pytest.mark.parametrize("area", [None, 0.0, 2.0])
def test_the_loss_is_the_mean_of_both_means(area, size, generator) -> None:  # type: ignore[no-untyped-def]
    vertices, rows, clouds = batch(generator, size=size)
    options = {} if area is None else {"min_triangle_area": area}
    loss = point_mesh_face_distance(Meshes(vertices, rows), Clouds(clouds), **options)
    truth = expected(vertices, rows, clouds, 5e-3 if area is None else area)
    torch.testing.assert_close(loss, truth)


def test_the_default_area_leaves_small_triangles_their_edges_alone(generator) -> None:  # type: ignore[no-untyped-def]
    vertices, rows, clouds = batch(generator, size=0.02)
    meshes, pcls = Meshes(vertices, rows), Clouds(clouds)
    assert point_mesh_face_distance(meshes, pcls) > point_mesh_face_distance(meshes, pcls, 0.0)


def test_gradients_of_both_orders_are_right(generator) -> None:  # type: ignore[no-untyped-def]
    vertices, rows, clouds = batch(generator)
    leaves = [each.requires_grad_() for each in (*vertices, *clouds)]

    def loss(*leaves: Tensor) -> Tensor:
        return point_mesh_face_distance(Meshes(list(leaves[:3]), rows), Clouds(list(leaves[3:])))

    assert torch.autograd.gradcheck(loss, leaves)
    assert torch.autograd.gradgradcheck(loss, leaves)


def test_what_has_nothing_to_be_compared_with_pays_nothing(generator) -> None:  # type: ignore[no-untyped-def]
    vertices, rows, clouds = batch(generator, points=(4, 0, 6), faces=(0, 3, 5))
    loss = point_mesh_face_distance(Meshes(vertices, rows), Clouds(clouds), 0.0)
    torch.testing.assert_close(loss, expected(vertices, rows, clouds, 0.0))


def test_an_empty_batch_costs_nothing() -> None:
    assert point_mesh_face_distance(Meshes([], []), Clouds([])).item() == 0


def test_bad_arguments_are_refused_by_name(generator) -> None:  # type: ignore[no-untyped-def]
    vertices, rows, clouds = batch(generator)
    with pytest.raises(ValueError, match="meshes and pointclouds must be equal sized batches"):
        point_mesh_face_distance(Meshes(vertices, rows), Clouds(clouds[:2]))
    with pytest.raises(TypeError, match="meshes must be a PackedMeshes, got Tensor"):
        point_mesh_face_distance(vertices[0], Clouds(clouds))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="pcls must be a PackedClouds, got list"):
        point_mesh_face_distance(Meshes(vertices, rows), clouds)  # type: ignore[arg-type]


@pytest.mark.parametrize("row", [2**32 + 2, -(2**32) + 2, 2**31, 12, -1])
def test_rows_that_name_no_vertex_are_refused_and_never_wrap(row, generator) -> None:  # type: ignore[no-untyped-def]
    vertices, rows, clouds = batch(generator, points=(5,), faces=(4,))
    rows[0][0, 2] = row
    with pytest.raises(ValueError, match="faces must be rows of the vertices, from 0 to 11"):
        point_mesh_face_distance(Meshes(vertices, rows), Clouds(clouds))


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.bool])
def test_faces_of_another_type_are_refused_by_name(dtype, generator) -> None:  # type: ignore[no-untyped-def]
    vertices, rows, clouds = batch(generator)
    meshes = Meshes(vertices, rows)
    packed = meshes.faces_packed().to(dtype)
    meshes.faces_packed = lambda: packed  # type: ignore[method-assign]
    with pytest.raises(TypeError, match=r"faces_packed\(\) must be int32 or int64"):
        point_mesh_face_distance(meshes, Clouds(clouds))


@pytest.mark.gpu
def test_on_a_gpu_as_on_the_cpu_without_waiting(generator, waiting_raises) -> None:  # type: ignore[no-untyped-def]
    class Packed(Meshes, Clouds):
        """Both, packed before, as PyTorch3D keeps them."""

        def __init__(self, parts: list[list[Tensor]]) -> None:
            Meshes.__init__(self, *parts[:2])
            Clouds.__init__(self, parts[2])
            self.counts = Meshes.num_faces_per_mesh(self), Clouds.num_points_per_cloud(self)

        def num_faces_per_mesh(self) -> Tensor:
            return self.counts[0]

        def num_points_per_cloud(self) -> Tensor:
            return self.counts[1]

    parts = batch(generator, points=(300, 0, 1000), faces=(500, 40, 9))
    floats = [
        [each.float() if each.is_floating_point() else each for each in part] for part in parts
    ]
    there = Packed([[each.cuda() for each in part] for part in floats])
    for each in (*there.vertices, *there.points):
        each.requires_grad_()
    for waiting in (nullcontext, waiting_raises):  # PyTorch itself may wait the first time
        with waiting():
            loss = point_mesh_face_distance(there, there)
            loss.backward()
    here = Packed(floats)
    torch.testing.assert_close(loss.cpu(), point_mesh_face_distance(here, here))
