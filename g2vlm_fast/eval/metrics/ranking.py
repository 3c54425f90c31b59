"""Places in ranked lists, where equal scores share their places fairly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.eval.metrics._arguments import Array


@dataclass(frozen=True)
class Places:
    """Where wanted items stand in ranked lists.

    Attributes:
        ahead: ``[n]``, how many items score higher; infinite where an item is not in its list.
        ties: ``[n]``, how many items score the same, itself included.
        kind: ``[n]``, the class or predicate of each wanted item.
    """

    ahead: Array
    ties: Array
    kind: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ahead)

    def hits(self, k: int) -> Array:
        """Return ``[n]`` the probability that each is among the first ``k``, ties in random order.

        A list of equal scores thus gets what chance gets, wherever the wanted items stand.
        """
        if k < 1:
            raise ValueError(f"Places.hits: k must be at least 1, got {k}")
        return np.clip((k - self.ahead) / self.ties, 0.0, 1.0)

    def recall(self, k: int) -> float:
        """Mean of :meth:`hits`; NaN where nothing is wanted."""
        return float(self.hits(k).mean()) if len(self) else float("nan")

    def recall_by_kind(self, k: int, num_kinds: int) -> Array:
        """Return ``[num_kinds]`` the recall of each kind, the last included; NaN where absent."""
        if len(self) and not 0 <= self.kind.min() <= self.kind.max() < num_kinds:
            raise ValueError(
                f"Places.recall_by_kind: kinds must lie in 0 to {num_kinds - 1}, got "
                f"{self.kind.min()} to {self.kind.max()}"
            )
        hits = np.bincount(self.kind, self.hits(k), minlength=num_kinds)
        wanted = np.bincount(self.kind, minlength=num_kinds)
        return np.where(wanted > 0, hits / np.maximum(wanted, 1), np.nan)
