"""What a prediction says to texts that nobody asked: it is not scored, and so it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from g2vlm_fast.data import Query
from g2vlm_fast.data.interchange import ScenePrediction
from g2vlm_fast.eval.facts import is_caption, is_phrase, is_question
from g2vlm_fast.eval.protocol.cases import Case
from g2vlm_fast.eval.protocol.systems import Task


def unasked(case: Case, prediction: ScenePrediction, tasks: frozenset[Task]) -> tuple[str, ...]:
    """Return the texts that a prediction answers, and that the case does not ask to the letter.

    Those of a task that the case asks nothing of, or that the system does not attempt, are no
    mistake; nor is a caption that says of no text that it asked for it.
    """
    said: tuple[tuple[Task, Callable[[Query], bool], Iterable[str]], ...] = (
        ("answers", is_question, (each.question for each in prediction.answers)),
        ("grounding", is_phrase, (each.text for each in prediction.groundings)),
        ("captions", is_caption, (each.request for each in prediction.captions if each.request)),
    )
    found: list[str] = []
    for task, is_asked, texts in said:
        asked = {query.text for query in case.queries if is_asked(query)}
        if task in tasks and asked:
            found += [text for text in texts if text not in asked]
    return tuple(found)
