"""Rules that read part of the truth: upper bounds of what boxes, or meanings, give away.

None of them is a system that anybody could run on a scan; each says how much of a score is left
for whoever finds the boxes, or has to look at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np

from g2vlm_fast.data.interchange import PredictedAnswer, PredictedGrounding, ScenePrediction
from g2vlm_fast.data.language.blind import Majority, ShuffledGeometry
from g2vlm_fast.data.language.execution import Executor
from g2vlm_fast.data.language.facts import Facts, Matches
from g2vlm_fast.data.language.programs import Program
from g2vlm_fast.eval.benchmarks.box_rooms import Cameras, room_of_boxes
from g2vlm_fast.eval.facts import true_objects
from g2vlm_fast.eval.priors import Array, RoomFacts, best_relation_threshold, relation_rate
from g2vlm_fast.eval.protocol.cases import Case, GraphTruth
from g2vlm_fast.eval.protocol.systems import PredictionFailed, Task
from g2vlm_fast.eval.systems.saying import (
    answer_of,
    guess_of,
    objects_of,
    phrases_of,
    questions_of,
    relations_of,
)
from g2vlm_fast.eval.systems.training_rooms import TrainingRooms
from g2vlm_fast.ontology import EVERYTHING, RELATIONS


@dataclass(frozen=True)
class RulesOnTrueBoxes:
    """Reads true boxes, class names and what a text means, and works the rest out.

    It knows no colour, no front and no support, sees through the cameras nothing but boxes, and
    takes the rectangle around all boxes for the floor. Where boxes do not decide a question, the
    majority answers; where they leave several objects that a phrase may mean, it means all of them
    alike.
    """

    training: TrainingRooms = field(default_factory=TrainingRooms)
    name: ClassVar[str] = "rules"
    tasks: ClassVar[frozenset[Task]] = frozenset(
        ("objects", "relations", "predicate_classification", "answers", "grounding")
    )
    looks_at_truth: ClassVar[bool] = True

    @property
    def fingerprint(self) -> str:
        return f"{self.name} 2 {self.training.benchmark.fingerprint}"

    def predict(self, case: Case) -> ScenePrediction:
        """Run the programs of texts over a room of boxes.

        Raises:
            PredictionFailed: the case has no boxes.
        """
        graph = _graph(case)
        cameras = None if case.given is None else Cameras.of(case.given)
        room = room_of_boxes(graph.boxes, graph.class_names, cameras=cameras)
        facts = Facts(room) if cameras is None else Facts(room, cameras.poses, cameras.gravity)
        executor = Executor(facts)
        return ScenePrediction(
            scene=case.name,
            system=self.name,
            objects=objects_of(graph.boxes, graph.class_names),
            relations=relations_of(room.relations.numpy() == 1),
            answers=tuple(self._answers(case, executor)),
            groundings=tuple(_groundings(case, executor)),
        )

    def _answers(self, case: Case, executor: Executor) -> Iterator[PredictedAnswer]:
        for query in questions_of(case.queries):
            result = None if query.program is None else executor.try_run(query.program)
            if query.program is not None and result is not None:
                yield answer_of(query.text, guess_of(query.program, result))
            elif query.kind in self._majority.kinds:
                yield answer_of(query.text, self._majority.guess(query))

    @cached_property
    def _majority(self) -> Majority:
        return Majority(self.training.questions)


@dataclass(frozen=True)
class ClassFrequency:
    """True boxes, and between them the relations that two classes usually are in.

    A relation is said to hold where it held in training rooms at least as often, between objects
    of these classes, as gives the best F1 there. It shows how much of a scene graph follows from
    the names of its objects.

    Source: the frequency baseline of Zellers et al., "Neural Motifs", CVPR 2018.
    """

    training: TrainingRooms = field(default_factory=TrainingRooms)
    name: ClassVar[str] = "class-frequency"
    tasks: ClassVar[frozenset[Task]] = frozenset(("relations", "predicate_classification"))
    looks_at_truth: ClassVar[bool] = True

    @property
    def fingerprint(self) -> str:
        return f"{self.name} 1 {self.training.benchmark.fingerprint}"

    def predict(self, case: Case) -> ScenePrediction:
        """Relate all pairs by their classes.

        Raises:
            PredictionFailed: the case has no boxes.
        """
        graph = _graph(case)
        classes = np.array(EVERYTHING.class_ids(graph.class_names))
        rate, threshold = self._rates
        usual = rate[classes[:, None], classes[None]]
        holds = (usual >= threshold) & ~np.eye(len(classes), dtype=bool)[..., None]
        return ScenePrediction(
            scene=case.name,
            system=self.name,
            objects=objects_of(graph.boxes, graph.class_names),
            relations=relations_of(holds, usual),
        )

    @cached_property
    def _rates(self) -> tuple[Array, float]:
        """How often relations hold between classes ``[C, C, R]``, and from where on to say so."""
        nothing = np.zeros(0)
        facts = [
            RoomFacts(
                objects=true_objects(room.truth, EVERYTHING),
                relations=room.truth.relations.numpy(),
                answers=(), captions=(), depths=nothing, normals=np.zeros((0, 3)),
                hidden_distances=nothing,
            )
            for room in self.training.rooms
        ]  # fmt: skip
        rate = relation_rate(facts, len(EVERYTHING.classes), len(RELATIONS))
        return rate, best_relation_threshold(facts, rate)


@dataclass(frozen=True)
class ShuffledRooms:
    """Understands every question, and answers it from another room.

    A question is run over the truth of a training room; where it has no answer there, the majority
    answers. It shows how much is right by the way rooms are, however well a text is understood.
    """

    training: TrainingRooms = field(default_factory=TrainingRooms)
    name: ClassVar[str] = "shuffled-geometry"
    tasks: ClassVar[frozenset[Task]] = frozenset(("answers",))
    looks_at_truth: ClassVar[bool] = True

    @property
    def fingerprint(self) -> str:
        return f"{self.name} 1 {self.training.benchmark.fingerprint}"

    def predict(self, case: Case) -> ScenePrediction:
        """Run the programs of questions over another room."""
        first = sum(case.name.encode()) % self.training.count
        questions = [query for query in questions_of(case.queries) if query.program is not None]
        return ScenePrediction(
            scene=case.name,
            system=self.name,
            answers=tuple(
                answer_of(query.text, self._guesser.guess(query, first)) for query in questions
            ),
        )

    @cached_property
    def _guesser(self) -> ShuffledGeometry:
        rooms = [room.executor for room in self.training.rooms]
        return ShuffledGeometry(rooms, Majority(self.training.questions))


def _graph(case: Case) -> GraphTruth:
    if case.graph is None or not len(case.graph.boxes):
        raise PredictionFailed("the case has no true boxes to reason about")
    return case.graph


def _groundings(case: Case, executor: Executor) -> Iterator[PredictedGrounding]:
    for query in phrases_of(case.queries):
        meant = () if query.program is None else _referents(executor, query.program)
        if meant:
            yield PredictedGrounding(
                text=query.text, objects=meant, scores=(1.0 / len(meant),) * len(meant)
            )


def _referents(executor: Executor, phrase: Program) -> tuple[int, ...]:
    """All objects that a phrase for one thing may mean, as far as boxes tell."""
    (description,) = phrase.inputs
    matches: Matches | None = executor.try_run(description)
    return () if matches is None else tuple(sorted(matches.possible))
