"""What classes and other rooms give away: the relations of the usual room, and its answers.

They read part of the truth, so that nobody could run them on a scan; each says how much of a score
is left for whoever has to look at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np

from g2vlm_fast.data.interchange import ScenePrediction
from g2vlm_fast.data.language.blind import Majority, ShuffledGeometry
from g2vlm_fast.eval.facts import true_objects
from g2vlm_fast.eval.priors import Array, RoomFacts, best_relation_threshold, relation_rate
from g2vlm_fast.eval.protocol.cases import Case, GraphTruth
from g2vlm_fast.eval.protocol.systems import PredictionFailed, Task
from g2vlm_fast.eval.systems.saying import (
    answer_of,
    objects_of,
    questions_of,
    relations_of,
)
from g2vlm_fast.eval.systems.training_rooms import TrainingRooms
from g2vlm_fast.ontology import EVERYTHING, RELATIONS


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
        graph = true_graph(case)
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


def true_graph(case: Case) -> GraphTruth:
    """Return the true objects of a case.

    Raises:
        PredictionFailed: it has none.
    """
    if case.graph is None or not len(case.graph.boxes):
        raise PredictionFailed("the case has no true boxes to reason about")
    return case.graph
