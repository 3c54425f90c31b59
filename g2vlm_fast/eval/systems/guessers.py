"""Guessers that never look: what a score must beat before it means that anything was seen.

They know how rooms are made from :class:`~g2vlm_fast.eval.systems.training_rooms.TrainingRooms`.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from g2vlm_fast.data import Query
from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.interchange import (
    PredictedAnswer,
    PredictedCaption,
    PredictedGrounding,
    ScenePrediction,
)
from g2vlm_fast.data.language.blind import Blind, Guess, Majority, true_answer
from g2vlm_fast.eval.metrics.boxes import Boxes
from g2vlm_fast.eval.priors import central_caption
from g2vlm_fast.eval.protocol.cases import Case
from g2vlm_fast.eval.protocol.systems import Task
from g2vlm_fast.eval.systems.saying import (
    answer_of,
    objects_of,
    phrases_of,
    questions_of,
    relations_of,
    requests_of,
)
from g2vlm_fast.eval.systems.training_rooms import TrainingRooms


@dataclass(frozen=True)
class Chance:
    """Says of every place what is true of a training room that is drawn for it.

    Answers are drawn from those that training questions of the kind have, each as often as it
    occurs there; a phrase means any object of the other room.
    """

    training: TrainingRooms = field(default_factory=TrainingRooms)
    name: ClassVar[str] = "chance"
    tasks: ClassVar[frozenset[Task]] = frozenset(
        ("objects", "relations", "answers", "grounding", "captions")
    )
    looks_at_truth: ClassVar[bool] = False

    @property
    def fingerprint(self) -> str:
        return f"{self.name} 1 {self.training.benchmark.fingerprint}"

    def predict(self, case: Case) -> ScenePrediction:
        """Draw a room, and answers; the same for cases of one name."""
        draws = Draws(int.from_bytes(hashlib.sha256(case.name.encode()).digest()[:8], "big"))
        truth = draws.choice(self.training.rooms).truth
        boxes = Boxes(*(part.double().numpy() for part in truth.boxes()))
        return ScenePrediction(
            scene=case.name,
            system=self.name,
            objects=objects_of(boxes, [thing.class_name for thing in truth.objects]),
            relations=relations_of(truth.relations.numpy() == 1),
            answers=tuple(
                answer_of(query.text, draws.choice(self._answers[query.kind]))
                for query in questions_of(case.asked)
                if query.kind in self._answers
            ),
            groundings=tuple(
                PredictedGrounding(
                    text=query.text,
                    objects=(draws.integer(0, len(truth.objects) - 1),),
                    scores=(1.0,),
                )
                for query in phrases_of(case.asked)
            ),
            captions=tuple(
                PredictedCaption(text=draws.choice(self.training.captions), request=request)
                for request in requests_of(case.asked)
            ),
        )

    @cached_property
    def _answers(self) -> dict[str, Sequence[Guess]]:
        """The answers of the training questions, by kind."""
        answers: dict[str, list[Guess]] = defaultdict(list)
        for query in self.training.questions:
            answers[query.kind].append(true_answer(query))
        return dict(answers)


@dataclass(frozen=True)
class MajorityAnswer:
    """The most frequent answer of the kind of a question, the median of numbers, one caption.

    The caption is the one of training rooms that has most in common with all others.
    """

    training: TrainingRooms = field(default_factory=TrainingRooms)
    name: ClassVar[str] = "majority"
    tasks: ClassVar[frozenset[Task]] = frozenset(("answers", "captions"))
    looks_at_truth: ClassVar[bool] = False

    @property
    def fingerprint(self) -> str:
        return f"{self.name} 1 {self.training.benchmark.fingerprint}"

    def predict(self, case: Case) -> ScenePrediction:
        """Answer by the kind of question alone."""
        return ScenePrediction(
            scene=case.name,
            system=self.name,
            answers=_known_kinds(self._majority, self._kinds, case),
            captions=tuple(
                PredictedCaption(text=self._caption, request=request)
                for request in requests_of(case.asked)
            ),
        )

    @cached_property
    def _majority(self) -> Majority:
        return Majority(self.training.questions)

    @cached_property
    def _kinds(self) -> frozenset[str]:
        return frozenset(query.kind for query in self.training.questions)

    @cached_property
    def _caption(self) -> str:
        return central_caption(self.training.captions)


@dataclass(frozen=True)
class QuestionOnly:
    """Answers by the words of a question: what language alone gives away.

    Source: the blind baseline of :mod:`g2vlm_fast.data.language.blind`.
    """

    training: TrainingRooms = field(default_factory=TrainingRooms)
    name: ClassVar[str] = "question-only"
    tasks: ClassVar[frozenset[Task]] = frozenset(("answers",))
    looks_at_truth: ClassVar[bool] = False

    @property
    def fingerprint(self) -> str:
        return f"{self.name} 1 {self.training.benchmark.fingerprint}"

    def predict(self, case: Case) -> ScenePrediction:
        """Answer by the text of a question alone."""
        return ScenePrediction(
            scene=case.name,
            system=self.name,
            answers=_known_kinds(self._blind, self._kinds, case),
        )

    @cached_property
    def _blind(self) -> Blind:
        return Blind(self.training.questions)

    @cached_property
    def _kinds(self) -> frozenset[str]:
        return frozenset(query.kind for query in self.training.questions)


def _known_kinds(
    guesser: Majority | Blind, kinds: frozenset[str], case: Case
) -> tuple[PredictedAnswer, ...]:
    """Answer the questions whose kind training rooms know; others get no answer."""

    def answer(query: Query) -> PredictedAnswer:
        return answer_of(query.text, guesser.guess(query))

    return tuple(answer(query) for query in questions_of(case.asked) if query.kind in kinds)
