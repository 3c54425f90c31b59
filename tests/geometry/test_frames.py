"""Scans are put upright, on their floor, in the middle."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from g2vlm_fast.data import Scene
from g2vlm_fast.data.readers import ReadOptions, read_scan
from g2vlm_fast.data.transform import move_scene
from g2vlm_fast.geometry.frames import (
    align_to_gravity,
    gravity_from_cameras,
    move_poses,
    sample_surface,
)


def _rotation(axis: tuple[float, float, float], degrees: float) -> Tensor:
    x, y, z = torch.nn.functional.normalize(torch.tensor(axis), dim=0).tolist()
    skew = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = math.radians(degrees)
    return torch.eye(3) + math.sin(angle) * skew + (1 - math.cos(angle)) * skew @ skew


def _tilted(scene: Scene, degrees: float) -> tuple[Tensor, Tensor]:
    """Poses in a world that is tilted and moved, and its true up."""
    motion = torch.eye(4)
    motion[:3, :3] = _rotation((1.0, 2.0, 0.5), degrees)
    motion[:3, 3] = torch.tensor([3.0, -2.0, 1.0])
    return move_poses(motion, scene.poses), motion[:3, :3] @ torch.tensor([0.0, 0.0, 1.0])


@pytest.mark.parametrize("degrees", [0.0, 10.0, 75.0, 160.0])
def test_tilted_room_is_put_upright(degrees: float, clean_room: Scene) -> None:
    poses, up = _tilted(clean_room, degrees)
    prior = _rotation((0.0, 1.0, 0.3), 20) @ -up  # 20 degrees wrong, on purpose
    found = align_to_gravity(clean_room.depth, clean_room.intrinsics, poses, prior)
    turned = found.transform[:3, :3] @ up
    assert math.degrees(math.acos(min(1.0, float(turned[2])))) < 1.0
    assert found.source == "surfaces"
    assert found.floor_found
    moved = move_poses(found.transform, poses)
    heights = sample_surface(clean_room.depth, clean_room.intrinsics, moved)[0][:, 2]
    assert abs(float(heights.quantile(0.01))) < 0.05
    assert torch.allclose(moved[:, 2, 3], clean_room.poses[:, 2, 3], atol=0.06)


def test_world_axes_run_along_walls(clean_room: Scene) -> None:
    poses, up = _tilted(clean_room, 40.0)
    found = align_to_gravity(clean_room.depth, clean_room.intrinsics, poses, -up)
    assert found.walls_found
    moved = move_poses(found.transform, poses)
    relative = moved[0, :3, :3] @ clean_room.poses[0, :3, :3].T  # room to new world
    yaw = math.degrees(math.atan2(float(relative[1, 0]), float(relative[0, 0])))
    assert abs((yaw + 45) % 90 - 45) < 2.0


def test_first_view_looks_along_y(clean_room: Scene) -> None:
    poses, up = _tilted(clean_room, 40.0)
    found = align_to_gravity(clean_room.depth, clean_room.intrinsics, poses, -up)
    forward = move_poses(found.transform, poses)[0, :3, 2]
    assert float(forward[1]) >= abs(float(forward[0])) - 1e-3


def test_given_gravity_is_taken_as_it_is(clean_room: Scene) -> None:
    poses, up = _tilted(clean_room, 30.0)
    wrong = _rotation((1.0, 0.0, 0.0), 15) @ -up
    found = align_to_gravity(
        clean_room.depth, clean_room.intrinsics, poses, wrong, gravity_is_exact=True
    )
    assert found.source == "given"
    assert torch.allclose(found.transform[:3, :3] @ wrong, torch.tensor([0.0, 0, -1]), atol=1e-5)


def test_transform_is_rigid(clean_room: Scene) -> None:
    poses, up = _tilted(clean_room, 75.0)
    rotation = align_to_gravity(clean_room.depth, clean_room.intrinsics, poses, -up).transform[
        :3, :3
    ]
    assert torch.allclose(rotation @ rotation.T, torch.eye(3), atol=1e-5)
    assert float(torch.linalg.det(rotation)) == pytest.approx(1.0, abs=1e-5)


def test_too_little_depth_is_refused(clean_room: Scene) -> None:
    depth = torch.zeros_like(clean_room.depth)
    with pytest.raises(ValueError, match="too few"):
        align_to_gravity(depth, clean_room.intrinsics, clean_room.poses, clean_room.gravity)


def test_cameras_held_level_give_gravity() -> None:
    down = gravity_from_cameras(torch.eye(4).repeat(3, 1, 1))
    assert down.tolist() == [0.0, 1.0, 0.0]


def test_scene_with_truth_cannot_be_moved(clean_room: Scene) -> None:
    with pytest.raises(ValueError, match="truth"):
        move_scene(clean_room, torch.eye(4))


def test_normals_face_the_camera(clean_room: Scene) -> None:
    points, normals = sample_surface(
        clean_room.depth[:1], clean_room.intrinsics[:1], clean_room.poses[:1]
    )
    assert float(((clean_room.poses[0, :3, 3] - points) * normals).sum(-1).min()) > 0
    assert torch.allclose(normals.norm(dim=-1), torch.ones(len(normals)), atol=1e-4)


@pytest.mark.parametrize(("name", "stride"), [("shelf_bin", 1), ("icl_livingroom", 5)])
def test_real_scan_stands_on_a_level_surface(name: str, stride: int, shared_data: Path) -> None:
    scene = read_scan(shared_data / "real_scans" / name, ReadOptions(stride=stride))
    assert scene.depth is not None
    found = align_to_gravity(scene.depth, scene.intrinsics, scene.poses, scene.gravity)
    moved = move_scene(scene, found.transform)
    assert found.source == "surfaces"
    assert found.floor_found
    assert float(moved.gravity[2]) < -0.9
    assert moved.depth is not None
    points, normals = sample_surface(moved.depth, moved.intrinsics, moved.poses)
    floor = (points[:, 2].abs() < 0.02) & (normals[:, 2] > 0.95)
    assert float(floor.float().mean()) > 0.02
    assert float((points[:, 2] < -0.05).float().mean()) < 0.02
