"""Partial meshes hold only what the scanner saw; every point is observed, occluded or unknown."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from g2vlm_fast.data import RoomConfig, Scene, generate_room
from g2vlm_fast.data.rendering.observation import Visibility, observed, visibility
from g2vlm_fast.data.rooms.partial_mesh import Scan, scanned_mesh
from g2vlm_fast.data.rooms.records import draw_room
from g2vlm_fast.geometry.cameras import project, unproject

CONFIG = RoomConfig(
    programs=("living room",), views=(4, 4), mesh_probability=1.0, depth_probability=1.0,
    sensor_noise=False,
)  # fmt: skip


@pytest.fixture(scope="module")
def room() -> Scene:
    return generate_room(5, CONFIG)


def scan_of(room: Scene, scan: Scan) -> tuple[torch.Tensor, ...]:
    assert room.truth is not None
    truth = room.truth
    return scanned_mesh(truth.primitives, scan, room.intrinsics, room.poses, truth.depth)


def test_a_given_mesh_shows_only_what_its_views_saw() -> None:
    for seed in range(4):
        room = generate_room(seed, CONFIG)
        scan = draw_room(seed, CONFIG).scan
        assert scan is not None
        assert 1 <= scan.views <= 4
        assert room.truth is not None
        assert room.vertices is not None
        assert room.faces is not None
        cameras = (room.intrinsics[: scan.views], room.poses[: scan.views], room.image_size)
        assert observed(room.truth.primitives, room.vertices, *cameras).all()
        middle = room.vertices[room.faces.long()].mean(1)
        assert observed(room.truth.primitives, middle, *cameras).all()
        assert room.truth.primitives.signed_distances(room.vertices).abs().amin(0).max() < 1e-4


def test_more_views_give_a_larger_mesh(room: Scene) -> None:
    faces = [len(scan_of(room, Scan(views, ()))[1]) for views in (1, 2, 4)]
    assert 0 < faces[0] < faces[1] < faces[2]


def test_nothing_is_kept_within_holes(room: Scene) -> None:
    assert room.truth is not None
    hole = (0, 500, 500, 600)
    row, column = (room.image_size[0] - 1) // 2, (room.image_size[1] - 1) // 2
    center = unproject(room.truth.depth, room.intrinsics, room.poses)[0, row, column]
    vertices, faces, _, _ = scan_of(room, Scan(4, (hole,)))
    middle = vertices[faces.long()].mean(1)
    assert (middle - center).norm(dim=-1).min() > 0.6
    assert len(faces) < len(scan_of(room, Scan(4, ()))[1])


def test_faces_of_a_scan_look_into_free_space_and_normals_are_unit(room: Scene) -> None:
    assert room.truth is not None
    vertices, faces, normals, colors = scan_of(room, Scan(4, ()))
    torch.testing.assert_close(normals.norm(dim=-1), torch.ones(len(normals)))
    corner = vertices[faces.long()]
    normal = torch.linalg.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    ahead = corner.mean(1) + 2e-3 * normal / normal.norm(dim=-1, keepdim=True)
    assert (room.truth.primitives.signed_distance(ahead) > 0).float().mean() > 0.99
    assert ((colors >= 0) & (colors <= 1)).all()


def test_a_scan_of_nothing_is_empty(room: Scene) -> None:
    everywhere = tuple((0, 500, 500, 60_000) for _ in range(1))
    vertices, faces, _, _ = scan_of(room, Scan(1, everywhere))
    assert len(vertices) == len(faces) == 0


def test_labels_agree_with_rendered_depth(room: Scene, generator: torch.Generator) -> None:
    """At pixel centres: before the depth observed, well behind it in this view alone not."""
    assert room.truth is not None
    truth = room.truth
    points = unproject(truth.depth[:1], room.intrinsics[:1], room.poses[:1]).reshape(-1, 3)
    eye = room.poses[0, :3, 3]
    away = torch.nn.functional.normalize(points - eye, dim=-1)
    cameras = (room.intrinsics[:1], room.poses[:1], room.image_size)
    before = visibility(truth.primitives, points - 0.05 * away, *cameras)
    behind = visibility(truth.primitives, points + 0.05 * away, *cameras)
    assert (before == Visibility.OBSERVED).float().mean() > 0.999
    assert (behind == Visibility.OCCLUDED).float().mean() > 0.999


def test_unknown_is_what_falls_into_no_view(room: Scene, generator: torch.Generator) -> None:
    assert room.truth is not None
    points = torch.rand(2000, 3, generator=generator) - torch.tensor([0.5, 0.5, 0.0])
    points = points * room.truth.room_size
    cameras = (room.intrinsics[:2], room.poses[:2], room.image_size)
    labels = visibility(room.truth.primitives, points, *cameras)
    height, width = room.image_size
    inside = torch.zeros(len(points), dtype=torch.bool)
    for view in range(2):
        pixels, depth = project(points, room.intrinsics[view], room.poses[view])
        inside |= (
            (depth > 0)
            & (pixels[:, 0] >= -0.5) & (pixels[:, 0] <= width - 0.5)
            & (pixels[:, 1] >= -0.5) & (pixels[:, 1] <= height - 0.5)
        )  # fmt: skip
    assert torch.equal(labels == Visibility.UNKNOWN, ~inside)
    assert {int(label) for label in labels} == {0, 1, 2}


def test_a_second_view_only_adds_to_what_is_known(room: Scene, generator: torch.Generator) -> None:
    assert room.truth is not None
    points = torch.rand(1500, 3, generator=generator) - torch.tensor([0.5, 0.5, 0.0])
    points = points * room.truth.room_size
    labels = [
        visibility(
            room.truth.primitives, points, room.intrinsics[:n], room.poses[:n], room.image_size
        )
        for n in (1, 2)
    ]
    assert (labels[1] <= labels[0]).all()  # OBSERVED < OCCLUDED < UNKNOWN
    assert (labels[1] < labels[0]).any()


def test_rooms_without_a_scan_give_no_mesh() -> None:
    never = generate_room(5, replace(CONFIG, mesh_probability=0.0))
    assert never.vertices is None
    assert draw_room(5, replace(CONFIG, mesh_probability=0.0)).scan is None
