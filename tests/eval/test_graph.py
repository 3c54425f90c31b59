"""Counts of detections and triplets by hand."""

from __future__ import annotations

import numpy as np

from g2vlm_fast.eval.metrics.graph import (
    Counts,
    detection_counts,
    node_relation_counts,
    triplet_counts,
)

LABELS = np.array([[1, 0], [0, -1], [1, 1]], dtype=np.int8)


def test_counts_form_f1_and_recall() -> None:
    counts = Counts(true_positive=3, predicted=4, true=6)
    assert counts.f1_sums == (6.0, 10.0)
    assert counts.recall_sums == (3.0, 6.0)


def test_a_match_of_the_wrong_class_is_no_hit() -> None:
    matches = [(0, 1), (1, 0)]
    predicted, true = np.array([5, 2, 7]), np.array([2, 6])
    assert detection_counts(matches, predicted, true, 3, 2) == (1, 3, 2)
    assert detection_counts(matches, None, None, 3, 2) == (2, 3, 2)


def test_undecided_relations_are_never_scored() -> None:
    everything = np.ones_like(LABELS, dtype=bool)
    assert node_relation_counts(everything, LABELS) == (3, 5, 3)
    assert node_relation_counts(~everything, LABELS) == (0, 0, 3)
    assert node_relation_counts(LABELS == 1, LABELS) == (3, 3, 3)


def test_triplets_need_both_ends_matched() -> None:
    true_pairs = np.array([[0, 1], [1, 0], [0, 2]])
    pairs = np.array([[0, 1], [1, 0], [0, 2]])
    asserted = np.array([[True, True], [True, True], [True, False]])
    all_matched = np.array([0, 1, 2])
    assert triplet_counts(pairs, asserted, all_matched, true_pairs, LABELS) == (2, 4, 3)
    one_missing = np.array([0, 1, -1])
    assert triplet_counts(pairs, asserted, one_missing, true_pairs, LABELS) == (1, 4, 3)
    swapped = np.array([1, 0, 2])
    assert triplet_counts(pairs[:1], asserted[:1], swapped, true_pairs, LABELS) == (0, 1, 3)
