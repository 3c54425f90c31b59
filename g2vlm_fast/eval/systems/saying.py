"""Boxes, relations and answers of the truth's own form, as predictions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.data import Query
from g2vlm_fast.data.interchange import PredictedAnswer, PredictedObject, PredictedRelation
from g2vlm_fast.data.language.blind import Guess
from g2vlm_fast.data.language.programs import Program, Sort
from g2vlm_fast.eval.metrics.boxes import Boxes
from g2vlm_fast.ontology import RELATIONS
from g2vlm_fast.records import Task


def objects_of(boxes: Boxes, class_names: Sequence[str]) -> tuple[PredictedObject, ...]:
    """Return boxes as objects, whose ids are their rows."""
    return tuple(
        PredictedObject(
            id=row,
            class_name=name,
            center=tuple(boxes.center[row].tolist()),
            size=tuple(boxes.size[row].tolist()),
            rotation=tuple(tuple(axis) for axis in boxes.rotation[row].tolist()),
        )
        for row, name in enumerate(class_names)
    )


def relations_of(
    holds: NDArray[np.bool_], sure: NDArray[np.float64] | None = None
) -> tuple[PredictedRelation, ...]:
    """Return the relations ``[K, K, R]`` of ``ontology.RELATIONS`` that hold.

    Args:
        holds: which ones.
        sure: ``[K, K, R]``, 0 to 1, how sure that is; None for entirely.
    """
    certain = np.ones(holds.shape) if sure is None else sure
    return tuple(
        PredictedRelation(
            subject=int(subject),
            object=int(other),
            name=RELATIONS[relation],
            score=float(certain[subject, other, relation]),
        )
        for subject, other, relation in np.argwhere(holds)
    )


def answer_of(question: str, guess: Guess) -> PredictedAnswer:
    """Return a word or a number as an answer."""
    if isinstance(guess, str):
        return PredictedAnswer(question=question, text=guess)
    return PredictedAnswer(question=question, text=f"{guess:.4g}", value=float(guess))


def guess_of(program: Program, result: object) -> Guess:
    """Return what a program gave, which is not undecided, as a word or a number."""
    if program.gives == Sort.TRUTH:
        return "yes" if result else "no"
    return float(str(result)) if program.gives == Sort.NUMBER else str(result)


def questions_of(texts: Iterable[Query]) -> list[Query]:
    """Return the questions, each text once."""
    found = {text.text: text for text in texts if text.task == Task.QUESTION}
    return list(found.values())


def requests_of(texts: Iterable[Query]) -> list[str]:
    """Return the texts that ask for a description of the room, each once."""
    asked = (text.text for text in texts if text.task == Task.CAPTION and text.kind == "caption")
    return list(dict.fromkeys(asked))


def phrases_of(texts: Iterable[Query]) -> list[Query]:
    """Return the phrases that single something out, each text once."""
    found = {text.text: text for text in texts if text.task == Task.REFERRING}
    return list(found.values())
