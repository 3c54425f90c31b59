"""Meshes against meshes: closed forms, Open3D as the oracle, and hostile meshes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from g2vlm_fast.eval.metrics.mesh import mesh_distances, mesh_iou, sample_mesh, winding_number

CUBE_FACES = torch.tensor(
    [[0, 2, 1], [1, 2, 3], [4, 5, 6], [5, 7, 6], [0, 1, 4], [1, 5, 4],
     [2, 6, 3], [3, 6, 7], [0, 4, 2], [2, 4, 6], [1, 3, 5], [3, 7, 5]]
)  # fmt: skip
Mesh = tuple[torch.Tensor, torch.Tensor]
NOTHING: Mesh = (torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64))


def cube(side: float = 1.0, shift: float = 0.0) -> Mesh:
    corner = torch.tensor([[x, y, z] for z in (0.0, 1) for y in (0.0, 1) for x in (0.0, 1)])
    return side * corner.double() + shift, CUBE_FACES


def test_samples_lie_on_the_surface_evenly_by_area(generator: torch.Generator) -> None:
    vertices = torch.tensor([[0.0, 0, 0], [3, 0, 0], [0, 1, 0], [0, 0, 5], [1, 0, 5], [0, 1, 5]])
    faces = torch.tensor([[0, 1, 2], [3, 4, 5]])
    points, normals = sample_mesh(vertices, faces, 40_000, generator)
    low = points[:, 2] == 0
    assert float(low.double().mean()) == pytest.approx(0.75, abs=0.01)
    assert torch.equal(normals, torch.tensor([[0.0, 0, 1]]).double().expand(40_000, 3))
    assert points[low].mean(0).tolist() == pytest.approx([1.0, 1 / 3, 0], abs=0.02)
    assert points[~low].mean(0).tolist() == pytest.approx([1 / 3, 1 / 3, 5], abs=0.02)


def test_a_vertex_that_is_split_draws_no_more_samples(generator: torch.Generator) -> None:
    vertices, faces = cube()
    dense = torch.cat([faces, torch.zeros(1000, 3, dtype=torch.int64)])
    points, _ = sample_mesh(vertices, dense, 5000, generator)
    assert float((points.abs().sum(1) < 1e-9).double().mean()) == 0.0


def test_distances_and_f_score_agree_with_open3d() -> None:
    open3d = pytest.importorskip("open3d", reason="Open3D is the oracle of mesh scores")
    geometry, core = open3d.t.geometry, open3d.core
    meshes = (cube(), cube(1.1))
    theirs = [
        geometry.TriangleMesh(
            core.Tensor.from_numpy(vertices.numpy().astype(np.float32)),
            core.Tensor.from_numpy(faces.numpy().astype(np.int32)),
        )
        for vertices, faces in meshes
    ]
    wanted = [geometry.Metric.ChamferDistance, geometry.Metric.FScore]
    parameters = geometry.MetricParameters(fscore_radius=[0.05, 0.15], n_sampled_points=50_000)
    expected = theirs[0].compute_metrics(theirs[1], wanted, parameters).numpy()
    ours = mesh_distances(*meshes, samples=50_000)
    assert ours.chamfer_sum == pytest.approx(expected[0], rel=0.02)
    assert 100 * ours.f_score(0.05) == pytest.approx(expected[1], abs=1.0)
    assert 100 * ours.f_score(0.15) == pytest.approx(
        expected[2], abs=0.05
    )  # corners alone are farther


def test_a_mesh_is_at_no_distance_from_itself() -> None:
    distances = mesh_distances(cube(), cube(), samples=2000)
    assert distances.chamfer_l1 < 1e-9
    assert distances.f_score(1e-6) == 1.0


def test_a_missing_mesh_fails_and_is_counted() -> None:
    distances = mesh_distances(NOTHING, cube(), samples=100)
    assert math.isinf(distances.chamfer_l1)
    assert distances.f_score() == 0.0
    assert mesh_iou(NOTHING, cube(), samples=100) == 0.0


def test_winding_numbers_of_a_cube_and_of_one_without_its_lid(generator: torch.Generator) -> None:
    points = torch.tensor([[0.5, 0.5, 0.5], [2, 2, 2], [0.1, 0.9, 0.2]]).double()
    vertices, faces = cube()
    assert winding_number(points, vertices, faces).tolist() == pytest.approx([1, 0, 1], abs=1e-12)
    assert winding_number(points, vertices, faces.flip(1))[0] == pytest.approx(-1)
    assert winding_number(points[:1], vertices, faces[2:])[0] == pytest.approx(5 / 6)


def test_inside_agrees_with_ray_casting_of_open3d(generator: torch.Generator) -> None:
    open3d = pytest.importorskip("open3d", reason="Open3D is the oracle of inside tests")
    mesh = open3d.t.geometry.TriangleMesh.create_torus(0.6, 0.25, 20, 12)
    vertices = torch.from_numpy(mesh.vertex.positions.numpy()).double()
    faces = torch.from_numpy(mesh.triangle.indices.numpy()).long()
    points = 2 * torch.rand(3000, 3, generator=generator) - 1
    scene = open3d.t.geometry.RaycastingScene()
    scene.add_triangles(
        mesh.vertex.positions.to(open3d.core.float32), mesh.triangle.indices.to(open3d.core.uint32)
    )
    expected = scene.compute_occupancy(open3d.core.Tensor.from_numpy(points.numpy()), nsamples=5)
    inside = winding_number(points, vertices, faces).abs() > 0.5
    assert (inside.numpy() == (expected.numpy() > 0.5)).mean() > 0.999


def test_iou_of_cubes_agrees_with_its_closed_form() -> None:
    overlap = 0.5**3
    expected = overlap / (2 - overlap)
    assert mesh_iou(cube(), cube(shift=0.5), samples=60_000) == pytest.approx(expected, abs=0.01)
    assert mesh_iou(cube(), cube(), samples=2000) == 1.0
    assert mesh_iou(cube(0.5), cube(), samples=60_000) == pytest.approx(1 / 8, abs=0.01)


def test_a_cube_without_lid_still_has_nearly_all_of_its_volume() -> None:
    vertices, faces = cube()
    assert mesh_iou((vertices, torch.cat([faces[:2], faces[4:]])), cube(), samples=4000) > 0.9


@pytest.mark.parametrize(
    ("vertices", "faces", "message"),
    [
        (torch.rand(3, 2), torch.zeros(1, 3).long(), "vertices must have shape"),
        (torch.rand(3, 3), torch.zeros(1, 4).long(), "faces must have shape"),
        (torch.full((3, 3), torch.nan), torch.zeros(1, 3).long(), "finite"),
        (torch.rand(3, 3), torch.tensor([[0, 1, 3]]), "0 to 3"),
        (torch.rand(3, 3), torch.tensor([[0, 1, -1]]), "-1 to 1"),
    ],
)
def test_malformed_meshes_are_refused(
    vertices: torch.Tensor, faces: torch.Tensor, message: str
) -> None:
    for judge in (mesh_distances, mesh_iou):
        with pytest.raises(ValueError, match=message):
            judge((vertices, faces), cube())


def test_a_truth_without_surface_or_volume_is_refused() -> None:
    with pytest.raises(ValueError, match="no area"):
        mesh_distances(cube(), NOTHING)
    with pytest.raises(ValueError, match="no faces"):
        mesh_iou(cube(), NOTHING)
    vertices, faces = cube()
    with pytest.raises(ValueError, match="outward"):
        mesh_iou(cube(), (vertices, faces.flip(1)), samples=100)
