"""Objects, relations, grounding and anchors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.eval.metric import Definition, Sums
from g2vlm_fast.eval.metrics.boxes import box_iou, match_boxes
from g2vlm_fast.eval.metrics.graph import detection_counts, node_relation_counts, triplet_counts
from g2vlm_fast.eval.priors import Array, Objects, Priors

SAME_OBJECT = 0.5  # metres between centres, below which a detection is taken to mean an object
TRANSPLANTS = 8  # training rooms whose furniture is tried as a guess

_OTHER_ROOM = "the furniture of another room, mean over training rooms"
_CLASS_PAIR = "what usually holds between two objects of these classes in training rooms"
_RANDOM_OBJECT = "a predicted object of the room, drawn by its objectness whatever the text says"

DEFINITIONS = (
    Definition("object_f1_25", "boxes", _OTHER_ROOM, headline=True),
    Definition("object_recall_25", "boxes", _OTHER_ROOM, rate=True),
    Definition("object_f1_25_with_class", "boxes", _OTHER_ROOM),
    Definition(
        "object_class_accuracy",
        "classes",
        "the most frequent class of the training rooms",
        headline=True,
        rate=True,
    ),
    Definition("relation_f1_matched_nodes", "relations", _CLASS_PAIR, headline=True),
    Definition("relation_f1_triplets", "relations", _CLASS_PAIR + ", on the same detections"),
    Definition("grounding_accuracy", "grounding", _RANDOM_OBJECT, headline=True, rate=True),
    Definition("localisation_acc_25", "grounding", _RANDOM_OBJECT, rate=True),
    Definition("localisation_acc_50", "grounding", _RANDOM_OBJECT, rate=True),
    Definition(
        "anchor_distance",
        "anchors",
        "the same anchors to the other objects of the room",
        unit="m",
        higher_is_better=False,
        headline=True,
    ),
)


@dataclass(frozen=True)
class Graph:
    """Relations among the objects of one room: pairs ``[P, 2]`` and what is said of each.

    ``values`` ``[P, R]`` are booleans (asserted) for a prediction, and labels (1, 0, -1
    undecided) for the truth.
    """

    pairs: NDArray[np.int64]
    values: NDArray[np.generic]


def same_objects(predicted: Objects, truth: Objects) -> NDArray[np.int64]:
    """Return ``[K]``: the true object that each detection means, or -1.

    One to one, nearest centres first in sum, at most :data:`SAME_OBJECT` metres apart; boxes and
    classes may be wrong, as other metrics judge those.
    """
    gap = np.linalg.norm(
        predicted.boxes.center[:, None] - truth.boxes.center[None], axis=-1
    ).reshape(len(predicted), len(truth))
    closeness = np.where(gap <= SAME_OBJECT, 1.0 + (SAME_OBJECT - gap), 0.0)
    means = np.full(len(predicted), -1, dtype=np.int64)
    for i, j in match_boxes(closeness, threshold=1.0):
        means[i] = j
    return means


def judge_objects(predicted: Objects, truth: Objects, priors: Priors) -> dict[str, Sums]:
    """Judge the detections of one scene."""
    if len(truth) == 0:
        return {}
    guesses = priors.rooms[:: max(1, len(priors.rooms) // TRANSPLANTS)][:TRANSPLANTS]
    sums = _detection_sums(predicted, truth)
    others = [_detection_sums(guess, truth) for guess in guesses]
    judged = {
        name: Sums(value, _total([other[name] for other in others], 1 / len(others)))
        for name, value in sums.items()
    }
    means = same_objects(predicted, truth)
    found = means >= 0
    true_class = truth.classes[means[found]]
    judged["object_class_accuracy"] = Sums(
        _mean(predicted.classes[found] == true_class), _mean(true_class == priors.majority_class)
    )
    return judged


def judge_relations(
    predicted: Objects, graph: Graph, truth: Objects, true_graph: Graph, priors: Priors
) -> dict[str, Sums]:
    """Judge the scene graph of one scene.

    Between matched nodes, only pairs of which both ends were detected are scored, so that the
    score is of relations alone; over triplets, every true relation counts, and both ends must be
    detected with the right class and box IoU of at least 0.25.
    """
    means = same_objects(predicted, truth)
    rows = {(int(means[s]), int(means[o])): row for row, (s, o) in enumerate(graph.pairs)}
    scored = [
        (row, rows[(int(s), int(o))])
        for row, (s, o) in enumerate(true_graph.pairs)
        if (int(s), int(o)) in rows
    ]
    true_rows = np.array([row for row, _ in scored], dtype=np.int64)
    our_rows = np.array([row for _, row in scored], dtype=np.int64)
    labels = true_graph.values[true_rows].astype(np.int8)
    pairs = true_graph.pairs[true_rows]
    guess = priors.relations(truth.classes[pairs[:, 0]], truth.classes[pairs[:, 1]])
    sums = {
        "relation_f1_matched_nodes": Sums(
            node_relation_counts(graph.values[our_rows].astype(bool), labels).f1_sums,
            node_relation_counts(guess, labels).f1_sums,
        )
    }
    iou = box_iou(predicted.boxes, truth.boxes)
    same_class = predicted.classes[:, None] == truth.classes[None]
    exact = np.full(len(predicted), -1, dtype=np.int64)
    for i, j in match_boxes(np.where(same_class, iou, 0.0)):
        exact[i] = j
    classes = predicted.classes[graph.pairs]
    guess = priors.relations(classes[:, 0], classes[:, 1])
    labels = true_graph.values.astype(np.int8)
    ours, chance = (
        triplet_counts(graph.pairs, asserted, exact, true_graph.pairs, labels).f1_sums
        for asserted in (graph.values.astype(bool), guess)
    )
    sums["relation_f1_triplets"] = Sums(ours, chance)
    return sums


def judge_grounding(
    choices: Sequence[int],
    referred: Sequence[int],
    candidates: Objects,
    objectness: Array,
    truth: Objects,
) -> dict[str, Sums]:
    """Judge which predicted object the model chose for each text that singles one out.

    Accuracy counts the texts whose object is among the candidates at all; localisation counts
    every text, and asks for box IoU.

    Args:
        choices: rows of the candidates, -1 where there is none.
        referred: rows of the truth.
        candidates: all predicted objects of the scene.
        objectness: ``[K]`` probabilities of the candidates.
        truth: the true objects.
    """
    means = same_objects(candidates, truth)
    iou = box_iou(candidates.boxes, truth.boxes)
    draw = objectness / max(objectness.sum(), 1e-12)
    found = [
        (choice, true) for choice, true in zip(choices, referred, strict=True) if true in means
    ]
    right = sum(float(choice >= 0 and means[choice] == true) for choice, true in found)
    guessed = sum(float(draw[means == true].sum()) for _, true in found)
    count = float(len(found))
    sums = {"grounding_accuracy": Sums((right, count), (guessed, count))}
    for threshold, name in ((0.25, "localisation_acc_25"), (0.5, "localisation_acc_50")):
        close = iou >= threshold
        hits = [
            float(choice >= 0 and close[choice, wanted])
            for choice, wanted in zip(choices, referred, strict=True)
        ]
        random = [float(draw[close[:, wanted]].sum()) for wanted in referred]
        sums[name] = Sums((sum(hits), len(hits)), (sum(random), len(random)))
    return sums


def judge_anchors(
    anchors: Sequence[Array], referred: Sequence[int], tokens: Array, truth: Objects
) -> dict[str, Sums]:
    """Judge where each text looks: the distance in metres of its nearest anchor to its object.

    Anchors that pay no heed to what the text says are as far from its object as from the others
    of the room, on average; that is the chance level. Rooms with one object do not count.

    Args:
        anchors: ``[n, 3]`` of each text, world.
        referred: rows of the truth.
        tokens: ``[m, 3]`` positions of the geometry tokens; uniform attention, where training
            starts, looks at their mean, which is reported beside.
        truth: the true objects.
    """
    centers = truth.boxes.center
    ours = chance = uniform = count = 0.0
    for looked, wanted in zip(anchors, referred, strict=True):
        away = np.linalg.norm(looked[:, None] - centers[None], axis=-1).min(0)
        others = np.delete(away, wanted)
        if others.size == 0:
            continue
        count += 1
        ours += float(away[wanted])
        chance += float(others.mean())
        uniform += float(np.linalg.norm(tokens.mean(0) - centers[wanted]))
    beside = {"mean position of the geometry tokens": (uniform, count)}
    return {"anchor_distance": Sums((ours, count), (chance, count), beside)}


def _detection_sums(predicted: Objects, truth: Objects) -> dict[str, tuple[float, float]]:
    iou = box_iou(predicted.boxes, truth.boxes)
    matches = match_boxes(iou)
    sizes = len(predicted), len(truth)
    boxes = detection_counts(matches, None, None, *sizes)
    same_class = predicted.classes[:, None] == truth.classes[None]
    strict = match_boxes(np.where(same_class, iou, 0.0))
    return {
        "object_f1_25": boxes.f1_sums,
        "object_recall_25": boxes.recall_sums,
        "object_f1_25_with_class": detection_counts(strict, None, None, *sizes).f1_sums,
    }


def _mean(hits: NDArray[np.bool_]) -> tuple[float, float]:
    return float(hits.sum()), float(hits.size)


def _total(pairs: Sequence[tuple[float, float]], scale: float) -> tuple[float, float]:
    return scale * sum(pair[0] for pair in pairs), scale * sum(pair[1] for pair in pairs)
