"""Scenes scored as a whole: the truth wins, nothing loses, and nobody gains by erring."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scored_rooms import room_case, truth_as_prediction

from g2vlm_fast.data.interchange import (
    PredictedCaption,
    PredictedObject,
    PredictedRelation,
    ScenePrediction,
)
from g2vlm_fast.eval.protocol.cases import Case
from g2vlm_fast.eval.protocol.records import SceneRecord
from g2vlm_fast.eval.protocol.systems import TASKS
from g2vlm_fast.eval.scoring import SCORES, contradiction, score_case, score_named

EVERYTHING = frozenset(TASKS)
OF_SOLIDS = "mesh_iou"  # this truth has no volume
OF_ONE_SCENE = [score for score in SCORES if score.task != "retrieval" and score.name != OF_SOLIDS]
BEST = {"caption_cider_d": 10.0}
OUT_OF_REACH = "triplet_recall", "triplet_mean_recall"  # a room has more relations than K


def value(record: SceneRecord, name: str) -> float:
    return float(score_named(name).statistic(np.array(record.rows[name])))


@pytest.fixture(scope="module")
def case() -> Case:
    return room_case()


@pytest.fixture(scope="module")
def truth(case: Case) -> ScenePrediction:
    return truth_as_prediction(case)


@pytest.fixture(scope="module")
def of_truth(case: Case, truth: ScenePrediction) -> SceneRecord:
    return score_case(case, truth, tasks=EVERYTHING)


@pytest.fixture(scope="module")
def of_nothing(case: Case) -> SceneRecord:
    return score_case(case, None, tasks=EVERYTHING, failure="out of memory")


def test_every_score_has_a_name_of_its_own_and_a_row(of_truth: SceneRecord) -> None:
    names = [score.name for score in SCORES]
    assert len(set(names)) == len(names)
    assert set(of_truth.rows) == {score.name for score in OF_ONE_SCENE} | {OF_SOLIDS}
    assert of_truth.rows[OF_SOLIDS] == (0.0, 0.0)
    with pytest.raises(ValueError, match="no score is called"):
        score_named("beauty")


def test_the_truth_scores_best(of_truth: SceneRecord) -> None:
    assert of_truth.failure == ""
    for score in OF_ONE_SCENE:
        if score.name.startswith(OUT_OF_REACH):
            continue
        best = BEST.get(score.name, 1.0 if score.higher_is_better else 0.0)
        assert value(of_truth, score.name) == pytest.approx(best, abs=1e-5), score.name
    assert {item.score for item in of_truth.items} == {1.0}


def test_a_failure_scores_like_a_prediction_that_says_nothing(
    case: Case, of_nothing: SceneRecord
) -> None:
    silent = ScenePrediction(scene=case.name, system="silence")
    record = score_case(case, silent, tasks=EVERYTHING)
    assert record.rows == of_nothing.rows
    assert record.failure == ""
    assert of_nothing.failure == "out of memory"
    assert score_case(case, None, tasks=EVERYTHING).failure == "no prediction"


def test_a_failure_keeps_every_denominator(of_truth: SceneRecord, of_nothing: SceneRecord) -> None:
    assert of_nothing.rows.keys() == of_truth.rows.keys()
    for score in OF_ONE_SCENE:
        rows = [np.array(record.rows[score.name]) for record in (of_truth, of_nothing)]
        assert np.isfinite(rows).all(), score.name
        said, silent = (float(score.items(row)) for row in rows)
        if "f1" in score.name or "occupancy" in score.name:  # what was said counts as well
            assert silent > 0, score.name
        else:
            assert silent == said, score.name


def test_nothing_scores_worst(of_nothing: SceneRecord) -> None:
    for score in OF_ONE_SCENE:
        if score.higher_is_better:
            assert value(of_nothing, score.name) == 0.0, score.name
        else:
            assert value(of_nothing, score.name) > 0.5, score.name


def _noisy(truth: ScenePrediction, seed: int) -> ScenePrediction:
    """Everything wrong at random, some of it by far."""
    draws = np.random.default_rng(seed)
    assert truth.points is not None
    assert truth.vertices is not None
    assert truth.depth is not None
    noise = draws.normal(scale=10.0 ** draws.uniform(-2, 1), size=truth.points.shape)
    spread = draws.lognormal(sigma=draws.uniform(0, 2), size=truth.depth.shape)
    objects = tuple(
        dataclasses.replace(
            thing,
            center=tuple(np.add(thing.center, draws.normal(scale=0.3, size=3)).tolist()),
            class_name=str(draws.choice([thing.class_name, "unicorn"])),
        )
        for thing in truth.objects
    )
    return dataclasses.replace(
        truth,
        points=(truth.points + noise).astype(np.float32),
        vertices=(truth.vertices + draws.normal(scale=0.1, size=3)).astype(np.float32),
        depth=(truth.depth * spread).astype(np.float32),
        objects=objects,
        relations=tuple(draws.permuted(list(truth.relations))[:20]),
        answers=tuple(dataclasses.replace(each, text="no", value=1.0) for each in truth.answers),
    )


@pytest.mark.parametrize("seed", range(3))
def test_no_prediction_is_worse_than_none_and_none_better_than_the_truth(
    case: Case,
    truth: ScenePrediction,
    of_truth: SceneRecord,
    of_nothing: SceneRecord,
    seed: int,
) -> None:
    record = score_case(case, _noisy(truth, seed), tasks=EVERYTHING)
    assert record.failure == ""
    for score in OF_ONE_SCENE:
        sign = 1 if score.higher_is_better else -1
        worst, said, best = (
            sign * value(each, score.name) for each in (of_nothing, record, of_truth)
        )
        assert worst - 1e-9 <= said <= best + 1e-5, score.name


def test_the_order_of_objects_relations_and_answers_changes_nothing(
    case: Case, truth: ScenePrediction, of_truth: SceneRecord
) -> None:
    shuffled = dataclasses.replace(
        truth,
        objects=truth.objects[::-1],
        object_embeddings=None,
        relations=truth.relations[::-1],
        answers=truth.answers[::-1],
        groundings=truth.groundings[::-1],
    )
    assert score_case(case, shuffled, tasks=EVERYTHING).rows == of_truth.rows


def test_rows_are_the_same_to_the_last_bit_for_any_number_of_threads(
    case: Case, truth: ScenePrediction
) -> None:
    assert truth.points is not None
    draws = np.random.default_rng(0)
    cloud = np.repeat(truth.points, 20, axis=0)
    cloud += draws.normal(scale=0.05, size=cloud.shape).astype(np.float32)
    noisy = dataclasses.replace(_noisy(truth, 0), points=cloud)
    before = torch.get_num_threads()
    rows = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            rows.append(score_case(case, noisy, tasks=EVERYTHING).rows)
    finally:
        torch.set_num_threads(before)
    assert rows[0] == rows[1] == rows[2]


def test_rows_of_scenes_add_up() -> None:
    cases = [room_case(5), room_case(6)]
    records = [
        score_case(each, truth_as_prediction(each), tasks=EVERYTHING) for each in cases[:1]
    ] + [score_case(cases[1], None, tasks=EVERYTHING)]
    for score in OF_ONE_SCENE:
        table = np.array([record.rows[score.name] for record in records])
        total = float(score.statistic(table.sum(0)))
        resampled = score.statistic(np.array([[2.0, 0.0], [1.0, 1.0]]) @ table)
        assert resampled.shape == (2,)
        assert resampled[1] == pytest.approx(total, nan_ok=True), score.name


def test_only_what_is_attempted_and_asked_has_rows(case: Case, truth: ScenePrediction) -> None:
    record = score_case(case, truth, tasks=frozenset({"depth"}))
    assert set(record.rows) == {score.name for score in SCORES if score.task == "depth"}
    unasked = dataclasses.replace(case, depth=None, queries=(), surface=None, graph=None)
    assert score_case(unasked, truth, tasks=EVERYTHING).rows == {}
    with pytest.raises(ValueError, match="tasks must be some of"):
        score_case(case, truth, tasks=frozenset({"dpeth"}))  # type: ignore[arg-type]


def _millimetres(name: str) -> Callable[[ScenePrediction], ScenePrediction]:
    return _scaled(name, 1000)


def _scaled(name: str, factor: float) -> Callable[[ScenePrediction], ScenePrediction]:
    return lambda truth: dataclasses.replace(truth, **{name: factor * getattr(truth, name)})


def _boxes_in_millimetres(truth: ScenePrediction) -> ScenePrediction:
    objects = tuple(
        dataclasses.replace(
            thing,
            center=tuple(1000 * x for x in thing.center),
            size=tuple(1000 * x for x in thing.size),
        )
        for thing in truth.objects
    )
    return dataclasses.replace(truth, objects=objects)


OF_SOMETHING_ELSE: dict[str, tuple[Callable[[ScenePrediction], ScenePrediction], str]] = {
    "another scene": (lambda truth: dataclasses.replace(truth, scene="room-7"), "of scene"),
    "a view too many": (lambda truth: dataclasses.replace(truth, views=(0, 1, 3)), "of view 3"),
    "points in millimetres": (_millimetres("points"), "points are 1000 times too large"),
    "mesh in millimetres": (_millimetres("vertices"), "times too large"),
    "depth in millimetres": (_millimetres("depth"), "depth are 1000 times too large"),
    "a cloud in centimetres that is too small": (_scaled("points", 80), "times too large"),
    "depth in inches": (_scaled("depth", 39.4), "depth are 39 times too large"),
    "boxes in millimetres": (_boxes_in_millimetres, "sizes of objects are 1000 times too large"),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_SOMETHING_ELSE)
def test_a_prediction_of_something_else_fails_and_counts(
    case: Case, truth: ScenePrediction, of_nothing: SceneRecord, name: str
) -> None:
    change, told = OF_SOMETHING_ELSE[name]
    assert told in contradiction(case, change(truth))
    record = score_case(case, change(truth), tasks=frozenset({"depth", "objects"}))
    assert told in record.failure
    assert record.rows == {name: of_nothing.rows[name] for name in record.rows}


_Y_UP = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], dtype=np.float32)  # of a point with z up
OTHER_FRAMES = {
    "a world with y up": lambda case, points: points @ _Y_UP.T,
    "a world with y down": lambda case, points: points @ (np.diag([1, -1, -1]) @ _Y_UP).T,
    "the camera of view 0": lambda case, points: _in_camera(case, points),
    "the OpenGL camera of view 0": lambda case, points: _in_camera(case, points) * [1, -1, -1],
}


def _in_camera(case: Case, points: np.ndarray) -> np.ndarray:
    assert case.given is not None
    pose = case.given.poses[0].numpy()
    seen: np.ndarray = (points - pose[:3, 3]) @ pose[:3, :3]
    return seen


@pytest.mark.parametrize("field", ["points", "vertices"])
@pytest.mark.parametrize("name", OTHER_FRAMES)
def test_a_cloud_in_another_frame_is_told_so(
    case: Case, truth: ScenePrediction, name: str, field: str
) -> None:
    points = OTHER_FRAMES[name](case, getattr(truth, field))
    moved = dataclasses.replace(truth, **{field: points.astype(np.float32)})
    expected = f"{field} fit the scene if they are in {name}; write them in its world"
    assert contradiction(case, moved) == expected


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.3, 2.0])
def test_a_poor_cloud_is_not_blamed_for_its_frame(
    case: Case, truth: ScenePrediction, noise: float
) -> None:
    assert truth.points is not None
    draws = np.random.default_rng(0).normal(scale=noise, size=truth.points.shape)
    poor = dataclasses.replace(truth, points=(truth.points + draws).astype(np.float32))
    assert contradiction(case, poor) == ""


def test_a_small_or_shifted_prediction_is_no_contradiction(
    case: Case, truth: ScenePrediction
) -> None:
    assert truth.points is not None
    for points in (0.001 * truth.points, truth.points + np.float32(1000), truth.points[:1]):
        assert contradiction(case, dataclasses.replace(truth, points=points)) == ""


def test_given_views_are_needed_where_depth_is_asked(case: Case) -> None:
    with pytest.raises(ValueError, match="gives no views"):
        score_case(dataclasses.replace(case, given=None), None, tasks=frozenset({"depth"}))


def test_items_say_what_was_asked_said_and_true(
    of_truth: SceneRecord, of_nothing: SceneRecord
) -> None:
    assert {item.task for item in of_truth.items} == {"answers", "grounding", "captions"}
    assert all(item.kind and item.asked and item.said and item.truth for item in of_truth.items)
    assert [item.asked for item in of_nothing.items] == [item.asked for item in of_truth.items]
    assert {(item.said, item.score) for item in of_nothing.items} == {("", 0.0)}


def test_scores_are_finite_whatever_extremes_are_predicted(case: Case) -> None:
    far = 1e6
    prediction = ScenePrediction(
        scene=case.name,
        system="extremes",
        points=np.array([[far, -far, far], [0, 0, 0], [1, 1, 1]], dtype=np.float32),
        vertices=np.array([[0, 0, 0], [0, 0, 0], [1, 1, 1]], dtype=np.float32),
        faces=np.array([[0, 1, 2], [0, 0, 0]], dtype=np.int32),  # without area
        objects=(
            PredictedObject(id=0, class_name="chair", center=(far, 0, 0), size=(0, 0, 0)),
            PredictedObject(id=1, class_name="?", center=(0, 0, 0), size=(1, 1, 0), score=0.0),
        ),
        relations=(PredictedRelation(subject=0, object=1, name="near", score=0.0),),
    )
    record = score_case(case, prediction, tasks=EVERYTHING)
    assert record.failure == ""
    for score in OF_ONE_SCENE:
        assert math.isfinite(value(record, score.name)), score.name


def test_texts_that_were_not_asked_to_the_letter_are_counted(
    case: Case, truth: ScenePrediction, of_truth: SceneRecord
) -> None:
    assert of_truth.unasked == ()
    asked, *others = truth.answers
    answers = (dataclasses.replace(asked, question=asked.question + " "), *others)
    record = score_case(case, dataclasses.replace(truth, answers=answers), tasks=EVERYTHING)
    assert record.unasked == (asked.question + " ",)
    assert record.rows["answer_score"] != of_truth.rows["answer_score"]
    quiet = dataclasses.replace(case, queries=())
    assert score_case(quiet, truth, tasks=EVERYTHING).unasked == ()
    assert score_case(case, truth, tasks=frozenset({"depth"})).unasked == ()
    unprompted = PredictedCaption(text="a room")
    record = score_case(case, dataclasses.replace(truth, captions=(unprompted,)), tasks=EVERYTHING)
    assert record.unasked == ()
