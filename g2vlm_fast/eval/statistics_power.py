"""How many scenes it takes to see a difference, asked before the experiment.

Effects are paired d (mean difference over the standard deviation of the differences between
scenes); the test is the paired t test, whose power the sign-flip test shares closely.
"""

from __future__ import annotations

import math

from g2vlm_fast.eval.statistics_comparison import ALTERNATIVES

MOST_SCENES = 10_000_000


def paired_power(
    effect: float, scenes: int, *, level: float = 0.05, alternative: str = "two-sided"
) -> float:
    """Return the probability that a paired test over ``scenes`` finds an effect that is there.

    Args:
        effect: paired d; its sign matters to one-sided alternatives.
        scenes: at least 2.
        level: of the test, after adjustment for other tests (for Holm's worst case, divide by
            their number).
        alternative: ``"greater"``, ``"less"`` or ``"two-sided"``.

    Source: Cohen, "Statistical Power Analysis for the Behavioral Sciences", 1988, by the
    noncentral t distribution.
    """
    from scipy.stats import nct, t

    if scenes < 2 or not 0 < level < 1 or not math.isfinite(effect):
        raise ValueError(
            "paired_power: expected a finite effect, at least 2 scenes and a level between 0 and "
            f"1, got {effect}, {scenes} and {level}"
        )
    if alternative not in ALTERNATIVES:
        raise ValueError(
            f"paired_power: alternative must be one of {ALTERNATIVES}, got {alternative!r}"
        )
    freedom = scenes - 1
    shift = effect * math.sqrt(scenes)
    if alternative == "less":
        shift, alternative = -shift, "greater"
    if alternative == "greater":
        return float(nct.sf(t.isf(level, freedom), freedom, shift))
    critical = t.isf(level / 2, freedom)
    return float(nct.sf(critical, freedom, abs(shift)) + nct.sf(critical, freedom, -abs(shift)))


def scenes_needed(
    effect: float, *, power: float = 0.8, level: float = 0.05, alternative: str = "two-sided"
) -> int:
    """Return the least number of scenes at which :func:`paired_power` reaches ``power``.

    Raises:
        ValueError: an effect that no number of scenes shows (0, or of the wrong sign).
    """
    if not 0 < power < 1:
        raise ValueError(f"scenes_needed: power must lie between 0 and 1, got {power}")

    def reached(scenes: int) -> bool:
        return paired_power(effect, scenes, level=level, alternative=alternative) >= power

    high = 2
    while not reached(high):
        high *= 2
        if high > MOST_SCENES:
            raise ValueError(
                f"scenes_needed: an effect of {effect} is not shown by {MOST_SCENES} scenes at "
                f"level {level} ({alternative})"
            )
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def smallest_effect(
    scenes: int, *, power: float = 0.8, level: float = 0.05, alternative: str = "two-sided"
) -> float:
    """Return the paired d that ``scenes`` show with probability ``power``; negative for "less"."""
    from scipy.optimize import brentq

    if not level < power < 1:
        raise ValueError(
            f"smallest_effect: power must lie between the level {level} and 1, got {power}"
        )
    sign = -1.0 if alternative == "less" else 1.0

    def missing(effect: float) -> float:
        reached = paired_power(sign * effect, scenes, level=level, alternative=alternative)
        return reached - power

    high = 1.0
    while missing(high) < 0:
        high *= 2
    return sign * float(brentq(missing, 0.0, high))
