"""Errors of normal maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from g2vlm_fast.eval.metrics._arguments import Array, float_array

THRESHOLDS = (11.25, 22.5, 30.0)
"""Degrees, of the shares of pixels that are close enough."""


@dataclass(frozen=True)
class NormalErrors:
    """Angles between predicted and true normals, in degrees.

    Attributes:
        mean, median, rmse: degrees; NaN without pixels.
        within: share of pixels closer than each of :data:`THRESHOLDS`.
        pixels: how many were scored.
        missing: of these, how many had no prediction and count as 90 degrees.
    """

    mean: float
    median: float
    rmse: float
    within: tuple[float, ...]
    pixels: int
    missing: int


def normal_angles(predicted: ArrayLike, truth: ArrayLike) -> tuple[Array, int]:
    """Return the angle in degrees of every pixel with a true normal, and how many are missing.

    Args:
        predicted: ``[n, 3]``, of any length; zero or NaN where nothing is predicted, which
            counts as 90 degrees, what a random direction is off by.
        truth: ``[n, 3]``; zero where there is no truth.

    Raises:
        ValueError: shapes differ, or a true normal is not finite.
    """
    known = float_array("normal_angles", "truth", truth, ("n", 3))
    said = float_array("normal_angles", "predicted", predicted, (len(known), 3), finite=False)
    has_truth = (known != 0).any(1)
    said, known = said[has_truth], known[has_truth]
    missing = ~np.isfinite(said).all(1) | (said == 0).all(1)
    said = np.where(missing[:, None], 0.0, said)
    sine = np.linalg.norm(np.cross(said, known), axis=1)
    angle = np.degrees(np.arctan2(sine, (said * known).sum(1)))  # accurate for small angles too
    return np.where(missing, 90.0, angle), int(missing.sum())


def normal_errors(predicted: ArrayLike, truth: ArrayLike) -> NormalErrors:
    """Summarise :func:`normal_angles`: mean, median, root mean square, shares within thresholds.

    Source: Fouhey, Gupta and Hebert, "Data-driven 3D primitives for single image
    understanding", ICCV 2013.
    """
    angle, missing = normal_angles(predicted, truth)
    if not angle.size:
        return NormalErrors(np.nan, np.nan, np.nan, (np.nan,) * len(THRESHOLDS), 0, 0)
    return NormalErrors(
        mean=float(angle.mean()),
        median=float(np.median(angle)),
        rmse=float(np.sqrt((angle**2).mean())),
        within=tuple(float((angle < threshold).mean()) for threshold in THRESHOLDS),
        pixels=int(angle.size),
        missing=missing,
    )
