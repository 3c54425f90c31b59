"""Values with their intervals on one axis, drawn by ``whiskers`` (HTML) and ``plots`` (files)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_ROUND = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
SERIES_COLORS = (
    "#2456c8", "#d0661b", "#14855f", "#8d4bc4", "#b3372f", "#0f86a8", "#8a6d12", "#5c6470",
)  # fmt: skip
"""Of the systems, in order; told apart with the common forms of colour blindness."""


@dataclass(frozen=True)
class Axis:
    """A stretch of numbers that a chart shows."""

    low: float
    high: float

    def share(self, value: float) -> float:
        """Where a value stands: 0 at the low end, 1 at the high end, never beyond."""
        if self.high == self.low:
            return 0.5
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    def holds(self, value: float) -> bool:
        """Whether a value can be drawn without moving it."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class DotRow:
    """A value with its interval; what is not finite is not drawn."""

    label: str
    series: int  # number of the system, which gives colour and shape
    value: float
    low: float
    high: float
    dots: Sequence[float] = ()  # of single scenes
    reference: float = math.nan  # what the value is held against: chance, or no difference


@dataclass(frozen=True)
class DotChart:
    """Rows that share an axis."""

    title: str
    subtitle: str
    rows: tuple[DotRow, ...]
    axis: Axis
    unit: str = ""
    higher_is_better: bool | None = True  # None: neither, as of a difference


def axis_from_zero(rows: Iterable[DotRow]) -> Axis:
    """Return an axis from 0 to a round number that holds all that is finite in the rows.

    Rows with negative numbers get an axis as long on both sides of 0.
    """
    shown = [
        number
        for row in rows
        for number in (row.value, row.low, row.high, row.reference, *row.dots)
        if math.isfinite(number)
    ]
    end = round_up(max(map(abs, shown), default=0.0))
    return Axis(-end if min(shown, default=0.0) < 0 else 0.0, end)


def round_up(value: float) -> float:
    """Return the next round number, as an axis ends with; 1 for 0."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in _ROUND if step * power >= value * (1 - 1e-9))
