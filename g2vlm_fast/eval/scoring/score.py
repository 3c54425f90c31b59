"""One score: what it measures, and how its value comes of the sums over scenes."""

from __future__ import annotations

from dataclasses import dataclass

from g2vlm_fast.eval.protocol.systems import Task
from g2vlm_fast.eval.statistics import Statistic, ratio_of_sums


@dataclass(frozen=True)
class Score:
    """A score of a task.

    Attributes:
        formula: one line, in words, for the report.
        statistic: its value from the rows of scenes, added up, ``[..., columns] -> [...]``.
        headline: whether it is shown first.
        rate: whether it is a share of counted items, so that a score interval exists.
    """

    name: str
    task: Task
    formula: str
    unit: str = ""
    higher_is_better: bool = True
    headline: bool = False
    rate: bool = False
    statistic: Statistic = ratio_of_sums
