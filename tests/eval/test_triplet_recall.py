"""Recall of triplets: by hand, against an independent ranking, and others' known defects."""

from __future__ import annotations

import math

import numpy as np
import pytest

from g2vlm_fast.eval.metrics.graph import Counts, graph_is_exact, triplet_counts
from g2vlm_fast.eval.metrics.ranking import Places
from g2vlm_fast.eval.metrics.triplet_recall import (
    class_places,
    edge_places,
    mean_recall,
    mean_recall_over_predicates,
    scene_places,
)

PAIRS = np.array([[0, 1], [1, 0], [0, 2]])
LABELS = np.array([[1, 1], [0, 0], [0, 1]], dtype=np.int8)
SCORES = np.array([[0.9, 0.8], [0.7, 0.1], [0.2, 0.3]])
SELF = np.arange(3)


def test_recall_at_k_by_hand() -> None:
    places = scene_places(PAIRS, SCORES, SELF, PAIRS, LABELS)
    assert places.ahead.tolist() == [0.0, math.inf, 2.0]
    assert [places.recall(k) for k in (1, 2, 3)] == pytest.approx([1 / 3, 1 / 3, 2 / 3])


def test_without_the_graph_constraint_a_pair_may_have_several_predicates() -> None:
    places = scene_places(PAIRS, SCORES, SELF, PAIRS, LABELS, graph_constraint=False)
    assert places.ahead.tolist() == [0.0, 1.0, 3.0]
    assert places.recall(2) == pytest.approx(2 / 3)


def test_undecided_triplets_neither_count_nor_take_a_place() -> None:
    labels = LABELS.copy()
    labels[1, 0] = -1
    places = scene_places(PAIRS, SCORES, SELF, PAIRS, labels, graph_constraint=False)
    assert places.ahead.tolist() == [0.0, 1.0, 2.0]


def test_an_undetected_end_loses_its_triplets_and_is_counted() -> None:
    places = scene_places(PAIRS, SCORES, np.array([0, 1, -1]), PAIRS, LABELS)
    assert len(places) == 3
    assert places.recall(100) == pytest.approx(1 / 3)


def test_predicting_nothing_recalls_nothing() -> None:
    none = np.zeros((0, 2), dtype=np.int64)
    places = scene_places(none, np.zeros((0, 2)), np.zeros(0, np.int64), PAIRS, LABELS)
    assert places.recall(50) == 0.0
    assert len(places) == 3


def test_a_scene_without_relations_has_no_recall() -> None:
    empty = scene_places(PAIRS, SCORES, SELF, PAIRS, np.zeros_like(LABELS))
    assert math.isnan(empty.recall(5))
    full = scene_places(PAIRS, SCORES, SELF, PAIRS, LABELS)
    assert mean_recall([empty, full], 3) == full.recall(3)
    assert math.isnan(mean_recall([empty], 3))
    assert math.isnan(mean_recall_over_predicates([empty], 3, 2))


def test_places_agree_with_a_list_sorted_in_python() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        pairs = np.argwhere(~np.eye(5, dtype=bool))
        labels = generator.integers(-1, 2, (len(pairs), 4)).astype(np.int8)
        scores = generator.normal(size=labels.shape)
        triplets = [
            (scores[row, p], row, p)
            for row in range(len(pairs))
            for p in range(4)
            if labels[row, p] != -1
        ]
        ranked = sorted(triplets, reverse=True)
        for k in (1, 7, 20):
            hits = sum(labels[row, p] == 1 for _, row, p in ranked[:k])
            places = scene_places(
                pairs, scores, np.arange(5), pairs, labels, graph_constraint=False
            )
            assert places.recall(k) == pytest.approx(hits / (labels == 1).sum())


def test_recall_by_scene_agrees_with_sgbench() -> None:
    """Without ties and undecided triplets, which it has not; K of it are K triplets, as here."""
    sgbench = pytest.importorskip("sgbench", reason="SGBench is the oracle")
    generator = np.random.default_rng(3)
    pairs, names = np.argwhere(~np.eye(6, dtype=bool)), 5
    scenes, theirs, theirs_by_predicate = [], [], []
    ks = (1, 10, 40)
    for _ in range(12):
        labels = (generator.random((len(pairs), names)) < 0.15).astype(np.int8)
        labels[0, 0] = 1
        scores = generator.random(labels.shape)
        matched = generator.permutation(np.array([0, 1, 2, 3, 4, -1]))
        scenes.append(scene_places(pairs, scores, matched, pairs, labels, graph_constraint=False))
        true = np.array([(*pairs[row], p) for row, p in np.argwhere(labels == 1)])
        order = np.dstack(np.unravel_index(np.argsort(-scores, axis=None), scores.shape))[0]
        said = sgbench.remap_triplets(matched, np.array([(*pairs[row], p) for row, p in order]))
        theirs.append([sgbench.recall(k, False, true, said, names) for k in ks])
        theirs_by_predicate.append([sgbench.recall(k, True, true, said, names) for k in ks])
    for column, k in enumerate(ks):
        expected = [row[column] for row in theirs]
        assert [places.recall(k) for places in scenes] == pytest.approx(expected)
        assert mean_recall(scenes, k) == pytest.approx(np.mean(expected))
        by_predicate = np.nanmean([row[column] for row in theirs_by_predicate], axis=0).mean()
        assert mean_recall_over_predicates(scenes, k, names) == pytest.approx(by_predicate)


def test_ties_get_what_a_random_order_gets() -> None:
    flat = scene_places(PAIRS, np.ones((3, 2)), SELF, PAIRS, LABELS, graph_constraint=False)
    assert [flat.recall(k) for k in (1, 3, 6)] == pytest.approx([1 / 6, 3 / 6, 1.0])


def test_mean_recall_counts_the_last_predicate_and_weighs_all_alike() -> None:
    many = Places(np.array([0.0, 0, 0, 9]), np.ones(4), np.array([0, 0, 0, 2]))
    assert mean_recall_over_predicates([many], 5, 3) == pytest.approx((1.0 + 0.0) / 2)
    other = Places(np.array([0.0]), np.ones(1), np.array([2]))
    assert mean_recall_over_predicates([many, other], 5, 3) == pytest.approx((1.0 + 0.5) / 2)


def test_zero_shot_recall_looks_for_unseen_triplets_alone() -> None:
    counted = np.zeros_like(LABELS, dtype=bool)
    counted[2, 1] = True
    places = scene_places(PAIRS, SCORES, SELF, PAIRS, LABELS, counted=counted)
    assert len(places) == 1
    assert (places.recall(2), places.recall(3)) == (0.0, 1.0)


def test_edges_are_ranked_among_their_own_triplets() -> None:
    generator = np.random.default_rng(1)
    subject, objects = generator.dirichlet(np.ones(4), (2, 6))
    predicate = generator.dirichlet(np.ones(3), 6)
    labels = generator.integers(0, 2, (6, 3)).astype(np.int8)
    s, o = generator.integers(0, 4, (2, 6))
    places = edge_places(subject, predicate, objects, s, o, labels)
    expected = []
    for edge, p in np.argwhere(labels == 1):
        scores = np.einsum("i,j,k->ijk", subject[edge], objects[edge], predicate[edge])
        order = np.argsort(-scores, axis=None)
        wanted = np.ravel_multi_index((s[edge], o[edge], p), scores.shape)
        expected.append(int(np.flatnonzero(order == wanted)[0]))
    assert places.ahead.tolist() == expected
    assert places.recall(5) == pytest.approx(np.mean(np.array(expected) < 5))


def test_the_two_protocols_differ_on_the_same_prediction() -> None:
    ends = np.eye(3)[[0, 1, 0]], np.eye(3)[[1, 0, 2]]
    by_edge = edge_places(
        ends[0], SCORES, ends[1], np.array([0, 1, 0]), np.array([1, 0, 2]), LABELS
    )
    by_scene = scene_places(PAIRS, SCORES, SELF, PAIRS, LABELS)
    assert by_edge.recall(1) == pytest.approx(2 / 3)
    assert by_scene.recall(1) == pytest.approx(1 / 3)


def test_top_k_accuracy_agrees_with_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the oracle")
    generator = np.random.default_rng(2)
    scores, truth = generator.normal(size=(50, 6)), generator.integers(0, 6, 50)
    for k in (1, 3):
        expected = metrics.top_k_accuracy_score(truth, scores, k=k, labels=np.arange(6))
        assert class_places(scores, truth).recall(k) == pytest.approx(expected)


def test_a_graph_is_exact_only_when_nothing_is_missing_or_extra() -> None:
    whole, missing, extra = Counts(3, 3, 3), Counts(2, 2, 3), Counts(3, 4, 3)
    assert graph_is_exact(whole, whole)
    assert not graph_is_exact(whole, missing)
    assert not graph_is_exact(extra, whole)
    assert graph_is_exact(Counts(0, 0, 0), Counts(0, 0, 0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": SCORES * np.nan}, "NaN"),
        ({"scores": SCORES[:2]}, "scores must have shape"),
        ({"labels": LABELS[:, :1]}, "labels must have shape"),
        ({"pairs": PAIRS[[0, 0, 1]]}, "twice"),
    ],
)
def test_bad_scene_graphs_are_refused(change: dict, message: str) -> None:  # type: ignore[type-arg]
    good = {"pairs": PAIRS, "scores": SCORES, "matched_truth": SELF, "true_pairs": PAIRS}
    with pytest.raises(ValueError, match=message):
        scene_places(**{**good, "labels": LABELS, **change})


def test_scores_of_edges_must_be_probabilities() -> None:
    ends, zero = np.ones((3, 2)), np.zeros(3, np.int64)
    with pytest.raises(ValueError, match="not be negative"):
        edge_places(ends, -SCORES, ends, zero, zero, LABELS)


def test_a_hit_is_never_counted_twice() -> None:
    asserted = np.ones((2, 2), dtype=bool)
    with pytest.raises(ValueError, match="pairs must differ"):
        triplet_counts(PAIRS[[0, 0]], asserted, SELF, PAIRS, LABELS)
    with pytest.raises(ValueError, match="at most once"):
        triplet_counts(PAIRS[:2], asserted, np.array([0, 1, 1]), PAIRS, LABELS)
