"""Rules over boxes: whatever follows from where things are, and what they are called.

With true boxes they say how much of a score is left for whoever finds the boxes; with those of
another system, how much of its answers its own boxes would have given it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from g2vlm_fast.data.interchange import PredictedAnswer, PredictedGrounding, ScenePrediction
from g2vlm_fast.data.language.blind import Majority
from g2vlm_fast.data.language.execution import Executor
from g2vlm_fast.data.language.facts import Facts, Matches
from g2vlm_fast.data.language.programs import Program
from g2vlm_fast.eval.benchmarks.box_rooms import Cameras, room_of_boxes
from g2vlm_fast.eval.metrics.boxes import Boxes
from g2vlm_fast.eval.protocol.cases import Case
from g2vlm_fast.eval.protocol.systems import System, Task
from g2vlm_fast.eval.scoring.nodes import predicted_boxes
from g2vlm_fast.eval.systems.rules import true_graph
from g2vlm_fast.eval.systems.saying import (
    answer_of,
    guess_of,
    objects_of,
    phrases_of,
    questions_of,
    relations_of,
)
from g2vlm_fast.eval.systems.training_rooms import TrainingRooms
from g2vlm_fast.ontology import CLASSES

_LEAST_SIDE = 1e-3  # metres; a box without volume is nowhere


@dataclass(frozen=True)
class Rules:
    """Read boxes, class names and what a text means, and work the rest out.

    They know no colour, no front and no support, see through the cameras nothing but boxes, and
    take the rectangle around all boxes for the floor. Where boxes do not decide a question, the
    majority answers; where they leave several objects that a phrase may mean, it means all of them
    alike.
    """

    training: TrainingRooms

    def applied(
        self, case: Case, system: str, boxes: Boxes, class_names: Sequence[str]
    ) -> ScenePrediction:
        """Say what follows from boxes of known classes, at least one."""
        cameras = None if case.given is None else Cameras.of(case.given)
        room = room_of_boxes(boxes, class_names, cameras=cameras)
        facts = Facts(room) if cameras is None else Facts(room, cameras.poses, cameras.gravity)
        executor = Executor(facts)
        return ScenePrediction(
            scene=case.name,
            system=system,
            objects=objects_of(boxes, class_names),
            relations=relations_of(room.relations.numpy() == 1),
            answers=tuple(self._answers(case, executor)),
            groundings=tuple(_groundings(case, executor)),
        )

    def guessed(self, case: Case, system: str) -> ScenePrediction:
        """Say what is known where there are no boxes: the answers of the majority."""
        return ScenePrediction(
            scene=case.name, system=system, answers=tuple(self._answers(case, None))
        )

    def _answers(self, case: Case, executor: Executor | None) -> Iterator[PredictedAnswer]:
        for query in questions_of(case.queries):
            program = query.program
            result = executor.try_run(program) if executor and program else None
            if program is not None and result is not None:
                yield answer_of(query.text, guess_of(program, result))
            elif query.kind in self._majority.kinds:
                yield answer_of(query.text, self._majority.guess(query))

    @cached_property
    def _majority(self) -> Majority:
        return Majority(self.training.questions)


@dataclass(frozen=True)
class RulesOnTrueBoxes:
    """:class:`Rules` over the true boxes of a scene."""

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
        graph = true_graph(case)
        return self._rules.applied(case, self.name, graph.boxes, graph.class_names)

    @cached_property
    def _rules(self) -> Rules:
        return Rules(self.training)


@dataclass(frozen=True)
class RulesOnPredictedBoxes:
    """:class:`Rules` over the boxes that another system predicts; unknown classes are left out.

    It stands beside that system's own answers, which are worth what they are better by.

    Args:
        system: whose boxes; a model, or a folder of its predictions.
        training: rooms whose majority answers.
    """

    system: System
    training: TrainingRooms = field(default_factory=TrainingRooms)
    tasks: ClassVar[frozenset[Task]] = frozenset(("objects", "relations", "answers", "grounding"))
    looks_at_truth: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return f"rules on boxes of {self.system.name}"

    @property
    def fingerprint(self) -> str:
        return f"rules 2 {self.training.benchmark.fingerprint} {self.system.fingerprint}"

    def predict(self, case: Case) -> ScenePrediction:
        """Run the programs of texts over a room of predicted boxes.

        Raises:
            PredictionFailed: the other system failed.
        """
        said = self.system.predict(case)
        known = tuple(
            thing
            for thing in said.objects
            if thing.class_name in CLASSES and min(thing.size) >= _LEAST_SIDE
        )
        if not known:
            return self._rules.guessed(case, self.name)
        names = [thing.class_name for thing in known]
        return self._rules.applied(case, self.name, predicted_boxes(known), names)

    @cached_property
    def _rules(self) -> Rules:
        return Rules(self.training)


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
