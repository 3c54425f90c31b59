"""Scores of answers, numbers and retrieval by hand."""

from __future__ import annotations

import numpy as np
import pytest

from g2vlm_fast.eval.metrics.language import exact_match, token_f1, tokens, within_tolerance
from g2vlm_fast.eval.metrics.retrieval import recall_at, retrieval_ranks


def test_tokens_drop_case_and_punctuation() -> None:
    assert tokens("The red Table's top, 2.5 m; <number> it.") == [
        "the", "red", "table's", "top", "2.5", "m", "<number>", "it",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("predicted", "truth", "expected"),
    [
        ("A chair.", "a chair", True),
        ("", "chair", False),
        ("no", "piano", False),
        ("red chair", "chair", False),
        ("chair red", "red chair", False),
        ("", "", True),
    ],
)
def test_exact_match(predicted: str, truth: str, expected: bool) -> None:
    assert exact_match(predicted, truth) is expected


def test_token_f1_counts_repeats_once_each() -> None:
    assert token_f1("a a a chair", "a chair") == pytest.approx(2 * 2 / 6)
    assert token_f1("", "a chair") == 0.0
    assert token_f1("", "") == 1.0
    assert token_f1("a chair", "a chair") == 1.0


@pytest.mark.parametrize(
    ("predicted", "truth", "expected"),
    [(2.4, 2.0, True), (2.5, 2.0, False), (0.1, 0.0, False), (0.0, 0.0, True)],
)
def test_tolerance_is_relative_to_the_truth(predicted: float, truth: float, expected: bool) -> None:
    assert within_tolerance(predicted, truth) is expected
    assert not within_tolerance(float("nan"), truth)


def test_ranks_by_hand() -> None:
    similarity = np.array([[0.9, 0.1, 0.5], [0.9, 0.1, 0.5]])
    relevant = np.array([[True, False, False], [False, True, False]])
    ranks = retrieval_ranks(similarity, relevant)
    assert ranks.tolist() == [1.0, 3.0]
    assert recall_at(ranks, 1).tolist() == [1.0, 0.0]


def test_any_of_several_identical_items_counts() -> None:
    relevant = np.array([[False, True, True]])
    assert retrieval_ranks([[0.5, 0.1, 0.9]], relevant).tolist() == [1.0]


def test_a_model_that_ties_everything_gets_the_expected_rank() -> None:
    relevant = np.eye(5, dtype=bool)
    ranks = retrieval_ranks(np.zeros((5, 5)), relevant)
    assert ranks.tolist() == [3.0] * 5
    assert recall_at(ranks, 1).sum() == 0


@pytest.mark.parametrize(
    ("similarity", "relevant", "message"),
    [
        ([[np.nan, 0]], [[True, False]], "NaN"),
        ([[0.0, 0.0]], [[False, False]], "no relevant"),
        ([[0.0, 0.0]], [[True]], "shape"),
    ],
)
def test_bad_retrieval_input_is_refused(
    similarity: list[list[float]], relevant: list[list[bool]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        retrieval_ranks(similarity, np.array(relevant))
