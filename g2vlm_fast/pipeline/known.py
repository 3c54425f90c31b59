"""What is known of a scene, in one form: the truth of a room, or what people wrote about a scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from g2vlm_fast.data import Scene
from g2vlm_fast.data.annotations import ReferringExpression, ScanAnnotations, ScanQuestion
from g2vlm_fast.data.language.predicates_3dssg import FROM_3DSSG
from g2vlm_fast.data.language.visibility import least_pixels
from g2vlm_fast.data.scene import RoomTruth
from g2vlm_fast.export.scene_graph import SceneObject, SceneRelation, frame_of
from g2vlm_fast.geometry.boxes import points_in_boxes
from g2vlm_fast.geometry.cameras import unproject
from g2vlm_fast.ontology import RELATIONS

_TELLING = {name: rank for rank, name in enumerate(("on", "in", "above", "near", "facing"))}


@dataclass(frozen=True)
class Known:
    """What is known of a scene.

    Attributes:
        objects: those that have a place.
        relations: between these; those that say the most first.
        sentences: what people wrote, one line each, and which objects nobody gave a place.
    """

    objects: tuple[SceneObject, ...] = ()
    relations: tuple[SceneRelation, ...] = ()
    sentences: tuple[str, ...] = ()


def known_of(scene: Scene) -> Known:
    """Gather what is known of a scene: of a room its truth, of a scan its annotations."""
    if scene.truth is not None:
        return _of_truth(scene.truth)
    if scene.annotations is not None:
        return _of_annotations(scene.annotations)
    return Known()


def seen_in(view: int, scene: Scene, objects: Sequence[SceneObject]) -> list[SceneObject]:
    """Return the objects that a view shows.

    Of a room the truth says it of every pixel; of a scan an object is seen where its box holds
    what was measured, and all objects are returned where there is no depth.
    """
    if scene.truth is not None:
        instance = scene.truth.instance[view]
        pixels = [int((instance == thing.id).sum()) for thing in objects]
        size = instance.shape
    elif scene.depth is not None:
        depth, camera, pose = (
            values[view] for values in (scene.depth, scene.intrinsics, scene.poses)
        )
        points = unproject(depth, camera, pose)[depth > 0]
        pixels = [_points_in_box(points, thing) for thing in objects]
        size = depth.shape
    else:
        return list(objects)
    least = least_pixels((size[0], size[1]))
    return [thing for thing, count in zip(objects, pixels, strict=True) if count >= least]


def _points_in_box(points: Tensor, thing: SceneObject) -> int:
    box = (torch.from_numpy(v)[None] for v in (thing.center, thing.size, thing.rotation))
    return int(points_in_boxes(points, *box).sum())


def some_of(sentences: Sequence[str], most: int) -> list[str]:
    """Return all sentences, or so many of them, evenly chosen, and how many there are."""
    if len(sentences) <= most:
        return list(sentences)
    chosen = [sentences[place * len(sentences) // most] for place in range(most)]
    return [*chosen, f"({most} of {len(sentences)} sentences)"]


def _of_truth(truth: RoomTruth) -> Known:
    objects = tuple(
        _object(index, thing.class_name, thing.center, thing.size, thing.rotation)
        for index, thing in enumerate(truth.objects)
    )
    held = (truth.relations == 1).nonzero().tolist()
    relations = [
        SceneRelation(subject, thing, RELATIONS[name], 1.0, frame_of(RELATIONS[name]))
        for subject, thing, name in held
    ]
    return Known(objects, _telling_first(relations))


def _of_annotations(annotations: ScanAnnotations) -> Known:
    objects, homeless = [], []
    for thing in annotations.objects:
        if thing.center is None or thing.size is None or thing.rotation is None:
            homeless.append(f"{thing.class_name} {thing.id}")
        else:
            objects.append(
                _object(thing.id, thing.class_name, thing.center, thing.size, thing.rotation)
            )
    placed = {thing.id for thing in objects}
    relations = [
        SceneRelation(edge.subject, edge.object, edge.name, 1.0, "")
        for edge in annotations.relations
        if edge.subject in placed and edge.object in placed
    ]
    sentences = [f"annotated without a place: {', '.join(homeless)}"] if homeless else []
    sentences += [_expression_line(expression) for expression in annotations.expressions]
    sentences += [_question_line(question) for question in annotations.questions]
    return Known(tuple(objects), _telling_first(relations), tuple(sentences))


def _object(
    number: int, class_name: str, center: Tensor, size: Tensor, rotation: Tensor
) -> SceneObject:
    return SceneObject(
        id=number,
        class_name=class_name,
        score=1.0,
        class_score=1.0,
        center=center.numpy(),
        size=size.numpy(),
        rotation=rotation.numpy(),
        descriptor=np.zeros(0, dtype=np.float32),
    )


def _telling_first(relations: list[SceneRelation]) -> tuple[SceneRelation, ...]:
    """Those that say the most first; relationships of 3DSSG by what they are called here."""

    def rank(edge: SceneRelation) -> int:
        return _TELLING.get(FROM_3DSSG.get(edge.name, edge.name), len(_TELLING))

    return tuple(sorted(relations, key=rank))


def _expression_line(expression: ReferringExpression) -> str:
    meant = ", ".join(f"{expression.class_name} {number}" for number in expression.objects)
    return f"{expression.source}: {expression.text}  {meant or 'nothing fits'}"


def _question_line(question: ScanQuestion) -> str:
    asked = " ".join(part for part in (question.situation, question.text) if part)
    return f"{question.source}: {asked}  {' / '.join(question.answers) or 'no answer is given'}"
