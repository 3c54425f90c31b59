"""Cameras against round trips, a worked example and torch's own linear algebra."""

from __future__ import annotations

import pytest
import torch

from g2vlm_fast.geometry.cameras import (
    horizontal_axes,
    inverse_pose,
    look_at,
    pixel_rays,
    project,
    scale_intrinsics,
    transform_points,
    unproject,
)

SKEWED = torch.tensor([[50.0, 0.7, 31.0], [0.0, 52.0, 23.5], [0.0, 0.0, 1.0]])


def poses(count: int, generator: torch.Generator) -> torch.Tensor:
    eye = torch.rand(count, 3, generator=generator) * 4 - 2
    return look_at(eye, eye + torch.randn(count, 3, generator=generator))


def test_projecting_unprojected_depth_returns_every_pixel(generator: torch.Generator) -> None:
    pose = poses(3, generator)
    depth = 0.5 + 4 * torch.rand(3, 12, 17, generator=generator)
    intrinsics = SKEWED.expand(3, 3, 3)
    points = unproject(depth, intrinsics, pose).flatten(1, 2)
    pixels, z = project(points, intrinsics, pose)
    row, column = torch.meshgrid(torch.arange(12.0), torch.arange(17.0), indexing="ij")
    wanted = torch.stack([column, row], -1).flatten(0, 1).expand(3, -1, 2)
    torch.testing.assert_close(pixels, wanted, atol=2e-3, rtol=0)
    torch.testing.assert_close(z, depth.flatten(1), atol=1e-5, rtol=1e-5)


def test_a_point_straight_ahead_lands_on_the_principal_point() -> None:
    pixels, depth = project(torch.tensor([[0.0, 0.0, 2.0], [1.0, 0.0, 2.0]]), SKEWED)
    assert pixels.tolist() == [[31.0, 23.5], [56.0, 23.5]]
    assert depth.tolist() == [2.0, 2.0]


def test_points_behind_the_camera_have_no_pixel() -> None:
    pixels, depth = project(torch.tensor([[0.1, 0.1, -2.0], [0.1, 0.1, 0.0]]), SKEWED)
    assert pixels.isnan().all()
    assert depth.tolist() == [-2.0, 0.0]


def test_rays_times_depth_are_camera_points() -> None:
    depth = torch.full((6, 5), 3.0)
    torch.testing.assert_close(
        unproject(depth, SKEWED), pixel_rays(SKEWED, 6, 5) * 3.0, atol=0, rtol=0
    )


def test_inverse_pose_is_the_matrix_inverse(generator: torch.Generator) -> None:
    pose = poses(4, generator).double()
    expected = torch.linalg.inv(pose)
    torch.testing.assert_close(inverse_pose(pose), expected, atol=1e-6, rtol=1e-6)


def test_transform_points_is_the_matrix_product(generator: torch.Generator) -> None:
    pose = poses(4, generator)
    points = torch.randn(4, 9, 3, generator=generator)
    expected = points @ pose[:, :3, :3].mT + pose[:, None, :3, 3]
    torch.testing.assert_close(transform_points(pose, points), expected)


@pytest.mark.parametrize("new_size", [(24, 32), (96, 128), (30, 100)])
def test_scaled_intrinsics_see_the_same_rays_at_the_image_corners(
    new_size: tuple[int, int],
) -> None:
    old_size = (48, 64)
    scaled = scale_intrinsics(SKEWED, old_size, new_size)
    point = torch.tensor([[0.3, -0.2, 1.0], [-0.5, 0.4, 1.0]])
    old, _ = project(point, SKEWED)
    new, _ = project(point, scaled)
    ratio = torch.tensor([new_size[1] / old_size[1], new_size[0] / old_size[0]])
    torch.testing.assert_close(new + 0.5, (old + 0.5) * ratio, atol=1e-4, rtol=1e-5)


def test_look_at_puts_the_target_on_the_optical_axis_with_world_up_in_the_image() -> None:
    pose = look_at(torch.tensor([2.0, 1.0, 1.5]), torch.tensor([0.0, 0.0, 0.5]))
    points = torch.tensor([[0.0, 0.0, 0.5], [0.0, 0.0, 0.9]])
    pixels, depth = project(points, SKEWED, pose)
    torch.testing.assert_close(pixels[0], torch.tensor([31.0, 23.5]), atol=1e-3, rtol=0)
    assert (depth > 0).all()
    assert pixels[1, 1] < pixels[0, 1]  # higher in the world is higher in the image
    assert torch.linalg.det(pose[:3, :3]).item() == pytest.approx(1.0, abs=1e-5)


def test_horizontal_axes_are_level_and_point_where_the_camera_does() -> None:
    pose = look_at(torch.tensor([0.0, -3.0, 2.0]), torch.tensor([0.0, 0.0, 0.0]))
    right, forward = horizontal_axes(pose, torch.tensor([0.0, 0.0, -1.0]))
    torch.testing.assert_close(right, torch.tensor([1.0, 0.0, 0.0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(forward, torch.tensor([0.0, 1.0, 0.0]), atol=1e-6, rtol=0)


def test_positions_stay_float32_under_autocast(generator: torch.Generator) -> None:
    pose, depth = poses(1, generator), torch.full((1, 4, 5), 3.3)
    expected = unproject(depth, SKEWED, pose)
    with torch.autocast("cpu", torch.bfloat16):
        points = unproject(depth, SKEWED, pose)
        pixels, z = project(points.flatten(1, 2), SKEWED, pose)
    assert points.dtype == pixels.dtype == z.dtype == torch.float32
    assert torch.equal(points, expected)


def test_gradients_reach_depth_pose_and_intrinsics(generator: torch.Generator) -> None:
    pose = poses(1, generator).double().requires_grad_()
    depth = (1 + torch.rand(1, 3, 4, generator=generator)).double().requires_grad_()
    intrinsics = SKEWED[None].double().requires_grad_()
    assert torch.autograd.gradcheck(unproject, (depth, intrinsics, pose))
    points = torch.randn(1, 5, 3, generator=generator).double() * 0.3
    ahead = (points + pose.detach()[:, None, :3, 2] * 3 + pose.detach()[:, None, :3, 3]).detach()
    assert torch.autograd.gradcheck(project, (ahead.requires_grad_(), intrinsics, pose))


def test_half_precision_positions_are_refused() -> None:
    with pytest.raises(TypeError, match=r"points must be float32 or float64.*bfloat16"):
        project(torch.zeros(2, 3, dtype=torch.bfloat16), SKEWED)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pixel_rays(torch.eye(4), 2, 2), r"intrinsics must have shape \[..., 3, 3\]"),
        (lambda: unproject(torch.zeros(3), SKEWED), r"depth must have shape \[..., H, W\]"),
        (lambda: scale_intrinsics(SKEWED, (0, 4), (4, 4)), "sizes must be positive"),
        (lambda: look_at(torch.zeros(3), torch.zeros(3)), "must not be zero or parallel"),
    ],
)
def test_bad_arguments_are_named(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        call()
