"""Charts as figures in files, PNG to look at and SVG to print."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from g2vlm_fast.files import replacing
from g2vlm_fast.report.charts import SERIES_COLORS, DotChart, DotRow

_MARKERS = ("o", "s", "D", "^", "v", "P")
_INK, _SOFT, _LINE = "#1b1f27", "#5c6470", "#e3e6eb"
_STYLE = {
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": _INK,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _SOFT,
    "xtick.color": _SOFT,
    "ytick.color": _INK,
    "svg.fonttype": "none",
    "svg.hashsalt": "g2vlm-fast",  # the same file for the same numbers
}
_WIDTH = 5.4  # inches of one chart
_ROW, _AROUND = 0.26, 0.85
_GOLDEN = 0.618034


def write_plot(charts: Sequence[DotChart], stem: Path, *, columns: int = 1) -> None:
    """Draw charts on one sheet and write ``stem.png`` and ``stem.svg``.

    Args:
        charts: at least one; each has an axis of its own.
        stem: path without suffix; the folder must exist.
        columns: how many stand side by side.

    Raises:
        ValueError: there is no chart.
        OSError: a file cannot be written.
    """
    import matplotlib

    if not charts:
        raise ValueError("write_plot: expected at least one chart, got none")
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a box stands for it
        figure = _sheet(charts, columns)
        for suffix, options in (("png", {"dpi": 160}), ("svg", {"metadata": {"Date": None}})):
            with replacing(stem.with_name(f"{stem.name}.{suffix}")) as draft:
                figure.savefig(draft, facecolor="white", bbox_inches="tight", **options)


def _sheet(charts: Sequence[DotChart], columns: int) -> Any:
    from matplotlib.figure import Figure

    columns = min(columns, len(charts))
    lines = [charts[start : start + columns] for start in range(0, len(charts), columns)]
    heights = [_AROUND + _ROW * max(len(chart.rows) for chart in line) for line in lines]
    figure = Figure(figsize=(_WIDTH * columns, sum(heights)), layout="constrained")
    grid = figure.add_gridspec(len(lines), columns, height_ratios=heights)
    for number, chart in enumerate(charts):
        _draw(figure.add_subplot(grid[divmod(number, columns)]), chart)
    return figure


def _draw(axes: Any, chart: DotChart) -> None:
    for place, row in enumerate(chart.rows):
        _row(axes, place, row, chart)
    labels = [row.label for row in chart.rows]
    axes.set_yticks(range(len(labels)), labels, parse_math=False)  # a name may hold a $
    axes.set_ylim(len(chart.rows) - 0.4, -0.6)
    margin = 0.02 * (chart.axis.high - chart.axis.low)
    axes.set_xlim(chart.axis.low - margin, chart.axis.high + margin)
    arrow = {True: " ↑", False: " ↓", None: ""}[chart.higher_is_better]
    unit = f" ({chart.unit})" if chart.unit else ""
    title = f"{chart.title}{unit}{arrow}"
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold", parse_math=False)
    axes.grid(axis="x", color=_LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _row(axes: Any, place: int, row: DotRow, chart: DotChart) -> None:
    color = SERIES_COLORS[row.series % len(SERIES_COLORS)]
    dots = np.array(row.dots, dtype=np.float64)
    heights = place + 0.6 * (np.arange(len(dots)) * _GOLDEN % 1 - 0.5)
    finite = np.isfinite(dots)
    axes.scatter(
        dots[finite].clip(chart.axis.low, chart.axis.high), heights[finite],
        s=7, color=color, alpha=0.25, linewidths=0, zorder=2,
    )  # fmt: skip
    if math.isfinite(row.reference):
        axes.plot([row.reference] * 2, [place - 0.45, place + 0.45], color=_SOFT, linewidth=0.9)
    if math.isfinite(row.low) and math.isfinite(row.high):
        axes.plot(
            [row.low, row.high], [place, place], color=color, linewidth=2.2,
            solid_capstyle="round", zorder=3,
        )  # fmt: skip
    if math.isfinite(row.value):
        axes.plot(
            row.value, place, _MARKERS[row.series % len(_MARKERS)], color=color, markersize=6.5,
            markeredgecolor="white", markeredgewidth=0.8, zorder=4,
        )  # fmt: skip
