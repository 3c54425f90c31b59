"""The commands evaluate and compare: everything about a system, or one paragraph and nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("tyro", reason="the command line needs the extra `app`")

from commands import Console, light_help_of, refused_by, told_by
from toy_commands import use_toys

from g2vlm_fast.eval.benchmarks.rooms import NOISE_SCALES
from g2vlm_fast.eval.protocol.runs import read_run
from g2vlm_fast.pipeline.config import ConfigError
from g2vlm_fast.pipeline.evaluation_config import EvaluateConfig


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    use_toys(monkeypatch)


@pytest.mark.parametrize("command", ["evaluate", "compare"])
def test_help_needs_no_torch(command: str) -> None:
    assert "--out" in light_help_of(command)


@pytest.mark.usefixtures("toys")
def test_system_is_evaluated_and_its_predictions_give_the_same(
    capsys: Console, tmp_path: Path
) -> None:
    out, again = tmp_path / "run", tmp_path / "again"
    told = told_by(capsys, "evaluate", "bad", "--out", str(out))
    for words in ("bad on toy rooms", "Answer score", "1 scene of 3 failed", "toy-1 is too hard",
                  "report.html", "With 3 scenes intervals are too narrow"):  # fmt: skip
        assert words in told
    assert (out / "report.html").read_text() == "bad toy-0 toy-1 toy-2"
    told_by(capsys, "evaluate", str(out / "predictions"), "--out", str(again))
    assert (again / "summary.json").read_bytes() == (out / "summary.json").read_bytes()


@pytest.mark.usefixtures("toys")
def test_headlines_leave_the_other_scores_out(capsys: Console, tmp_path: Path) -> None:
    out = tmp_path / "run"
    told = told_by(capsys, "evaluate", "good", "--out", str(out), "--headlines", "--pictures", "1")
    assert "Answer score" in told
    assert (out / "report.html").read_text() == "good toy-0"
    assert "within 20" not in told
    assert "failed" not in told


@pytest.mark.usefixtures("toys")
def test_two_systems_are_compared(capsys: Console, tmp_path: Path) -> None:
    for name in ("good", "bad"):
        told_by(capsys, "evaluate", name, "--out", str(tmp_path / name))
    page = tmp_path / "page.html"
    told = told_by(
        capsys, "compare", str(tmp_path / "good"), str(tmp_path / "bad"), "--out", str(page)
    )
    assert "good against bad on toy rooms" in told
    assert "Holm" in told
    assert page.read_text() == "good bad"
    told = told_by(capsys, "compare", str(tmp_path / "bad"), "--out", str(page))
    assert "against" not in told
    assert page.read_text() == "bad"
    assert "two or more" in refused_by(capsys, "compare", str(tmp_path / "bad"))
    twice = (str(tmp_path / "bad"), str(tmp_path / "good" / ".." / "bad"))
    assert "named twice" in refused_by(capsys, "compare", *twice)
    told = refused_by(capsys, "compare", *twice[:1], str(tmp_path / "good"), "--out", "page.txt")
    assert "--out must end in .html" in told
    told = refused_by(capsys, "compare", *twice[:1], str(tmp_path))
    assert "is no evaluation" in told


@pytest.mark.usefixtures("toys")
def test_evaluations_of_different_benchmarks_are_not_compared(
    capsys: Console, tmp_path: Path
) -> None:
    for count in ("2", "3"):
        told_by(capsys, "evaluate", "good", "--scenes", count, "--out", str(tmp_path / count))
    told = refused_by(capsys, "compare", str(tmp_path / "2"), str(tmp_path / "3"))
    assert "their scenes differs (2 scenes and 3 scenes)" in told


@pytest.mark.usefixtures("toys")
def test_shards_leave_the_page_to_a_call_without_one(capsys: Console, tmp_path: Path) -> None:
    out = tmp_path / "run"
    told = told_by(capsys, "evaluate", "good", "--out", str(out), "--shard", "1/2")
    assert "other scenes of" in told
    assert not (out / "summary.json").exists()
    told = told_by(capsys, "evaluate", "good", "--out", str(out), "--shard", "0/2")
    assert "Answer score" in told
    assert "without a shard writes the page" in " ".join(told.split())
    assert not (out / "report.html").exists()
    assert "report.html" in told_by(capsys, "evaluate", "good", "--out", str(out))
    assert (out / "report.html").exists()


@pytest.mark.usefixtures("toys")
def test_torchrun_gives_each_process_its_shard(
    capsys: Console, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        told_by(capsys, "evaluate", "good", "--out", str(out))
    assert [record.name for record in read_run(out).records] == ["toy-0", "toy-1", "toy-2"]


@pytest.mark.parametrize("shard", ["2/2", "1", "1/0", "-1/2", "a/b", "1/2/3", "/", "½/2"])
def test_shard_that_does_not_exist_is_refused(shard: str, capsys: Console, tmp_path: Path) -> None:
    out = tmp_path / "run"
    told = refused_by(capsys, "evaluate", "tsdf", "--out", str(out), f"--shard={shard}")
    assert f"--shard must be 0/N, 1/N, ... or N-1/N for N processes, got {shard!r}" in told
    assert os.listdir(tmp_path) == []


def test_shard_of_the_environment_is_checked() -> None:
    config = EvaluateConfig()
    assert config.shard_of({}) is None
    assert config.shard_of({"RANK": "0", "WORLD_SIZE": "1"}) is None
    assert config.shard_of({"RANK": "2", "WORLD_SIZE": "4"}) == (2, 4)
    for environment in ({"WORLD_SIZE": "4"}, {"RANK": "4", "WORLD_SIZE": "4"}):
        with pytest.raises(ConfigError, match="RANK/WORLD_SIZE must be"):
            config.shard_of(environment)
    with pytest.raises(ConfigError, match="--overwrite would delete"):
        EvaluateConfig(shard="0/2", overwrite=True).shard_of({})


def test_every_noise_can_be_asked_for() -> None:
    from typing import get_args, get_type_hints

    assert get_args(get_type_hints(EvaluateConfig)["noise"]) == tuple(NOISE_SCALES)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nonsense"], "nonsense: is no folder of a checkpoint or of predictions"),
        (["tsdf", "--scenes", "0"], "--scenes must be at least 1"),
        (["tsdf", "--pictures", "-1"], "--pictures must not be negative"),
        (["tsdf", "--split", "tset"], "split must be one of"),
        (["tsdf", "--program", "spaceship"], "--program must be any, simple or one of"),
        (["tsdf", "--split", "stronger noise", "--noise", "none"], "is noise 'strong', got 'none'"),
        (["tsdf", "--scan", "absent", "--layouts", "absent"], "leave out one"),
        (["tsdf", "--scan", "absent", "--noise", "none"], "--noise would not be looked at"),
        (["rules", "--layouts", "absent", "--split", "train"], "--split would not be looked at"),
        (["tsdf", "--scan", "absent"], "absent: does not exist"),
        (["rules", "--layouts", "absent"], "absent: holds no .json file"),
        (["--heads", "--split", "train"], "--split would not be looked at"),
    ],
)
def test_impossible_evaluation_leaves_nothing(
    arguments: list[str],
    told: str,
    capsys: Console,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert told in refused_by(capsys, "evaluate", *arguments)
    assert os.listdir(tmp_path) == []


def test_missing_and_damaged_checkpoints_are_told(
    capsys: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("G2VLM_CHECKPOINT", str(tmp_path / "absent"))
    out = ("--out", str(tmp_path / "run"), "--program", "simple", "--scenes", "2")
    assert "absent/config.json: is missing" in refused_by(capsys, "evaluate", *out)
    half = tmp_path / "half"
    half.mkdir()
    (half / "config.json").write_text("{}")
    assert "model.safetensors: is missing" in refused_by(capsys, "evaluate", str(half), *out)
    (half / "model.safetensors").write_bytes(b"no weights")
    assert "the checkpoint cannot be loaded" in refused_by(capsys, "evaluate", str(half), *out)
    assert sorted(os.listdir(tmp_path)) == ["half"]


@pytest.mark.usefixtures("toys")
def test_evaluation_and_predictions_must_lie_apart(capsys: Console, tmp_path: Path) -> None:
    out = tmp_path / "run"
    told_by(capsys, "evaluate", "good", "--out", str(out))
    told = refused_by(capsys, "evaluate", str(out), "--out", str(tmp_path / "again"))
    assert f"is an evaluation; to score its predictions anew name {out / 'predictions'}" in told
    for inside in (out, out / "predictions" / "here"):
        arguments = (str(out / "predictions"), "--out", str(inside), "--overwrite")
        assert "must lie apart" in refused_by(capsys, "evaluate", *arguments)
    assert read_run(out).summary.system == "good"


@pytest.mark.slow
def test_evaluation_that_was_killed_goes_on(tmp_path: Path) -> None:
    """As people do it: a process of the command line, SIGKILL, and the same command again."""
    program = """
import sys, time
from g2vlm_fast.cli import main
from g2vlm_fast.pipeline import evaluation
from toy_evaluation import FEW_TASKS, ToyBenchmark, ToySystem

class Slow(ToySystem):
    def predict(self, case):
        time.sleep(0.1)
        return super().predict(case)

evaluation.SYSTEMS = {"slow": lambda: Slow(tasks=FEW_TASKS)}
evaluation.benchmark_of = lambda config: ToyBenchmark(config.scenes)
sys.exit(main())
"""

    def command(out: str) -> list[str]:
        arguments = ["evaluate", "slow", "--scenes", "12", "--out", str(tmp_path / out)]
        return [sys.executable, "-c", program, *arguments]

    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(command("killed"), env=environment) as process:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("killed/scenes/toy-*.json")):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert 0 < len(list(tmp_path.glob("killed/scenes/toy-*.json"))) < 12
    for out in ("killed", "whole"):
        subprocess.run(command(out), env=environment, check=True, timeout=120)
    killed, whole = (tmp_path / out for out in ("killed", "whole"))
    for name in ("summary.json", "retrieval.json"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()
    assert [r.rows for r in read_run(killed).records] == [r.rows for r in read_run(whole).records]
    assert "toy-11" in (killed / "report.html").read_text()
