"""Depth maps: scale, holes, normals, bends."""

from __future__ import annotations

import torch

from g2vlm_fast.geometry.cameras import look_at, pixel_rays
from g2vlm_fast.model.config import G2VLMConfig
from g2vlm_fast.model.depth import (
    bends,
    depth_from_logit,
    fill_missing,
    logit_from_depth,
    normals_from_depth,
)

INTRINSICS = torch.tensor([[[30.0, 0, 15.5], [0, 30, 11.5], [0, 0, 1]]])


def slanted_plane(normal: torch.Tensor, distance: float = 3.0) -> torch.Tensor:
    """Depth ``[1, 24, 32]`` of the plane ``normal . p = -distance`` in the camera's frame."""
    rays = pixel_rays(INTRINSICS, 24, 32)
    return -distance / (rays * normal).sum(-1)


def test_depth_and_its_logit_are_inverse() -> None:
    config = G2VLMConfig.tiny()
    depth = torch.tensor([0.15, 0.5, 2.0, 7.0, 15.0])
    torch.testing.assert_close(depth_from_logit(logit_from_depth(depth, config), config), depth)


def test_filling_keeps_what_is_valid_and_reaches_every_hole() -> None:
    value = torch.rand(2, 11, 13)
    valid = torch.rand(2, 11, 13) < 0.2
    valid[1] = False
    filled, reach = fill_missing(value, valid)
    torch.testing.assert_close(filled[valid], value[valid])
    assert (reach[0] > 0).all()
    assert (reach[valid] == 1).all()
    assert filled[0].min() >= value[0][valid[0]].min()
    assert filled[0].max() <= value[0][valid[0]].max()
    assert not reach[1].any()
    assert not filled[1].any()


def test_normals_of_a_plane_face_the_camera() -> None:
    normal = torch.nn.functional.normalize(torch.tensor([0.3, -0.5, -1.0]), dim=0)
    pose = look_at(torch.tensor([[1.0, 2.0, 1.5]]), torch.tensor([[3.0, 1.0, 0.2]]))
    found = normals_from_depth(slanted_plane(normal), INTRINSICS, pose)
    wanted = pose[0, :3, :3] @ normal
    torch.testing.assert_close(found, wanted.view(1, 3, 1, 1).expand_as(found), atol=1e-4, rtol=0)


def test_planes_do_not_bend_and_steps_do() -> None:
    plane = slanted_plane(torch.nn.functional.normalize(torch.tensor([0.6, 0.2, -1.0]), dim=0))
    assert bends(plane).max() < 1e-3
    step = plane.clone()
    step[:, :, 16:] *= 1.5
    assert (bends(step)[:, :, 15:17] > 0.2).all()
    assert (bends(step)[:, :, :14] < 1e-3).all()
