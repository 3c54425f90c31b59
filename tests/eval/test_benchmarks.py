"""Rooms, scans and layouts as benchmarks: what is given, what is hidden, what is true."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from g2vlm_fast.data import RoomConfig, split_of
from g2vlm_fast.data.readers.errors import ScanError
from g2vlm_fast.eval.benchmarks import LayoutBenchmark, RoomBenchmark, ScanBenchmark
from g2vlm_fast.geometry.cameras import project

BASE = RoomConfig(
    programs=("bedroom",), image_size=(48, 64), views=(3, 3), depth_probability=1.0,
    mesh_probability=0.0,
)  # fmt: skip


def rooms(**changes: Any) -> RoomBenchmark:
    return RoomBenchmark(**{"count": 2, "base": BASE, "surface_points": 2000} | changes)


def test_what_is_given_of_a_room_holds_no_truth() -> None:
    case = rooms().case(0)
    assert case.given is not None
    assert case.given.truth is None
    assert case.given.vertices is None
    assert case.name == case.given.name == rooms().names[0]
    assert any(query.answer is not None for query in case.queries)
    assert all(query.answer is None and query.program is None for query in case.asked)


def test_depth_without_noise_is_exact_and_complete() -> None:
    case = rooms(noise="none", surface_points=0).case(0)
    assert case.given is not None
    assert case.given.depth is not None
    assert case.depth is not None
    assert torch.equal(case.given.depth, case.depth.depth)
    assert not case.depth.missing.any()


def test_levels_of_noise_change_pixels_and_nothing_else() -> None:
    cases = [rooms(noise=noise).case(0) for noise in ("none", "standard", "strong")]
    errors = []
    for case in cases:
        assert case.given is not None
        assert case.given.depth is not None
        assert case.depth is not None
        assert case.surface is not None
        assert cases[0].surface is not None
        assert torch.equal(case.surface.points, cases[0].surface.points)
        assert torch.equal(case.surface.hidden, cases[0].surface.hidden)
        assert [q.text for q in case.queries] == [q.text for q in cases[0].queries]
        assert torch.equal(case.depth.missing, case.given.depth == 0)
        error = (case.given.depth - case.depth.depth).abs()[~case.depth.missing]
        errors.append(float(error.mean()))
    assert errors[0] == 0 < errors[1] < errors[2] / 1.5


def test_hidden_surface_of_a_room_lies_behind_what_the_views_see() -> None:
    fine = dataclasses.replace(BASE, image_size=(240, 320))
    case = rooms(noise="none", base=fine).case(0)
    assert case.given is not None
    assert case.given.depth is not None
    assert case.surface is not None
    points, hidden = case.surface.points, case.surface.hidden
    assert 0.05 < float(hidden.float().mean()) < 0.95
    height, width = case.given.image_size
    seen = torch.zeros(len(points), dtype=torch.bool)
    for depth, matrix, pose in zip(
        case.given.depth, case.given.intrinsics, case.given.poses, strict=True
    ):
        pixel, along = project(points, matrix, pose)
        column, row = pixel.round().long().unbind(-1)
        inside = (along > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
        surface = depth[row.clamp(0, height - 1), column.clamp(0, width - 1)]
        seen |= inside & ((along - surface).abs() < 0.005 * along)
    assert float(hidden[seen].float().mean()) < 0.02  # pixels at the edges of things
    assert float((~hidden)[~seen].float().mean()) < 0.1  # slanted surface within a pixel


def test_rooms_are_none_that_training_sees() -> None:
    numbers = [int(name.removeprefix("room-")) for name in RoomBenchmark(count=20).names]
    assert all(split_of(number) == "test" and number >= 1_000_000 for number in numbers)
    assert len(set(numbers)) == 20


@pytest.mark.parametrize(
    "changes",
    [
        {"noise": "strong"},
        {"count": 3},
        {"split": "fewer views"},
        {"style": "held out"},
        {"surface_points": 2001},
        {"base": dataclasses.replace(BASE, image_size=(48, 72))},
    ],
)
def test_the_fingerprint_of_rooms_changes_with(changes: dict[str, Any]) -> None:
    assert rooms(**changes).fingerprint != rooms().fingerprint == rooms().fingerprint


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"count": 0}, "count"),
        ({"surface_points": -1}, "surface_points"),
        ({"noise": "loud"}, "noise"),
        ({"split": "stronger noise"}, "stronger noise"),
        ({"split": "exam"}, "split"),
    ],
)
def test_impossible_rooms_are_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        rooms(**changes)


def scan(folder: Path, given: int = 1, stretches: int = 2) -> ScanBenchmark:
    return ScanBenchmark(path=folder, stretches=stretches, given=given)


def test_frames_of_a_scan_are_given_or_held_out(frame_folder: Path) -> None:
    benchmark = scan(frame_folder)
    cases = [benchmark.case(index) for index in range(2)]
    assert [case.name for case in cases] == list(benchmark.names)
    for case in cases:
        assert case.given is not None
        assert case.given.num_views == 1
        assert case.surface is not None
        assert case.surface.hidden.any()
        assert not case.surface.hidden.all()
        assert case.depth is not None
        assert case.given.depth is not None
        both = (case.depth.depth > 0) & ~case.depth.missing
        assert float((case.depth.depth - case.given.depth)[both].abs().median()) < 0.03
    first, second = (case.given.images for case in cases if case.given is not None)
    assert not torch.equal(first, second)


def test_the_truth_of_a_scan_is_the_same_in_every_run(frame_folder: Path) -> None:
    first, second = (scan(frame_folder).case(0).surface for _ in range(2))
    assert first is not None
    assert second is not None
    assert torch.equal(first.points, second.points)
    assert torch.equal(first.hidden, second.hidden)


def test_more_given_frames_of_a_scan_hide_less(frame_folder: Path) -> None:
    shares = []
    for given in (1, 4):
        surface = scan(frame_folder, given).case(0).surface
        assert surface is not None
        shares.append(float(surface.hidden.float().mean()))
    assert shares[1] < shares[0]


def test_a_scan_of_another_byte_has_another_fingerprint(frame_folder: Path) -> None:
    before = scan(frame_folder).fingerprint
    assert scan(frame_folder, given=2).fingerprint != before
    pose = frame_folder / "frame-000003.pose.txt"
    pose.write_text(pose.read_text() + "\n")
    assert scan(frame_folder).fingerprint != before


def test_a_scan_of_too_few_frames_says_how_many_it_takes(frame_folder: Path) -> None:
    with pytest.raises(ScanError, match=r"16 frames.*need 20"):
        scan(frame_folder, given=4, stretches=4).case(0)


def test_a_scan_without_depth_is_refused(frame_folder: Path) -> None:
    for depth in frame_folder.glob("*.depth.png"):
        depth.unlink()
    with pytest.raises(ScanError, match="depth"):
        scan(frame_folder).case(0)


def box(x: float, y: float, z: float, size: tuple[float, float, float], tilt: float = 0.0) -> Any:
    axes = [[1, 0, 0], [0, np.cos(tilt), np.sin(tilt)], [0, -np.sin(tilt), np.cos(tilt)]]
    return {
        "centroid": [x, y, z],
        "axesLengths": list(size),
        "normalizedAxes": np.array(axes).ravel().tolist(),
    }


def room(shift: float = 0.0) -> dict[str, Any]:
    return {
        "room_size": 12.0,
        "object_bbox": {
            "table": [box(0 + shift, 0, 0.4, (1.0, 0.8, 0.8))],
            "trash can": [box(2.0 + shift, 0, 0.2, (0.4, 0.4, 0.4), tilt=0.1)],
            "chair": [box(-1.2 + shift, 0, 0.5, (0.5, 0.5, 1.0))],
            "sofa": [box(0.4 + shift, 2.2, 0.4, (1.8, 0.9, 0.8))],
            "headphones": [box(0.1 + shift, 0, 0.85, (0.2, 0.2, 0.1))],
        },
    }


@pytest.fixture
def layouts(tmp_path: Path) -> Callable[..., LayoutBenchmark]:
    def write(**scenes: Any) -> LayoutBenchmark:
        (tmp_path / "layouts.json").write_text(json.dumps(scenes))
        return LayoutBenchmark(folder=tmp_path)

    return write


def test_layouts_are_asked_about_without_being_shown(
    layouts: Callable[..., LayoutBenchmark],
) -> None:
    case = layouts(one=room()).case(0)
    assert case.given is None
    assert case.graph is not None
    assert sorted(case.graph.class_names) == ["bin", "chair", "sofa", "table"]
    assert case.surface is None
    assert {"relation", "room_size"} <= {query.kind for query in case.queries}
    sizes = [query.value for query in case.queries if query.kind == "room_size"]
    assert sizes == pytest.approx([12.0], rel=1e-5)


def test_tilted_boxes_are_set_upright_with_their_extents(
    layouts: Callable[..., LayoutBenchmark],
) -> None:
    graph = layouts(one=room()).case(0).graph
    assert graph is not None
    bin_ = graph.class_names.index("bin")
    assert graph.boxes.size[bin_] == pytest.approx([0.4, 0.4, 0.4])
    assert graph.boxes.rotation[bin_] == pytest.approx(np.eye(3))


def test_distances_between_layouts_of_boxes_are_those_of_their_closest_points(
    layouts: Callable[..., LayoutBenchmark],
) -> None:
    gaps = {("table", "bin"): 1.3, ("table", "chair"): 0.45, ("chair", "bin"): 2.75}
    benchmark = layouts(**{f"room{n}": room() for n in range(30)})
    asked = [
        query
        for index in range(30)
        for query in benchmark.case(index).queries
        if query.kind == "distance"
    ]
    found = 0
    for query in asked:
        graph = benchmark.case(0).graph
        assert graph is not None
        names = frozenset(graph.class_names[index] for index in query.objects)
        for pair, gap in gaps.items():
            if names == frozenset(pair):
                assert query.value == pytest.approx(gap, abs=1e-4)
                found += 1
    assert found >= 3


def test_layouts_do_not_depend_on_where_the_origin_is(
    layouts: Callable[..., LayoutBenchmark],
) -> None:
    here = layouts(one=room()).case(0)
    there = layouts(one=room(shift=50.0)).case(0)
    assert [q.text for q in here.queries] == [q.text for q in there.queries]
    assert [q.answer for q in here.queries] == [q.answer for q in there.queries]
    assert here.graph is not None
    assert there.graph is not None
    assert np.array_equal(here.graph.relations, there.graph.relations)


def test_rooms_of_two_known_objects_are_left_out(layouts: Callable[..., LayoutBenchmark]) -> None:
    small = room()
    del small["object_bbox"]["sofa"], small["object_bbox"]["chair"]
    assert list(layouts(small=small, large=room()).names) == ["large"]


def test_damaged_layouts_are_named(tmp_path: Path) -> None:
    with pytest.raises(ScanError, match=r"no \.json"):
        LayoutBenchmark(folder=tmp_path).case(0)
    file = tmp_path / "layouts.json"
    broken = room()
    broken["object_bbox"]["sofa"][0]["axesLengths"] = [1.0, "wide", 1.0]
    unbounded = room() | {"room_size": float("inf")}
    for text in ("{", "[]", '{"one": {}}', json.dumps({"a": broken}), json.dumps({"a": unbounded})):
        file.write_text(text)
        with pytest.raises(ScanError, match=r"layouts\.json"):
            LayoutBenchmark(folder=tmp_path).case(0)
    (tmp_path / "other.json").write_text(json.dumps({"one": room()}))
    file.write_text(json.dumps({"one": room()}))
    with pytest.raises(ScanError, match="second time"):
        LayoutBenchmark(folder=tmp_path).case(0)


def test_the_fingerprint_of_layouts_changes_with_a_box(
    layouts: Callable[..., LayoutBenchmark],
) -> None:
    before = layouts(one=room(), two=room()).fingerprint
    moved = room()
    moved["object_bbox"]["sofa"][0]["centroid"][0] += 0.01
    assert layouts(one=room(), two=moved).fingerprint != before
    assert layouts(one=room(), two=room()).fingerprint == before


def test_real_layouts_are_133_rooms(shared_data: Path) -> None:
    assert len(LayoutBenchmark(folder=shared_data / "real_rooms").names) == 133
