"""What is kept of an evaluation: sums of every scene, and what was said beside what is true."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Row = tuple[float, ...]
"""Sufficient statistics of one scene for one score: the rows of scenes add up."""


@dataclass(frozen=True)
class Item:
    """One thing that was asked of a scene, for people who look a scene up."""

    task: str
    kind: str  # of a question: "count", "direction", ...
    asked: str
    said: str
    truth: str
    score: float  # 0 to 1


@dataclass(frozen=True)
class SceneRecord:
    """One scored case.

    Attributes:
        rows: by name of the score.
        failure: why there was no usable prediction; empty if there was one. The rows of a failure
            are those of a prediction that says nothing.
        items: questions, phrases and captions with what was said of them.
        unasked: texts that something was said to, and that were not asked to the letter.
    """

    name: str
    rows: dict[str, Row]
    failure: str = ""
    items: tuple[Item, ...] = ()
    seconds: float = 0.0  # that the system took
    unasked: tuple[str, ...] = ()


@dataclass(frozen=True)
class Estimate:
    """A score over scenes with its 95 % interval.

    ``scenes`` counts those that have it, ``count`` what it was measured on: points, boxes, answers.
    ``chance`` is what a blind guess among what the system offers would get, NaN where none is
    defined.
    """

    name: str
    value: float
    low: float
    high: float
    interval: str  # method
    scenes: int
    count: float
    chance: float = float("nan")


@dataclass(frozen=True)
class Difference:
    """How much better a system is than another on the same scenes, in one score.

    ``value`` is positive where the first system is better; ``p_value`` is that of the two-sided
    permutation test that exchanges the systems in some scenes, ``p_holm`` the same adjusted for
    all scores compared, ``effect`` that of single scenes, which weigh alike.
    """

    name: str
    value: float
    low: float
    high: float
    p_value: float
    p_holm: float
    effect: float  # Cohen's d of the paired differences
    scenes: int


@dataclass(frozen=True)
class Summary:
    """An evaluation in numbers."""

    system: str
    benchmark: str
    fingerprint: str  # of the benchmark
    looks_at_truth: bool
    tasks: tuple[str, ...]
    scenes: int
    failures: dict[str, str]  # by scene
    estimates: tuple[Estimate, ...]
    by_kind: dict[str, Estimate] = field(default_factory=dict)  # answers by kind of question
    versions: dict[str, Any] = field(default_factory=dict)  # of packages, hardware, date
    unasked: dict[str, tuple[str, ...]] = field(default_factory=dict)  # texts by scene
