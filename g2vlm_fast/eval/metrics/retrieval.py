"""Cross-modal retrieval from similarity scores, each measure beside its chance level.

Of what counts as found: any item whose content is identical to that of the wanted one answers a
query (:func:`same_content`), and items of equal score share their places as a random order
would. Numbers over galleries of different sizes do not compare; chance is that of the gallery.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

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
    scores = _checked("retrieval_ranks", similarity, relevant)
    best = np.where(relevant, scores, -np.inf).max(1, keepdims=True)
    better = (scores > best).sum(1)
    ties = ((scores == best) & ~relevant).sum(1)
    tied_relevant = ((scores == best) & relevant).sum(1)
    return 1.0 + better + ties / (tied_relevant + 1.0)


def recall_at(ranks: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Return 1 for each query whose best relevant item is among the first ``k``, else 0."""
    return (ranks <= k).astype(np.float64)


def expected_recall(
    similarity: ArrayLike, relevant: NDArray[np.bool_], k: int
) -> NDArray[np.float64]:
    """Return ``[Q]`` the probability that a relevant item is among the first ``k``.

    Items of equal score stand in random order, so that a model that scores everything alike gets
    exactly what chance gets, where :func:`recall_at` of an expected rank is all or nothing.
    Arguments and errors as of :func:`retrieval_ranks`.
    """
    scores = _checked("expected_recall", similarity, relevant)
    best = np.where(relevant, scores, -np.inf).max(1, keepdims=True)
    places = k - (scores > best).sum(1)
    tied = scores == best
    return np.array(
        [
            _first_within(int(row.sum()), int((row & wanted).sum()))[min(left, row.sum()) - 1]
            if left > 0
            else 0.0
            for row, wanted, left in zip(tied, relevant, places, strict=True)
        ]
    )


@dataclass(frozen=True)
class RetrievalScores:
    """Measures over queries; ranks start at 1.

    Attributes:
        recall: share of queries with a relevant item among the first k, by k.
        median_rank: of the best relevant item.
        mean_reciprocal_rank: of the best relevant item.
        mean_average_precision: over all relevant items.
        ndcg: normalised discounted cumulative gain over the whole gallery, gains 0 and 1.
    """

    recall: dict[int, float]
    median_rank: float
    mean_reciprocal_rank: float
    mean_average_precision: float
    ndcg: float


def same_content(queries: Sequence[Hashable], gallery: Sequence[Hashable]) -> NDArray[np.bool_]:
    """Return ``[Q, G]`` which gallery items answer each query: all with the same content.

    Raises:
        ValueError: a query whose content is nowhere in the gallery; it could not be found, so
            add its item or say so and leave the query out.
    """
    numbers: dict[Hashable, int] = {}
    for content in gallery:
        numbers.setdefault(content, len(numbers))
    missing = [content for content in queries if content not in numbers]
    if missing:
        raise ValueError(
            f"same_content: {len(missing)} of {len(queries)} queries have nothing in the gallery, "
            f"{missing[0]!r} among them"
        )
    wanted = np.array([numbers[content] for content in queries], dtype=np.int64)
    relevant: NDArray[np.bool_] = wanted[:, None] == np.array([numbers[each] for each in gallery])
    return relevant


def retrieval_scores(
    similarity: ArrayLike, relevant: NDArray[np.bool_], *, ks: Sequence[int] = (1, 5, 10)
) -> RetrievalScores:
    """Score every measure of retrieval.

    Args:
        similarity: ``[Q, G]``; higher is closer.
        relevant: ``[Q, G]``.
        ks: of the recalls.

    Raises:
        ValueError: as of :func:`retrieval_ranks`.

    Source: Karpathy and Fei-Fei, CVPR 2015 (R@K and median rank); Manning, Raghavan and Schuetze,
    "Introduction to Information Retrieval", 2008, chapter 8.
    """
    ranks = retrieval_ranks(similarity, relevant)
    return RetrievalScores(
        {k: float(recall_at(ranks, k).mean()) for k in ks},
        float(np.median(ranks)),
        float((1 / ranks).mean()),
        float(average_precision(similarity, relevant).mean()),
        float(ndcg(similarity, relevant).mean()),
    )


def average_precision(similarity: ArrayLike, relevant: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the average precision ``[Q]``: precision where recall rises, times the rise.

    Items of equal score enter together, so that a constant score gets the share of relevant
    items. Known variants interpolate precision (PASCAL VOC) or cut the list.
    """
    scores = _checked("average_precision", similarity, relevant)
    values = []
    for row, wanted in zip(scores, relevant, strict=True):
        order = np.argsort(-row, kind="stable")
        hits = np.cumsum(wanted[order])
        ranked = row[order]
        ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(row) - 1)
        rise = np.diff(hits[ends], prepend=0) / hits[-1]
        values.append(float((rise * hits[ends] / (ends + 1)).sum()))
    return np.array(values)


def ndcg(similarity: ArrayLike, relevant: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return ``[Q]`` the discounted gain ``sum 1 / log2(1 + rank)`` over that of the best order.

    Items of equal score share the discounts of their places. Source: Jarvelin and Kekalainen,
    TOIS 2002; ties by McSherry and Najork, ECIR 2008.
    """
    scores = _checked("ndcg", similarity, relevant)
    discount = _discounts(scores.shape[1])
    values = []
    for row, wanted in zip(scores, relevant, strict=True):
        _, group = np.unique(-row, return_inverse=True)
        size = np.bincount(group)
        ends = np.cumsum(size)
        reach = np.append(0.0, np.cumsum(discount))
        shared = (reach[ends] - reach[ends - size]) / size
        values.append(float(shared[group][wanted].sum() / discount[: wanted.sum()].sum()))
    return np.array(values)


def retrieval_chance(
    relevant: NDArray[np.bool_], *, ks: Sequence[int] = (1, 5, 10)
) -> RetrievalScores:
    """Return what a random order of the gallery is expected to score on these queries.

    The median rank is that of the mixture of all queries. Source of the expected average
    precision: Bestgen, "Exact expected average precision of the random baseline", 2015.
    """
    relevant = np.asarray(relevant, dtype=bool)
    _checked("retrieval_chance", np.zeros(relevant.shape), relevant)
    gallery = relevant.shape[1]
    numbers, queries = np.unique(relevant.sum(1), return_counts=True)
    share = queries / queries.sum()
    found = np.array([_first_within(gallery, int(number)) for number in numbers])  # [numbers, G]
    within = share @ found
    first = np.diff(within, prepend=0.0)
    places = np.arange(1, gallery + 1)
    harmonic = float((1 / places).sum())
    precision = [
        (harmonic + (number - 1) * (gallery - harmonic) / max(gallery - 1, 1)) / gallery
        for number in numbers
    ]
    discount = _discounts(gallery)
    gain = [number * discount.mean() / discount[:number].sum() for number in numbers]
    return RetrievalScores(
        {k: float(within[min(k, gallery) - 1]) for k in ks},
        float(places[np.argmax(within >= 0.5 - 1e-12)]),
        float((first / places).sum()),
        float(share @ precision),
        float(share @ gain),
    )


def _first_within(gallery: int, relevant: int) -> NDArray[np.float64]:
    """Return ``[G]`` the probability that one of ``relevant`` items is among the first k."""
    drawn = np.arange(gallery)
    missing = np.maximum(gallery - relevant - drawn, 0) / (gallery - drawn)
    return 1.0 - np.cumprod(missing, dtype=np.float64)


def _discounts(gallery: int) -> NDArray[np.float64]:
    discount: NDArray[np.float64] = 1 / np.log2(1.0 + np.arange(1, gallery + 1))
    return discount


def _checked(
    function: str, similarity: ArrayLike, relevant: NDArray[np.bool_]
) -> NDArray[np.float64]:
    scores = np.asarray(similarity, dtype=np.float64)
    if scores.shape != relevant.shape or scores.ndim != 2 or not scores.size:
        raise ValueError(
            f"{function}: similarity and relevant must have one shape [queries, gallery], not "
            f"empty, got {list(scores.shape)} and {list(relevant.shape)}"
        )
    if np.isnan(scores).any():
        raise ValueError(f"{function}: similarity has NaN; an item that failed scores -inf")
    if not relevant.any(1).all():
        raise ValueError(f"{function}: a query has no relevant item in the gallery")
    return scores
