"""Whatever a system may say of a small scene: scores stay finite, bounded, and out of its order."""

from __future__ import annotations

import dataclasses
from functools import cache
from random import Random

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from g2vlm_fast.data import Query, Scene
from g2vlm_fast.data.interchange import (
    PredictedAnswer,
    PredictedCaption,
    PredictedGrounding,
    PredictedObject,
    PredictedRelation,
    ScenePrediction,
)
from g2vlm_fast.eval.metrics.boxes import Boxes
from g2vlm_fast.eval.protocol.cases import Case, DepthTruth, GraphTruth, SurfaceTruth
from g2vlm_fast.eval.protocol.systems import TASKS
from g2vlm_fast.eval.scoring import SCORES, retrieval_rows, score_case, score_named
from g2vlm_fast.ontology import RELATIONS
from g2vlm_fast.records import Task

CENTERS = ((0.0, 0.0, 0.5), (1.5, 0.0, 0.5), (1.5, 0.0, 1.5))
QUERIES = (
    Query(text="what colour?", task=Task.QUESTION, kind="color", answer="red"),
    Query(text="how many?", task=Task.QUESTION, kind="count", answer="<number>", value=2.0),
    Query(text="the lamp", task=Task.REFERRING, kind="phrase", referred=2),
    Query(text="describe.", task=Task.CAPTION, kind="caption", answer="a chair and a red table."),
    Query(text="there is a lamp.", task=Task.CAPTION, kind="statement"),
)


@cache
def small_case() -> Case:
    draws = np.random.default_rng(0)
    labels = draws.integers(-1, 2, (3, 3, len(RELATIONS))).astype(np.int8)
    points = torch.from_numpy(draws.random((60, 3)).astype(np.float32))
    return Case(
        name="small",
        given=Scene(
            name="small",
            images=torch.zeros(2, 3, 2, 3, dtype=torch.uint8),
            intrinsics=torch.eye(3).repeat(2, 1, 1),
            poses=torch.eye(4).repeat(2, 1, 1),
        ),
        queries=QUERIES,
        surface=SurfaceTruth(
            points=points, normals=torch.eye(3)[torch.arange(60) % 3], hidden=points[:, 0] > 0.5
        ),
        depth=DepthTruth(
            depth=torch.from_numpy(draws.random((2, 2, 3)).astype(np.float32)),
            missing=torch.zeros(2, 2, 3, dtype=torch.bool),
        ),
        graph=GraphTruth(
            boxes=Boxes(np.array(CENTERS), np.ones((3, 3)), np.tile(np.eye(3), (3, 1, 1))),
            class_names=("chair", "table", "lamp"),
            relations=labels,
        ),
    )


lengths = st.floats(-3, 3, width=32)
scores = st.floats(0, 1)
texts = st.one_of(st.text(max_size=20), st.sampled_from(["red", "2", "two", "a red chair."]))


@st.composite
def predictions(draw: st.DrawFn) -> ScenePrediction:
    count = draw(st.integers(0, 5))
    ids = st.integers(0, count - 1)
    things = tuple(
        PredictedObject(
            id=row,
            class_name=draw(st.sampled_from(["chair", "table", "lamp", "unicorn"])),
            center=draw(st.one_of(st.sampled_from(CENTERS), st.tuples(lengths, lengths, lengths))),
            size=draw(st.sampled_from([(1, 1, 1), (0.5, 1, 2), (0, 1, 1), (0, 0, 0)])),
            rotation=draw(st.sampled_from(list(map(_axes, ([0, 1, 2], [1, 2, 0], [2, 0, 1]))))),
            score=draw(scores),
        )
        for row in range(count)
    )
    names = st.sampled_from([*RELATIONS, "adores", ""])
    relation = st.builds(PredictedRelation, subject=ids, object=ids, name=names, score=scores)
    meant = draw(st.permutations(range(count)))[: draw(st.integers(0, count))]
    points = draw(st.integers(0, 5))
    numbers = np.random.default_rng(draw(st.integers(0, 99)))
    return ScenePrediction(
        scene="small",
        system="fuzz",
        points=numbers.normal(scale=2, size=(points, 3)).astype(np.float32),
        vertices=numbers.normal(size=(4, 3)).astype(np.float32),
        faces=numbers.integers(0, 4, (draw(st.integers(0, 3)), 3)).astype(np.int32),
        depth=numbers.choice([0, 0.3, 1, 50], size=(1, 2, 2)).astype(np.float32),
        intrinsics=np.diag(numbers.uniform(0.5, 2, 3)).astype(np.float32)[None],
        views=(draw(st.integers(0, 1)),),
        objects=things,
        relations=tuple(draw(st.lists(relation, max_size=30))) if count else (),
        answers=tuple(
            PredictedAnswer(
                question=query.text, text=draw(texts), value=draw(st.none() | st.floats(-1e9, 1e9))
            )
            for query in QUERIES[: draw(st.integers(0, 2))]
        ),
        groundings=(
            PredictedGrounding(
                text="the lamp", objects=tuple(meant), scores=tuple(draw(scores) for _ in meant)
            ),
        ),
        captions=tuple(PredictedCaption(text=draw(texts)) for _ in range(draw(st.integers(0, 2)))),
        texts=tuple(query.text for query in QUERIES),
        text_embeddings=numbers.normal(size=(5, 2)).astype(np.float32),
        scene_embedding=numbers.normal(size=2).astype(np.float32),
        object_embeddings=numbers.normal(size=(count, 2)).astype(np.float32),
    )


def _axes(order: list[int]) -> tuple[tuple[float, float, float], ...]:
    return tuple(map(tuple, np.eye(3)[order].tolist()))


def values(prediction: ScenePrediction | None) -> dict[str, float]:
    case = small_case()
    record = score_case(case, prediction, tasks=frozenset(TASKS))
    rows = record.rows | retrieval_rows([(case, prediction)])["small"]
    assert {score.name for score in SCORES} == set(rows)
    return {name: float(score_named(name).statistic(np.array(row))) for name, row in rows.items()}


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(predictions())
def test_scores_lie_between_nothing_and_perfection(prediction: ScenePrediction) -> None:
    nothing = values(None)
    best = {"caption_cider_d": 10.0}
    for name, value in values(prediction).items():
        score = score_named(name)
        if np.isnan(nothing[name]):
            assert np.isnan(value), name  # the case has no such item
        elif score.higher_is_better:
            assert nothing[name] - 1e-9 <= value <= best.get(name, 1.0) + 1e-9, name
        else:
            assert -1e-9 <= value <= nothing[name] + 1e-6, name


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(predictions(), st.randoms(use_true_random=False))
def test_order_and_numbering_of_objects_change_nothing(
    prediction: ScenePrediction, random: Random
) -> None:
    order = list(range(len(prediction.objects)))
    random.shuffle(order)
    assert prediction.object_embeddings is not None
    renumbered = dataclasses.replace(
        prediction,
        objects=tuple(dataclasses.replace(prediction.objects[row], id=100 - row) for row in order),
        object_embeddings=prediction.object_embeddings[order],
        relations=tuple(
            dataclasses.replace(each, subject=100 - each.subject, object=100 - each.object)
            for each in prediction.relations[::-1]
        ),
        groundings=tuple(
            dataclasses.replace(each, objects=tuple(100 - thing for thing in each.objects))
            for each in prediction.groundings
        ),
    )
    expected, found = values(prediction), values(renumbered)
    for name, value in expected.items():
        assert np.isclose(found[name], value, equal_nan=True, rtol=1e-12, atol=1e-12), name
