"""What rooms with truth hold for the evaluator: objects, relations, answers, samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from g2vlm_fast.data import Query, RoomTruth, Scene
from g2vlm_fast.data.rendering.observation import Visibility, observed
from g2vlm_fast.data.rendering.sampling import sample_queries
from g2vlm_fast.eval.heads.spatial import Graph
from g2vlm_fast.eval.metrics.boxes import Boxes
from g2vlm_fast.eval.priors import Answer, Objects, RoomFacts
from g2vlm_fast.ontology import EVERYTHING, Ontology
from g2vlm_fast.records import Task

_PIXELS = 500  # a room, of depth and normals
_POINTS = 500  # a room, of signed distance


def truth_of(scene: Scene) -> RoomTruth:
    """Return the truth of a scene.

    Raises:
        ValueError: the scene has none, so nothing can be judged against it.
    """
    if scene.truth is None or not scene.truth.objects:
        raise ValueError(f"scene {scene.name!r} has no truth with objects to be judged against")
    return scene.truth


def true_objects(truth: RoomTruth, ontology: Ontology) -> Objects:
    """Return the objects of a room, with the class ids of a model."""
    boxes = Boxes(*(part.double().numpy() for part in truth.boxes()))
    return Objects(boxes, np.array(ontology.class_ids(each.class_name for each in truth.objects)))


def true_graph(truth: RoomTruth, ontology: Ontology) -> Graph:
    """Return the labels of all ordered pairs of objects of a room, for a model's relations."""
    first, second = np.nonzero(~np.eye(len(truth.objects), dtype=bool))
    labels = truth.relations.numpy()[first, second][:, ontology.relation_columns]
    return Graph(np.stack([first, second], axis=1), labels)


def is_question(query: Query) -> bool:
    """Whether a text has an answer of a word or a number."""
    return query.task == Task.QUESTION and query.answer is not None


def is_caption(query: Query) -> bool:
    """Whether a text asks for a description of the room."""
    return query.task == Task.CAPTION and query.answer is not None


def is_statement(query: Query) -> bool:
    """Whether a text is itself a description of the room."""
    return query.task == Task.CAPTION and query.answer is None


def is_phrase(query: Query) -> bool:
    """Whether a text singles an object out."""
    return query.task == Task.REFERRING and query.referred is not None


def true_answer(query: Query) -> Answer:
    """Return the answer of a question."""
    return Answer(query.kind, query.answer or "", query.value)


def hidden_surface(scene: Scene, points: Tensor) -> Tensor:
    """Which surface points ``[n, 3]`` (metres, world) no view of the scene sees: ``[n]`` bool."""
    primitives = truth_of(scene).primitives
    return ~observed(primitives, points, scene.intrinsics, scene.poses, scene.image_size)


def room_facts(
    scene: Scene, queries: Sequence[Query], *, truncation: float, ontology: Ontology = EVERYTHING
) -> RoomFacts:
    """Return what a training room teaches a guesser who will not see the room asked about."""
    truth = truth_of(scene)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(truth.depth.numel(), (_PIXELS,), generator=generator)
    depth = truth.depth.flatten()[pixels]
    normal = truth.normal.movedim(1, -1).reshape(-1, 3)[pixels]
    _, distance, known = sample_queries(
        truth.primitives,
        truth.room_size,
        scene.intrinsics,
        scene.poses,
        scene.image_size,
        _POINTS,
        generator,
    )
    hidden = distance[known != Visibility.OBSERVED]
    return RoomFacts(
        objects=true_objects(truth, ontology),
        relations=truth.relations.numpy()[..., ontology.relation_columns],
        answers=[true_answer(query) for query in queries if is_question(query)],
        captions=[query.answer or "" for query in queries if is_caption(query)],
        depths=depth[depth > 0].double().numpy(),
        normals=normal[(normal != 0).any(-1)].double().numpy(),
        hidden_distances=hidden.clamp(-truncation, truncation).double().numpy(),
    )
