"""Whether one system is better than another on the same scenes, and how often that is luck.

Tests are over scenes, never over training seeds: with 3 seeds no two-sided rank test can go below
p = 0.25, with 5 not below 0.0625.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from g2vlm_fast.eval.statistics_bootstrap import RESAMPLES, Array, Statistic, row_blocks

EXACT_SIGN_FLIPS = 13  # up to so many scenes, all 2^B sign patterns are tried
ALTERNATIVES = ("greater", "less", "two-sided")


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
    _check_alternative("sign_flip_test", alternative)
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
                for rows in row_blocks(resamples, values.size)
            ]
        )
        extra = 1
    observed = values.sum()
    slack = 1e-12 * np.abs(values).sum()  # sums in another order differ in their last bits
    if alternative == "two-sided":
        sums, observed = np.abs(sums), abs(observed)
    return float((np.count_nonzero(sums >= observed - slack) + extra) / (sums.size + extra))


def swap_test(
    pairs: ArrayLike,
    difference: Statistic,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> float:
    """Return the two-sided p-value of a permutation test on a difference of pooled statistics.

    Under the null hypothesis either system may have made either prediction of a scene. The rows of
    the two are exchanged in some scenes, all patterns for up to 13 scenes and ``resamples`` random
    ones beyond, as in :func:`sign_flip_test`, which this is where each scene weighs alike. A
    pattern that leaves the difference undefined counts against one.

    Args:
        pairs: ``[B, 2, C]``, the sufficient statistics of both systems, one pair for each scene.
        difference: of the sums of both, ``[..., 2 C] -> [...]``.

    Source: Good, "Permutation, Parametric and Bootstrap Tests of Hypotheses", 2005, chapter 3.
    """
    rows = np.asarray(pairs, dtype=np.float64)
    scenes = len(rows)
    total = rows.sum((0, 1))
    kept, exchanged = rows[:, 0].sum(0), rows[:, 1] - rows[:, 0]

    def of_patterns(patterns: Array) -> Array:
        first = kept + patterns @ exchanged
        return np.abs(difference(np.concatenate([first, total - first], axis=-1)))

    observed = float(of_patterns(np.zeros((1, scenes)))[0])
    if not np.isfinite(observed):
        return float("nan")
    if scenes <= EXACT_SIGN_FLIPS:
        found = of_patterns((np.arange(2**scenes)[:, None] >> np.arange(scenes) & 1).astype(float))
        extra = 0
    else:
        generator = np.random.default_rng(seed)
        found = np.concatenate(
            [
                of_patterns(generator.integers(0, 2, (count, scenes)).astype(float))
                for count in row_blocks(resamples, scenes)
            ]
        )
        extra = 1
    reached = ~(found < observed * (1 - 1e-9) - 1e-12)  # sums in another order; NaN counts
    return float((np.count_nonzero(reached) + extra) / (found.size + extra))


def wilcoxon_test(differences: ArrayLike, *, alternative: str = "greater") -> float:
    """Return the p-value of Wilcoxon's signed-rank test, the second opinion on paired differences.

    It asks whether differences are symmetric about 0, by their ranks, so one scene that fails
    badly weighs little; where it and the sign-flip test disagree, say so. Zeros are ranked and
    then dropped (Pratt, 1959). Exact up to 50 scenes without ties, as scipy decides.

    Args:
        differences: ``[B]``, one per scene; NaN is left out, as in :func:`sign_flip_test`.
        alternative: ``"greater"``, ``"less"`` or ``"two-sided"``.

    Source: Wilcoxon, "Individual comparisons by ranking methods", 1945.
    """
    from scipy.stats import wilcoxon

    _check_alternative("wilcoxon_test", alternative)
    values = np.asarray(differences, dtype=np.float64).ravel()
    values = values[np.isfinite(values)]
    if values.size == 0:
        return float("nan")
    if not values.any():
        return 1.0
    return float(wilcoxon(values, zero_method="pratt", alternative=alternative).pvalue)


def mcnemar_test(first: ArrayLike, second: ArrayLike, *, alternative: str = "two-sided") -> float:
    """Return the exact p-value of McNemar's test on paired successes, one pair for each scene.

    Of the pairs that differ, the first system wins each with probability 1/2 under the null
    hypothesis. Several answers about one scene are not independent: with more than one a scene,
    test their differences by scene with :func:`sign_flip_test` instead.

    Args:
        first, second: ``[n]`` bool, of the same items in the same order.
        alternative: ``"greater"`` asks whether the first succeeds more often.

    Raises:
        ValueError: arrays that are not boolean, or of different lengths.

    Source: McNemar, "Note on the sampling error of the difference between correlated
    proportions", 1947, in its exact binomial form.
    """
    from scipy.stats import binomtest

    _check_alternative("mcnemar_test", alternative)
    ours, theirs = np.asarray(first), np.asarray(second)
    if ours.dtype != np.bool_ or theirs.dtype != np.bool_ or ours.shape != theirs.shape:
        raise ValueError(
            "mcnemar_test: first and second must be bool and of one shape, got "
            f"{ours.dtype} {list(ours.shape)} and {theirs.dtype} {list(theirs.shape)}"
        )
    wins, losses = int((ours & ~theirs).sum()), int((~ours & theirs).sum())
    if wins + losses == 0:
        return 1.0
    return float(binomtest(wins, wins + losses, 0.5, alternative=alternative).pvalue)


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


def benjamini_hochberg(p_values: ArrayLike) -> Array:
    """Return p-values adjusted for the false discovery rate; NaN stays NaN and does not count.

    For families of tables: among the rejections at level a, at most a share of a is expected to
    be wrong, if the tests are independent or positively dependent.

    Source: Benjamini and Hochberg, "Controlling the false discovery rate", 1995.
    """
    values = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full_like(values, np.nan)
    defined = np.flatnonzero(np.isfinite(values))
    order = defined[np.argsort(-values[defined], kind="stable")]
    factors = order.size / np.arange(order.size, 0, -1)
    adjusted[order] = np.minimum(np.minimum.accumulate(values[order] * factors), 1.0)
    return adjusted


def _check_alternative(function: str, alternative: str) -> None:
    if alternative not in ALTERNATIVES:
        raise ValueError(
            f"{function}: alternative must be greater, less or two-sided, got {alternative!r}"
        )
