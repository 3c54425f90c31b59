"""Rectangles laid into a square without overlap."""

from __future__ import annotations

import math

import numpy as np

_GROWTH = 1.02  # of the side of the square, from one attempt to the next


def pack(sizes: np.ndarray, margin: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Lay rectangles on shelves, the tallest first (next-fit decreasing height).

    Source: Coffman, Garey, Johnson and Tarjan, "Performance bounds for level-oriented
    two-dimensional packing algorithms", SIAM Journal on Computing 1980.

    Args:
        sizes: ``[n, 2]`` width and height, of any unit; at least one rectangle.
        margin: least distance between rectangles and to the sides of the square.

    Returns:
        Lower left corners ``[n, 2]``, whether each is laid on its side ``[n]``, and the side of
        the square.

    Raises:
        ValueError: no rectangles.
    """
    if len(sizes) == 0:
        raise ValueError("pack: sizes must hold at least one rectangle")
    turned = sizes[:, 1] > sizes[:, 0]
    laid = np.where(turned[:, None], sizes[:, ::-1], sizes)
    needed = laid + margin
    order = np.argsort(-needed[:, 1], kind="stable")
    side = max(math.sqrt(needed.prod(1).sum()), needed[:, 0].max()) + margin
    while True:
        places, height = _shelves(needed, order, side, margin)
        if height <= side:
            return places, turned, side
        side *= _GROWTH


def _shelves(
    needed: np.ndarray, order: np.ndarray, side: float, margin: float
) -> tuple[np.ndarray, float]:
    """Corners of rectangles in rows of a width, and the height that the rows take."""
    places = np.empty_like(needed)
    x = y = margin
    rise = 0.0
    for index in order:
        width, height = needed[index]
        if x + width > side and x > margin:
            x, y, rise = margin, y + rise, 0.0
        places[index] = x, y
        x += width
        rise = max(rise, height)
    return places, y + rise
