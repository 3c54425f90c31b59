"""From votes to objects: picking queries, fitting boxes, knowing the room."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from g2vlm_fast.model.heads.evidence import gather_evidence
from g2vlm_fast.model.heads.objects import Seeds
from g2vlm_fast.model.heads.spatial import pick_queries
from g2vlm_fast.model.room import room_coordinates

OFFSETS = torch.tensor([0, 5, 5, 8], dtype=torch.int32)


def seeds_at(vote: Tensor, objectness: list[float], offsets: Tensor) -> Seeds:
    count = len(vote)
    return Seeds(
        position=vote,
        objectness=torch.tensor(objectness),
        vote=vote,
        class_logits=torch.zeros(count, 4),
        normal=torch.zeros(count, 3),
        color=torch.zeros(count, 3),
        offsets=offsets,
    )


def test_the_likeliest_seeds_are_picked_and_never_two_too_close() -> None:
    x = torch.tensor([0.0, 0.1, 1.0, 2.0, 2.05, 0.0, 0.1, 5.0])
    seeds = seeds_at(torch.stack([x, 0 * x, 0 * x], dim=-1), [1.0, 3, 2, 0, 5, 1, 2, -1], OFFSETS)
    chosen, offsets = pick_queries(seeds, count=2, spacing=0.3)
    assert chosen.tolist() == [4, 1, 6, 7]
    assert offsets.tolist() == [0, 2, 2, 4]
    chosen, offsets = pick_queries(seeds, count=9, spacing=0.3)
    assert chosen.tolist() == [4, 1, 2, 6, 7]
    assert offsets.tolist() == [0, 3, 3, 5]


def box_surface(center: Tensor, size: Tensor, yaw: float) -> tuple[Tensor, Tensor]:
    """Sample the four sides and the top of a turned box: points and normals."""
    line = torch.linspace(-0.5, 0.5, 7)
    u, v = torch.meshgrid(line, line, indexing="ij")
    u, v, half = u.flatten(), v.flatten(), torch.full((49,), 0.5)
    sides = [
        torch.stack(columns, dim=-1)
        for columns in ((half, u, v), (-half, u, v), (u, half, v), (u, -half, v), (u, v, half))
    ]
    normals = torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1]])
    angle = torch.tensor(yaw)
    turn = torch.eye(3)
    turn[0, 0] = turn[1, 1] = angle.cos()
    turn[1, 0], turn[0, 1] = angle.sin(), -angle.sin()
    points = torch.cat(sides) * size
    return points @ turn.T + center, normals.repeat_interleave(49, dim=0) @ turn.T


def test_the_box_of_a_whole_surface_is_found_in_closed_form() -> None:
    center, size = torch.tensor([1.0, -2.0, 0.4]), torch.tensor([1.2, 0.6, 0.8])
    points, normal = box_surface(center, size, yaw=0.35)
    keep = torch.randperm(len(points), generator=torch.Generator().manual_seed(0))[:48]
    corners = (points - center).abs().sum(-1) > 0.95  # the extremes must be among the members
    keep = torch.cat([corners.nonzero()[:, 0], keep])[:48]
    count = len(keep)
    seeds = seeds_at(center.expand(count, 3), [4.0] * count, torch.tensor([0, count]).int())
    seeds = dataclasses.replace(
        seeds, position=points[keep], normal=normal[keep], color=torch.full((count, 3), 0.3)
    )
    found = gather_evidence(seeds, center[None], torch.tensor([0, 1]).int(), radius=0.4)
    yaw = torch.atan2(found.yaw[0, 0], found.yaw[0, 1])
    assert abs(float(yaw) - 0.35) < 0.02
    torch.testing.assert_close(found.size[0], size, atol=0.05, rtol=0)
    torch.testing.assert_close(found.center[0], center, atol=0.05, rtol=0)
    torch.testing.assert_close(found.color[0], torch.full((3,), 0.3))
    torch.testing.assert_close(found.objectness, torch.tensor([4.0]))
    assert found.features().shape[1] == 13 + 4


def test_voters_that_are_on_no_object_do_not_widen_the_box() -> None:
    vote = torch.zeros(6, 3)
    position = torch.tensor(
        [[0.0, 0, 0], [0.4, 0, 0], [0, 0.4, 0], [0, 0, 0.4], [9, 0, 0], [0, 9, 0]]
    )
    seeds = seeds_at(vote, [5.0, 5, 5, 5, -5, -5], torch.tensor([0, 6]).int())
    seeds = dataclasses.replace(seeds, position=position)
    found = gather_evidence(seeds, vote[:1], torch.tensor([0, 1]).int(), radius=0.4)
    assert found.size.max() < 0.5


def test_room_coordinates_do_not_depend_on_how_the_room_is_turned() -> None:
    draw = torch.Generator().manual_seed(0)
    which = torch.randint(0, 5, (600,), generator=draw)
    normals = torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1]])[which]
    size = torch.tensor([4.0, 5.0, 2.5])
    points = (torch.rand(600, 3, generator=draw) - 0.5) * size
    points = torch.where(normals != 0, -normals * size / 2, points)
    middle = torch.zeros(1, 3)
    points, normals = torch.cat([points, middle]), torch.cat([normals, torch.zeros(1, 3)])
    offsets = torch.tensor([0, 601], dtype=torch.int32)
    straight = room_coordinates(points, normals, offsets)
    angle = torch.tensor(0.5)
    turn = torch.eye(3)
    turn[0, 0] = turn[1, 1] = angle.cos()
    turn[1, 0], turn[0, 1] = angle.sin(), -angle.sin()
    turned = room_coordinates(points @ turn.T, normals @ turn.T, offsets)
    torch.testing.assert_close(turned, straight, atol=2e-2, rtol=0)
    on_wall = which < 4
    assert (straight[:600][on_wall, 0] > 0.8).all()
    assert straight[600, 0] < 1e-3
    assert (straight[:600][which == 4, 2] > 0.9).all()
