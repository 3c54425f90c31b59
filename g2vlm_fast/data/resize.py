"""Images and maps at another size, with pixel centres at integers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_ONE_SURFACE = 1.05  # ratio of depths between neighbours up to which a surface is smooth


def _source_coordinates(old: int, new: int) -> Tensor:
    """Where the centres of ``new`` pixels lie among ``old`` ones, float64."""
    return (torch.arange(new, dtype=torch.float64) + 0.5) * (old / new) - 0.5


def nearest(maps: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Resize ``[V, ..., H, W]`` maps by the nearest pixel, halves going down and right."""
    if maps.shape[-2:] == image_size:
        return maps
    row, column = (
        (_source_coordinates(old, new) + 0.5).long().clamp(0, old - 1)
        for new, old in zip(image_size, maps.shape[-2:], strict=True)
    )
    return maps[..., row[:, None], column[None, :]]


def resized_depth(depth: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Resize ``[V, H, W]`` depth; what it says about a plane stays on that plane.

    Where the four pixels about a new centre are of one surface (all there, and within 5 %), their
    inverse depths are interpolated, as planes are linear in inverse depth; elsewhere the nearest
    pixel is taken as it is, so that no depth between two surfaces comes about.
    """
    if depth.shape[-2:] == image_size:
        return depth
    height, width = depth.shape[-2:]
    row = _source_coordinates(height, image_size[0]).clamp(0, height - 1)[:, None]
    column = _source_coordinates(width, image_size[1]).clamp(0, width - 1)[None, :]
    top, left = row.long(), column.long()
    bottom, right = (top + 1).clamp_max(height - 1), (left + 1).clamp_max(width - 1)
    down, across = (row - top).float(), (column - left).float()
    about = torch.stack([depth[..., y, x] for y in (top, bottom) for x in (left, right)])
    low, high = about.amin(0), about.amax(0)
    weight = torch.stack([(1 - down) * (1 - across), (1 - down) * across,
                          down * (1 - across), down * across])  # fmt: skip
    inverse = (weight[:, None] / about.clamp_min(1e-6)).sum(0)
    one_surface = (low > 0) & (high <= _ONE_SURFACE * low)
    return torch.where(one_surface, inverse.reciprocal(), nearest(depth, image_size))


def resized_images(images: Tensor, image_size: tuple[int, int]) -> Tensor:
    values = images.float() / 255
    if values.shape[-2:] == image_size:
        return values
    values = F.interpolate(values, image_size, mode="bilinear", align_corners=False, antialias=True)
    return values.clamp(0, 1)
