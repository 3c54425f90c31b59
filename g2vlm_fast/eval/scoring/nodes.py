"""Objects of a prediction and of a truth in one set of class numbers, and who is who."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.data.interchange import PredictedObject, ScenePrediction
from g2vlm_fast.eval.metrics.boxes import UPRIGHT_TOLERANCE, Boxes, box_iou, match_boxes
from g2vlm_fast.eval.metrics.graph import Counts
from g2vlm_fast.eval.metrics.spq import NodeMatches
from g2vlm_fast.eval.protocol.cases import GraphTruth
from g2vlm_fast.ontology import CLASSES

OTHER = len(CLASSES)
"""Number of all classes that the ontology does not know; equal ones still match by name."""

KINDS = OTHER + 1


@dataclass(frozen=True)
class Nodes:
    """Predicted and true objects of one scene.

    Attributes:
        iou: ``[P, K]`` of their boxes.
        same_class: ``[P, K]`` whether their classes have one name.
        predicted_classes, true_classes: ``[P]`` and ``[K]`` numbers below :data:`KINDS`.
        order: ``[P]`` rows of the predicted objects in an order of their own, the surest first.
    """

    iou: NDArray[np.float64]
    same_class: NDArray[np.bool_]
    predicted_classes: NDArray[np.int64]
    true_classes: NDArray[np.int64]
    order: list[int]

    @classmethod
    def of(cls, prediction: ScenePrediction, truth: GraphTruth) -> Nodes:
        names = [thing.class_name for thing in prediction.objects]
        same = [[said == known for known in truth.class_names] for said in names]
        return cls(
            box_iou(predicted_boxes(prediction.objects), truth.boxes),
            np.array(same, dtype=bool).reshape(len(names), len(truth.class_names)),
            class_numbers(names),
            class_numbers(truth.class_names),
            sorted(range(len(names)), key=lambda row: _rank(prediction.objects[row])),
        )

    def matches(self, threshold: float) -> NodeMatches:
        """Match objects of equal class one to one, box IoU above ``threshold``, most IoU in sum.

        Which of several equally good objects is matched does not depend on how they are listed.
        """
        gain = np.where(self.same_class & (self.iou > threshold), self.iou, 0.0)
        means = np.full(len(gain), -1, dtype=np.int64)
        quality = np.zeros(len(gain))
        for place, true in match_boxes(gain[self.order], threshold=0.0):
            row = self.order[place]
            means[row], quality[row] = true, self.iou[row, true]
        return NodeMatches(means, quality)

    def counts(self, matches: NodeMatches) -> Counts:
        """How many objects are matched, predicted and true."""
        hits = int((matches.means >= 0).sum())
        return Counts(hits, len(self.predicted_classes), len(self.true_classes))


def _rank(thing: PredictedObject) -> tuple[object, ...]:
    return -thing.score, thing.class_name, thing.center, thing.size, thing.rotation


def class_numbers(names: list[str] | tuple[str, ...]) -> NDArray[np.int64]:
    """Return the place of each class in the ontology, :data:`OTHER` for those it does not know."""
    known = {name: number for number, name in enumerate(CLASSES)}
    return np.array([known.get(name, OTHER) for name in names], dtype=np.int64)


def predicted_boxes(objects: tuple[PredictedObject, ...]) -> Boxes:
    """Return the boxes of objects; a tilted one becomes the upright box around it."""
    center = np.array([thing.center for thing in objects], dtype=np.float64).reshape(-1, 3)
    size = np.array([thing.size for thing in objects], dtype=np.float64).reshape(-1, 3)
    rotation = np.array([thing.rotation for thing in objects], dtype=np.float64).reshape(-1, 3, 3)
    tilted = np.abs(rotation[:, :2, 2]).max(axis=1, initial=0.0) > UPRIGHT_TOLERANCE
    for row in np.flatnonzero(tilted):
        size[row], rotation[row] = _upright(size[row], rotation[row])
    return Boxes(center, size, rotation)


def _upright(
    size: NDArray[np.float64], rotation: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Size and rotation of the upright box around a box, turned like its most level axis."""
    level = rotation[:2, np.abs(rotation[2]).argmin()]
    x, y = level / np.linalg.norm(level)
    upright = np.array([[x, -y, 0.0], [y, x, 0.0], [0.0, 0.0, 1.0]])
    return np.abs(upright.T @ rotation) @ size, upright
