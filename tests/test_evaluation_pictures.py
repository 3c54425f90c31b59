"""What the page of an evaluation draws of a scene: whatever was said of it, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_evaluation import FEW_TASKS, ToyBenchmark, ToySystem

from g2vlm_fast.data import RoomConfig
from g2vlm_fast.data.interchange import ScenePrediction
from g2vlm_fast.eval.benchmarks import RoomBenchmark
from g2vlm_fast.eval.protocol.cases import Case
from g2vlm_fast.eval.protocol.evaluation import evaluate_system
from g2vlm_fast.eval.protocol.runs import RunError, read_run
from g2vlm_fast.pipeline.evaluation_report.material import arrange
from g2vlm_fast.pipeline.evaluation_report.pictures import prediction_pictures, truth_pictures
from g2vlm_fast.pipeline.evaluation_report.scenes import draw_scenes
from g2vlm_fast.report.from_above import points_from_above
from g2vlm_fast.report.markup import figure
from g2vlm_fast.report.pictures import BACKGROUND

MOST_BYTES = 180_000
"""Of the pictures of a scene and one system, in the page."""


@pytest.fixture(scope="module")
def room() -> Case:
    """A room with views, depth, boxes and a surface."""
    base = RoomConfig(programs=("simple",), views=(4, 4), image_size=(60, 80))
    return RoomBenchmark(count=1, base=base, surface_points=30_000).case(0)


@pytest.fixture(scope="module")
def said(room: Case) -> ScenePrediction:
    """Points 2 cm off, depth 5 % off, and one box."""
    assert room.surface is not None
    assert room.depth is not None
    assert room.given is not None
    draws = np.random.default_rng(0)
    points = room.surface.points.numpy()
    views = room.given.num_views
    return ScenePrediction(
        scene=room.name,
        system="near",
        points=(points + 0.02 * draws.normal(size=points.shape)).astype(np.float32),
        colors=draws.random(points.shape).astype(np.float32),
        objects=ToySystem().predict(ToyBenchmark().case(0)).objects[:1],
        depth=1.05 * room.depth.depth.numpy(),
        intrinsics=room.given.intrinsics.numpy(),
        poses=room.given.poses.numpy(),
        views=tuple(range(views)),
    )


def captions(case: Case, prediction: ScenePrediction) -> list[str]:
    return [caption.split(":")[0] for _, caption in prediction_pictures(case, prediction)]


def test_everything_that_is_said_is_drawn_beside_what_is_true(
    room: Case, said: ScenePrediction
) -> None:
    assert [caption for _, caption in truth_pictures(room)] == [
        "What was given: views and their depth", "What is true, from above",
    ]  # fmt: skip
    plan, missing, wrong = ["What it says, from above", "What is missing", "What is wrong"]
    assert captions(room, said) == [plan, missing, wrong, "View 2"]
    nothing = ScenePrediction(scene=room.name, system="silent")
    assert captions(room, nothing) == []
    boxes = replace(nothing, objects=said.objects)
    assert captions(room, boxes) == [plan]
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], dtype=np.float32)
    mesh = replace(nothing, vertices=vertices, faces=np.array([[0, 1, 2]], dtype=np.int32))
    assert captions(room, mesh) == [plan, missing, wrong]
    empty = replace(nothing, vertices=vertices[:0], faces=np.zeros((0, 3), dtype=np.int32))
    assert captions(room, empty) == []
    few = replace(nothing, points=vertices[:1])
    assert captions(room, few) == [plan, missing, wrong]


def test_scene_takes_little_of_the_page(room: Case, said: ScenePrediction) -> None:
    pictures = [*truth_pictures(room), *prediction_pictures(room, said)]
    assert sum(len(figure(*each)) for each in pictures) < MOST_BYTES


def test_room_that_nobody_filmed_is_drawn_as_boxes() -> None:
    case = replace(ToyBenchmark().case(0), surface=None)
    assert [caption for _, caption in truth_pictures(case)] == ["What is true, from above"]
    assert captions(case, ToySystem().predict(ToyBenchmark().case(0))) == [
        "What it says, from above"
    ]
    assert truth_pictures(replace(case, graph=None)) == []


def test_gaps_between_points_are_closed_and_what_is_empty_stays_so() -> None:
    grid = np.stack(np.meshgrid(np.arange(0, 1, 0.01), np.arange(0, 1, 0.01)), -1).reshape(-1, 2)
    points = np.column_stack([grid, np.zeros(len(grid))]).astype(np.float32)
    red = np.broadcast_to(np.uint8([200, 0, 0]), points.shape).copy()
    draw = points_from_above(points, red, ceiling=1.0)
    picture = draw(np.float32([0, 0]), np.float32([2, 1])).astype(int)
    empty = (BACKGROUND * 255).astype(int)
    left, right = picture[:, :440], picture[:, 480:]
    assert abs(left - [200, 0, 0]).max() <= 2
    assert abs(right - empty).max() <= 2


def test_cases_of_another_benchmark_are_refused(tmp_path: Path) -> None:
    evaluate_system(ToySystem(tasks=FEW_TASKS), ToyBenchmark(2), tmp_path / "run")
    material = arrange([read_run(tmp_path / "run")])
    drawn = draw_scenes(material, [ToyBenchmark(2).case(1)])
    assert list(drawn) == ["toy-1"]
    with pytest.raises(RunError, match=r"'toy-2': is no scene of toy rooms"):
        draw_scenes(material, [ToyBenchmark(3).case(2)])
    case = ToyBenchmark(2).case(0)
    assert case.surface is not None
    tiny = replace(case, surface=replace(case.surface, points=case.surface.points / 1000))
    with pytest.raises(RunError, match=r"'toy-0': is not the one that .*run was evaluated on"):
        draw_scenes(material, [tiny])
