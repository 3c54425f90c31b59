"""Samples of the truth: distances against Open3D, surfaces and masks against rendering."""

from __future__ import annotations

import math

import pytest
import torch

from g2vlm_fast.data import RoomConfig, Scene, generate_room
from g2vlm_fast.data.rendering.observation import Visibility, observed
from g2vlm_fast.data.rendering.primitives import Primitives, Shape
from g2vlm_fast.data.rendering.sampling import sample_queries, sample_surface
from g2vlm_fast.data.rendering.tessellate import tessellate
from g2vlm_fast.data.rooms.partial_mesh import partial_mesh
from g2vlm_fast.geometry.cameras import project, unproject


@pytest.fixture(scope="module")
def room() -> Scene:
    return generate_room(11, RoomConfig(sensor_noise=False, depth_probability=1.0))


def primitives_of(scene: Scene) -> Primitives:
    assert scene.truth is not None
    return scene.truth.primitives


def test_signed_distance_agrees_with_the_distance_to_the_mesh_in_free_space(
    room: Scene, generator: torch.Generator
) -> None:
    o3d = pytest.importorskip("open3d")
    assert room.truth is not None
    primitives = primitives_of(room)
    vertices, faces, _ = tessellate(primitives, spacing=10.0, segments=256)
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(vertices.numpy(), faces.numpy().astype("uint32"))
    points = torch.rand(4000, 3, generator=generator) - torch.tensor([0.5, 0.5, 0.0])
    points = points * room.truth.room_size
    distance = primitives.signed_distance(points)
    expected = torch.from_numpy(scene.compute_distance(points.numpy()).numpy())
    free = distance > 0
    assert 0.7 < free.float().mean() < 1.0
    torch.testing.assert_close(distance[free], expected[free], atol=2e-4, rtol=0)


def test_signed_distance_is_negative_inside_furniture_and_walls(room: Scene) -> None:
    assert room.truth is not None
    primitives = primitives_of(room)
    outside = torch.tensor([[0.0, 0.0, 10.0], [0.0, 0.0, -1.0], [50.0, 0.0, 1.0]])
    assert (primitives.signed_distance(outside) < -0.5).all()
    body = primitives.center[primitives.shape == Shape.BOX]
    assert (primitives.signed_distance(body) < 0).all()


def test_a_lone_cylinder_has_closed_form_distances() -> None:
    pole = Primitives(
        shape=torch.tensor([int(Shape.CYLINDER)]),
        center=torch.zeros(1, 3),
        rotation=torch.eye(3)[None],
        half_size=torch.tensor([[1.0, 1.0, 2.0]]),
        color=torch.zeros(1, 3),
        material=torch.zeros(1, dtype=torch.int64),
        instance=torch.zeros(1, dtype=torch.int64),
    )
    points = torch.tensor([[3.0, 0, 0], [0, 0, 5.0], [0, 0.5, 0], [4.0, 0, 6.0], [0, 0, 1.9]])
    expected = torch.tensor([2.0, 3.0, -0.5, 5.0, -0.1])
    torch.testing.assert_close(pole.signed_distance(points), expected)


def test_surface_samples_lie_on_the_surface_with_free_space_in_front(
    room: Scene, generator: torch.Generator
) -> None:
    primitives = primitives_of(room)
    points, normals, colors = sample_surface(primitives, 3000, generator)
    assert len(points) == len(normals) == len(colors) == 3000
    assert primitives.signed_distance(points).abs().max() < 1e-4
    torch.testing.assert_close(normals.norm(dim=-1), torch.ones(3000))
    ahead = primitives.signed_distance(points + 1e-3 * normals)
    assert (ahead > 0).all()
    assert (colors >= 0).all()
    assert (colors <= 1).all()


def test_surface_samples_are_uniform_by_area(generator: torch.Generator) -> None:
    lone = Primitives(
        shape=torch.tensor([int(Shape.BOX), int(Shape.CYLINDER)]),
        center=torch.tensor([[0.0, 0.0, 0.0], [10.0, 0.0, 0.0]]),
        rotation=torch.eye(3).repeat(2, 1, 1),
        half_size=torch.tensor([[0.5, 1.0, 1.5], [1.0, 1.0, 2.0]]),
        color=torch.zeros(2, 3),
        material=torch.zeros(2, dtype=torch.int64),
        instance=torch.tensor([0, 1]),
    )
    points, normals, _ = sample_surface(lone, 20_000, generator)
    box, cylinder = 2 * (1 * 2 + 1 * 3 + 2 * 3), 2 * math.pi * 4 + 2 * math.pi
    on_box = points[:, 0] < 5
    assert on_box.float().mean().item() == pytest.approx(box / (box + cylinder), abs=0.015)
    top = on_box & (normals[:, 2] > 0.9)
    assert top.float().mean().item() == pytest.approx(2 / (box + cylinder), abs=0.01)
    cap = ~on_box & (normals[:, 2].abs() > 0.9)
    radius = (points[cap] - torch.tensor([10.0, 0.0, 0.0]))[:, :2].norm(dim=-1)
    assert (radius < math.sqrt(0.5)).float().mean().item() == pytest.approx(0.5, abs=0.05)


def test_surfaces_pressed_together_are_not_sampled(generator: torch.Generator) -> None:
    touching = Primitives(
        shape=torch.zeros(2, dtype=torch.int64),
        center=torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]),
        rotation=torch.eye(3).repeat(2, 1, 1),
        half_size=torch.full((2, 3), 0.5),
        color=torch.zeros(2, 3),
        material=torch.zeros(2, dtype=torch.int64),
        instance=torch.tensor([0, 1]),
    )
    points, normals, _ = sample_surface(touching, 2000, generator)
    sideways = normals[:, 0].abs() > 0.9
    assert sideways.float().mean().item() == pytest.approx(2 / 10, abs=0.04)  # 2 of 10 faces
    assert ((points[sideways, 0] - 0.5).abs() - 1.0).abs().max() < 1e-5


def test_pixels_of_the_rendering_are_observed_and_points_behind_them_are_not(room: Scene) -> None:
    assert room.truth is not None
    depth = room.truth.depth
    points = unproject(depth, room.intrinsics, room.poses)
    eyes = room.poses[:, None, None, :3, 3]
    back = torch.nn.functional.normalize(eyes - points, dim=-1)
    arguments = (room.intrinsics, room.poses, room.image_size)

    def seen(at: torch.Tensor) -> torch.Tensor:
        return observed(primitives_of(room), at.reshape(-1, 3), *arguments)

    assert seen(points + 0.01 * back).float().mean() > 0.999
    alone = [one[None] for one in (points[0] - 0.2 * back[0], room.intrinsics[0], room.poses[0])]
    hidden = observed(
        primitives_of(room), alone[0].reshape(-1, 3), alone[1], alone[2], room.image_size
    )
    assert hidden.float().mean() < 0.001


def test_points_outside_every_image_are_not_observed(room: Scene) -> None:
    behind = room.poses[0, :3, 3] - 0.1 * room.poses[0, :3, 2]
    pixels, depth = project(behind[None], room.intrinsics[:1], room.poses[:1])
    assert (depth < 0).all()
    assert pixels.isnan().all()
    only_first = (room.intrinsics[:1], room.poses[:1], room.image_size)
    assert not observed(primitives_of(room), behind[None], *only_first).any()


def test_queries_lie_about_surfaces_and_all_over_the_room(
    room: Scene, generator: torch.Generator
) -> None:
    assert room.truth is not None
    points, distance, known = sample_queries(
        primitives_of(room),
        room.truth.room_size,
        room.intrinsics,
        room.poses,
        room.image_size,
        1000,
        generator,
    )
    assert points.shape == (1000, 3)
    assert (distance[:500].abs() < 0.2).float().mean() > 0.95
    assert distance[500:].max() > 0.5
    assert (distance < 0).any()
    assert {int(label) for label in known} == {int(label) for label in Visibility}


def test_a_partial_mesh_covers_only_the_surfaces_it_was_asked_for(room: Scene) -> None:
    primitives = primitives_of(room)
    kept = [row for row, owner in enumerate(primitives.instance.tolist()) if owner == 0]
    vertices, faces, normals, colors = partial_mesh(primitives, kept)
    assert len(faces) > 20
    assert faces.min() == 0
    assert faces.max() == len(vertices) - 1
    chosen = primitives.rows(torch.tensor(kept))
    assert chosen.signed_distances(vertices).abs().amin(0).max() < 1e-4
    torch.testing.assert_close(normals.norm(dim=-1), torch.ones(len(normals)))
    corner = vertices[faces.long()]
    middle = corner.mean(1)
    normal = torch.linalg.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    area = normal.norm(dim=-1)
    assert (area > 0).all()
    ahead = middle + 2e-3 * normal / area[:, None]
    assert (primitives.signed_distance(ahead) > 0).all()  # faces look into free space
    assert ((colors >= 0) & (colors <= 1)).all()


def test_impossible_tessellations_are_refused(room: Scene) -> None:
    with pytest.raises(ValueError, match="spacing must be > 0"):
        tessellate(primitives_of(room), spacing=0.0)
