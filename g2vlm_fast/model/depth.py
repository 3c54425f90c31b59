"""Depth maps: their scale, their noise, their holes, and the normals that they imply."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from g2vlm_fast.geometry.cameras import unproject
from g2vlm_fast.model.config import G2VLMConfig


def depth_from_logit(logit: Tensor, config: G2VLMConfig) -> Tensor:
    """Map logits to float32 metres between the configured bounds; 0 is their geometric mean."""
    span = math.log(config.maximum_depth / config.minimum_depth)
    return config.minimum_depth * torch.exp(span * torch.sigmoid(logit.float()))


def logit_from_depth(depth: Tensor, config: G2VLMConfig) -> Tensor:
    """Invert :func:`depth_from_logit`; depths beyond the bounds are clamped to them."""
    span = math.log(config.maximum_depth / config.minimum_depth)
    share = (depth / config.minimum_depth).clamp_min(1e-6).log() / span
    return torch.logit(share, eps=1e-3)


def depth_noise(depth: Tensor, config: G2VLMConfig) -> Tensor:
    """Return the standard deviation (m) of a depth sensor: ``a + b (z - c)^2`` of the config.

    Source: Nguyen, Izadi, Lovell, "Modeling Kinect sensor noise for improved 3D reconstruction
    and tracking", 3DIMPVT 2012.
    """
    assert config.depth_noise is not None
    constant, quadratic, centre = config.depth_noise
    return constant + quadratic * (depth - centre).square()


def fill_missing(value: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Fill the holes of maps from the values around them, coarser the farther these are.

    Args:
        value: ``[T, H, W]``.
        valid: ``[T, H, W]`` bool.

    Returns:
        The filled map ``[T, H, W]`` (0 where a view has no value at all), and the reach
        ``[T, H, W]``: 1 where valid, 0.8 to the power of the level of the pyramid it came from
        elsewhere, 0 where there is nothing.

    Source: the pull-push algorithm; Gortler et al., "The lumigraph", SIGGRAPH 1996.
    """
    weight = valid.float()[:, None]
    levels = [(torch.where(valid, value, 0)[:, None], weight)]
    while max(levels[-1][0].shape[-2:]) > 1:
        total, weight = levels[-1]
        levels.append(
            (
                F.avg_pool2d(total, 2, ceil_mode=True, count_include_pad=False),
                F.avg_pool2d(weight, 2, ceil_mode=True, count_include_pad=False),
            )
        )
    filled = torch.zeros_like(levels[-1][0])
    reach = torch.zeros_like(filled)
    for level in reversed(range(len(levels))):
        total, weight = levels[level]
        if filled.shape != total.shape:
            filled, reach = (
                F.interpolate(x, size=total.shape[-2:], mode="bilinear") for x in (filled, reach)
            )
        known = weight > 0
        filled = torch.where(known, total / weight.clamp_min(1e-6), filled)
        reach = torch.where(known, 0.8**level, reach)
    return filled[:, 0], reach[:, 0]


def normals_from_depth(depth: Tensor, intrinsics: Tensor, poses: Tensor) -> Tensor:
    """Return the unit normals ``[T, 3, H, W]`` (world, towards the camera) that depth implies.

    Central differences of the unprojected points, one-sided at the border; 0 where undefined.
    """
    points = unproject(depth, intrinsics, poses).movedim(-1, 1)
    padded = F.pad(points, (1, 1, 1, 1), mode="replicate")
    across = padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]
    down = padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]
    return F.normalize(torch.linalg.cross(down, across, dim=1), dim=1)


def bends(depth: Tensor) -> Tensor:
    """Return how much inverse depth bends at each pixel, relative to it ``[T, H, W]``.

    Inverse depth is linear over the image of a plane, however slanted, so that its second
    difference is 0 on planes and large across an occlusion edge.
    """
    inverse = 1 / depth.clamp_min(1e-3)
    padded = F.pad(inverse[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    across = padded[:, 1:-1, 2:] + padded[:, 1:-1, :-2] - 2 * inverse
    down = padded[:, 2:, 1:-1] + padded[:, :-2, 1:-1] - 2 * inverse
    # a replicated border would bend wherever the surface is slanted
    across[..., [0, -1]] = 0
    down[..., [0, -1], :] = 0
    return torch.maximum(across.abs(), down.abs()) / inverse
