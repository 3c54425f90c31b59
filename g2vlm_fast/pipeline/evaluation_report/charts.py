"""The charts of the report, for the page and for files."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from g2vlm_fast.eval.protocol.records import Difference, Estimate
from g2vlm_fast.eval.scoring.score import Score
from g2vlm_fast.pipeline.evaluation_report.material import Judged, Material, title_of
from g2vlm_fast.report.charts import Axis, DotChart, DotRow, axis_from_zero, round_up

_SHOWN_DOTS = 0.95
"""Share of scenes that the axis of an error without an upper end must hold."""


def score_chart(score: Score, material: Material, *, with_scenes: bool = False) -> DotChart:
    """Return one score of all systems that have it, with a dot for each scene if asked for."""
    rows = [
        estimate_row(
            each,
            each.estimates[score.name],
            [each.scene_value(score, scene) for scene in material.scenes] if with_scenes else (),
            each.chance(score),
        )
        for each in material.judged
        if score.name in each.estimates
    ]
    return DotChart(
        title=title_of(score),
        subtitle=score.formula,
        rows=tuple(rows),
        axis=_axis(rows),
        higher_is_better=score.higher_is_better,
        unit=score.unit,
    )


def kind_chart(kind: str, material: Material) -> DotChart:
    """Return how often questions of a kind were answered right."""
    rows = [
        estimate_row(each, each.summary.by_kind[kind])
        for each in material.judged
        if kind in each.summary.by_kind
    ]
    return DotChart(
        title=kind.replace("_", " "), subtitle="", rows=tuple(rows), axis=Axis(0.0, 1.0)
    )


def difference_chart(
    differences: Sequence[Difference], scores: dict[str, Score], title: str, series: int
) -> DotChart:
    """Return differences, each in units of its own reach, so that one axis holds all scores."""
    rows = []
    for each in differences:
        row, span = difference_row(each, scores[each.name], series), reach(each) or 1.0
        shares = (row.value / span, row.low / span, row.high / span)
        rows.append(DotRow(row.label, series, *shares, reference=0.0))
    return DotChart(
        title=title,
        subtitle="right of the line: the first is better; each score on a scale of its own",
        rows=tuple(rows),
        axis=Axis(-1.0, 1.0),
        higher_is_better=None,
    )


def difference_row(difference: Difference, score: Score, series: int) -> DotRow:
    """Return a difference as a row of a chart, positive where the first system is better."""
    return DotRow(
        title_of(score), series, difference.value, difference.low, difference.high, reference=0.0
    )


def reach(difference: Difference) -> float:
    """Return how far a difference and its interval go from 0."""
    numbers = (difference.value, difference.low, difference.high)
    return max((abs(number) for number in numbers if math.isfinite(number)), default=0.0)


def estimate_row(
    each: Judged, estimate: Estimate, dots: Sequence[float] = (), chance: float = math.nan
) -> DotRow:
    """Return an estimate as a row of a chart."""
    return DotRow(
        each.label, each.number, estimate.value, estimate.low, estimate.high, tuple(dots), chance
    )


def _axis(rows: Iterable[DotRow]) -> Axis:
    """From 0 to what holds all values, their intervals and all but the most extreme scenes."""
    rows = list(rows)
    bare = [replace(row, dots=()) for row in rows]
    axis = axis_from_zero(bare)
    dots = np.array([dot for row in rows for dot in row.dots])
    dots = dots[np.isfinite(dots)]
    if not dots.size:
        return axis
    if dots.min() >= 0 and dots.max() <= 1 and axis.low >= 0:
        return Axis(0.0, round_up(max(axis.high, float(dots.max()))))
    far = round_up(float(np.quantile(abs(dots), _SHOWN_DOTS)))
    high = max(axis.high, far)
    return Axis(-high if axis.low < 0 or dots.min() < 0 else 0.0, high)
