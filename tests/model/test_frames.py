"""Frames of scenes: there and back, and what they are made of."""

from __future__ import annotations

from collections.abc import Callable

import torch

from g2vlm_fast.geometry.cameras import transform_points
from g2vlm_fast.model.frames import first_view_axes, scene_frame
from g2vlm_fast.records import SceneBatch, Targets

Rooms = tuple[SceneBatch, Targets]


def test_points_and_rotations_go_there_and_back(rooms: Rooms) -> None:
    batch, targets = rooms
    axes = first_view_axes(batch.poses, batch.view_offsets, batch.gravity)
    frame = scene_frame(axes, targets.surface_points, targets.surface_offsets)
    local = frame.points_to_local(targets.surface_points, targets.surface_offsets)
    back = frame.points_to_world(local, targets.surface_offsets)
    torch.testing.assert_close(back, targets.surface_points, atol=1e-5, rtol=0)
    normal = frame.vectors_to_local(targets.surface_normals, targets.surface_offsets)
    back = frame.vectors_to_world(normal, targets.surface_offsets)
    torch.testing.assert_close(back, targets.surface_normals, atol=1e-5, rtol=0)
    turned = frame.rotations_to_world(targets.box_rotation, targets.object_offsets)
    torch.testing.assert_close(turned @ turned.mT, targets.box_rotation * 0 + torch.eye(3))


def test_the_floor_is_at_height_zero_and_the_first_view_looks_forward(rooms: Rooms) -> None:
    batch, targets = rooms
    axes = first_view_axes(batch.poses, batch.view_offsets, batch.gravity)
    frame = scene_frame(axes, targets.surface_points, targets.surface_offsets)
    local = frame.points_to_local(targets.surface_points, targets.surface_offsets)
    assert local[:, 2].quantile(0.02).abs() < 0.05
    cameras = frame.localise(batch)
    forward = cameras.poses[batch.view_offsets[:-1].long(), :3, 2]
    assert (forward[:, 0].abs() < 1e-5).all()
    assert (forward[:, 1] > 0).all()


def test_a_localised_batch_is_the_same_scene(make_rooms: Callable[..., Rooms]) -> None:
    batch, targets = make_rooms(mesh=True)
    axes = first_view_axes(batch.poses, batch.view_offsets, batch.gravity)
    frame = scene_frame(axes, targets.surface_points, targets.surface_offsets)
    local = frame.localise(batch)
    camera = torch.tensor([[0.1, 0.2, 2.0]])
    world = transform_points(batch.poses, camera.expand(6, 1, 3))[:, 0]
    wanted = frame.points_to_local(world, batch.view_offsets)
    found = transform_points(local.poses, camera.expand(6, 1, 3))[:, 0]
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    wanted = frame.points_to_local(batch.vertices, batch.vertex_offsets)
    assert torch.equal(local.vertices, wanted)
    assert torch.equal(local.gravity, torch.tensor([[0.0, 0, -1]] * 2))
