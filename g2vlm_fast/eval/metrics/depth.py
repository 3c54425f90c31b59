"""Errors of depth maps, in metres as predicted or after a stated alignment.

A model that knows no scale is often scored after its depth was scaled to the truth. Such numbers
are not comparable with metric ones, so the alignment is part of the result's name: ``"none"``
(metric), ``"median"`` (times the ratio of medians) or ``"least squares"`` (scale and shift that
minimise the squared error of depth).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from g2vlm_fast.eval.metrics._arguments import Array

ALIGNMENTS = ("none", "median", "least squares")


@dataclass(frozen=True)
class DepthSums:
    """Sums over pixels, which add over scenes; the errors are functions of them.

    With predicted depth d and true depth t > 0 in metres, over n pixels: ``absolute`` sums
    |d - t| / t, ``squared_relative`` (d - t)^2 / t, ``squared`` (d - t)^2, ``log`` and
    ``log_squared`` (ln d - ln t) and its square, ``within`` ``[3]`` counts
    max(d / t, t / d) < 1.25^k. ``missing`` of the pixels had no usable prediction.
    """

    pixels: int
    missing: int
    absolute: float
    squared_relative: float
    squared: float
    log: float
    log_squared: float
    within: Array
    alignment: str

    def __add__(self, other: DepthSums) -> DepthSums:
        if self.alignment != other.alignment:
            raise ValueError(
                f"DepthSums: cannot add errors under alignment {self.alignment!r} and "
                f"{other.alignment!r}; report them apart"
            )
        return DepthSums(
            self.pixels + other.pixels,
            self.missing + other.missing,
            self.absolute + other.absolute,
            self.squared_relative + other.squared_relative,
            self.squared + other.squared,
            self.log + other.log,
            self.log_squared + other.log_squared,
            self.within + other.within,
            self.alignment,
        )

    @property
    def abs_rel(self) -> float:
        """Mean of |d - t| / t."""
        return self._mean(self.absolute)

    @property
    def sq_rel(self) -> float:
        """Mean of (d - t)^2 / t, in metres."""
        return self._mean(self.squared_relative)

    @property
    def rmse(self) -> float:
        """Root of the mean of (d - t)^2, in metres."""
        return float(np.sqrt(self._mean(self.squared)))

    @property
    def log_rmse(self) -> float:
        """Root of the mean of (ln d - ln t)^2; infinite where a prediction is missing."""
        return float(np.sqrt(self._mean(self.log_squared)))

    @property
    def silog(self) -> float:
        """``100 sqrt(mean g^2 - (mean g)^2)``, g = ln d - ln t, as KITTI's benchmark reports it.

        Known variants leave out the factor and the root, or weigh the second term with 1/2
        (Eigen's training loss).
        """
        if np.isinf(self.log_squared):
            return float("inf")
        variance = self._mean(self.log_squared) - self._mean(self.log) ** 2
        return float(100 * np.sqrt(max(variance, 0.0))) if self.pixels else float("nan")

    def delta(self, k: int = 1) -> float:
        """Share of pixels with max(d / t, t / d) < 1.25^k, for k of 1, 2, 3."""
        if k not in (1, 2, 3):
            raise ValueError(f"DepthSums.delta: k must be 1, 2 or 3, got {k!r}")
        return self._mean(float(self.within[k - 1]))

    def _mean(self, total: float) -> float:
        return total / self.pixels if self.pixels else float("nan")


def depth_sums(predicted: ArrayLike, truth: ArrayLike, *, alignment: str = "none") -> DepthSums:
    """Sum the depth errors of one scene or image over all pixels with true depth.

    A prediction that is missing at such a pixel (not finite, or not positive) counts as a depth
    of 0: its relative error is 1, it is within no ratio, and the logarithmic errors are
    infinite. It is never left out. Alignments are fitted where both depths exist, once for all
    of the given pixels; a depth that an alignment makes negative is missing after it.

    Args:
        predicted: metres (any unit with an alignment), any shape.
        truth: metres, same shape; pixels that are not finite or not positive have no truth.
            Distances along rays (Hypersim) must be turned into z first.
        alignment: one of :data:`ALIGNMENTS`.

    Raises:
        ValueError: shapes differ, or an unknown alignment.

    Source: Eigen, Puhrsch and Fergus, "Depth map prediction from a single image", NeurIPS 2014.
    """
    said, known = (np.asarray(each, dtype=np.float64) for each in (predicted, truth))
    if said.shape != known.shape:
        raise ValueError(
            f"depth_sums: predicted and truth must have one shape, got {list(said.shape)} and "
            f"{list(known.shape)}"
        )
    has_truth = np.isfinite(known) & (known > 0)
    said, known = said[has_truth], known[has_truth]
    said = _usable(aligned_depth(_usable(said), known, alignment))
    found = said > 0
    error = said - known
    log = np.log(said[found]) - np.log(known[found])
    ratio = np.maximum(said[found] / known[found], known[found] / said[found])
    missing = int((~found).sum())
    return DepthSums(
        pixels=int(known.size),
        missing=missing,
        absolute=float((np.abs(error) / known).sum()),
        squared_relative=float((error**2 / known).sum()),
        squared=float((error**2).sum()),
        log=-np.inf if missing else float(log.sum()),
        log_squared=np.inf if missing else float((log**2).sum()),
        within=np.array([float((ratio < 1.25**k).sum()) for k in (1, 2, 3)]),
        alignment=alignment,
    )


def _usable(depth: Array) -> Array:
    return np.where(np.isfinite(depth) & (depth > 0), depth, 0.0)


def aligned_depth(said: Array, known: Array, alignment: str) -> Array:
    """Return predicted depth after an alignment with the true one, fitted where both exist.

    A depth that was constant is moved to the mean of the truth by least squares. Sums are numpy's,
    the same to the last bit for any number of threads.

    Args:
        said: any shape, 0 = missing, which it stays.
        known: metres, same shape, positive.
        alignment: one of :data:`ALIGNMENTS`.

    Returns:
        Metres; least squares may make some of them negative.

    Raises:
        ValueError: an unknown alignment.
    """
    if alignment not in ALIGNMENTS:
        raise ValueError(f"depth_sums: alignment must be one of {ALIGNMENTS}, got {alignment!r}")
    found: NDArray[np.bool_] = said > 0
    if alignment == "none" or not found.any():
        return said
    some, truth = said[found], known[found]
    if alignment == "median":
        return said * (np.median(truth) / np.median(some))
    centered = some - some.mean()
    spread = (centered**2).sum()
    scale = (centered * (truth - truth.mean())).sum() / spread if spread > 0 else 0.0
    return np.where(found, scale * (said - some.mean()) + truth.mean(), 0.0)
