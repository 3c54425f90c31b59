"""Retrieval against scikit-learn and torchmetrics, and chance against every order there is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from g2vlm_fast.eval.metrics.retrieval import (
    average_precision,
    expected_recall,
    ndcg,
    retrieval_chance,
    retrieval_scores,
    same_content,
)


@pytest.fixture(params=[False, True], ids=["distinct scores", "ties"])
def ranked(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(30, 12))
    relevant = generator.random((30, 12)) < 0.2
    relevant[:, 3] |= ~relevant.any(1)
    return (np.round(scores) if request.param else scores), relevant


def test_precision_and_gain_agree_with_scikit_learn(ranked: tuple[np.ndarray, np.ndarray]) -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the oracle")
    scores, relevant = ranked
    expected = [
        metrics.average_precision_score(r, s) for s, r in zip(scores, relevant, strict=True)
    ]
    assert average_precision(scores, relevant) == pytest.approx(expected)
    assert ndcg(scores, relevant).mean() == pytest.approx(metrics.ndcg_score(relevant, scores))


def test_distinct_scores_agree_with_torchmetrics() -> None:
    functional = pytest.importorskip(
        "torchmetrics.functional.retrieval", reason="torchmetrics is the oracle"
    )
    import torch

    generator = np.random.default_rng(1)
    scores, relevant = generator.random((20, 15)), generator.random((20, 15)) < 0.2
    relevant[:, 0] = True
    pairs = [
        (torch.from_numpy(s), torch.from_numpy(r)) for s, r in zip(scores, relevant, strict=True)
    ]
    ours = retrieval_scores(scores, relevant)
    for value, theirs in (
        (ours.mean_average_precision, functional.retrieval_average_precision),
        (ours.mean_reciprocal_rank, functional.retrieval_reciprocal_rank),
        (ours.ndcg, functional.retrieval_normalized_dcg),
        (ours.recall[1], lambda s, r: functional.retrieval_hit_rate(s, r, top_k=1)),
        (ours.recall[5], lambda s, r: functional.retrieval_hit_rate(s, r, top_k=5)),
    ):
        assert value == pytest.approx(np.mean([float(theirs(*pair)) for pair in pairs]), abs=1e-6)


def test_chance_is_the_mean_over_every_order() -> None:
    relevant = np.array([[True, False, False, False, False], [True, True, False, False, True]])
    orders = list(itertools.permutations(range(5)))
    every = [retrieval_scores(np.array([order, order]), relevant, ks=(1, 2)) for order in orders]
    chance = retrieval_chance(relevant, ks=(1, 2))
    for k in (1, 2):
        assert chance.recall[k] == pytest.approx(np.mean([each.recall[k] for each in every]))
    for name in ("mean_reciprocal_rank", "mean_average_precision", "ndcg"):
        expected = np.mean([getattr(each, name) for each in every])
        assert getattr(chance, name) == pytest.approx(expected)


def test_median_rank_by_chance_is_the_middle_of_the_gallery() -> None:
    assert retrieval_chance(np.eye(9, dtype=bool)).median_rank == 5.0
    assert retrieval_chance(np.eye(1, dtype=bool)).recall == {1: 1.0, 5: 1.0, 10: 1.0}


def test_a_constant_score_is_no_better_than_chance() -> None:
    relevant = np.eye(8, dtype=bool)
    flat, chance = retrieval_scores(np.zeros((8, 8)), relevant), retrieval_chance(relevant)
    assert flat.ndcg == pytest.approx(chance.ndcg)
    assert flat.recall[1] <= chance.recall[1]
    assert flat.mean_average_precision == pytest.approx(1 / 8)
    assert flat.mean_reciprocal_rank <= chance.mean_reciprocal_rank


def test_any_item_of_the_same_content_answers() -> None:
    relevant = same_content(["a bed", "a sofa"], ["a bed", "a sofa", "a bed"])
    assert relevant.tolist() == [[True, False, True], [False, True, False]]
    scores = retrieval_scores([[0.1, 0.2, 0.9], [0.1, 0.2, 0.9]], relevant)
    assert scores.recall[1] == 0.5
    assert scores.median_rank == 1.5
    with pytest.raises(ValueError, match="1 of 1 queries"):
        same_content(["a lamp"], ["a bed"])


@pytest.mark.parametrize(
    ("similarity", "relevant", "message"),
    [
        (np.zeros((0, 3)), np.zeros((0, 3), bool), "not empty"),
        ([[np.nan]], np.array([[True]]), "NaN"),
        ([[1.0]], np.array([[False]]), "no relevant"),
    ],
)
def test_bad_galleries_are_refused(
    similarity: np.ndarray, relevant: np.ndarray, message: str
) -> None:
    for judge in (retrieval_scores, average_precision, ndcg):
        with pytest.raises(ValueError, match=message):
            judge(similarity, relevant)


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_expected_recall_is_the_mean_over_every_order_of_ties(k: int) -> None:
    scores = np.array([[3.0, 1, 1, 1, 0], [2, 2, 2, 2, 2], [0, 0, 1, 1, 1]])
    relevant = np.array([[0, 1, 1, 0, 1], [1, 0, 0, 1, 0], [1, 1, 0, 0, 0]], dtype=bool)
    for row, wanted in zip(scores, relevant, strict=True):
        orders = [
            order
            for order in itertools.permutations(range(5))
            if all(row[first] >= row[second] for first, second in itertools.pairwise(order))
        ]
        hits = [wanted[list(order[:k])].any() for order in orders]
        found = expected_recall(row[None], wanted[None], k)
        assert found == pytest.approx([np.mean(hits)])
    constant = expected_recall(np.zeros((1, 5)), relevant[:1], k)
    assert constant == pytest.approx([retrieval_chance(relevant[:1], ks=[k]).recall[k]])
