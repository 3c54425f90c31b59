"""What is judged: anything that says something of a case."""

from __future__ import annotations

from typing import Literal, Protocol, get_args

from g2vlm_fast.data.interchange import ScenePrediction
from g2vlm_fast.eval.protocol.cases import Case

Task = Literal[
    "surface",
    "depth",
    "objects",
    "relations",
    "predicate_classification",
    "answers",
    "grounding",
    "captions",
    "retrieval",
]
TASKS: tuple[Task, ...] = get_args(Task)


class PredictionFailed(Exception):
    """A system has no usable prediction for a case; the message is kept, and the case counts."""


class System(Protocol):
    """A model, a folder of predictions, or a rule that needs no training.

    Attributes:
        name: for people, with the version.
        fingerprint: changes whenever its predictions may change.
        tasks: what it attempts; within them a case without a prediction is a failure.
        looks_at_truth: whether it is an upper bound that reads what is true of a case.
    """

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def tasks(self) -> frozenset[Task]: ...

    @property
    def looks_at_truth(self) -> bool: ...

    def predict(self, case: Case) -> ScenePrediction:
        """Say what there is; the same for the same case, in whatever order cases come.

        Raises:
            PredictionFailed: there is no usable prediction.
        """
        ...
