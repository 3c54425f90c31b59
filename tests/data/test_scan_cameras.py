"""Poses from files, lenses and time, against independent implementations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from g2vlm_fast.data.readers import ScanError
from g2vlm_fast.data.readers.lens import Camera, Distortion, pinhole_matrix, resample
from g2vlm_fast.data.readers.ply import read_ply
from g2vlm_fast.data.readers.safe_files import inside
from g2vlm_fast.data.readers.trajectory import (
    Trajectory,
    quaternion_from_axis_angle,
    rotation_from_quaternion,
)
from g2vlm_fast.data.readers.views import turned_clockwise

Rotation = pytest.importorskip("scipy.spatial.transform").Rotation
Slerp = pytest.importorskip("scipy.spatial.transform").Slerp

small = st.floats(-4, 4, allow_nan=False)


@given(vector=st.tuples(small, small, small))
@settings(max_examples=60, deadline=None)
def test_axis_angle_is_the_rotation_that_scipy_says(vector: tuple[float, float, float]) -> None:
    given = np.array(vector)
    rotation = rotation_from_quaternion(quaternion_from_axis_angle(given))
    np.testing.assert_allclose(rotation, Rotation.from_rotvec(given).as_matrix(), atol=1e-9)


@given(
    first=st.tuples(small, small, small),
    second=st.tuples(small, small, small),
    share=st.floats(0, 1),
    flip=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_poses_between_entries_are_slerped(
    first: tuple[float, ...], second: tuple[float, ...], share: float, flip: bool
) -> None:
    """Whichever of its two quaternions an entry is written with."""
    turns = Rotation.from_rotvec([first, second])
    if (turns[0].inv() * turns[1]).magnitude() > 3.1:
        return  # nearly half a turn apart, both ways round are as long
    quaternions = turns.as_quat() * np.array([[1], [-1 if flip else 1]])
    places = np.array([first, second])
    pose = Trajectory.of(np.array([0.0, 1.0]), quaternions, places).at(share, 1.0)
    assert pose is not None
    wanted = Slerp([0, 1], turns)(share).as_matrix()
    np.testing.assert_allclose(pose[:3, :3], wanted, atol=1e-6)
    np.testing.assert_allclose(pose[:3, 3], (1 - share) * places[0] + share * places[1], atol=1e-9)


def test_pose_far_from_every_entry_is_none() -> None:
    track = Trajectory.of(np.array([0.0, 1.0]), np.tile([0, 0, 0, 1.0], (2, 1)), np.zeros((2, 3)))
    assert track.at(0.5, 0.02) is None
    assert track.at(1.01, 0.02) is not None
    assert Trajectory.of(np.zeros(0), np.zeros((0, 4)), np.zeros((0, 3))).at(0.0, 1.0) is None


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_entry_that_is_no_pose_is_left_out(bad: float) -> None:
    quaternions = np.tile([0, 0, 0, 1.0], (3, 1))
    quaternions[1] = bad
    track = Trajectory.of(np.arange(3.0), quaternions, np.zeros((3, 3)))
    assert track.times.tolist() == [0, 2]


def test_four_quarter_turns_are_none() -> None:
    matrix, pose = pinhole_matrix(50.0, 60.0, 31.0, 20.0), np.eye(4)
    pose[:3, 3] = 1, 2, 3
    turned: tuple = (pose, matrix)
    for width in (48, 64, 48, 64):
        turned = turned_clockwise(*turned, width)
    np.testing.assert_allclose(turned[0], pose, atol=1e-12)
    np.testing.assert_allclose(turned[1], matrix, atol=1e-9)


def test_fold_of_a_lens_is_where_it_stops_to_grow() -> None:
    lens = Distortion((-0.25, 0.02))
    fold = lens.fold()
    radius = np.linspace(0, 1.2 * fold, 4000)
    moved = radius * (1 - 0.25 * radius**2 + 0.02 * radius**4)
    assert radius[moved.argmax()] == pytest.approx(fold, rel=1e-3)
    x, _ = lens.distort(np.array([0.99 * fold, 1.01 * fold]), np.zeros(2))
    assert np.isfinite(x[0])
    assert np.isnan(x[1])
    assert Distortion((0.1,)).fold() == float("inf")


def test_fisheye_bends_by_the_angle() -> None:
    x, y = Distortion((0.0,) * 4, fisheye=True).distort(np.array([1.0, 0.0]), np.zeros(2))
    assert x.tolist() == pytest.approx([np.pi / 4, 0.0])
    assert y.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("smooth", [True, False])
def test_resampling_through_the_same_camera_changes_nothing(smooth: bool) -> None:
    image = np.random.default_rng(0).integers(0, 255, (12, 16, 3)).astype(np.uint8)
    camera = Camera(pinhole_matrix(20.0, 20.0, 7.5, 5.5), (12, 16))
    assert np.array_equal(resample(image, camera, camera, smooth=smooth), image)


def test_depth_is_never_mixed_across_an_edge() -> None:
    depth = np.where(np.arange(16) < 8, 1.0, 3.0).astype(np.float32) * np.ones((12, 1), np.float32)
    camera = Camera(pinhole_matrix(20.0, 20.0, 7.5, 5.5), (12, 16), Distortion((-0.2,)))
    target = Camera(camera.matrix, camera.size)
    assert set(np.unique(resample(depth, camera, target, smooth=False))) <= {0.0, 1.0, 3.0}


@pytest.mark.parametrize("order", ["<", ">", "ascii"])
def test_ply_of_every_kind_is_read(order: str, tmp_path: Path) -> None:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0.5]])
    kind = {"<": "binary_little_endian", ">": "binary_big_endian", "ascii": "ascii"}[order]
    header = (
        f"ply\nformat {kind} 1.0\ncomment made by hand\nelement vertex 4\nproperty double x\n"
        "property double y\nproperty double z\nproperty uchar red\nproperty uchar green\n"
        "property uchar blue\nproperty ushort objectId\nelement face 2\n"
        "property list uchar int vertex_indices\nend_header\n"
    )
    if order == "ascii":
        body = "".join(f"{x} {y} {z} 255 0 51 {i}\n" for i, (x, y, z) in enumerate(vertices))
        data = (body + "4 0 1 2 3\n3 0 1 2\n").encode()
    else:
        row = np.dtype([("p", f"{order}f8", 3), ("c", "u1", 3), ("id", f"{order}u2")])
        rows = np.zeros(4, row)
        rows["p"], rows["c"], rows["id"] = vertices, (255, 0, 51), range(4)
        quad = b"\x04" + np.arange(4, dtype=f"{order}i4").tobytes()
        data = rows.tobytes() + quad + b"\x03" + np.arange(3, dtype=f"{order}i4").tobytes()
    path = tmp_path / "mesh.ply"
    path.write_bytes(header.encode() + data)
    mesh = read_ply(path)
    np.testing.assert_allclose(mesh.vertices, vertices)
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 2]]
    assert mesh.colors is not None
    np.testing.assert_allclose(mesh.colors[2], [1, 0, 0.2])
    assert mesh.labels["objectId"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "a/../../b", "a\0b", "x" * 5000])
def test_names_out_of_the_folder_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ScanError):
        inside(tmp_path, name, tmp_path / "list.txt")
    assert inside(tmp_path, "a/../b.png", tmp_path / "list.txt").name == "b.png"
