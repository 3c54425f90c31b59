"""Metrics as a table for people and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from g2vlm_fast.eval.metric import Metric


def to_json(metrics: Sequence[Metric]) -> str:
    """Return a JSON list with one object a metric; undefined numbers are null."""
    return json.dumps([metric.to_json() for metric in metrics], indent=2)


def verdict(metric: Metric) -> str:
    """Say in words how a metric compares with chance."""
    if metric.scenes == 0:
        return "not measured"
    if metric.better_than_chance:
        return "better"
    worse = metric.difference_high < 0 if metric.higher_is_better else metric.difference_low > 0
    return "worse" if worse else "not shown"


def to_table(metrics: Sequence[Metric], *, headlines_only: bool = False) -> Any:
    """Return a rich table: value with 95 % interval, chance, and whether it is better.

    The last column holds what the input gives without learning, where that is defined.
    """
    from rich.table import Table

    shown = [metric for metric in metrics if metric.headline or not headlines_only]
    scenes = max((metric.scenes for metric in shown), default=0)
    table = Table(title=f"Held-out metrics, 95 % intervals over {scenes} scenes")
    for column in ("head", "metric", "better if"):
        table.add_column(column)
    for column in ("value", "95 % interval", "chance"):
        table.add_column(column, justify="right")
    table.add_column("than chance")
    table.add_column("without learning", justify="right")
    for metric in shown:
        style = {"better": "green", "worse": "red"}.get(verdict(metric), "yellow")
        table.add_row(
            metric.head,
            f"[bold]{metric.name}[/bold]" if metric.headline else metric.name,
            "higher" if metric.higher_is_better else "lower",
            _number(metric.value, metric.unit),
            f"{_number(metric.low)} to {_number(metric.high)}",
            _number(metric.chance),
            f"[{style}]{verdict(metric)}[/{style}]",
            ", ".join(_number(value) for value in metric.beside.values()),
        )
    return table


def _number(value: float, unit: str = "") -> str:
    if not math.isfinite(value):
        return "-"
    digits = 1 if abs(value) >= 10 else 3
    return f"{value:.{digits}f} {unit}".strip()
