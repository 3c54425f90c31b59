"""Preprocessed scenes: standard, read back as they were, written whole or not at all."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from scan_layouts import colmap, frames, scannet
from scan_layouts.room import Room, small_room

from g2vlm_fast.data.annotations import ScanQuestion, join_language
from g2vlm_fast.data.readers import ScanError, read_scan
from g2vlm_fast.data.scans.preprocess import preprocess_scans, put_upright
from g2vlm_fast.data.scans.writer import write_scene
from g2vlm_fast.export.files import OutputError
from g2vlm_fast.geometry.cameras import transform_points, unproject


@pytest.fixture(scope="module")
def room() -> Room:
    return small_room(16, (72, 96))


def _tilted(room: Room) -> Room:
    """The room in the frame of its first camera, as recorders without gravity write it."""
    return dataclasses.replace(room, poses=np.linalg.inv(room.poses[0]) @ room.poses)


def test_written_scene_is_read_back(room: Room, tmp_path: Path) -> None:
    scene = read_scan(scannet.write(tmp_path, room))
    question = ScanQuestion(
        scan="s", text="How many?", answers=("two", "2"), source="t", id="7",
        position=(1.0, 2.0, 0.0), heading=0.5,
    )  # fmt: skip
    known = join_language(scene.annotations, "s", questions=(question,))
    scene = dataclasses.replace(scene, annotations=known)
    write_scene(scene, tmp_path / "out", provenance={"scan": "s"})
    back = read_scan(tmp_path / "out")
    assert torch.equal(back.images, scene.images)
    assert back.depth is not None
    assert scene.depth is not None
    assert (back.depth - scene.depth).abs().max() <= 0.00005 + 1e-6
    for name in ("intrinsics", "poses", "gravity", "vertices"):
        torch.testing.assert_close(getattr(back, name), getattr(scene, name), rtol=0, atol=2e-6)
    assert torch.equal(back.faces, scene.faces)
    assert back.assumptions == scene.assumptions
    assert back.annotations is not None
    assert back.annotations.questions == (question,)
    for mine, theirs in zip(back.annotations.objects, known.objects, strict=True):
        assert (mine.id, mine.class_name) == (theirs.id, theirs.class_name)
        assert torch.equal(mine.center, theirs.center)


def test_scan_in_the_frame_of_a_camera_is_put_upright(room: Room, tmp_path: Path) -> None:
    scan = frames.write(tmp_path, _tilted(room))
    (outcome,) = preprocess_scans([scan], tmp_path / "out")
    assert not outcome.failed
    scene = read_scan(tmp_path / "out" / scan.name)
    assert scene.gravity.tolist() == [0, 0, -1]
    # what was assumed of the recording is kept, and nothing is assumed of the new scene
    assert sum("where gravity points" in sentence for sentence in scene.assumptions) == 1
    # heights above the floor are those of the room, to the height of two pixels
    assert scene.depth is not None
    points = unproject(scene.depth, scene.intrinsics, scene.poses)[..., 2]
    true = torch.from_numpy(room.depth).float()
    heights = unproject(true, scene.intrinsics, torch.from_numpy(room.poses).float())[..., 2]
    assert (points - heights).abs().max() < 0.04


def test_broken_conventions_are_mended_and_told(room: Room, tmp_path: Path) -> None:
    broken = dataclasses.replace(room, poses=np.linalg.inv(room.poses))
    scan = frames.write(tmp_path, broken)
    (outcome,) = preprocess_scans([scan], tmp_path / "out")
    assert "Poses are world to camera; they were inverted." in outcome.changes
    scene = read_scan(tmp_path / "out" / scan.name)
    relative = torch.linalg.inv(scene.poses[0]) @ scene.poses[7]
    wanted = np.linalg.inv(room.poses[0]) @ room.poses[7]
    np.testing.assert_allclose(relative.numpy(), wanted, atol=1e-4)
    whole = json.loads((tmp_path / "out" / scan.name / "scene.json").read_text())
    assert whole["provenance"]["layout"] == "frames"
    assert whole["provenance"]["changes"] == list(outcome.changes)


def test_upright_scan_stays_in_its_world(room: Room, tmp_path: Path) -> None:
    scan = scannet.write(tmp_path, room)
    preprocess_scans([scan], tmp_path / "out")
    back = read_scan(tmp_path / "out" / scan.name)
    np.testing.assert_allclose(back.poses.numpy(), room.poses, atol=1e-5)
    assert back.annotations is not None
    assert back.annotations.object_by_id(0).class_name == "table"


def test_scan_without_depth_is_turned_by_its_cameras(room: Room, tmp_path: Path) -> None:
    scan = colmap.write_text(tmp_path, room)
    for path in (scan / "depth").iterdir():
        path.unlink()
    (scan / "depth").rmdir()
    (outcome,) = preprocess_scans([scan], tmp_path / "out")
    assert not outcome.failed
    scene = read_scan(tmp_path / "out" / scan.name)
    assert scene.depth is None
    assert any("has no depth images" in sentence for sentence in scene.assumptions)
    assert any("could not be checked" in sentence for sentence in scene.assumptions)


def test_single_view_is_written_unchecked(tmp_path: Path) -> None:
    scan = frames.write(tmp_path, small_room(1, (72, 96)))
    (outcome,) = preprocess_scans([scan], tmp_path / "out")
    assert outcome.error == ""
    scene = read_scan(tmp_path / "out" / scan.name)
    assert any("could not be checked" in sentence for sentence in scene.assumptions)


def test_scan_that_measured_nothing_is_refused(room: Room, tmp_path: Path) -> None:
    scan = frames.write(tmp_path, dataclasses.replace(room, depth=0 * room.depth))
    (outcome,) = preprocess_scans([scan], tmp_path / "out")
    assert "no depth" in outcome.error


@pytest.mark.parametrize("down", [[0, 0, 1.0], [0, 0, -1.0], [1.0, 0, 0], [0.6, 0.0, 0.8]])
def test_turn_without_depth_takes_gravity_down(
    down: list[float], room: Room, tmp_path: Path
) -> None:
    scene = read_scan(frames.write(tmp_path, room))
    scene = dataclasses.replace(scene, depth=None, gravity=torch.tensor(down))
    upright, _ = put_upright(scene, gravity_is_exact=True)
    motion = upright.poses[0] @ torch.linalg.inv(scene.poses[0])
    motion[:3, 3] = 0
    moved = transform_points(motion, scene.gravity[None])[0]
    torch.testing.assert_close(moved, torch.tensor([0, 0, -1.0]), rtol=0, atol=1e-5)


def test_one_bad_scan_does_not_stop_the_others(room: Room, tmp_path: Path) -> None:
    good = frames.write(tmp_path / "a", room)
    bad = frames.write(tmp_path / "b", room).rename(tmp_path / "b" / "bad")
    order = np.random.default_rng(0).permutation(16)
    twisted = frames.write(tmp_path / "c", dataclasses.replace(room, poses=room.poses[order]))
    twisted = twisted.rename(tmp_path / "c" / "twisted")
    (bad / "intrinsics.txt").write_text("nonsense")
    told = []
    scans = [bad, good, twisted, good]
    outcomes = preprocess_scans(scans, tmp_path / "out", on_outcome=told.append)
    assert told == outcomes
    assert [outcome.failed for outcome in outcomes] == [True, False, True, True]
    assert "intrinsics.txt" in outcomes[0].error
    assert "do not belong together" in outcomes[2].error
    assert "same name" in outcomes[3].error
    assert os.listdir(tmp_path / "out") == [good.name]


def test_existing_scene_is_replaced_only_on_request(room: Room, tmp_path: Path) -> None:
    scan = frames.write(tmp_path, room)
    preprocess_scans([scan], tmp_path / "out")
    (again,) = preprocess_scans([scan], tmp_path / "out")
    assert "--overwrite" in again.error
    (replaced,) = preprocess_scans([scan], tmp_path / "out", overwrite=True)
    assert not replaced.failed
    other = tmp_path / "out" / "mine"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="not overwritten"):
        write_scene(read_scan(scan), other, overwrite=True)
    assert os.listdir(other) == ["notes.txt"]


def test_interrupted_write_leaves_nothing(
    room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = read_scan(frames.write(tmp_path / "scan", room))

    def fail(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("g2vlm_fast.data.scans.writer._write_json", fail)
    with pytest.raises(KeyboardInterrupt):
        write_scene(scene, tmp_path / "out")
    assert os.listdir(tmp_path) == ["scan"]


def test_missing_poses_are_estimated_and_said(room: Room, tmp_path: Path) -> None:
    many = small_room(24, (192, 256))
    scan = frames.write(tmp_path, many)
    for path in scan.glob("*.pose.txt"):
        path.unlink()
    scene = read_scan(scan)
    assert scene.poses_estimated
    assert any("RGB-D odometry" in sentence for sentence in scene.assumptions)
    wanted = np.linalg.inv(many.poses[0]) @ many.poses
    drift = np.linalg.norm(scene.poses.numpy()[:, :3, 3] - wanted[:, :3, 3], axis=1)
    travelled = np.linalg.norm(np.diff(many.poses[:, :3, 3], axis=0), axis=1).sum()
    assert drift.max() < 0.02 * travelled
    write_scene(scene, tmp_path / "out")
    assert read_scan(tmp_path / "out").poses_estimated


def test_views_too_far_apart_are_not_registered(tmp_path: Path) -> None:
    apart = small_room(24, (72, 96))
    chosen = [0, 23]
    turned = apart.poses[chosen].copy()
    turned[1, :3, :3] = turned[1, :3, :3] @ np.diag([-1.0, 1.0, -1.0])
    scan = frames.write(
        tmp_path,
        Room(apart.images[chosen], apart.depth[chosen] * [[[1]], [[3]]], apart.matrix, turned,
             apart.instance[chosen]),
    )  # fmt: skip
    for path in scan.glob("*.pose.txt"):
        path.unlink()
    with pytest.raises(ScanError, match="does not register"):
        read_scan(scan)


def test_real_scan_without_poses_is_registered_to_centimetres(
    shared_data: Path, tmp_path: Path
) -> None:
    source = shared_data / "real_scans" / "shelf_bin"
    known = read_scan(source)
    for path in [*sorted(source.glob("frame-*"))[: 3 * 12], source / "intrinsics.K.txt"]:
        if not path.name.endswith(".pose.txt"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
    scene = read_scan(tmp_path)
    assert scene.poses_estimated
    wanted = torch.linalg.inv(known.poses[0]) @ known.poses[: scene.num_views]
    drift = (scene.poses[:, :3, 3] - wanted[:, :3, 3]).norm(dim=-1)
    assert drift.max() < 0.03


def test_what_the_layout_does_not_keep_is_told(room: Room, tmp_path: Path) -> None:
    scene = read_scan(scannet.write(tmp_path, room))
    assert scene.depth is not None
    loose = dataclasses.replace(
        scene, faces=None, annotations=None, depth_sigma=torch.full_like(scene.depth, 0.01)
    )
    write_scene(loose, tmp_path / "out")
    told = " ".join(read_scan(tmp_path / "out").assumptions)
    assert "points without faces were not kept" in told
    assert "standard deviations of its depth were not kept" in told
