"""Scores of answers, of what phrases mean, and of captions."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scored_rooms import room_case

from g2vlm_fast.data import Query
from g2vlm_fast.data.interchange import (
    PredictedAnswer,
    PredictedCaption,
    PredictedGrounding,
    PredictedObject,
    ScenePrediction,
)
from g2vlm_fast.eval.facts import is_caption
from g2vlm_fast.eval.metrics.boxes import Boxes
from g2vlm_fast.eval.metrics.captioning import (
    BleuSums,
    DocumentFrequencies,
    bleu_sums,
    cider,
    rouge_l,
)
from g2vlm_fast.eval.metrics.language import token_f1, tokens
from g2vlm_fast.eval.protocol.cases import Case, GraphTruth
from g2vlm_fast.eval.scoring import answers, captions, grounding, score_named
from g2vlm_fast.eval.scoring.caption_corpus import frequencies_of, training_captions
from g2vlm_fast.eval.scoring.caption_frequencies import caption_frequencies
from g2vlm_fast.records import Task


def question(text: str, answer: str, value: float | None = None, kind: str = "color") -> Query:
    return Query(text=text, task=Task.QUESTION, kind=kind, answer=answer, value=value)


def number(text: str, value: float, kind: str = "distance") -> Query:
    return question(text, "<number>", value, kind)


def said(**parts: object) -> ScenePrediction:
    return ScenePrediction(scene="s", system="test", **parts)


def answered(*pairs: tuple[str, str, float | None]) -> ScenePrediction:
    given = [PredictedAnswer(question=q, text=text, value=value) for q, text, value in pairs]
    return said(answers=tuple(given))


def asking(*queries: Query) -> Case:
    return Case(name="s", given=None, queries=queries)


def test_words_are_matched_by_tokens() -> None:
    case = asking(question("a", "front left"), question("b", "no"), question("c", "chair"))
    judged = answers.judge(
        case, answered(("a", "Front left.", None), ("b", "piano", None), ("c", "the chair", None))
    )
    assert judged.rows["answer_exact_match"] == (1.0, 3.0)
    assert judged.rows["answer_refined_match"] == (2.0, 3.0)
    assert [item.score for item in judged.items] == [1.0, 0.0, 0.0]


def test_numbers_are_scored_by_relative_error_and_counts_are_rounded_first() -> None:
    case = asking(number("a", 2.0), number("b", 3.0, "count"), number("c", 0.0, "situated_count"))
    judged = answers.judge(case, answered(("a", "<number>", 2.5), ("b", "", 3.4), ("c", "", 0.3)))
    accuracy = [0.6, 1.0, 1.0]  # 25 % off is within 1 - t for t of 0.50 to 0.75
    assert judged.rows["number_mean_relative_accuracy"] == (pytest.approx(sum(accuracy)), 3.0)
    assert judged.rows["number_within_20_percent"] == (2.0, 3.0)
    assert judged.rows["answer_score"] == (pytest.approx(sum(accuracy)), 3.0)
    assert judged.rows["answer_exact_match"] == (0.0, 0.0)


def test_questions_without_an_answer_fail() -> None:
    case = asking(question("a", "yes"), number("b", 1.0), number("c", 0.0, "count"))
    judged = answers.judge(case, answered(("z", "yes", 1.0)))
    assert judged.rows["answer_score"] == (0.0, 3.0)
    assert judged.rows["number_within_20_percent"] == (0.0, 2.0)
    assert [item.said for item in judged.items] == ["", "", ""]


def test_a_question_that_is_asked_twice_is_answered_twice() -> None:
    case = asking(question("a", "yes"), question("a", "yes"))
    assert answers.judge(case, answered(("a", "yes", None))).rows["answer_score"] == (2.0, 2.0)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2", 2.0), ("about 1.5 m", 1.5), ("-3", -3.0), ("three chairs", 3.0), ("Zero.", 0.0),
        ("2 or 3", None), ("two of 5", None), ("many", None), ("", None), ("3rd", None),
        ("1.2.3", None), ("<number>", None), (".5", None), ("someone", None),
    ],
)  # fmt: skip
def test_the_only_number_of_a_text_is_its_number(text: str, value: float | None) -> None:
    found = answers.number_of(PredictedAnswer(question="?", text=text))
    assert math.isnan(found) if value is None else found == value


def test_the_value_of_an_answer_goes_before_its_text() -> None:
    assert answers.number_of(PredictedAnswer(question="?", text="7", value=2.5)) == 2.5


CENTERS = ((0.0, 0.0, 0.0), (3.0, 0.0, 0.0), (6.0, 0.0, 0.0))


def grounded_case() -> Case:
    """Two chairs and a lamp, each meant by a phrase."""
    boxes = Boxes(np.array(CENTERS), np.ones((3, 3)), np.tile(np.eye(3), (3, 1, 1)))
    return Case(
        name="s",
        given=None,
        queries=tuple(
            Query(text=f"phrase {row}", task=Task.REFERRING, kind="phrase", referred=row)
            for row in range(3)
        ),
        graph=GraphTruth(boxes=boxes, class_names=("chair", "chair", "lamp"), relations=None),
    )


def grounded(*meant: tuple[str, tuple[int, ...], tuple[float, ...]]) -> ScenePrediction:
    """Four boxes: on each true object, and half off the lamp."""
    centers = (*CENTERS, (6.5, 0.0, 0.0))
    return said(
        objects=tuple(
            PredictedObject(id=10 + row, class_name="?", center=center, size=(1, 1, 1))
            for row, center in enumerate(centers)
        ),
        groundings=tuple(
            PredictedGrounding(text=text, objects=objects, scores=scores)
            for text, objects, scores in meant
        ),
    )


def test_the_likeliest_object_of_a_phrase_counts() -> None:
    judged = grounding.judge(
        grounded_case(),
        grounded(("phrase 0", (11, 10), (0.2, 0.8)), ("phrase 2", (13, 10), (0.9, 0.1))),
    )
    assert judged.rows["grounding_acc_25"][:2] == (2.0, 3.0)
    assert judged.rows["grounding_acc_50"][:2] == (1.0, 3.0)
    assert judged.rows["grounding_acc_25_multiple"][:2] == (1.0, 2.0)
    assert judged.rows["grounding_acc_25_unique"][:2] == (1.0, 1.0)
    assert judged.rows["grounding_acc_50_unique"][:2] == (0.0, 1.0)
    assert judged.items[2].truth == "lamp, IoU 0.33"


def test_luck_of_grounding_is_a_random_object() -> None:
    row = np.array(grounding.judge(grounded_case(), grounded()).rows["grounding_acc_25"])
    score = score_named("grounding_acc_25")
    assert score.chance is not None
    assert float(score.chance(row)) == pytest.approx((1 / 4 + 1 / 4 + 2 / 4) / 3)
    assert float(score.statistic(row)) == 0.0


def test_a_constant_score_gets_what_luck_gets() -> None:
    meant = [(f"phrase {row}", (10, 11, 12, 13), (0.25,) * 4) for row in range(3)]
    rows = grounding.judge(grounded_case(), grounded(*meant)).rows
    for name, row in rows.items():
        if "acc" in name:
            assert row[0] == pytest.approx(row[2]), name


def test_links_of_phrases_count_what_is_asserted_right_and_true() -> None:
    rows = grounding.judge(
        grounded_case(),
        grounded(
            ("phrase 0", (10, 11), (0.9, 0.5)),  # the right one and a wrong one
            ("phrase 1", (11,), (0.4,)),  # right, but not asserted
            ("phrase 2", (12, 13), (0.7, 0.6)),  # two boxes on one lamp
        ),
    ).rows
    assert rows["grounding_f1_25"] == (4.0, 4.0 + 3.0)
    assert rows["grounding_f1_50"] == (4.0, 4.0 + 3.0)
    everything = [(f"phrase {row}", (10, 11, 12, 13), (1.0,) * 4) for row in range(3)]
    assert grounding.judge(grounded_case(), grounded(*everything)).rows["grounding_f1_25"] == (
        6.0,
        12.0 + 3.0,
    )
    assert grounding.judge(grounded_case(), said()).rows["grounding_f1_25"] == (0.0, 3.0)


def test_phrases_without_boxes_fail() -> None:
    assert grounding.judge(grounded_case(), said()).rows["grounding_acc_25"] == (0.0, 3.0, 0.0)
    empty = grounded(("phrase 0", (), ()))
    assert grounding.judge(grounded_case(), empty).rows["grounding_acc_25"][0] == 0.0


TRUTH = "a room with a red chair and two lamps. the chair is left of the table."


def captioned_case() -> Case:
    return asking(Query(text="describe.", task=Task.CAPTION, kind="caption", answer=TRUTH))


def test_a_request_is_answered_by_the_caption_that_names_it() -> None:
    free = PredictedCaption(text="something else")
    named = PredictedCaption(text=TRUTH, request="describe.")
    for given in ((free, named), (named, free)):
        rows = captions.judge(captioned_case(), said(captions=given)).rows
        assert rows["caption_token_f1"] == (1.0, 1.0)
    other = PredictedCaption(text=TRUTH, request="describe the kitchen.")
    assert captions.judge(captioned_case(), said(captions=(other,))).rows["caption_rouge_l"][0] == 0
    two = (PredictedCaption(text=TRUTH), free)
    assert captions.judge(captioned_case(), said(captions=two)).rows["caption_token_f1"][0] == 1.0


def test_captions_are_scored_as_the_metrics_define() -> None:
    text = "a room with a red chair and a lamp. the lamp is left of the table."
    given = said(captions=(PredictedCaption(text=text),))
    rows = captions.judge(captioned_case(), given).rows
    ours, theirs = tokens(text), [tokens(TRUTH)]
    bleu = float(score_named("caption_bleu_4").statistic(np.array(rows["caption_bleu_4"])))
    assert bleu == pytest.approx(bleu_sums(ours, theirs).bleu(4))
    assert 0 < bleu < 1
    assert rows["caption_rouge_l"] == (pytest.approx(rouge_l(ours, theirs)), 1.0)
    assert rows["caption_token_f1"] == (pytest.approx(token_f1(text, TRUTH)), 1.0)
    expected = cider([ours], [theirs], frequencies=caption_frequencies())
    assert rows["caption_cider_d"] == (pytest.approx(float(expected[0])), 1.0)
    assert 0 < float(expected[0]) < 10


def test_bleu_of_a_corpus_comes_of_its_sums() -> None:
    pairs = [("a b c d e", "a b c d x"), ("a b c", "a b c d"), ("", "a b"), ("q", "r s")]
    sums = BleuSums(np.zeros(4), np.zeros(4), 0.0, 0.0)
    rows = []
    for ours, theirs in pairs:
        each = bleu_sums(ours.split(), [theirs.split()])
        sums = sums + each
        rows.append([*each.matched, *each.possible, each.length, each.reference_length])
    table = np.array(rows)
    assert float(captions.bleu_of_rows(table.sum(0))) == pytest.approx(sums.bleu(4))
    assert captions.bleu_of_rows(table[1:]).tolist() == [0.0, 0.0, 0.0]
    assert math.isnan(captions.bleu_of_rows(np.zeros(10)))


def test_cider_of_fixed_frequencies_adds_over_texts() -> None:
    references = [[text.split()] for text in ("a red chair", "a blue chair", "two lamps here")]
    texts = [text.split() for text in ("a red lamp", "a blue chair", "a chair")]
    own = DocumentFrequencies.of(references)
    together = cider(texts, references, frequencies=own)
    assert together == pytest.approx(cider(texts, references))
    apart = [
        float(cider([text], [reference], frequencies=own)[0])
        for text, reference in zip(texts, references, strict=True)
    ]
    assert together == pytest.approx(apart)


def test_frequencies_without_single_phrases_give_the_same_cider() -> None:
    made = training_captions(8)
    all_of_them = DocumentFrequencies.of([[tokens(text)] for text in made])
    few = frequencies_of(made)
    assert 0 < len(few.counts) < len(all_of_them.counts)
    texts, references = [tokens(text) for text in made], [[tokens(text)] for text in made[::-1]]
    assert cider(texts, references, frequencies=few) == pytest.approx(
        cider(texts, references, frequencies=all_of_them)
    )


def test_the_fixed_frequencies_are_of_captions_of_rooms() -> None:
    known = caption_frequencies()
    assert known.documents == 500
    assert all(1 < count <= known.documents for count in known.counts.values())
    assert known.counts["a",] > known.counts["a", "black"] > 1
    case = room_case()
    truth = [query.answer or "" for query in case.queries if is_caption(query)]
    perfect = dataclasses.replace(
        said(), scene=case.name, captions=tuple(PredictedCaption(text=text) for text in truth)
    )
    total, count = captions.judge(case, perfect).rows["caption_cider_d"]
    assert total / count == pytest.approx(10.0)
