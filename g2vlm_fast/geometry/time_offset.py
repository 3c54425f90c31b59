"""By how much the clock of a trajectory is off the clock of the images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from g2vlm_fast.geometry.readings import Fit, Reading, fit_reading, sample_pixels

LARGEST = 0.5
"""Seconds that are searched to either side."""

_STEP = 0.02
_FINE_STEP = 0.0025


@dataclass(frozen=True)
class TimeOffset:
    """How well views agree with poses taken at other times.

    Attributes:
        seconds: added to the time of an image, gives the time of its pose.
        fit: of the views with those poses.
        given: of the views with poses at their own times.
    """

    seconds: float
    fit: Fit
    given: Fit


def find_time_offset(
    depth: Tensor,
    intrinsics: Tensor,
    poses_at: Callable[[float], Tensor],
    reading: Reading | None = None,
) -> TimeOffset:
    """Search the offset under which depth lifted from one view meets that of the others.

    Args:
        depth: ``[V, H, W]`` as read, 0 = missing.
        intrinsics: ``[V, 3, 3]`` as read.
        poses_at: poses ``[V, 4, 4]`` at the times of the views plus some seconds.
        reading: what the numbers mean; None for this package's conventions.
    """
    reading = reading or Reading()
    samples = sample_pixels(depth, anchors=8, pixels=200)

    def fit(seconds: float) -> Fit:
        return fit_reading(reading, samples, depth, intrinsics, poses_at(seconds))

    given = fit(0.0)
    count = round(LARGEST / _STEP)
    coarse = {step * _STEP: fit(step * _STEP) for step in range(-count, count + 1) if step}
    coarse[0.0] = given
    center = min(coarse, key=lambda seconds: (coarse[seconds].error, abs(seconds)))
    around = torch.arange(center - _STEP, center + _STEP + 1e-9, _FINE_STEP, dtype=torch.float64)
    fine = {seconds: fit(seconds) for seconds in around.tolist()}
    best = min(fine, key=lambda seconds: (fine[seconds].error, abs(seconds)))
    return TimeOffset(best, fine[best], given)
