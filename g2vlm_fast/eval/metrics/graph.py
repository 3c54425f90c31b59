"""Scene graphs: detections against true objects, triplets against true relations.

All scores are counts of true positives, predictions and truths, so that scenes can be summed
before F1 is formed: ``F1 = 2 TP / (predicted + true)``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Counts(NamedTuple):
    """True positives, everything predicted, everything true."""

    true_positive: float
    predicted: float
    true: float

    @property
    def f1_sums(self) -> tuple[float, float]:
        """Numerator and denominator of F1, which add over scenes."""
        return 2.0 * self.true_positive, float(self.predicted + self.true)

    @property
    def recall_sums(self) -> tuple[float, float]:
        """Numerator and denominator of recall."""
        return float(self.true_positive), float(self.true)

    @property
    def exact(self) -> bool:
        """Whether everything true was predicted and nothing else."""
        return self.true_positive == self.predicted == self.true


def graph_is_exact(objects: Counts, triplets: Counts) -> bool:
    """Whether a scene graph is the true one: every object and every decided relation, no more.

    The mean over scenes is the exact-graph rate; a scene whose true and predicted graphs are both
    empty is exact.
    """
    return objects.exact and triplets.exact


def detection_counts(
    matches: list[tuple[int, int]],
    predicted_class: NDArray[np.int64] | None,
    true_class: NDArray[np.int64] | None,
    predicted: int,
    true: int,
) -> Counts:
    """Count matched boxes; with classes given, a match of unequal classes is no true positive."""
    hits = len(matches)
    if predicted_class is not None and true_class is not None:
        hits = sum(int(predicted_class[i] == true_class[j]) for i, j in matches)
    return Counts(hits, predicted, true)


def node_relation_counts(predicted: NDArray[np.bool_], labels: NDArray[np.int8]) -> Counts:
    """Count triplets where the nodes are given (predicate classification).

    Args:
        predicted: ``[P, R]``, whether each predicate is asserted of each ordered pair.
        labels: ``[P, R]``: 1 holds, 0 does not, -1 undecided; undecided ones are never scored.

    Source: the PredCls mode of Lu et al., ECCV 2016, with F1 in place of recall at K, which the
    closed and complete ontology of generated rooms allows.
    """
    scored = labels >= 0
    asserted = predicted & scored
    holds = labels == 1
    return Counts(int((asserted & holds).sum()), int(asserted.sum()), int(holds.sum()))


def triplet_counts(
    pairs: NDArray[np.int64],
    asserted: NDArray[np.bool_],
    matched_truth: NDArray[np.int64],
    true_pairs: NDArray[np.int64],
    labels: NDArray[np.int8],
) -> Counts:
    """Count triplets between predicted objects (scene-graph detection).

    A predicted triplet is right if both of its ends are matched to true objects between which
    the predicate holds. A triplet whose true label is undecided is neither right nor wrong;
    one with an unmatched end is wrong.

    Args:
        pairs: ``[P, 2]``, (subject, object) among the predicted objects of the scene.
        asserted: ``[P, R]``, whether each predicate is asserted.
        matched_truth: ``[K]``, the true object that each predicted one matches, class
            included if that is asked, or -1.
        true_pairs: ``[T, 2]`` among the true objects; labels: ``[T, R]`` of them.

    Raises:
        ValueError: a pair comes twice, or two predicted objects match one true object, either of
            which would count a hit twice.
    """
    for name, table in (("pairs", pairs), ("true_pairs", true_pairs)):
        if len(np.unique(table, axis=0)) != len(table):
            raise ValueError(f"triplet_counts: {name} must differ, but one comes twice; merge them")
    matched = matched_truth[matched_truth >= 0]
    if len(np.unique(matched)) != len(matched):
        raise ValueError("triplet_counts: matched_truth must name each true object at most once")
    truth = {(int(s), int(o)): labels[row] for row, (s, o) in enumerate(true_pairs)}
    right = wrong = 0
    for (subject, other), predicates in zip(pairs, asserted, strict=True):
        known = truth.get((int(matched_truth[subject]), int(matched_truth[other])))
        if known is None:
            wrong += int(predicates.sum())
            continue
        right += int((predicates & (known == 1)).sum())
        wrong += int((predicates & (known == 0)).sum())
    return Counts(right, right + wrong, int((labels == 1).sum()))
