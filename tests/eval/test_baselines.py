"""Fusion without learning, of a wall seen from in front."""

from __future__ import annotations

import torch

from g2vlm_fast.eval.baselines import fused_distance, lifted_points

INTRINSICS = torch.tensor([[10.0, 0, 2], [0, 10, 2], [0, 0, 1]]).expand(2, 3, 3)
POSES = torch.eye(4).repeat(2, 1, 1)
POSES[1, 2, 3] = -1.0  # the second camera stands a metre further back


def wall(first: float = 2.0, second: float = 3.0) -> torch.Tensor:
    return torch.stack([torch.full((5, 5), first), torch.full((5, 5), second)])


def fuse(points: list[list[float]], depth: torch.Tensor) -> torch.Tensor:
    return fused_distance(torch.tensor(points), depth, INTRINSICS, POSES, truncation=0.3)


def test_distance_is_positive_before_the_wall_and_cut_off() -> None:
    points = [[0.0, 0, 1.9], [0, 0, 2.0], [0, 0, 2.2], [0, 0, 0.5]]
    assert torch.allclose(fuse(points, wall()), torch.tensor([0.1, 0.0, -0.2, 0.3]), atol=1e-6)


def test_nothing_is_known_far_behind_beside_and_at_missing_depth() -> None:
    points = [[0.0, 0, 2.5], [9.0, 0, 1], [0, 0, -5.0]]
    assert fuse(points, wall()).isnan().all()
    assert fuse([[0.0, 0, 1.9]], wall(0.0, 0.0)).isnan().all()


def test_views_that_disagree_are_averaged() -> None:
    assert torch.allclose(fuse([[0.0, 0, 1.9]], wall(2.0, 3.1)), torch.tensor([0.15]), atol=1e-6)


def test_lifted_points_leave_missing_depth_out() -> None:
    depth = wall()
    depth[0, 0] = 0
    points = lifted_points(depth, INTRINSICS, POSES)
    assert points.shape == (45, 3)
    assert torch.allclose(points[:, 2], torch.full((45,), 2.0))
