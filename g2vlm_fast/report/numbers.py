"""Numbers as people read them."""

from __future__ import annotations

import math


def shown(value: float, unit: str = "") -> str:
    """Return a number with three digits that count and its unit.

    What is undefined is a dash.
    """
    if math.isnan(value):
        return "-"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if abs(value) < 1e-12:
        return f"0 {unit}".rstrip()
    digits = 3 if abs(value) < 1 else 2 if abs(value) < 10 else 1 if abs(value) < 1000 else 0
    text = f"{value:,.{digits}f}"
    if 0 < abs(value) < 0.01:
        text = f"{value:.2g}"
    return f"{text} {unit}".rstrip()


def signed(value: float, unit: str = "") -> str:
    """Return a difference, which always has its sign."""
    return f"+{shown(value, unit)}" if value > 0 else shown(value, unit)


def shown_range(low: float, high: float) -> str:
    """Return an interval."""
    if math.isnan(low) or math.isnan(high):
        return "undefined"
    return f"{shown(low)} to {shown(high)}"


def shown_p(p_value: float) -> str:
    """Return a p-value; very small ones as a bound."""
    if math.isnan(p_value):
        return "-"
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def counted(number: int, noun: str) -> str:
    """Return a number of things, "1 scene" or "50 scenes"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
