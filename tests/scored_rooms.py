"""A generated room as a case of a benchmark, and its truth as the prediction of a system."""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import torch

from g2vlm_fast.data import Query, RoomConfig, generate_room, queries
from g2vlm_fast.data.interchange import (
    PredictedAnswer,
    PredictedCaption,
    PredictedGrounding,
    PredictedObject,
    PredictedRelation,
    ScenePrediction,
)
from g2vlm_fast.data.language.texts import KINDS
from g2vlm_fast.data.rendering.observation import observed
from g2vlm_fast.data.rendering.sampling import sample_surface
from g2vlm_fast.eval.facts import is_caption, is_phrase, is_question, is_statement
from g2vlm_fast.eval.metrics.boxes import Boxes
from g2vlm_fast.eval.protocol.cases import Case, DepthTruth, GraphTruth, SurfaceTruth
from g2vlm_fast.ontology import RELATIONS

SURFACE_POINTS = 4000
EMBEDDING = 16


@cache
def room_case(seed: int = 5) -> Case:
    """A small furnished room with everything asked of it; half of its depth is given."""
    config = RoomConfig(
        image_size=(24, 32), views=(3, 3), depth_probability=1.0, sensor_noise=False
    )
    room = generate_room(seed, config)
    assert room.truth is not None
    truth = room.truth
    points, normals, _ = sample_surface(
        truth.primitives, SURFACE_POINTS, torch.Generator().manual_seed(seed)
    )
    seen = observed(truth.primitives, points, room.intrinsics, room.poses, room.image_size)
    missing = torch.zeros(truth.depth.shape, dtype=torch.bool)
    missing[..., ::2] = True
    assert room.depth is not None
    given = dataclasses.replace(room, truth=None, depth=room.depth.masked_fill(missing, 0.0))
    return Case(
        name=room.name,
        given=given,
        queries=tuple(queries(room, seed, kinds=KINDS, style="training")),
        surface=SurfaceTruth(points=points, normals=normals, hidden=~seen),
        depth=DepthTruth(depth=truth.depth, missing=missing),
        graph=GraphTruth(
            boxes=Boxes(*(part.double().numpy() for part in truth.boxes())),
            class_names=tuple(thing.class_name for thing in truth.objects),
            relations=truth.relations.numpy(),
        ),
    )


def truth_as_prediction(case: Case) -> ScenePrediction:
    """What a system says that knows everything."""
    assert case.given is not None
    assert case.surface is not None
    assert case.depth is not None
    assert case.graph is not None
    assert case.graph.relations is not None
    boxes = case.graph.boxes
    draws = np.random.default_rng([ord(letter) for letter in case.name])
    of_scene = draws.normal(size=EMBEDDING).astype(np.float32)
    of_objects = draws.normal(size=(len(boxes), EMBEDDING)).astype(np.float32)
    of_text = {q.text: of_objects[q.referred or 0] for q in case.queries if is_phrase(q)}
    of_text |= {q.text: of_scene for q in case.queries if is_statement(q)}
    return ScenePrediction(
        scene=case.name,
        system="truth",
        points=case.surface.points.numpy(),
        vertices=_triangles(case.surface)[0],
        faces=_triangles(case.surface)[1],
        depth=case.depth.depth.numpy(),
        intrinsics=case.given.intrinsics.numpy(),
        poses=case.given.poses.numpy(),
        views=tuple(range(case.given.num_views)),
        objects=tuple(
            PredictedObject(
                id=10 + row,
                class_name=name,
                center=tuple(boxes.center[row].tolist()),
                size=tuple(boxes.size[row].tolist()),
                rotation=tuple(map(tuple, boxes.rotation[row].tolist())),
            )
            for row, name in enumerate(case.graph.class_names)
        ),
        relations=tuple(
            PredictedRelation(subject=10 + int(s), object=10 + int(o), name=RELATIONS[column])
            for s, o, column in np.argwhere(case.graph.relations == 1)
        ),
        answers=tuple(
            PredictedAnswer(question=q.text, text=q.answer or "", value=q.value)
            for q in _once(case.queries)
            if is_question(q)
        ),
        groundings=tuple(
            PredictedGrounding(text=q.text, objects=(10 + (q.referred or 0),), scores=(0.9,))
            for q in _once(case.queries)
            if is_phrase(q)
        ),
        captions=tuple(
            PredictedCaption(text=q.answer or "", request=q.text)
            for q in _once(case.queries)
            if is_caption(q)
        ),
        scene_embedding=of_scene,
        object_embeddings=of_objects,
        texts=tuple(of_text),
        text_embeddings=np.stack(list(of_text.values())),
    )


def _once(texts: tuple[Query, ...]) -> list[Query]:
    return list({query.text: query for query in texts}.values())


def _triangles(surface: SurfaceTruth) -> tuple[np.ndarray, np.ndarray]:
    """A small triangle in the surface at each of its points."""
    helper = torch.eye(3)[surface.normals.abs().argmin(-1)]
    along = torch.linalg.cross(surface.normals, helper)
    along = along / along.norm(dim=-1, keepdim=True)
    across = torch.linalg.cross(surface.normals, along)
    side = 0.004
    corners = torch.stack(
        [
            surface.points,
            surface.points + side * along,
            surface.points + side * across,
        ],
        dim=1,
    )
    faces = torch.arange(3 * len(corners), dtype=torch.int32).view(-1, 3)
    return corners.reshape(-1, 3).numpy(), faces.numpy()
