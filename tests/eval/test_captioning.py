"""Answers, captions and phrases by hand, against independent code, and with answers missing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from g2vlm_fast.eval.metrics.captioning import (
    bleu_sums,
    cider,
    corpus_of,
    rouge_l,
)
from g2vlm_fast.eval.metrics.phrases import GroundedPhrase, phrase_counts
from g2vlm_fast.eval.metrics.question_answering import (
    exact_match_any,
    mean_relative_accuracy,
    refined_match,
    refined_match_legacy,
)
from g2vlm_fast.eval.statistics import weighted_bootstrap

TRUTH = {
    "a": ["a red chair stands by the desk", "the red chair is near a desk"],
    "b": ["a white lamp on the brown table", "there is a lamp on the table"],
    "c": ["the bed stands under the window by the wall"],
    "d": ["two chairs face the round table"],
}
SAID = {
    "a": "a red chair is by the desk",
    "b": "a brown lamp on the table",
    "c": "the bed stands under the window",
    "d": "the table is round",
}


def test_an_answer_matches_any_of_several() -> None:
    assert exact_match_any("The desk.", ["a desk", "the desk"])
    assert not exact_match_any("desk", ["a desk", "the desk"])


@pytest.mark.parametrize(
    ("predicted", "truth", "refined", "legacy"),
    [
        ("", "chair", False, True),
        ("no", "piano", False, True),
        ("brown chair", "the brown chair", True, True),
        ("the brown chair", "chair", True, True),
        ("Brown Chair!", "brown chair", True, True),
        ("chair brown", "brown chair", False, False),
        ("bathroom", "bath room", False, True),
        ("...", "chair", False, False),
        ("table", "chair", False, False),
    ],
)
def test_refined_matches_are_of_tokens_and_the_legacy_one_is_not(
    predicted: str, truth: str, refined: bool, legacy: bool
) -> None:
    assert refined_match(predicted, [truth]) is refined
    assert refined_match_legacy(predicted, [truth]) is legacy


def test_relative_accuracy_by_hand() -> None:
    scores = mean_relative_accuracy([2.0, 3.0, 2.2, np.nan, 1.9, 5.0], [2.0] * 6)
    assert scores.tolist() == pytest.approx([1.0, 0.1, 0.9, 0.0, 1.0, 0.0])
    with pytest.raises(ValueError, match="positive"):
        mean_relative_accuracy([1.0], [0.0])
    with pytest.raises(ValueError, match="shape"):
        mean_relative_accuracy([1.0], [1.0, 2.0])


def test_answers_must_come_as_lists() -> None:
    for judge in (exact_match_any, refined_match, refined_match_legacy):
        for bad in ("chair", []):
            with pytest.raises(ValueError, match="list of right answers"):
                judge("chair", bad)


def test_bleu_by_hand() -> None:
    # Of "the the the cat": 1-grams clipped to 2 + 1 of 4; 2-grams "the cat" alone of 3.
    sums = bleu_sums(["the", "the", "the", "cat"], [["the", "cat", "is", "on", "the", "mat"]])
    assert sums.matched.tolist() == [3, 1, 0, 0]
    assert sums.possible.tolist() == [4, 3, 2, 1]
    penalty = math.exp(1 - 6 / 4)
    assert sums.bleu(1) == pytest.approx(penalty * 3 / 4)
    assert sums.bleu(2) == pytest.approx(penalty * math.sqrt(3 / 4 * 1 / 3))
    assert sums.bleu(4) == 0.0


def test_bleu_of_a_corpus_agrees_with_torchmetrics() -> None:
    text = pytest.importorskip("torchmetrics.functional.text", reason="torchmetrics is the oracle")
    said, references = corpus_of(SAID, TRUTH)
    total = sum(
        (bleu_sums(*pair) for pair in zip(said[1:], references[1:], strict=True)),
        bleu_sums(said[0], references[0]),
    )
    plain = [" ".join(words) for words in said], [[" ".join(w) for w in t] for t in references]
    for order in (1, 2, 3, 4):
        expected = float(text.bleu_score(*plain, n_gram=order))
        assert total.bleu(order) == pytest.approx(expected, abs=1e-6)


def test_rouge_by_hand() -> None:
    said, truth = ["a", "b", "c", "d"], ["a", "x", "c", "d", "y"]
    precision, recall, beta = 3 / 4, 3 / 5, 1.2
    expected = (1 + beta**2) * precision * recall / (recall + beta**2 * precision)
    assert rouge_l(said, [truth]) == pytest.approx(expected)
    assert rouge_l(said, [["z"], truth]) == pytest.approx(expected)
    assert rouge_l(said, [said]) == pytest.approx(1.0)
    assert rouge_l([], [truth]) == rouge_l(said, [[]]) == 0.0


def test_cider_by_hand() -> None:
    # Words of one document weigh ln 2, those of both 0. "x" against "x": cosine 1 for 1-grams, and
    # no longer ones; ten times a quarter.
    assert cider([["x"], ["y"]], [[["x"]], [["y"]]]).tolist() == pytest.approx([2.5, 2.5])
    assert cider([["y"], ["y"]], [[["x"]], [["y"]]]).tolist() == pytest.approx([0.0, 2.5])
    # A word that every document has tells nothing.
    assert cider([["x"], ["x"]], [[["x"]], [["x"]]]).tolist() == [0.0, 0.0]
    # Said twice: counts are clipped, the norm is not, the length is off by one.
    twice = cider([["x", "x"], ["y"]], [[["x"]], [["y"]]])[0]
    assert twice == pytest.approx(2.5 * 0.5 * math.exp(-1 / 72))
    four = ["p", "q", "r", "s"]
    assert cider([four, ["y"]], [[four], [["y"]]])[0] == pytest.approx(10.0)


Texts = list[list[str]]


def random_corpus(seed: int) -> tuple[Texts, list[Texts]]:
    """Texts of a few words, so that some n-grams are shared, and one to three references each."""
    draws = np.random.default_rng(seed)

    def text() -> list[str]:
        return draws.choice(list("abcdef"), size=draws.integers(1, 12)).tolist()

    return [text() for _ in range(30)], [
        [text() for _ in range(draws.integers(1, 4))] for _ in range(30)
    ]


def for_coco(said: Texts, references: list[Texts]) -> tuple[dict[int, list[str]], ...]:
    """References and texts as pycocoevalcap takes them."""
    return (
        {key: [" ".join(words) for words in texts] for key, texts in enumerate(references)},
        {key: [" ".join(words)] for key, words in enumerate(said)},
    )


CORPORA = [corpus_of(SAID, TRUTH), *map(random_corpus, range(3))]


@pytest.mark.parametrize(("said", "references"), CORPORA)
def test_consensus_agrees_with_the_coco_evaluation(said: Texts, references: list[Texts]) -> None:
    package = pytest.importorskip("pycocoevalcap.cider.cider", reason="pycocoevalcap is the oracle")
    _, expected = package.Cider().compute_score(*for_coco(said, references))
    assert cider(said, references) == pytest.approx(expected)


@pytest.mark.parametrize(("said", "references"), CORPORA)
def test_subsequences_agree_with_the_coco_evaluation(said: Texts, references: list[Texts]) -> None:
    package = pytest.importorskip("pycocoevalcap.rouge.rouge", reason="pycocoevalcap is the oracle")
    _, expected = package.Rouge().compute_score(*for_coco(said, references))
    found = [rouge_l(*pair) for pair in zip(said, references, strict=True)]
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(("said", "references"), CORPORA)
def test_bleu_agrees_with_the_coco_evaluation(said: Texts, references: list[Texts]) -> None:
    # They add 1e-15 to matches and 1e-9 to counts and lengths; here a corpus without a match has 0.
    package = pytest.importorskip("pycocoevalcap.bleu.bleu", reason="pycocoevalcap is the oracle")
    expected, _ = package.Bleu(4).compute_score(*for_coco(said, references), verbose=0)
    pairs = [bleu_sums(*pair) for pair in zip(said, references, strict=True)]
    total = sum(pairs[1:], pairs[0])
    assert [total.bleu(order) for order in (1, 2, 3, 4)] == pytest.approx(expected, rel=1e-6)


def test_copies_of_texts_are_texts_that_come_twice() -> None:
    said, references = corpus_of(SAID, TRUTH)
    doubled = cider([*said, said[0]], [*references, references[0]])
    weighted = cider(said, references, copies=np.array([2, 1, 1, 1]))
    assert weighted == pytest.approx(doubled[:4])
    without = cider(said, references, copies=np.array([0, 1, 1, 1]))
    assert math.isnan(without[0])
    assert without[1:] == pytest.approx(cider(said[1:], references[1:]))


def test_cider_is_resampled_as_a_whole() -> None:
    said, references = corpus_of(SAID, TRUTH)

    def mean(copies: np.ndarray) -> float:
        scores = cider(said, references, copies=copies)
        used = copies > 0
        return float((scores[used] * copies[used]).sum() / copies.sum())

    interval = weighted_bootstrap(mean, 4, resamples=100, method="percentile")
    assert 0 <= interval.low < mean(np.ones(4, dtype=np.int64)) < 10


def test_an_empty_caption_scores_0_and_a_missing_one_is_refused() -> None:
    said, references = corpus_of({**SAID, "a": ""}, TRUTH)
    assert cider(said, references)[0] == 0.0
    assert rouge_l(said[0], references[0]) == 0.0
    assert bleu_sums(said[0], references[0]).bleu(1) == 0.0
    with pytest.raises(ValueError, match="1 of 4 ids have no prediction"):
        corpus_of({key: SAID[key] for key in "abc"}, TRUTH)
    with pytest.raises(ValueError, match="unknown ids"):
        corpus_of({**SAID, "e": "a"}, TRUTH)
    for bad in ([], "a chair"):
        with pytest.raises(ValueError, match="must be a list of texts"):
            corpus_of(SAID, {**TRUTH, "a": bad})
    with pytest.raises(ValueError, match="as many references"):
        cider([["a"]], [])


CHAIR, DESK = GroundedPhrase((0, 9), 1), GroundedPhrase((14, 20), 2)


def test_phrases_link_to_objects_once() -> None:
    truth = {"t": [CHAIR, DESK], "u": []}
    assert phrase_counts(truth, truth) == (2, 2, 2)
    shifted = GroundedPhrase((4, 9), 1)
    assert phrase_counts({"t": [shifted, shifted], "u": []}, truth) == (1, 2, 2)
    wrong = GroundedPhrase((0, 9), 2)
    apart = GroundedPhrase((9, 14), 1)
    assert phrase_counts({"t": [wrong, apart], "u": [CHAIR]}, truth) == (0, 3, 2)
    assert phrase_counts({"t": [], "u": []}, truth).f1_sums == (0.0, 2.0)


def test_hostile_phrases_are_refused() -> None:
    with pytest.raises(ValueError, match="no prediction"):
        phrase_counts({}, {"t": [CHAIR]})
    with pytest.raises(ValueError, match="not empty"):
        phrase_counts({"t": [GroundedPhrase((3, 3), 1)]}, {"t": [CHAIR]})
