"""What intervals and tests are worth, by simulation: ``python -m`` this module prints the tables.

Scenes are drawn from populations whose true score is known, and it is counted how often the
95 % interval holds it, and how often a test at the level of 5 % finds a difference where there
is none. docs/statistics.md keeps the tables.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.eval.statistics_bootstrap import METHODS, Array, interval_of, ratio_of_sums
from g2vlm_fast.eval.statistics_comparison import mcnemar_test, sign_flip_test, wilcoxon_test

SCENES = (10, 20, 50, 100)
TRIALS = 4000
_TRIALS_A_DRAW = 50  # trials that share the random numbers of their resampling
_RESAMPLES = 2000

Population = Callable[[np.random.Generator, int], Array]
"""Draws the sums ``[scenes, 2]`` (numerator and denominator of the score) of random scenes."""


def _means(values: Array) -> Array:
    return np.stack([values, np.ones_like(values)], axis=1)


def _answers(generator: np.random.Generator, scenes: int) -> Array:
    asked = generator.integers(5, 16, scenes)
    right = generator.binomial(asked, generator.beta(2, 1, scenes))
    return np.stack([right, asked], axis=1).astype(np.float64)


POPULATIONS: Mapping[str, tuple[Population, float]] = {
    "normal": (lambda g, n: _means(g.normal(size=n)), 0.0),
    "skewed (exponential)": (lambda g, n: _means(g.exponential(size=n)), 1.0),
    "binary, one a scene (a third)": (
        lambda g, n: _means((g.random(n) < 1 / 3).astype(float)),
        1 / 3,
    ),
    "binary, 5 to 15 a scene (67 %)": (_answers, 2 / 3),
    "heavy tail (log-normal)": (
        lambda g, n: _means(g.lognormal(0.0, 1.0, n)),
        math.exp(0.5),
    ),
}
"""By name: how scenes are drawn, and the true ratio of expected sums."""


def coverage(
    population: Population,
    truth: float,
    scenes: int,
    *,
    method: str = "bca",
    trials: int = TRIALS,
    seed: int = 0,
) -> float:
    """Return how often the 95 % interval of a ratio of sums holds the true value.

    Trials are those of ``cluster_bootstrap`` with 2000 resamples, fifty of which share a seed.
    """
    generator = np.random.default_rng(seed)
    held = 0
    for first in range(0, trials, _TRIALS_A_DRAW):
        number = min(_TRIALS_A_DRAW, trials - first)
        tables = np.stack([population(generator, scenes) for _ in range(number)])
        even = np.full(scenes, 1.0 / scenes)
        copies = np.random.default_rng(seed + first).multinomial(scenes, even, size=_RESAMPLES)
        resampled = ratio_of_sums(np.tensordot(tables, copies, axes=(1, 1)).swapaxes(1, 2))
        for table, values in zip(tables, resampled, strict=True):
            total = table.sum(0)
            interval = interval_of(
                values,
                float(ratio_of_sums(total)),
                lambda table=table, total=total: ratio_of_sums(total - table),  # type: ignore[misc]
                scenes,
                method,
                0.95,
            )
            held += interval.low <= truth <= interval.high
    return held / trials


Null = Callable[[np.random.Generator, int], float]
"""Draws scenes on which nothing differs and returns the p-value of a test."""


def _sign_flip(draw: Callable[[np.random.Generator, int], Array]) -> Null:
    return lambda g, n: sign_flip_test(draw(g, n), resamples=999, seed=int(g.integers(2**31)))


def _exchangeable(generator: np.random.Generator, scenes: int) -> Array:
    return generator.exponential(size=scenes) - generator.exponential(size=scenes)


def _binary(generator: np.random.Generator, scenes: int) -> NDArray[np.bool_]:
    draw: NDArray[np.bool_] = generator.random((2, scenes)) < generator.random(scenes)
    return draw


NULLS: Mapping[str, Null] = {
    "sign flips, normal differences": _sign_flip(lambda g, n: g.normal(size=n)),
    "sign flips, two equal exponentials": _sign_flip(_exchangeable),
    "sign flips, lopsided differences of mean 0": _sign_flip(
        lambda g, n: g.exponential(size=n) - 1
    ),
    "Wilcoxon, two equal exponentials": lambda g, n: wilcoxon_test(_exchangeable(g, n)),
    "McNemar, two equal systems": lambda g, n: mcnemar_test(*_binary(g, n), alternative="greater"),
}
"""By name: one-sided tests where the null hypothesis holds (or nearly does)."""


def false_alarms(
    null: Null, scenes: int, *, trials: int = TRIALS, level: float = 0.05, seed: int = 0
) -> float:
    """Return how often a test finds a difference at ``level`` where there is none."""
    generator = np.random.default_rng(seed)
    return sum(null(generator, scenes) <= level for _ in range(trials)) / trials


def tables(*, scenes: Sequence[int] = SCENES, trials: int = TRIALS, seed: int = 0) -> str:
    """Return both tables in Markdown, in percent."""
    heads = " | ".join(f"{count} scenes" for count in scenes)
    rule = "|---" * 2 + "|---:" * len(scenes) + "|"
    lines = [f"| population | interval | {heads} |", rule]
    for name, (population, truth) in POPULATIONS.items():
        for method in METHODS:
            shares = [
                coverage(population, truth, count, method=method, trials=trials, seed=seed)
                for count in scenes
            ]
            lines.append(f"| {name} | {method} | {_percent(shares)} |")
    lines += ["", f"| test at 5 % | {heads} |", "|---" + "|---:" * len(scenes) + "|"]
    for name, null in NULLS.items():
        shares = [false_alarms(null, count, trials=trials, seed=seed) for count in scenes]
        lines.append(f"| {name} | {_percent(shares)} |")
    return "\n".join(lines)


def _percent(shares: Sequence[float]) -> str:
    return " | ".join(f"{100 * share:.1f}" for share in shares)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(tables(trials=given.trials, seed=given.seed))


if __name__ == "__main__":
    main()
