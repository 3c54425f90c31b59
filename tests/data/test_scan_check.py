"""The check finds every convention that is broken on purpose, in generated and real scans."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scan_layouts import frames, tum
from scan_layouts.room import Room, small_room

from g2vlm_fast.data.readers import ReadOptions, read_scan
from g2vlm_fast.data.scans.check import ScanCheck, check_scan
from g2vlm_fast.geometry.readings import Reading

SHRINK = 4


def _real(shared_data: Path, name: str, stride: int) -> Room:
    """A real scan at a quarter of its size."""
    scene = read_scan(shared_data / "real_scans" / name, ReadOptions(stride=stride))
    assert scene.depth is not None
    matrix = scene.intrinsics[0].double().numpy()
    matrix[:2] /= SHRINK
    return Room(
        scene.images[:, :, ::SHRINK, ::SHRINK].permute(0, 2, 3, 1).numpy(),
        scene.depth[:, ::SHRINK, ::SHRINK].double().numpy(),
        matrix,
        scene.poses.double().numpy(),
        np.zeros(0),
    )


@pytest.fixture(
    scope="session",
    params=[
        "room",
        pytest.param("shelf_bin", marks=pytest.mark.slow),
        pytest.param("icl_livingroom", marks=pytest.mark.slow),
    ],
)
def scan(request: pytest.FixtureRequest) -> Room:
    if request.param == "room":
        return small_room(16, (72, 96))
    shared_data = request.getfixturevalue("shared_data")
    return _real(shared_data, request.param, {"shelf_bin": 2, "icl_livingroom": 7}[request.param])


def _flipped(poses: np.ndarray) -> np.ndarray:
    return poses @ np.diag([1.0, -1.0, -1.0, 1.0])


def _scaled(matrix: np.ndarray, factor: float) -> np.ndarray:
    return np.diag([factor, factor, 1.0]) @ matrix + np.array([[0, 0, 1], [0, 0, 1], [0, 0, 0]]) * (
        (factor - 1) / 2
    )


def _focal(matrix: np.ndarray, factor: float) -> np.ndarray:
    changed = matrix.copy()
    changed[[0, 1], [0, 1]] *= factor
    return changed


def _exchanged(matrix: np.ndarray) -> np.ndarray:
    return matrix[[1, 0, 2]][:, [1, 0, 2]]


PLANTS: dict[str, tuple[Callable[[Room], dict[str, np.ndarray]], Reading, str]] = {
    "inverted poses": (
        lambda r: {"poses": np.linalg.inv(r.poses)},
        Reading(pose="world-to-camera"), "Poses are world to camera",
    ),
    "OpenGL axes": (
        lambda r: {"poses": _flipped(r.poses)}, Reading(axes="OpenGL"), "OpenGL axes",
    ),
    "inverted poses of OpenGL axes": (
        lambda r: {"poses": np.linalg.inv(_flipped(r.poses))},
        Reading(pose="world-to-camera", axes="OpenGL"), "OpenGL axes",
    ),
    "distance for depth": (
        lambda r: {"depth": r.depth * np.linalg.norm(r.rays, axis=-1)},
        Reading(depth="ray"), "distance from the camera centre",
    ),
    "another unit": (
        lambda r: {"depth": r.depth * 5}, Reading(depth_factor=0.2), "another unit",
    ),
    "matrix of half the size": (
        lambda r: {"matrix": _scaled(r.matrix, 0.5)}, Reading(matrix_factor=2.0), "0.5 times",
    ),
    "matrix of twice the size": (
        lambda r: {"matrix": _scaled(r.matrix, 2.0)}, Reading(matrix_factor=0.5), "2 times",
    ),
    "matrix with x and y exchanged": (
        lambda r: {"matrix": _exchanged(r.matrix)}, Reading(swapped=True), "exchanged back",
    ),
}  # fmt: skip


def _assert_mended(check: ScanCheck, truth: Room) -> None:
    """The corrected scene is the one that was there before it was broken."""
    scene = check.scene
    assert scene.depth is not None
    # 16 bits of millimetres hold no more than 65 m, five times the depth is cut off at 13 m
    seen = (scene.depth.numpy() > 0) & (truth.depth > 0)
    assert abs(scene.depth.numpy() - truth.depth)[seen].max() < 0.002
    np.testing.assert_allclose(scene.poses.numpy(), truth.poses, atol=1e-4)
    np.testing.assert_allclose(scene.intrinsics[0].numpy(), truth.matrix, atol=1e-3)


def test_right_scan_is_left_alone(scan: Room, tmp_path: Path) -> None:
    check = check_scan(frames.write(tmp_path, scan))
    assert check.is_right
    assert check.reading == Reading()
    assert "This is sure" in check.describe()[-1]
    _assert_mended(check, scan)


@pytest.mark.parametrize("name", PLANTS)
def test_planted_error_is_found_and_mended(name: str, scan: Room, tmp_path: Path) -> None:
    plant, reading, words = PLANTS[name]
    check = check_scan(frames.write(tmp_path, dataclasses.replace(scan, **plant(scan))))
    assert check.reading == reading
    assert any(words in change for change in check.changes)
    assert check.consistent
    assert not check.is_right
    _assert_mended(check, scan)


@pytest.mark.parametrize(("scale", "factor"), [(1.0, 1e-3), (1e6, 1e3)])
def test_wrong_unit_of_the_caller_is_found(
    scale: float, factor: float, scan: Room, tmp_path: Path
) -> None:
    check = check_scan(frames.write(tmp_path, scan), ReadOptions(depth_scale=scale))
    assert check.reading == Reading(depth_factor=factor)
    _assert_mended(check, scan)


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_wrong_focal_length_is_found_to_three_percent(
    factor: float, scan: Room, tmp_path: Path
) -> None:
    broken = dataclasses.replace(scan, matrix=_focal(scan.matrix, factor))
    check = check_scan(frames.write(tmp_path, broken))
    assert check.reading.focal_factor == pytest.approx(1 / factor, rel=0.03)
    assert dataclasses.replace(check.reading, focal_factor=1.0) == Reading()
    assert any("focal length" in change for change in check.changes)


def test_poses_of_another_scan_are_trusted_by_nothing(tmp_path: Path) -> None:
    room = small_room(16, (72, 96))
    order = np.random.default_rng(0).permutation(16)
    check = check_scan(frames.write(tmp_path, dataclasses.replace(room, poses=room.poses[order])))
    assert not check.consistent
    assert "Nothing is sure" in check.describe()[-1]


@pytest.mark.parametrize("delay", [0.1, -0.06])
def test_clock_that_is_off_is_found(delay: float, tmp_path: Path) -> None:
    room = small_room(24, (72, 96))
    check = check_scan(tum.write(tmp_path, room, pose_delay=delay))
    assert check.time is not None
    assert check.time.seconds == pytest.approx(delay, abs=0.003)
    assert check.reading == Reading()
    words = "later" if delay > 0 else "earlier"
    assert any(words in change for change in check.changes)
    # images before the first pose or after the last one have none, and were left out
    known = slice(24 - check.scene.num_views, 24) if delay > 0 else slice(check.scene.num_views)
    np.testing.assert_allclose(check.scene.poses.numpy(), room.poses[known], atol=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.1, -0.06])
@pytest.mark.parametrize(("name", "stride"), [("shelf_bin", 1), ("icl_livingroom", 3)])
def test_clock_of_a_real_scan_that_is_off_is_found(
    name: str, stride: int, delay: float, shared_data: Path, tmp_path: Path
) -> None:
    room = _real(shared_data, name, stride)
    check = check_scan(tum.write(tmp_path, room, pose_delay=delay, track=room.poses))
    assert check.time is not None
    assert check.time.seconds == pytest.approx(delay, abs=0.005)
    assert check.reading == Reading()
    assert check.consistent
    assert "This is sure" in check.describe()[-1]


def test_right_clock_is_left_alone(tmp_path: Path) -> None:
    check = check_scan(tum.write(tmp_path, small_room(24, (72, 96))))
    assert check.time is not None
    assert check.time.seconds == 0
    assert check.is_right


def test_poses_in_millimetres_are_what_is_mended(tmp_path: Path) -> None:
    room = small_room(16, (72, 96))
    poses = room.poses.copy()
    poses[:, :3, 3] *= 1000
    check = check_scan(frames.write(tmp_path, dataclasses.replace(room, poses=poses)))
    assert any("positions were divided by 1000" in sentence for sentence in check.changes)
    assert any("sure but for the unit" in sentence for sentence in check.describe())
    _assert_mended(check, room)
