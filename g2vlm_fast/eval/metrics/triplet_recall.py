"""Recall of relation triplets, in the two protocols that must never share a column.

*By scene* (R@K, mR@K, ngR@K, zR@K): one ranked list of triplets for each scene, of which the
first K are asked for; Lu et al., "Visual relationship detection with language priors", ECCV
2016; means over predicates by Chen et al. (KERN) and Tang et al. (VCTree), CVPR 2019; without
the graph constraint by Newell and Deng, NeurIPS 2017.

*By edge* (A@k of 3DSSG, which its papers also print as R@50 and R@100): the place of the true
(subject class, predicate, object class) among all C x R x C combinations of that one edge, of
known ends; Wald et al., CVPR 2020. With a few hundred combinations an edge, its numbers are far
higher.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from g2vlm_fast.eval.metrics._arguments import Array, float_array
from g2vlm_fast.eval.metrics.ranking import Places


def scene_places(
    pairs: NDArray[np.int64],
    scores: ArrayLike,
    matched_truth: NDArray[np.int64],
    true_pairs: NDArray[np.int64],
    labels: NDArray[np.int8],
    *,
    graph_constraint: bool = True,
    counted: NDArray[np.bool_] | None = None,
) -> Places:
    """Place every true triplet of one scene in the ranked list of the predicted ones.

    Undecided triplets neither count nor take a place. Where several predicted triplets mean one
    true triplet, the best counts, and the others keep their places.

    Args:
        pairs: ``[P, 2]``, (subject, object) among the predicted objects.
        scores: ``[P, R]`` of each predicate; with class scores of both ends multiplied in where
            the protocol asks for it (SGDet, SGCls).
        matched_truth: ``[K]``, the true object that each predicted one means, or -1; class
            included if the protocol asks for it. The identity for PredCls.
        true_pairs: ``[T, 2]`` among the true objects.
        labels: ``[T, R]``: 1 holds, 0 does not, -1 undecided.
        graph_constraint: keep the best predicate of each pair alone (the lower of equal ones);
            False gives ngR@K.
        counted: ``[T, R]``, the true triplets to look for; for zR@K those whose classes and
            predicate never came together in training. None for all.

    Returns:
        A place for every true triplet that counts; its kind is the predicate.

    Raises:
        ValueError: shapes do not fit, a score is NaN, or a pair comes twice.
    """
    function = "scene_places"
    values = float_array(function, "scores", scores, (len(pairs), "R"), finite=False)
    if np.isnan(values).any():
        raise ValueError(f"{function}: scores has NaN; give what was not predicted a score of -inf")
    if labels.shape != (len(true_pairs), values.shape[1]):
        raise ValueError(
            f"{function}: labels must have shape [{len(true_pairs)}, {values.shape[1]}], got "
            f"{list(labels.shape)}"
        )
    if len(np.unique(pairs, axis=0)) != len(pairs):
        raise ValueError(f"{function}: pairs must differ, but one comes twice; merge their scores")
    truth = {(int(s), int(o)): row for row, (s, o) in enumerate(true_pairs)}
    ends = matched_truth[pairs]
    row_of = np.array([truth.get((int(s), int(o)), -1) for s, o in ends], dtype=np.int64)
    listed = np.isfinite(values) | (values == np.inf)
    if graph_constraint and values.size:
        best = np.zeros_like(listed)
        best[np.arange(len(values)), values.argmax(1)] = True
        listed &= best
    listed &= ~((row_of >= 0)[:, None] & (labels[row_of] == -1)) if len(labels) else listed
    wanted = (labels == 1) if counted is None else (labels == 1) & counted
    return _places(values, listed, row_of, wanted)


def mean_recall(scenes: Sequence[Places], k: int) -> float:
    """R@K: mean over scenes of the share of true triplets in the first ``k``.

    Scenes without a true triplet have no recall and do not count; say how many do. Known
    variant: pool the triplets of all scenes.
    """
    found = np.array([scene.recall(k) for scene in scenes if len(scene)])
    return float(found.mean()) if found.size else float("nan")


def mean_recall_over_predicates(scenes: Sequence[Places], k: int, num_predicates: int) -> float:
    """mR@K: recall of each predicate, mean over the scenes that have it; then over predicates.

    Every predicate counts, the last one too; those without a true triplet anywhere do not.
    """
    by_scene = [scene.recall_by_kind(k, num_predicates) for scene in scenes]
    table = np.array(by_scene, dtype=np.float64).reshape(len(scenes), num_predicates)
    present = ~np.isnan(table)
    count = present.sum(0)
    if not count.any():
        return float("nan")
    means = np.where(present, table, 0.0).sum(0)[count > 0] / count[count > 0]
    return float(means.mean())


def edge_places(
    subject_scores: ArrayLike,
    predicate_scores: ArrayLike,
    object_scores: ArrayLike,
    subject_class: NDArray[np.int64],
    object_class: NDArray[np.int64],
    labels: NDArray[np.int8],
) -> Places:
    """Place the true triplets of given edges among all triplets of their edge, for A@k.

    Args:
        subject_scores: ``[E, C]`` probabilities, not negative.
        predicate_scores: ``[E, R]`` probabilities, not negative.
        object_scores: ``[E, C]`` probabilities.
        subject_class: ``[E]`` true classes; object_class: the same.
        labels: ``[E, R]``: 1 holds, 0 does not, -1 undecided. An edge with several true
            predicates gives a place to each.

    Returns:
        Places whose kind is the predicate; ``recall(k)`` is A@k, and ``recall_by_kind`` that of
        each predicate, for mA@k. Equal scores share their places, where some published code
        counts every tie as a hit and leaves the last predicate out of the mean.
    """
    function = "edge_places"
    predicates = float_array(function, "predicate_scores", predicate_scores, ("E", "R"))
    edges = len(predicates)
    subjects = float_array(function, "subject_scores", subject_scores, (edges, "C"))
    objects = float_array(function, "object_scores", object_scores, (edges, subjects.shape[1]))
    if labels.shape != predicates.shape:
        raise ValueError(
            f"{function}: labels must have shape {list(predicates.shape)}, got {list(labels.shape)}"
        )
    for name, table in (("subject", subjects), ("predicate", predicates), ("object", objects)):
        if (table < 0).any():
            raise ValueError(f"{function}: {name}_scores must not be negative; give probabilities")
    ahead, ties, kind = [], [], []
    for edge, predicate in np.argwhere(labels == 1):
        ends = np.multiply.outer(subjects[edge], objects[edge])
        every = np.multiply.outer(ends, predicates[edge])
        own = every[subject_class[edge], object_class[edge], predicate]
        ahead.append(float((every > own).sum()))
        ties.append(float((every == own).sum()))
        kind.append(int(predicate))
    return Places(np.array(ahead), np.array(ties), np.array(kind, dtype=np.int64))


def class_places(scores: ArrayLike, truth: NDArray[np.int64]) -> Places:
    """Place the true class of each object, or predicate of each edge, among all, for A@k.

    Args:
        scores: ``[n, C]``, higher is likelier.
        truth: ``[n]``.
    """
    values = float_array("class_places", "scores", scores, (len(truth), "C"))
    own = np.take_along_axis(values, truth[:, None], 1)
    return Places(
        (values > own).sum(1).astype(np.float64),
        (values == own).sum(1).astype(np.float64),
        truth.astype(np.int64),
    )


def _places(
    values: Array, listed: NDArray[np.bool_], row_of: NDArray[np.int64], wanted: NDArray[np.bool_]
) -> Places:
    ranked = np.sort(values[listed])
    best = np.full(wanted.shape, -np.inf)
    for pair, row in enumerate(row_of):
        if row >= 0:
            best[row] = np.maximum(best[row], np.where(listed[pair], values[pair], -np.inf))
    own = best[wanted]
    ahead = (len(ranked) - np.searchsorted(ranked, own, side="right")).astype(np.float64)
    ties = len(ranked) - ahead - np.searchsorted(ranked, own, side="left")
    absent = own == -np.inf
    kind = np.nonzero(wanted)[1].astype(np.int64)
    return Places(np.where(absent, np.inf, ahead), np.maximum(ties, 1.0), kind)
