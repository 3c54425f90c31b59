"""Confidence intervals over scenes, which are the independent units.

Answers about one room are not independent of each other, so everything here resamples whole
scenes (clusters). A metric is held as sums per scene, ``[B, S]``, and is a
function of their total: a ratio of two sums for a rate or a mean, so that set-level scores
such as F1 are resampled exactly and never averaged over scenes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Statistic = Callable[[Array], Array]
WeightedStatistic = Callable[[NDArray[np.int64]], float]

RESAMPLES = 10_000
MAX_DRAWS = 2_000_000  # numbers drawn at once: bounds the memory for thousands of scenes
METHODS = ("percentile", "bca", "expanded bca")


@dataclass(frozen=True)
class Interval:
    """A confidence interval and the name of the method that gave it."""

    low: float
    high: float
    method: str


def ratio_of_sums(sums: Array) -> Array:
    """Return ``sums[..., 0] / sums[..., 1]``, NaN where the denominator is 0."""
    return _divide(sums[..., 0], sums[..., 1])


def difference_of_ratios(sums: Array) -> Array:
    """Return ``sums[..., 0] / sums[..., 1] - sums[..., 2] / sums[..., 3]``."""
    return ratio_of_sums(sums) - ratio_of_sums(sums[..., 2:])


def cluster_bootstrap(
    per_scene: ArrayLike,
    statistic: Statistic = ratio_of_sums,
    *,
    method: str = "bca",
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Return the bootstrap interval of a statistic of per-scene sums, resampling scenes.

    Args:
        per_scene: ``[B, S]`` sums of each scene.
        statistic: maps sums ``[..., S]`` to values ``[...]``.
        method: ``"percentile"``, ``"bca"`` (bias-corrected and accelerated), or ``"expanded
            bca"``, whose tails are those of Student's t with n - 1 degrees of freedom, times
            ``sqrt(n / (n - 1))``: wider for few scenes, where the others cover too little. BCa
            is undefined where the jackknife does not vary or the estimate lies outside all
            resamples; the percentile interval then stands in, and ``Interval.method`` says so.
        confidence: coverage asked for, between 0 and 1.
        resamples: bootstrap samples.
        seed: of the resampling; the same seed gives the same interval.

    Resamples in which the statistic is undefined (NaN) are left out. With fewer than two
    scenes, or no defined resample, the interval is NaN and its method ``"undefined"``.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 13-14;
    Field and Welsh, "Bootstrapping clustered data", 2007 (the cluster form); Hesterberg, "What
    teachers should know about the bootstrap", 2015, 4.3 (the expansion). How often each covers
    the truth: docs/statistics.md.
    """
    table = _table(per_scene)
    _check("cluster_bootstrap", method, confidence)
    if len(table) < 2:
        return Interval(np.nan, np.nan, "undefined")
    total = table.sum(0)
    return interval_of(
        _resampled(table, statistic, resamples, seed),
        float(statistic(total)),
        lambda: statistic(total - table),
        len(table),
        method,
        confidence,
    )


def weighted_bootstrap(
    statistic: WeightedStatistic,
    scenes: int,
    *,
    method: str = "bca",
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Return the bootstrap interval of any statistic of a set of scenes, as of CIDEr or mAP.

    For scores that no sums by scene determine. A resample is a number of copies of each scene,
    and the statistic is computed anew for each, so that what depends on the whole set (document
    frequencies, ranks) does as well. Scores of single items are never averaged in its place.

    Args:
        statistic: maps copies ``[B]`` int64 of each scene to a value; NaN where undefined.
        scenes: B.
        method, confidence, resamples, seed: as of :func:`cluster_bootstrap`.
    """
    _check("weighted_bootstrap", method, confidence)
    if scenes < 2:
        return Interval(np.nan, np.nan, "undefined")
    generator = np.random.default_rng(seed)
    copies = generator.multinomial(scenes, np.full(scenes, 1.0 / scenes), size=resamples)
    each = np.ones(scenes, dtype=np.int64)
    return interval_of(
        np.array([statistic(row) for row in copies], dtype=np.float64),
        float(statistic(each)),
        lambda: np.array([statistic(row) for row in 1 - np.eye(scenes, dtype=np.int64)]),
        scenes,
        method,
        confidence,
    )


def wilson_interval(successes: float, trials: float, *, confidence: float = 0.95) -> Interval:
    """Return the score interval of a rate; for clusters that all agree, where bootstrap collapses.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    check_level(confidence)
    if trials <= 0 or not 0 <= successes <= trials:
        raise ValueError(
            f"wilson_interval: expected 0 <= successes <= trials and trials > 0, "
            f"got {successes} of {trials}"
        )
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate = successes / trials
    centre = (rate + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * np.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials**2)) / (1 + z * z / trials)
    # At 0 and at 1 an end is the rate itself, but for its last bits.
    low, high = min(rate, centre - half), max(rate, centre + half)
    return Interval(float(max(0.0, low)), float(min(1.0, high)), "wilson")


def _divide(numerator: Array, denominator: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominator != 0, numerator / denominator, np.nan)


def _table(per_scene: ArrayLike) -> Array:
    table = np.asarray(per_scene, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] == 0:
        raise ValueError(f"per_scene must be [scenes, sums], got shape {list(table.shape)}")
    if not np.isfinite(table).all():
        raise ValueError("per_scene must be finite; leave undefined scenes out or give them 0 / 0")
    return table


def check_level(confidence: float) -> None:
    """Refuse a confidence that is no probability."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")


def row_blocks(rows: int, columns: int) -> list[int]:
    """Return numbers of rows that sum to ``rows`` and hold at most ``MAX_DRAWS`` numbers each."""
    block = max(1, MAX_DRAWS // max(columns, 1))
    return [min(block, rows - start) for start in range(0, rows, block)]


def _resampled(table: Array, statistic: Statistic, resamples: int, seed: int) -> Array:
    generator = np.random.default_rng(seed)
    scenes = len(table)
    even = np.full(scenes, 1.0 / scenes)
    blocks = [
        statistic(generator.multinomial(scenes, even, size=rows) @ table)
        for rows in row_blocks(resamples, scenes)
    ]
    return np.concatenate(blocks)


def _check(function: str, method: str, confidence: float) -> None:
    check_level(confidence)
    if method not in METHODS:
        raise ValueError(f"{function}: method must be one of {METHODS}, got {method!r}")


def interval_of(
    values: Array,
    estimate: float,
    left_out: Callable[[], Array],
    scenes: int,
    method: str,
    confidence: float,
) -> Interval:
    """Return the interval that resampled values give.

    Args:
        values: ``[R]`` of the statistic; those that are not finite are left out.
        estimate: the statistic itself.
        left_out: gives ``[B]`` the statistic without each scene; asked for by BCa alone.
        scenes: B.
        method, confidence: as of :func:`cluster_bootstrap`.
    """
    values = values[np.isfinite(values)]
    if values.size == 0:
        return Interval(np.nan, np.nan, "undefined")
    normal = NormalDist()
    reach = normal.inv_cdf((1 + confidence) / 2)
    if method == "expanded bca":
        from scipy.stats import t

        reach = float(np.sqrt(scenes / (scenes - 1)) * t.ppf((1 + confidence) / 2, scenes - 1))
    corrected = None
    if method != "percentile":
        corrected = _bca_tails(values, estimate, left_out(), reach)
        method = method if corrected is not None else "percentile (BCa undefined)"
    plain = np.array([normal.cdf(-reach), normal.cdf(reach)])
    low, high = np.quantile(values, plain if corrected is None else corrected)
    return Interval(float(low), float(high), method)


def _bca_tails(values: Array, estimate: float, left_out: Array, reach: float) -> Array | None:
    """Return the corrected quantiles, or None where they are undefined."""
    below = np.mean(values < estimate) + 0.5 * np.mean(values == estimate)
    left_out = left_out[np.isfinite(left_out)]
    if not np.isfinite(estimate) or not 0 < below < 1 or left_out.size < 2:
        return None
    deviation = left_out.mean() - left_out
    spread = np.sum(deviation**2)
    if spread <= (1e-12 * max(1.0, abs(estimate))) ** 2:
        return None
    acceleration = np.sum(deviation**3) / (6 * spread**1.5)
    normal = NormalDist()
    bias = normal.inv_cdf(float(below))
    shifted = bias + np.array([-reach, reach])
    scale = 1 - acceleration * shifted
    if (scale <= 0).any():
        return None
    return np.array([normal.cdf(float(bias + z / s)) for z, s in zip(shifted, scale, strict=True)])
