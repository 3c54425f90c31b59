"""Dots with whiskers as inline SVG, which takes its colours from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from g2vlm_fast.report.charts import Axis, DotRow
from g2vlm_fast.report.markup import Markup, tag

_GOLDEN = 0.618034
_SHAPES = (
    "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0z",  # disc
    "M-4.6-4.6h9.2v9.2h-9.2z",  # square
    "M0-6.2L6.2 0 0 6.2-6.2 0z",  # diamond
    "M0-6L5.8 4.4H-5.8z",  # triangle
    "M0 6L5.8-4.4H-5.8z",  # triangle upside down
    "M-2-6h4v4h4v4h-4v4h-4v-4h-4v-4h4z",  # cross
)


def whisker(row: DotRow, axis: Axis, *, links: Sequence[tuple[str, str]] = ()) -> Markup:
    """Draw one row.

    Args:
        row: what is drawn: scenes as faint dots, the interval as a line, the value as a mark, and
            a thin line across at its reference.
        axis: where the ends of the drawing stand.
        links: address and tooltip of each of ``row.dots``, where these lead somewhere.
    """
    parts = [tag("line", class_="axis", x1="0%", x2="100%", y1="50%", y2="50%")]
    if math.isfinite(row.reference):
        at = _percent(axis, row.reference)
        parts.append(tag("line", class_="reference", x1=at, x2=at, y1="0%", y2="100%"))
    parts += _dots(row, axis, links)
    if math.isfinite(row.low) and math.isfinite(row.high):
        ends = {"x1": _percent(axis, row.low), "x2": _percent(axis, row.high)}
        parts.append(tag("line", class_="interval", y1="50%", y2="50%", **ends))
    if math.isfinite(row.value):
        parts.append(_mark(row.series, _percent(axis, row.value)))
    told = f"{row.label}: {row.value:.4g}, 95 % interval {row.low:.4g} to {row.high:.4g}"
    height = "tall" if row.dots else ""
    return tag(
        "svg", *parts, class_=f"whisker series-{series_class(row.series)} {height}".rstrip(),
        role="img", aria_label=told, width="100%",
    )  # fmt: skip


def marks(rows: Sequence[DotRow], axis: Axis) -> Markup:
    """Draw the values of several systems on one axis, without intervals, none behind another."""
    step = min(28.0, 80.0 / len(rows))
    parts = [tag("line", class_="axis", x1="0%", x2="100%", y1="50%", y2="50%")]
    parts += [
        tag(
            "g",
            _mark(
                row.series,
                _percent(axis, row.value),
                f"{50 + step * (place - (len(rows) - 1) / 2):.0f}%",
            ),
            class_=f"series-{series_class(row.series)}",
        )
        for place, row in enumerate(rows)
        if math.isfinite(row.value)
    ]  # fmt: skip
    told = ", ".join(f"{row.label}: {row.value:.3g}" for row in rows)
    title = tag("title", told)
    return tag("svg", title, *parts, class_="whisker", role="img", aria_label=told, width="100%")


def mark(series: int) -> Markup:
    """Return the mark of a system, for a legend."""
    return tag(
        "svg", _mark(series, "50%"), class_=f"legend-mark series-{series_class(series)}",
        aria_hidden="true", width=16, height=16,
    )  # fmt: skip


def series_class(series: int) -> int:
    """Return the number of a system's colour, of which there are eight."""
    return series % 8


def axis_ends(axis: Axis, shown: Callable[[float], str]) -> Markup:
    """Return the numbers at the ends of an axis."""
    return tag(
        "div", tag("span", shown(axis.low)), tag("span", shown(axis.high)),
        class_="axis-ends", aria_hidden="true",
    )  # fmt: skip


def _mark(series: int, at: str, height: str = "50%") -> Markup:
    shape = tag("path", class_="mark", d=_SHAPES[series % len(_SHAPES)])
    return tag("svg", shape, x=at, y=height, overflow="visible")


def _dots(row: DotRow, axis: Axis, links: Sequence[tuple[str, str]]) -> list[Markup]:
    drawn = []
    for number, value in enumerate(row.dots):
        if not math.isfinite(value):
            continue
        height = f"{12 + 76 * (number * _GOLDEN % 1):.0f}%"
        dot = tag("circle", class_="scene", cx=_percent(axis, value), cy=height, r=2.6)
        if links:
            address, told = links[number]
            dot = tag("a", tag("title", told), dot, href=address, tabindex=-1)
        drawn.append(dot)
    return drawn


def _percent(axis: Axis, value: float) -> str:
    return f"{100 * axis.share(value):.2f}%"
