"""``g2vlm-fast check`` and ``g2vlm-fast preprocess``: what is said, and the exit status."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tyro", reason="the command line needs the extra `app`")

from commands import light_help_of
from scan_layouts import colmap, frames, nerfstudio
from scan_layouts.room import Room, small_room

from g2vlm_fast.cli import BAD_INPUT, main
from g2vlm_fast.data.readers import read_scan


@pytest.fixture(scope="module")
def room() -> Room:
    return small_room(16, (72, 96))


@pytest.fixture
def broken(room: Room, tmp_path: Path) -> Path:
    """A scan with inverted poses."""
    return frames.write(tmp_path, dataclasses.replace(room, poses=np.linalg.inv(room.poses)))


def test_right_scan(room: Room, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scan = frames.write(tmp_path, room)
    assert main(["check", str(scan)]) == 0
    told = capsys.readouterr().out
    assert "Read as frames: 16 views of 96x72." in told
    assert "This is sure" in told


def test_wrong_scan_is_told_and_left_as_it_is(
    broken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in broken.iterdir()}
    assert main(["check", str(broken)]) == 1
    told = capsys.readouterr().out
    assert "Poses are world to camera" in told
    assert "--fix" in told
    assert {path: path.read_bytes() for path in broken.iterdir()} == before


def test_a_wrong_scan_is_named_with_its_remedy_where_it_is_used(
    broken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sheet.png"
    assert main(["data", "show", str(broken), "--out", str(out)]) == BAD_INPUT
    told = " ".join(capsys.readouterr().err.split())
    assert "world to camera" in told or "world-to-camera" in told
    assert f"g2vlm-fast check {broken}" in told.replace("\n", "")
    assert "--fix" in told
    assert not out.exists()


def test_wrong_scan_is_mended(
    broken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mended = tmp_path / "mended"
    assert main(["check", str(broken), "--fix", str(mended)]) == 0
    assert main(["check", str(mended)]) == 0
    assert read_scan(mended).num_views == 16
    assert main(["check", str(broken), "--fix", str(mended)]) == BAD_INPUT
    assert "--overwrite" in capsys.readouterr().err
    assert main(["check", str(broken), "--fix", str(mended), "--overwrite"]) == 0


def test_batch_goes_on_and_reports(
    room: Room, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scans = [frames.write(tmp_path, room), nerfstudio.write(tmp_path, room)]
    out = tmp_path / "standard"
    assert main(["preprocess", *map(str, scans), "--out", str(out)]) == 0
    assert sorted(os.listdir(out)) == sorted(scan.name for scan in scans)
    status = main(["preprocess", str(tmp_path / "absent"), str(scans[0]), "--out", str(out)])
    told = capsys.readouterr().out
    assert status == 1
    assert "absent: failed." in told
    assert "0 of 2 scans were written." in told


@pytest.mark.parametrize("option", [["--stride", "0"], ["--max-missing", "2"], ["--overwrite"]])
def test_impossible_option(
    option: list[str], broken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(broken), *option]) == BAD_INPUT
    assert option[0] in capsys.readouterr().err


def test_absent_scan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path / "absent")]) == BAD_INPUT
    assert "does not exist" in capsys.readouterr().err


def test_run_without_depth_is_refused(
    room: Room, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = colmap.write_text(tmp_path, room)
    shutil.rmtree(scan / "depth")
    assert main(["run", str(scan), "--out", str(tmp_path / "out")]) == BAD_INPUT
    assert "has no depth images" in capsys.readouterr().err
    assert main(["check", str(scan)]) == 0
    assert "could not be checked" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["check", "preprocess"])
def test_help_needs_no_torch(command: str) -> None:
    assert "--depth-scale" in light_help_of(command)
