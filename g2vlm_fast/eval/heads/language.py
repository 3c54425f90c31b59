"""Answers, numbers and captions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from g2vlm_fast.eval.metric import Definition, Sums
from g2vlm_fast.eval.metrics.language import exact_match, token_f1, within_tolerance
from g2vlm_fast.eval.priors import Answer, Priors

DEFINITIONS = (
    Definition(
        "answer_exact_match",
        "answers",
        "the majority answer of the training rooms to this kind of question",
        headline=True,
        rate=True,
    ),
    Definition(
        "number_within_20_percent",
        "numbers",
        "the number most often within tolerance in training rooms, by kind of question",
        headline=True,
        rate=True,
    ),
    Definition(
        "caption_token_f1",
        "captions",
        "the training caption closest to all others, for every room",
        headline=True,
    ),
)


def judge_answers(
    said: Sequence[str], values: Sequence[float], truth: Sequence[Answer], priors: Priors
) -> dict[str, Sums]:
    """Judge the answers to the questions of one scene, words and numbers apart.

    A count is a whole number, so what is said of one is rounded first.
    """
    words = [(ours, true) for ours, true in zip(said, truth, strict=True) if true.value is None]
    numbers = [
        (_whole(ours) if true.kind == "count" else ours, true.value, true.kind)
        for ours, true in zip(values, truth, strict=True)
        if true.value is not None
    ]
    return {
        "answer_exact_match": Sums(
            _mean([exact_match(ours, true.text) for ours, true in words]),
            _mean([exact_match(priors.answer(true.kind), true.text) for _, true in words]),
        ),
        "number_within_20_percent": Sums(
            _mean([within_tolerance(ours, true) for ours, true, _ in numbers]),
            _mean([within_tolerance(priors.number(kind), true) for _, true, kind in numbers]),
        ),
    }


def judge_captions(said: Sequence[str], truth: Sequence[str], priors: Priors) -> dict[str, Sums]:
    """Judge the captions of one scene."""
    return {
        "caption_token_f1": Sums(
            _mean([token_f1(ours, true) for ours, true in zip(said, truth, strict=True)]),
            _mean([token_f1(priors.caption, true) for true in truth]),
        )
    }


def _whole(value: float) -> float:
    return float(round(value)) if math.isfinite(value) else value


def _mean(scores: Sequence[float]) -> tuple[float, float]:
    return float(sum(scores)), float(len(scores))
