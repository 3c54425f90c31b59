"""Confidence intervals and tests over scenes, which are the independent units.

Answers about one room are not independent of each other, so everything here resamples or
flips whole scenes (clusters). A metric is held as sums per scene, ``[B, S]``, and is a
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

RESAMPLES = 10_000
MAX_DRAWS = 2_000_000  # numbers drawn at once: bounds the memory for thousands of scenes
EXACT_SIGN_FLIPS = 13  # up to so many scenes, all 2^B sign patterns are tried


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
        method: ``"percentile"`` or ``"bca"`` (bias-corrected and accelerated). BCa is
            undefined where the jackknife does not vary or the estimate lies outside all
            resamples; the percentile interval then stands in, and ``Interval.method`` says so.
        confidence: coverage asked for, between 0 and 1.
        resamples: bootstrap samples.
        seed: of the resampling; the same seed gives the same interval.

    Resamples in which the statistic is undefined (NaN) are left out. With fewer than two
    scenes, or no defined resample, the interval is NaN and its method ``"undefined"``.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 13-14;
    Field and Welsh, "Bootstrapping clustered data", 2007 (the cluster form).
    """
    table = _table(per_scene)
    _check_level(confidence)
    if method not in ("percentile", "bca"):
        raise ValueError(f"cluster_bootstrap: method must be percentile or bca, got {method!r}")
    if len(table) < 2:
        return Interval(np.nan, np.nan, "undefined")
    values = _resampled(table, statistic, resamples, seed)
    values = values[np.isfinite(values)]
    if values.size == 0:
        return Interval(np.nan, np.nan, "undefined")
    tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    if method == "percentile":
        low, high = np.quantile(values, tails)
        return Interval(float(low), float(high), "percentile")
    corrected = _bca_tails(table, statistic, values, tails)
    name = "bca" if corrected is not None else "percentile (BCa undefined)"
    low, high = np.quantile(values, tails if corrected is None else corrected)
    return Interval(float(low), float(high), name)


def wilson_interval(successes: float, trials: float, *, confidence: float = 0.95) -> Interval:
    """Return the score interval of a rate; for clusters that all agree, where bootstrap collapses.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    _check_level(confidence)
    if trials <= 0 or not 0 <= successes <= trials:
        raise ValueError(
            f"wilson_interval: expected 0 <= successes <= trials and trials > 0, "
            f"got {successes} of {trials}"
        )
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate = successes / trials
    centre = (rate + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * np.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials**2)) / (1 + z * z / trials)
    return Interval(float(max(0.0, centre - half)), float(min(1.0, centre + half)), "wilson")


def sign_flip_test(
    differences: ArrayLike,
    *,
    alternative: str = "greater",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> float:
    """Return the p-value of a paired permutation test on the mean of per-scene differences.

    Under the null hypothesis the sign of each scene's difference is arbitrary. All sign
    patterns are tried for up to 13 scenes; beyond, ``resamples`` random ones, and the observed
    pattern counts as one of them, so that the p-value is never 0.

    Args:
        differences: ``[B]``, one per scene; NaN (undefined in that scene) is left out.
        alternative: ``"greater"``, ``"less"`` or ``"two-sided"``.

    Source: Good, "Permutation, Parametric and Bootstrap Tests of Hypotheses", 2005, chapter 3.
    """
    values = np.asarray(differences, dtype=np.float64).ravel()
    values = values[np.isfinite(values)]
    if alternative not in ("greater", "less", "two-sided"):
        raise ValueError(
            f"sign_flip_test: alternative must be greater, less or two-sided, got {alternative!r}"
        )
    if values.size == 0:
        return float("nan")
    if alternative == "less":
        values = -values
    if values.size <= EXACT_SIGN_FLIPS:
        patterns = np.arange(2**values.size)[:, None] >> np.arange(values.size) & 1
        sums = (1.0 - 2.0 * patterns) @ values
        extra = 0
    else:
        generator = np.random.default_rng(seed)
        sums = np.concatenate(
            [
                (1.0 - 2.0 * generator.integers(0, 2, (rows, values.size))) @ values
                for rows in _row_blocks(resamples, values.size)
            ]
        )
        extra = 1
    observed = values.sum()
    slack = 1e-12 * np.abs(values).sum()  # sums in another order differ in their last bits
    if alternative == "two-sided":
        sums, observed = np.abs(sums), abs(observed)
    return float((np.count_nonzero(sums >= observed - slack) + extra) / (sums.size + extra))


def holm(p_values: ArrayLike) -> Array:
    """Return p-values adjusted for the number of tests; NaN stays NaN and does not count.

    Source: Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    values = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full_like(values, np.nan)
    defined = np.flatnonzero(np.isfinite(values))
    order = defined[np.argsort(values[defined], kind="stable")]
    factors = np.arange(order.size, 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    return adjusted


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


def _check_level(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")


def _row_blocks(rows: int, columns: int) -> list[int]:
    block = max(1, MAX_DRAWS // max(columns, 1))
    return [min(block, rows - start) for start in range(0, rows, block)]


def _resampled(table: Array, statistic: Statistic, resamples: int, seed: int) -> Array:
    generator = np.random.default_rng(seed)
    scenes = len(table)
    even = np.full(scenes, 1.0 / scenes)
    blocks = [
        statistic(generator.multinomial(scenes, even, size=rows) @ table)
        for rows in _row_blocks(resamples, scenes)
    ]
    return np.concatenate(blocks)


def _bca_tails(table: Array, statistic: Statistic, values: Array, tails: Array) -> Array | None:
    """Return the corrected quantiles, or None where they are undefined."""
    total = table.sum(0)
    estimate = statistic(total)
    below = np.mean(values < estimate) + 0.5 * np.mean(values == estimate)
    left_out = statistic(total - table)
    left_out = left_out[np.isfinite(left_out)]
    if not np.isfinite(estimate) or not 0 < below < 1 or left_out.size < 2:
        return None
    deviation = left_out.mean() - left_out
    spread = np.sum(deviation**2)
    if spread <= (1e-12 * max(1.0, abs(float(estimate)))) ** 2:
        return None
    acceleration = np.sum(deviation**3) / (6 * spread**1.5)
    normal = NormalDist()
    bias = normal.inv_cdf(float(below))
    shifted = np.array([bias + normal.inv_cdf(float(tail)) for tail in tails])
    scale = 1 - acceleration * shifted
    if (scale <= 0).any():
        return None
    return np.array([normal.cdf(float(bias + z / s)) for z, s in zip(shifted, scale, strict=True)])
