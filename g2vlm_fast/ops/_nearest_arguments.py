"""What searches for neighbours check of their arguments, and the work of comparing all pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from g2vlm_fast.ops._checks import INT32_MAX, check_choice, check_integer, check_number


def check_neighbours(op: str, k: int, queries: int) -> None:
    """Check how many neighbours are searched for, and that all of them can be counted."""
    check_integer(op, "k", k, 1, INT32_MAX)
    if queries * k > INT32_MAX:
        raise ValueError(
            f"{op}: k must leave n * k at most {INT32_MAX}, got k = {k} for {queries} queries; "
            "search for fewer queries at a time"
        )


def checked_bound(op: str, norm: int, max_distance: float | None) -> float:
    """Check a norm and a largest distance, and return it in the unit of that norm's distances."""
    check_choice(op, "norm", norm, (1, 2))
    if max_distance is None:
        return torch.inf
    check_number(op, "max_distance", max_distance)
    if max_distance < 0:
        raise ValueError(f"{op}: max_distance must be at least 0, got {max_distance}")
    return float(max_distance) if norm == 1 else float(max_distance) * max_distance


def all_pairs_flops(
    query: Sequence[int],
    target: Sequence[int],
    query_offsets: Sequence[int] | None,
    target_offsets: Sequence[int] | None,
    *options: Any,
    **_: Any,
) -> int:
    """All pairs of equally long segments: a difference and a multiply-add a coordinate."""
    offsets = query_offsets or target_offsets
    segments = 1 if offsets is None else offsets[0] - 1
    return 3 * query[0] * target[0] * query[1] // segments
