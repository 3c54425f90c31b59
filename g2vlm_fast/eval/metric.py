"""One metric: its definition, its sums per scene, its value with interval and chance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np

from g2vlm_fast.eval.statistics import (
    Array,
    cluster_bootstrap,
    difference_of_ratios,
    holm,
    ratio_of_sums,
    sign_flip_test,
    wilson_interval,
)


@dataclass(frozen=True)
class Definition:
    """What a metric measures.

    Attributes:
        head: the part of the model that it judges.
        unit: of the value; empty for rates and scores in [0, 1].
        higher_is_better: direction.
        chance: in words, what the chance level beside the value is.
        headline: whether the head is judged by this metric.
        rate: whether the value is a share of counted items, so that a score interval exists.
    """

    name: str
    head: str
    chance: str
    unit: str = ""
    higher_is_better: bool = True
    headline: bool = False
    rate: bool = False


class Sums(NamedTuple):
    """What one scene adds to a metric: numerators and denominators of ratios of sums."""

    value: tuple[float, float]
    chance: tuple[float, float]
    beside: Mapping[str, tuple[float, float]] = {}


@dataclass(frozen=True)
class Metric:
    """A measured metric.

    ``low`` and ``high`` bound the value, ``difference_low`` and ``difference_high`` bound what
    it is above chance on the same scenes, both at 95 %, by bootstrap over scenes.
    ``better_than_chance`` means that the latter interval lies on the better side of 0.
    ``p_value`` is that of a one-sided paired sign-flip test by scene, ``p_holm`` the same
    adjusted for all metrics measured together.
    """

    name: str
    head: str
    value: float
    low: float
    high: float
    chance: float
    count: float  # items: pixels, points, boxes, answers
    scenes: int  # scenes with at least one item
    better_than_chance: bool
    difference_low: float
    difference_high: float
    p_value: float
    p_holm: float
    interval: str  # method of low and high
    chance_is: str
    unit: str = ""
    higher_is_better: bool = True
    headline: bool = False
    beside: dict[str, float] = field(default_factory=dict)  # other levels to compare with

    def to_json(self) -> dict[str, Any]:
        """Return plain values; numbers that are not finite become None."""
        return _plain(asdict(self))


def measure(definition: Definition, scenes: Sequence[Sums], *, seed: int = 0) -> Metric:
    """Sum a metric over scenes and put the interval and the chance level beside it.

    Scenes without items (both denominators 0) are left out. Without any scene left, all numbers
    are NaN and the metric is not better than chance.
    """
    used = [sums for sums in scenes if sums.value[1] > 0 and sums.chance[1] > 0]
    table = np.array([[*sums.value, *sums.chance] for sums in used], dtype=np.float64)
    table = table.reshape(len(used), 4)
    total = table.sum(0)
    interval = cluster_bootstrap(table[:, :2], seed=seed)
    if definition.rate and len(used) > 1 and interval.low == interval.high:
        # Every scene agrees, so resampling cannot see the spread: count each scene once.
        interval = wilson_interval(len(used) * total[0] / total[1], len(used))
    above = cluster_bootstrap(table, difference_of_ratios, seed=seed)
    sign = 1 if definition.higher_is_better else -1
    differences = sign * difference_of_ratios(table)
    margin = sign * (above.low if definition.higher_is_better else above.high)
    return Metric(
        name=definition.name,
        head=definition.head,
        value=float(ratio_of_sums(total)),
        low=interval.low,
        high=interval.high,
        chance=float(ratio_of_sums(total[2:])),
        count=float(total[1]),
        scenes=len(used),
        better_than_chance=bool(margin > 0),
        difference_low=above.low,
        difference_high=above.high,
        p_value=sign_flip_test(differences, seed=seed),
        p_holm=float("nan"),
        interval=interval.method,
        chance_is=definition.chance,
        unit=definition.unit,
        higher_is_better=definition.higher_is_better,
        headline=definition.headline,
        beside=_beside(used),
    )


def measure_all(
    definitions: Sequence[Definition], scenes: Sequence[Mapping[str, Sums]], *, seed: int = 0
) -> list[Metric]:
    """Measure every defined metric over the scenes that have it; p-values are Holm-adjusted."""
    metrics = [
        measure(wanted, [scene[wanted.name] for scene in scenes if wanted.name in scene], seed=seed)
        for wanted in definitions
    ]
    adjusted = holm([metric.p_value for metric in metrics])
    return [
        Metric(**{**metric.__dict__, "p_holm": float(p)})
        for metric, p in zip(metrics, adjusted, strict=True)
    ]


def _beside(used: Sequence[Sums]) -> dict[str, float]:
    names = sorted({name for sums in used for name in sums.beside})
    table: dict[str, Array] = {
        name: np.array([sums.beside[name] for sums in used if name in sums.beside]).sum(0)
        for name in names
    }
    return {name: float(ratio_of_sums(total)) for name, total in table.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
