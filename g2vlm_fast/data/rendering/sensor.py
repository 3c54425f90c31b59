"""What a consumer RGB-D camera makes of a perfect image."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_DISPARITY_SCALE = 8 * 43.5  # steps of an eighth of a pixel; focal times baseline, pixel metres
_EDGE_BEND = 0.06  # relative second difference of inverse depth that counts as an edge
_EDGE_DROPOUT = 0.5
_GRAZING = 0.12  # cosine between surface normal and ray below which nothing returns
_HOLE_PROBABILITY = 0.35  # of a view
_RANGE = (0.3, 9.0)  # metres; nothing returns from nearer or farther
_READ_SIGMA = 0.008  # of a black pixel; brightness from 0 to 1
_SHOT_VARIANCE = 1.6e-4  # of a white pixel, beside that; it grows with brightness
_EXPOSURE_SIGMA = 0.06
_WHITE_BALANCE_SIGMA = 0.015


def axial_sigma(depth: Tensor) -> Tensor:
    """Standard deviation of the depth noise in metres, ``0.0012 + 0.0019 (z - 0.4)^2``.

    Source: Nguyen, Izadi and Lovell, "Modeling Kinect Sensor Noise for Improved 3D
    Reconstruction and Tracking", 3DIMPVT 2012.
    """
    return 0.0012 + 0.0019 * (depth - 0.4).square()


def sense_depth(
    depth: Tensor, cosine: Tensor, generator: np.random.Generator, *, scale: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Turn exact depth into measured depth.

    Noise of :func:`axial_sigma`, then quantisation to an eighth of a pixel of disparity, then
    holes: what is nearer than 0.3 m or farther than 9 m, half of the pixels beside depth edges,
    grazing surfaces, and now and then a patch.

    Args:
        depth: ``[V, H, W]`` metres, 0 = nothing there.
        cosine: ``[V, H, W]``, between surface normal and the way back to the camera.
        generator: source of randomness.
        scale: of the noise; more than 1 for a worse sensor, whose sigma says so.

    Returns:
        Depth ``[V, H, W]`` in metres, 0 = missing, and its standard deviation (noise and
        quantisation step / sqrt(12), in quadrature; 0 where missing).
    """
    noise = torch.from_numpy(generator.standard_normal(depth.shape, dtype=np.float32))
    noisy = depth + scale * axial_sigma(depth) * noise
    steps = (_DISPARITY_SCALE / noisy.clamp_min(0.5 * _RANGE[0])).round().clamp_min(1)
    measured = _DISPARITY_SCALE / steps
    quantum = measured.square() / _DISPARITY_SCALE
    sigma = ((scale * axial_sigma(measured)).square() + quantum.square() / 12).sqrt()
    lucky = torch.from_numpy(generator.random(depth.shape, dtype=np.float32)) > _EDGE_DROPOUT
    in_range = (depth >= _RANGE[0]) & (depth <= _RANGE[1])
    kept = in_range & (cosine > _GRAZING) & (lucky | ~_beside_edge(depth))
    kept &= ~_holes(depth.shape, generator)
    nothing = torch.zeros_like(depth)
    return torch.where(kept, measured, nothing), torch.where(kept, sigma, nothing)


def sense_images(images: Tensor, generator: np.random.Generator, *, scale: float = 1.0) -> Tensor:
    """Turn exact images into those of a camera.

    Each view has an exposure and a white balance of its own; each value has noise whose variance
    is that of reading the sensor plus that of counting photons, which grows with brightness.

    Args:
        images: ``[V, 3, H, W]`` in [0, 1].
        generator: source of randomness.
        scale: of exposure, white balance and noise.

    Returns:
        ``[V, 3, H, W]`` uint8.
    """
    views = len(images)
    exposure = _EXPOSURE_SIGMA * generator.standard_normal((views, 1, 1, 1))
    balance = _WHITE_BALANCE_SIGMA * generator.standard_normal((views, 3, 1, 1))
    bright = images * torch.from_numpy((1 + scale * exposure) * (1 + scale * balance)).float()
    noise = torch.from_numpy(generator.standard_normal(images.shape, dtype=np.float32))
    sigma = (_READ_SIGMA**2 + _SHOT_VARIANCE * bright.clamp_min(0)).sqrt()
    return to_uint8(bright + scale * sigma * noise)


def to_uint8(images: Tensor) -> Tensor:
    """Convert images in [0, 1] to uint8, rounding."""
    return (images * 255).round().clamp(0, 255).to(torch.uint8)


def _beside_edge(depth: Tensor) -> Tensor:
    """Pixels at which inverse depth bends, which along a plane it does not."""
    inverse = depth.clamp_min(1e-3).reciprocal()
    edge = torch.zeros_like(depth, dtype=torch.bool)
    for axis in (-2, -1):
        length = depth.shape[axis] - 2
        before, here, after = (inverse.narrow(axis, start, length) for start in range(3))
        bend = (before - 2 * here + after).abs() > _EDGE_BEND * here
        edge.narrow(axis, 1, length).logical_or_(bend)
    return edge


def _holes(shape: torch.Size, generator: np.random.Generator) -> Tensor:
    """Now and then an elliptic patch without returns."""
    views, height, width = shape
    row = torch.arange(height)[:, None]
    column = torch.arange(width)[None, :]
    holes = torch.zeros(shape, dtype=torch.bool)
    for view in range(views):
        present, y, x, tall, wide = generator.random(5)
        if present < _HOLE_PROBABILITY:
            radius_y, radius_x = height * (0.05 + 0.15 * tall), width * (0.05 + 0.15 * wide)
            distance = ((row - y * height) / radius_y) ** 2 + ((column - x * width) / radius_x) ** 2
            holes[view] = distance < 1
    return holes
