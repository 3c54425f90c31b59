"""Systems that need no training: what they rebuild, what they guess, and what they may look at."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from g2vlm_fast.data import Query, RoomConfig
from g2vlm_fast.data.interchange import ScenePrediction
from g2vlm_fast.data.language.programs import of_class, the
from g2vlm_fast.eval.benchmarks import RoomBenchmark
from g2vlm_fast.eval.metrics.boxes import Boxes
from g2vlm_fast.eval.metrics.mesh import sample_mesh
from g2vlm_fast.eval.protocol.cases import Case, GraphTruth
from g2vlm_fast.eval.protocol.systems import PredictionFailed, System
from g2vlm_fast.eval.scoring import score_case, score_named
from g2vlm_fast.eval.systems import SYSTEMS
from g2vlm_fast.eval.systems.columns import Columns
from g2vlm_fast.eval.systems.completion import ExtrudeToFloor, extruded, poisson_surface
from g2vlm_fast.eval.systems.fusion import TsdfFusion
from g2vlm_fast.eval.systems.guessers import Chance, MajorityAnswer, QuestionOnly
from g2vlm_fast.eval.systems.height_prior import HeightPrior, HeightRates
from g2vlm_fast.eval.systems.inpainting import inpaint_depth
from g2vlm_fast.eval.systems.rules import ClassFrequency, ShuffledRooms
from g2vlm_fast.eval.systems.rules_on_boxes import RulesOnPredictedBoxes, RulesOnTrueBoxes
from g2vlm_fast.eval.systems.training_rooms import TrainingRooms
from g2vlm_fast.export.fusion import SurfacePoints
from g2vlm_fast.records import Task

BASE = RoomConfig(
    programs=("living room",), image_size=(60, 80), views=(4, 4), depth_probability=1.0,
    mesh_probability=0.0,
)  # fmt: skip
HEIGHTS = HeightPrior(training_rooms=1)  # counted once for all tests


@cache
def training() -> TrainingRooms:
    return TrainingRooms(6)


@cache
def room(noise: str = "standard") -> Case:
    return RoomBenchmark(count=1, base=BASE, noise=noise, surface_points=4000).case(0)


def value(case: Case, system: System, score: str) -> float:
    record = score_case(case, system.predict(case), tasks=system.tasks)
    assert record.failure == ""
    return float(score_named(score).statistic(np.array(record.rows[score])))


def guessers() -> Iterator[System]:
    return iter((Chance(training()), MajorityAnswer(training()), QuestionOnly(training())))


def everything() -> list[System]:
    return [
        TsdfFusion(), TsdfFusion(inpainted=True), ExtrudeToFloor(), HEIGHTS,
        *guessers(), RulesOnTrueBoxes(training()), ClassFrequency(training()),
        ShuffledRooms(training()),
    ]  # fmt: skip


def said(prediction: ScenePrediction) -> dict[str, Any]:
    """Everything but whose it is, arrays bit by bit."""
    values = {f.name: getattr(prediction, f.name) for f in dataclasses.fields(prediction)}
    return {
        name: value.tobytes() if isinstance(value, np.ndarray) else value
        for name, value in values.items()
        if name not in ("scene", "system")
    }


def test_systems_are_known_by_their_names() -> None:
    assert all(make().name == name for name, make in SYSTEMS.items())
    marks = [system.fingerprint for system in everything()]
    assert len(set(marks)) == len(marks)


@pytest.mark.slow
def test_who_may_not_look_at_the_truth_does_not() -> None:
    case = room()
    blind = Case(
        name=case.name,
        given=case.given,
        queries=tuple(
            dataclasses.replace(q, answer=None, value=None, referred=None, program=None, objects=())
            for q in case.queries
        ),
    )
    for system in everything():
        if not system.looks_at_truth:
            assert said(system.predict(case)) == said(system.predict(blind)), system.name


def test_guessers_do_not_look_at_all() -> None:
    unseen = dataclasses.replace(room(), given=None)
    for system in guessers():
        assert said(system.predict(room())) == said(system.predict(unseen))


def test_predictions_do_not_depend_on_what_was_asked_before() -> None:
    first = room()
    second = dataclasses.replace(first, name="another")
    for make in (Chance, MajorityAnswer, QuestionOnly, ShuffledRooms):
        alone = said(make(training()).predict(first))
        system = make(training())
        system.predict(second)
        assert said(system.predict(first)) == alone


def test_chance_draws_anew_for_another_scene() -> None:
    another = dataclasses.replace(room(), name="another")
    system = Chance(training())
    assert said(system.predict(room())) != said(system.predict(another))


def test_every_system_can_be_scored_on_its_tasks() -> None:
    for system in everything():
        record = score_case(room(), system.predict(room()), tasks=system.tasks)
        assert record.failure == ""
        assert record.rows


def test_fusion_of_exact_depth_lies_on_the_true_surface() -> None:
    assert value(room("none"), TsdfFusion(), "accuracy") < 0.02


def test_fusion_rebuilds_little_of_what_is_hidden() -> None:
    hidden = value(room("none"), TsdfFusion(), "recall_5cm_hidden")
    assert hidden < 0.4
    for system in (ExtrudeToFloor(), HEIGHTS):
        assert value(room("none"), system, "recall_5cm_hidden") > hidden


def test_inpainting_changes_nothing_where_depth_is_complete() -> None:
    plain, filled = (TsdfFusion(inpainted=each).predict(room("none")) for each in (False, True))
    assert said(plain) == said(filled)


def test_inpainting_gives_depth_where_none_was() -> None:
    plain, filled = (
        value(room("strong"), TsdfFusion(inpainted=each), "depth_delta_1_missing")
        for each in (False, True)
    )
    assert filled > plain


@pytest.mark.parametrize(
    "system",
    [TsdfFusion(), ExtrudeToFloor(), HEIGHTS, SYSTEMS["poisson"]()],
    ids=lambda system: system.name,
)
def test_without_depth_there_is_no_prediction(system: System) -> None:
    case = room()
    assert case.given is not None
    assert case.given.depth is not None
    colour = dataclasses.replace(case.given, depth=None, depth_sigma=None)
    dark = dataclasses.replace(
        case.given, depth=torch.zeros_like(case.given.depth), depth_sigma=None
    )
    for given_ in (None, colour, dark):
        with pytest.raises(PredictionFailed, match="depth"):
            system.predict(dataclasses.replace(case, given=given_))


@pytest.mark.parametrize("system", [ExtrudeToFloor(), HEIGHTS])
def test_columns_stand_in_upright_worlds_alone(system: System) -> None:
    case = room()
    assert case.given is not None
    lying = dataclasses.replace(case.given, gravity=torch.tensor([0.0, 1.0, 0.0]))
    with pytest.raises(PredictionFailed, match="preprocess"):
        system.predict(dataclasses.replace(case, given=lying))


def plane(slope: tuple[float, float], offset: float) -> torch.Tensor:
    row, column = torch.meshgrid(torch.arange(24.0), torch.arange(32.0), indexing="ij")
    return 1 / (offset + slope[0] * row + slope[1] * column)


@settings(max_examples=25, deadline=None)
@given(
    slope=st.tuples(st.floats(-0.004, 0.004), st.floats(-0.004, 0.004)),
    offset=st.floats(0.4, 1.0),
    seed=st.integers(0, 100),
    share=st.floats(0.05, 0.6),
)
def test_a_hole_in_a_plane_is_filled_with_the_plane(
    slope: tuple[float, float], offset: float, seed: int, share: float
) -> None:
    depth = plane(slope, offset)
    generator = torch.Generator().manual_seed(seed)
    missing = torch.zeros(depth.shape, dtype=torch.bool)
    missing[1:-1, 1:-1] = torch.rand(22, 30, generator=generator) < share
    missing[8:16, 8:20] = True
    filled = inpaint_depth(torch.where(missing, 0, depth)[None])[0]
    assert torch.allclose(filled, depth, rtol=1e-5)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), share=st.floats(0.1, 0.95))
def test_filled_depth_lies_between_what_is_around(seed: int, share: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    depth = 0.5 + 4 * torch.rand(1, 12, 15, generator=generator)
    missing = torch.rand(depth.shape, generator=generator) < share
    missing[0, 0, 0] = False
    holed = torch.where(missing, 0, depth)
    filled = inpaint_depth(holed)
    assert torch.equal(filled[~missing], depth[~missing])
    low, high = depth[~missing].min(), depth[~missing].max()
    assert bool(((filled >= low * (1 - 1e-5)) & (filled <= high * (1 + 1e-5))).all())


def test_views_with_all_or_nothing_stay_as_they_are() -> None:
    both = torch.stack([plane((0.0, 0.0), 0.5), torch.zeros(24, 32)])
    assert torch.equal(inpaint_depth(both), both)


def table_top(*, underside: bool = False) -> SurfacePoints:
    """A floor of 2 m x 2 m but for what a table hides, and the table's top, 0.7 m above."""
    side = np.arange(-1, 1.0001, 0.02)
    x, y = (axis.ravel() for axis in np.meshgrid(side, side))
    above = (abs(x) < 0.3) & (abs(y) < 0.3)
    parts = [
        np.column_stack([x, y, 0 * x])[~above],
        np.column_stack([x, y, 0 * x + 0.7])[above],
        np.column_stack([x, y, 0 * x + 1.5])[:100],  # so that no quantile cuts the top off
    ]
    normals = [np.tile([0.0, 0.0, 1.0], (len(part), 1)) for part in parts]
    if underside:
        parts.append(np.column_stack([x, y, 0 * x + 2.5]))
        normals.append(np.tile([0.0, 0.0, -1.0], (len(x), 1)))
    points = np.concatenate(parts).astype(np.float32)
    return SurfacePoints(points, np.concatenate(normals).astype(np.float32), 0 * points)


def test_ceilings_are_no_tops_of_columns() -> None:
    plain, covered = (Columns.of(table_top(underside=each), 0.05) for each in (False, True))
    assert covered.ceiling == pytest.approx(2.5, abs=0.01)
    middle = tuple(size // 2 for size in covered.top.shape)
    assert covered.top[middle] == pytest.approx(0.7, abs=0.01)
    assert plain.top[middle] == pytest.approx(0.7, abs=0.01)


def test_a_table_top_is_extruded_to_sides_that_face_outwards() -> None:
    mesh = extruded(Columns.of(table_top(), 0.05))
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    middle = corners.mean(1)
    at_table = (abs(middle[:, :2]) < 0.4).all(1) & (abs(normal[:, 2]) < 1e-9)
    assert at_table.any()
    area = np.linalg.norm(normal[at_table], axis=1) / 2
    assert area.sum() == pytest.approx(4 * 0.6 * 0.7, rel=0.12)
    outward = (normal[at_table, :2] * middle[at_table, :2]).sum(1)
    assert (outward > 0).all()
    assert corners[at_table, :, 2].min() == pytest.approx(0.0, abs=0.01)
    assert corners[at_table, :, 2].max() == pytest.approx(0.7, abs=0.01)


def test_what_nobody_looked_into_is_floor() -> None:
    seen = table_top()
    gap = (abs(seen.position[:, 0] - 0.7) > 0.1) | (abs(seen.position[:, 1]) > 0.1)
    mesh = extruded(Columns.of(seen.subset(gap), 0.05))
    points, normals = sample_mesh(
        torch.from_numpy(mesh.vertices), torch.from_numpy(mesh.faces), 4000,
        torch.Generator().manual_seed(0),
    )  # fmt: skip
    level = normals[:, 2] > 0.99
    assert bool(level.any())
    assert bool((points[level, 2].abs() < 0.01).all())
    assert bool(((points[level, 0] - 0.7).abs() < 0.15).all())


def test_nothing_seen_is_no_map() -> None:
    nothing = np.zeros((0, 3), np.float32)
    with pytest.raises(PredictionFailed, match="no surface"):
        Columns.of(SurfacePoints(nothing, nothing, nothing), 0.05)


def test_a_prior_of_heights_finds_the_floor_under_tables_again() -> None:
    seen = table_top()
    columns = Columns.of(seen, 0.05)
    side = np.arange(-0.29, 0.3, 0.02)
    x, y = (axis.ravel() for axis in np.meshgrid(side, side))
    under = np.column_stack([x, y, 0 * x])
    rates = HeightRates.count([(columns, seen, np.concatenate([seen.position, under]))] * 3)
    found = rates.slices(columns, seen)
    assert len(found) == pytest.approx((0.6 / 0.05) ** 2, rel=0.2)
    assert (abs(found[:, :2]) < 0.33).all()
    assert np.allclose(found[:, 2], 0, atol=0.01)


def test_a_prior_of_heights_needs_something_hidden() -> None:
    with pytest.raises(ValueError, match="rooms"):
        HeightRates.count([])


def test_poisson_closes_a_hole_in_a_sphere() -> None:
    generator = np.random.default_rng(0)
    normal = generator.normal(size=(6000, 3))
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    hole = np.ones(3) / np.sqrt(3)
    normal = normal[np.linalg.norm(normal - hole, axis=1) > 0.2].astype(np.float32)
    mesh = poisson_surface(SurfacePoints(normal, normal, abs(normal)), octree_depth=6)
    radius = np.linalg.norm(mesh.vertices, axis=1)
    assert abs(radius - 1).max() < 0.05
    assert (np.linalg.norm(mesh.vertices - hole, axis=1) < 0.15).any()


def test_poisson_does_not_depend_on_the_order_of_points() -> None:
    generator = np.random.default_rng(0)
    normal = generator.normal(size=(3000, 3)).astype(np.float32)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    shuffled = generator.permutation(normal)
    first, second = (
        poisson_surface(SurfacePoints(points, points, abs(points)), octree_depth=5)
        for points in (normal, shuffled)
    )
    assert np.array_equal(first.vertices, second.vertices)
    assert np.array_equal(first.faces, second.faces)


def test_rules_answer_from_boxes_what_boxes_decide() -> None:
    case = room()
    assert value(case, RulesOnTrueBoxes(training()), "object_f1_50") == 1
    record = score_case(
        case, RulesOnTrueBoxes(training()).predict(case), tasks=frozenset(["answers"])
    )
    by_kind = {item.kind: item.score for item in record.items}
    assert by_kind["extreme"] == by_kind["nearer"] == 1


def test_rules_do_not_know_the_colors_of_boxes() -> None:
    case, rules = room(), RulesOnTrueBoxes(training())
    majority = MajorityAnswer(training()).predict(case)
    guessed = {answer.question: answer.text for answer in majority.answers}
    said = {answer.question: answer.text for answer in rules.predict(case).answers}
    colors = [query.text for query in case.queries if query.kind == "color"]
    assert colors
    assert all(said[text] == guessed[text] for text in colors)


def test_rules_mean_every_object_that_boxes_leave_for_a_phrase() -> None:
    boxes = Boxes(np.array([[0.0, 0, 0.5], [2, 0, 0.5], [4, 0, 0.5]]), np.ones((3, 3)),
                  np.tile(np.eye(3), (3, 1, 1)))  # fmt: skip
    phrases = {
        "the red chair": the(of_class("chair", "red")),
        "the table": the(of_class("table")),
        "the sofa": the(of_class("sofa")),
    }
    case = Case(
        name="chairs",
        given=None,
        queries=tuple(
            Query(text=text, task=Task.REFERRING, referred=0, program=program)
            for text, program in phrases.items()
        ),
        graph=GraphTruth(boxes=boxes, class_names=("chair", "table", "chair"), relations=None),
    )
    found = RulesOnTrueBoxes(training()).predict(case).groundings
    assert {each.text: each.objects for each in found} == {
        "the red chair": (0, 2),
        "the table": (1,),
    }
    assert found[0].scores == (0.5, 0.5)


@dataclasses.dataclass
class Says:
    """Says one thing of every case."""

    said: ScenePrediction
    name: str = "says"
    fingerprint: str = "says 1"
    tasks: frozenset[str] = frozenset(("objects",))
    looks_at_truth: bool = False

    def predict(self, case: Case) -> ScenePrediction:
        return self.said


def test_rules_on_predicted_boxes_are_as_good_as_the_boxes() -> None:
    case = room()
    of_truth = RulesOnTrueBoxes(training()).predict(case)
    exact = RulesOnPredictedBoxes(Says(of_truth), training())
    assert said(exact.predict(case)) == said(of_truth)
    moved = tuple(
        dataclasses.replace(thing, center=tuple(np.add(thing.center, (0.4 * (-1) ** row, 0.3, 0))))
        for row, thing in enumerate(of_truth.objects)
    )
    poor = RulesOnPredictedBoxes(
        Says(dataclasses.replace(of_truth, objects=moved[1:], relations=(), groundings=())),
        training(),
    )
    for score in ("spq", "answer_score", "grounding_acc_25"):
        assert value(case, poor, score) < value(case, exact, score)


def test_rules_on_no_box_of_a_known_class_are_those_of_the_majority() -> None:
    case = room()
    nothing = dataclasses.replace(
        RulesOnTrueBoxes(training()).predict(case), relations=(), groundings=()
    )
    unknown = tuple(dataclasses.replace(each, class_name="yeti") for each in nothing.objects)
    flat = tuple(dataclasses.replace(each, size=(0.0, 1.0, 1.0)) for each in nothing.objects)
    majority = {
        each.question: each.text for each in MajorityAnswer(training()).predict(case).answers
    }
    for things in ((), unknown, flat):
        poor = RulesOnPredictedBoxes(Says(dataclasses.replace(nothing, objects=things)), training())
        prediction = poor.predict(case)
        assert prediction.objects == ()
        assert {each.question: each.text for each in prediction.answers} == majority


def test_class_frequencies_lie_between_nothing_and_the_rules() -> None:
    rules = value(room(), RulesOnTrueBoxes(training()), "triplet_f1")
    usual = value(room(), ClassFrequency(training()), "triplet_f1")
    assert 0.2 < usual < rules < 1


@pytest.mark.parametrize("make", [RulesOnTrueBoxes, ClassFrequency])
def test_rules_on_true_boxes_need_boxes(make: type[RulesOnTrueBoxes]) -> None:
    with pytest.raises(PredictionFailed, match="true boxes"):
        make(training()).predict(dataclasses.replace(room(), graph=None))
