"""Errors of depth maps and normal maps over the pixels that count."""

from __future__ import annotations

import torch
from torch import Tensor


def absolute_relative_error(predicted: Tensor, truth: Tensor) -> Tensor:
    """``|d - d*| / d*`` of each pixel, for positive true depths (Eigen et al., NeurIPS 2014)."""
    return (predicted - truth).abs() / truth


def within_ratio(predicted: Tensor, truth: Tensor, ratio: float = 1.25) -> Tensor:
    """Whether ``max(d / d*, d* / d) < ratio`` at each pixel: delta 1 of Eigen et al., 2014."""
    return (predicted > 0) & (predicted < truth * ratio) & (truth < predicted * ratio)


def angle_degrees(predicted: Tensor, truth: Tensor) -> Tensor:
    """Angle between vectors along the last axis, in degrees; 90 for a predicted zero vector.

    Computed from the arc tangent, which stays accurate for small angles.
    """
    predicted, truth = predicted.double(), truth.double()
    sine = torch.linalg.vector_norm(torch.linalg.cross(predicted, truth, dim=-1), dim=-1)
    cosine = (predicted * truth).sum(-1)
    angle = torch.atan2(sine, cosine)
    unknown = (predicted == 0).all(-1)
    return torch.rad2deg(torch.where(unknown, torch.pi / 2, angle))
