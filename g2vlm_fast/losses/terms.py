"""What the losses share: means over masks and packed softmaxes."""

from __future__ import annotations

import torch
from torch import Tensor


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of the values where the mask holds, 0 where it holds nowhere."""
    return torch.where(mask, values, 0).sum() / mask.sum().clamp_min(1)


def mean_or_zero(values: Tensor) -> Tensor:
    """Return the mean, 0 for no values."""
    return values.sum() / max(values.numel(), 1)


def segment_logsumexp(values: Tensor, segments: Tensor, count: int) -> Tensor:
    """Return the logarithm of the sum of exponentials of each segment ``[count]``.

    Args:
        values: ``[N]``.
        segments: ``[N]`` int64, the segment of each value.
        count: number of segments; an empty one has ``-inf``.
    """
    top = values.new_full((count,), -torch.inf)
    top = top.scatter_reduce(0, segments, values.detach(), "amax")
    safe = torch.where(top.isfinite(), top, 0)
    total = values.new_zeros(count).index_add(0, segments, (values - safe[segments]).exp())
    empty = total == 0
    return torch.where(empty, -torch.inf, torch.where(empty, 1, total).log() + safe)
