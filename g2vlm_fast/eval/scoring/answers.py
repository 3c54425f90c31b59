"""Answers to questions: words by exact match, numbers by relative error.

A question that got no answer was answered with nothing. A count is a whole number, so what is said
of one is rounded first.
"""

from __future__ import annotations

import math
import re

from g2vlm_fast.data import Query
from g2vlm_fast.data.interchange import PredictedAnswer, ScenePrediction
from g2vlm_fast.data.language.grammar import NUMBER_WORDS
from g2vlm_fast.eval.facts import is_question
from g2vlm_fast.eval.metrics.language import exact_match, within_tolerance
from g2vlm_fast.eval.metrics.question_answering import mean_relative_accuracy, refined_match
from g2vlm_fast.eval.protocol.cases import Case
from g2vlm_fast.eval.protocol.records import Item, Row
from g2vlm_fast.eval.scoring.score import Judgement, Score

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w]|\.\d)")

SCORES = (
    Score(
        "answer_score",
        "answers",
        "exact match of words, mean relative accuracy of numbers; mean over all questions",
        headline=True,
    ),
    Score(
        "answer_exact_match",
        "answers",
        "share of the questions about words whose answer has the same tokens",
        headline=True,
        rate=True,
    ),
    Score(
        "answer_refined_match",
        "answers",
        "EM-R by tokens: one answer is a run of tokens of the other",
        rate=True,
    ),
    Score(
        "number_mean_relative_accuracy",
        "answers",
        "MRA: mean over t = 0.5, 0.55, ... 0.95 of relative error <= 1 - t; exactness where the "
        "truth is 0",
        headline=True,
    ),
    Score(
        "number_within_20_percent",
        "answers",
        "share of the numbers with a relative error of at most 20 %",
        rate=True,
    ),
)


def judge(case: Case, prediction: ScenePrediction) -> Judgement:
    """Score the answers to the questions of one scene."""
    questions = [query for query in case.queries if is_question(query)]
    if not questions:
        return Judgement()
    given = {answer.question: answer for answer in prediction.answers}
    items: list[Item] = []
    words: list[tuple[float, float]] = []
    numbers: list[tuple[float, float]] = []
    for query in questions:
        answer = given.get(query.text, PredictedAnswer(question=query.text, text=""))
        if query.value is None:
            scores = _word_scores(answer, query.answer or "")
            words.append(scores)
        else:
            scores = _number_scores(number_of(answer), query.value, counts=_is_count(query))
            numbers.append(scores)
        items.append(_item(query, answer, scores[0]))
    rows = {
        "answer_score": _mean([item.score for item in items]),
        "answer_exact_match": _mean([match for match, _ in words]),
        "answer_refined_match": _mean([match for _, match in words]),
        "number_mean_relative_accuracy": _mean([accuracy for accuracy, _ in numbers]),
        "number_within_20_percent": _mean([within for _, within in numbers]),
    }
    return Judgement(rows, tuple(items))


def number_of(answer: PredictedAnswer) -> float:
    """Return the number of an answer: its value, else the only number of its text, else NaN."""
    if answer.value is not None:
        return answer.value
    found = [float(number) for number in _NUMBER.findall(answer.text)]
    words = re.findall(r"[a-z]+", answer.text.lower())
    found += [float(NUMBER_WORDS.index(word)) for word in words if word in NUMBER_WORDS]
    return found[0] if len(found) == 1 else math.nan


def _word_scores(answer: PredictedAnswer, truth: str) -> tuple[float, float]:
    return float(exact_match(answer.text, truth)), float(refined_match(answer.text, [truth]))


def _number_scores(said: float, truth: float, *, counts: bool) -> tuple[float, float]:
    if counts and math.isfinite(said):
        said = float(round(said))
    within = float(within_tolerance(said, truth))
    if truth == 0:
        return within, within
    return float(mean_relative_accuracy([said], [truth])[0]), within


def _is_count(query: Query) -> bool:
    return query.kind in ("count", "situated_count")


def _item(query: Query, answer: PredictedAnswer, score: float) -> Item:
    if query.value is None:
        return Item("answers", query.kind, query.text, answer.text, query.answer or "", score)
    number = number_of(answer)
    said = answer.text if math.isnan(number) else f"{number:.4g}"
    return Item("answers", query.kind, query.text, said, f"{query.value:.4g}", score)


def _mean(scores: list[float]) -> Row:
    return float(sum(scores)), float(len(scores))
