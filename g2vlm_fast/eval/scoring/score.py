"""One score: what it measures, and how its value comes of the sums over scenes."""

from __future__ import annotations

from dataclasses import dataclass, field

from g2vlm_fast.eval.protocol.records import Item, Row
from g2vlm_fast.eval.protocol.systems import Task
from g2vlm_fast.eval.statistics import Array, Statistic, ratio_of_sums

VERSION = 6
"""Raised whenever the same prediction of the same case may get other rows than before."""


def second_sum(sums: Array) -> Array:
    """Return the denominator of a ratio of sums: ``[..., columns] -> [...]``."""
    return sums[..., 1]


def third_per_second_sum(sums: Array) -> Array:
    """Return ``sums[..., 2] / sums[..., 1]``: the chance level of rows of (hits, tries, luck)."""
    return ratio_of_sums(sums[..., [2, 1]])


@dataclass(frozen=True)
class Score:
    """A score of a task.

    Attributes:
        formula: one line, in words, for the report.
        statistic: its value from the rows of scenes, added up, ``[..., columns] -> [...]``.
        items: on how many points, boxes or answers, from the same.
        headline: whether it is shown first.
        rate: whether it is a share of counted items, so that a score interval exists.
        chance: what a blind guess among what the system offers is expected to get, from the
            same; None where no such guess is defined.
    """

    name: str
    task: Task
    formula: str
    unit: str = ""
    higher_is_better: bool = True
    headline: bool = False
    rate: bool = False
    statistic: Statistic = ratio_of_sums
    items: Statistic = second_sum
    chance: Statistic | None = None


@dataclass(frozen=True)
class Judgement:
    """What the scores of one task find in one scene; nothing where the task is not asked there."""

    rows: dict[str, Row] = field(default_factory=dict)  # by name of the score
    items: tuple[Item, ...] = ()
