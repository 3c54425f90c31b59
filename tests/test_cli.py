"""The command line: fast help, exit status 2 and one paragraph for bad input."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import g2vlm_fast

pytest.importorskip("tyro", reason="the command line needs the extra `app`")

from commands import light_help_of, refused_by

from g2vlm_fast.cli import TERMINATED, main


def test_help_needs_no_torch() -> None:
    told = light_help_of("run")
    for option in ("--ask", "--out", "--checkpoint", "--depth-scale", "--intrinsics"):
        assert option in told


def test_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"g2vlm-fast {g2vlm_fast.__version__}\n"
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "--version" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--intrinsics", "--mesh"])
def test_named_file_that_is_none(
    option: str, capsys: pytest.CaptureFixture[str], frame_folder: Path, tmp_path: Path
) -> None:
    out = ("--out", str(tmp_path / "out"))
    told = refused_by(capsys, "run", str(frame_folder), option, str(tmp_path / "absent"), *out)
    assert "absent: does not exist" in told
    assert option in told
    told = refused_by(capsys, "run", str(frame_folder), option, str(frame_folder), *out)
    assert "scan: is a folder" in told
    assert option in told


def test_options_about_a_scan_without_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for option, value in (("--mesh", "part.ply"), ("--intrinsics", "camera.txt")):
        told = refused_by(capsys, "run", option, value, "--out", str(tmp_path / "out"))
        assert told.startswith(f"g2vlm-fast: {option} ")
        assert f"run SCAN {option} {value}" in told
    assert os.listdir(tmp_path) == []


def test_missing_scan(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    told = refused_by(capsys, "run", str(tmp_path / "absent"), "--out", str(tmp_path / "out"))
    assert "absent: does not exist" in told
    assert os.listdir(tmp_path) == []


def test_scan_with_poses_the_other_way_round(
    capsys: pytest.CaptureFixture[str], frame_folder: Path, tmp_path: Path
) -> None:
    import numpy as np

    for path in frame_folder.glob("*.pose.txt"):
        np.savetxt(path, np.linalg.inv(np.loadtxt(path)))
    told = refused_by(capsys, "run", str(frame_folder), "--out", str(tmp_path / "out"))
    assert "world-to-camera" in told
    assert os.listdir(tmp_path) == ["scan"]


def test_question_that_is_too_long_is_told_before_the_scan_is_read(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    frame_folder: Path,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("G2VLM_CHECKPOINT", str(tmp_path / "checkpoint"))
    (frame_folder / "frame-000000.color.png").write_text("no image")
    question = "where is the " + "chair " * 600
    told = refused_by(
        capsys, "run", str(frame_folder), "--ask", question, "--out", str(tmp_path / "out")
    )
    for words in ("--ask", "where is the chair", "605 tokens", "at most 512"):
        assert words in told
    assert len(told) < 300
    assert os.listdir(tmp_path) == ["scan"]


def test_output_that_exists(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("")
    assert "--overwrite" in refused_by(capsys, "run", "--out", str(tmp_path / "out"))


def test_output_that_cannot_be_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    told = refused_by(capsys, "run", "--out", str(tmp_path / "file" / "out"))
    assert "cannot be written" in told


def test_missing_checkpoint(
    capsys: pytest.CaptureFixture[str], frame_folder: Path, tmp_path: Path
) -> None:
    told = refused_by(
        capsys, "run", str(frame_folder), "--out", str(tmp_path / "out"), "--checkpoint",
        str(tmp_path / "nowhere"),
    )  # fmt: skip
    assert "nowhere" in told
    assert os.listdir(tmp_path) == ["scan"]


def test_unknown_recipe(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    told = refused_by(capsys, "train", "nonsense", "--out", str(tmp_path / "run"))
    assert "demo" in told


def test_impossible_option(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "--stride" in refused_by(capsys, "run", "--stride", "0", "--out", str(tmp_path / "out"))


def test_termination_clears_away_what_is_half_done(tmp_path: Path) -> None:
    assert TERMINATED == 143
    program = "import sys; from g2vlm_fast.cli import main; sys.exit(main())"
    arguments = ["run", "--out", str(tmp_path / "out"), "--checkpoint", str(tmp_path / "nowhere")]
    command = [sys.executable, "-c", program, *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 100
        while not list(tmp_path.glob(".out.*.partial")) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate()
    assert process.returncode == TERMINATED
    assert "Traceback" not in told
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_info_names_backends_and_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    shown = capsys.readouterr().out
    for word in ("reference", "nearest", "geometry_attention", "tiny", "large"):
        assert word in shown


def test_profile_is_passed_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["profile", "--help"])
    assert ended.value.code == 0
    assert "--shapes" in capsys.readouterr().out
