"""Cross-modal retrieval from similarity scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def retrieval_ranks(similarity: ArrayLike, relevant: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the rank ``[Q]`` of the best relevant item of each query; 1 is first.

    Items that tie with it count half each, which is the expected rank under random order: a
    model that scores everything alike gets chance, not success.

    Args:
        similarity: ``[Q, G]``, of each query to each gallery item; higher is closer.
        relevant: ``[Q, G]``, the items that answer the query (all of identical content).

    Raises:
        ValueError: shapes differ, a score is NaN, or a query has no relevant item.
    """
    scores = np.asarray(similarity, dtype=np.float64)
    if scores.shape != relevant.shape or scores.ndim != 2:
        raise ValueError(
            f"retrieval_ranks: similarity and relevant must have one shape [queries, gallery], "
            f"got {list(scores.shape)} and {list(relevant.shape)}"
        )
    if np.isnan(scores).any():
        raise ValueError("retrieval_ranks: similarity has NaN")
    if not relevant.any(1).all():
        raise ValueError("retrieval_ranks: a query has no relevant item in the gallery")
    best = np.where(relevant, scores, -np.inf).max(1, keepdims=True)
    better = (scores > best).sum(1)
    ties = ((scores == best) & ~relevant).sum(1)
    tied_relevant = ((scores == best) & relevant).sum(1)
    return 1.0 + better + ties / (tied_relevant + 1.0)


def recall_at(ranks: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Return 1 for each query whose best relevant item is among the first ``k``, else 0."""
    return (ranks <= k).astype(np.float64)
