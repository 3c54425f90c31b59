"""Random draws that are the same on every machine and in every version of NumPy.

NumPy promises a fixed stream for its bit generators and its ``SeedSequence`` (NEP 19), not for
what ``Generator`` makes of the bits; so integers are taken from the raw 64-bit words here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")


class Draws:
    """Integer draws from PCG64 (O'Neill 2014), seeded by one or more integers."""

    def __init__(self, *seed: int) -> None:
        if any(part < 0 for part in seed):
            raise ValueError(f"Draws: seeds must be 0 or larger, got {seed}")
        self._bits = np.random.PCG64(seed)

    def integer(self, low: int, high: int) -> int:
        """Return an integer from ``low`` to ``high``, both included."""
        if high < low:
            raise ValueError(f"Draws.integer: high must not be below low, got {low} and {high}")
        return low + int(self._bits.random_raw()) % (high - low + 1)

    def chance(self, probability: float) -> bool:
        """Return True with a probability that is rounded to a millionth."""
        return self.integer(0, 999_999) < round(probability * 1_000_000)

    def choice(self, items: Sequence[Item]) -> Item:
        """Return one of the items, all equally likely."""
        if not items:
            raise ValueError("Draws.choice: items must not be empty")
        return items[self.integer(0, len(items) - 1)]

    def shuffled(self, items: Sequence[Item]) -> list[Item]:
        """Return the items in random order (Fisher and Yates)."""
        result = list(items)
        for last in range(len(result) - 1, 0, -1):
            other = self.integer(0, last)
            result[last], result[other] = result[other], result[last]
        return result
