"""The prediction of one case turned into the rows that are kept of it."""

from __future__ import annotations

from collections.abc import Callable

from g2vlm_fast.data.interchange import ScenePrediction
from g2vlm_fast.eval.protocol.cases import Case
from g2vlm_fast.eval.protocol.records import Item, Row, SceneRecord
from g2vlm_fast.eval.protocol.systems import TASKS, Task
from g2vlm_fast.eval.scoring import (
    answers,
    captions,
    depth,
    given_objects,
    grounding,
    objects,
    relations,
    retrieval,
    surface,
)
from g2vlm_fast.eval.scoring.score import Judgement, Score
from g2vlm_fast.eval.scoring.unasked import unasked
from g2vlm_fast.eval.scoring.usable import usable

SCORES: tuple[Score, ...] = (
    *surface.SCORES,
    *depth.SCORES,
    *objects.SCORES,
    *relations.SCORES,
    *given_objects.SCORES,
    *answers.SCORES,
    *grounding.SCORES,
    *captions.SCORES,
    *retrieval.SCORES,
)
"""All scores, in the order in which they are shown."""

_JUDGES: dict[Task, Callable[[Case, ScenePrediction], Judgement]] = {
    "surface": surface.judge,
    "depth": depth.judge,
    "objects": objects.judge,
    "relations": relations.judge,
    "predicate_classification": given_objects.judge,
    "answers": answers.judge,
    "grounding": grounding.judge,
    "captions": captions.judge,
}


def score_named(name: str) -> Score:
    """Return a score of :data:`SCORES`.

    Raises:
        ValueError: there is none of this name.
    """
    for score in SCORES:
        if score.name == name:
            return score
    raise ValueError(f"score_named: no score is called {name!r}; SCORES lists all")


def score_case(
    case: Case,
    prediction: ScenePrediction | None,
    *,
    tasks: frozenset[Task],
    failure: str = "",
) -> SceneRecord:
    """Score a prediction of one case.

    A prediction that cannot be of the case (see :func:`~.usable.contradiction`) is a failure, and
    a failure scores like a prediction that says nothing: no denominator shrinks.

    Args:
        case: with its truth.
        prediction: None where the system failed.
        tasks: what the system attempts; a task that the case does not ask for has no rows, and
            those of "retrieval" come of :func:`~.retrieval.retrieval_rows`, for all scenes at once.
        failure: why there is no prediction.

    Returns:
        The rows of every score of these tasks, what was said to every text, and to which texts
        that were not asked; ``seconds`` is 0.

    Raises:
        ValueError: an unknown task, or a case whose truth cannot be scored against.
    """
    unknown = sorted(tasks - set(TASKS))
    if unknown:
        raise ValueError(f"score_case: tasks must be some of {TASKS}, got {unknown}")
    kept = usable(case, prediction, failure)
    rows: dict[str, Row] = {}
    items: list[Item] = []
    for task, judge in _JUDGES.items():
        if task in tasks:
            judgement = judge(case, kept.prediction)
            rows |= judgement.rows
            items += judgement.items
    beside = unasked(case, kept.prediction, tasks)
    return SceneRecord(case.name, rows, kept.failure, tuple(items), unasked=beside)
