"""Whatever is wrong with what evaluate and compare are given: named, counted, never passed over."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_evaluation import ToyBenchmark, ToySystem

pytest.importorskip("tyro", reason="the command line needs the extra `app`")

from commands import Console, refused_by, told_by
from toy_commands import use_toys

from g2vlm_fast.data.interchange import write_prediction
from g2vlm_fast.eval.protocol.predictions import write_system
from g2vlm_fast.eval.protocol.runs import read_run
from g2vlm_fast.pipeline.config import ConfigError
from g2vlm_fast.pipeline.evaluation import benchmark_of
from g2vlm_fast.pipeline.evaluation_config import EvaluateConfig

ROOMS = ToyBenchmark(3)


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    use_toys(monkeypatch)


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    """Predictions of three rooms."""
    system = ToySystem(tasks=frozenset({"objects", "relations", "answers"}))
    for number, name in enumerate(ROOMS.names):
        write_prediction(system.predict(ROOMS.case(number)), tmp_path / "said" / name)
    write_system(tmp_path / "said", system)
    return tmp_path / "said"


def _values(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def _again(folder: Path, **said: Any) -> None:
    """Write what is said of toy-1 anew."""
    prediction = replace(ToySystem().predict(ROOMS.case(1)), **said)
    write_prediction(prediction, folder / "toy-1", overwrite=True)


def _nan(folder: Path) -> None:
    path = folder / "toy-1" / "prediction.npz"
    arrays = dict(np.load(path))
    arrays["points"][7, 1] = np.nan
    np.savez(path, **arrays)


def _empty_graph(folder: Path) -> None:
    _again(
        folder, objects=(), relations=(), groundings=(), object_embeddings=np.zeros((0, 8), "f4")
    )


BAD_SCENES: dict[str, tuple[Callable[[Path], object], str]] = {
    "nan": (_nan, "points must be finite"),
    "missing": (lambda f: shutil.rmtree(f / "toy-1"), "there is no prediction"),
    "cut off": (lambda f: (f / "toy-1/prediction.json").write_text("{"), "or cut off"),
    "an id twice": (
        lambda f: _values(f / "toy-1/prediction.json", lambda v: v["objects"][1].update(id=0)),
        "objects must have ids of their own",
    ),
    "a question twice": (
        lambda f: _values(
            f / "toy-1/prediction.json", lambda v: v["answers"].append(v["answers"][0])
        ),
        "comes twice",
    ),
    "millimetres": (
        lambda f: _again(f, points=1000 * ToySystem().predict(ROOMS.case(1)).points),
        "too large",
    ),
    "another scene": (lambda f: _again(f, scene="toy-2"), "of another scene, 'toy-2'"),
    "a view that is not there": (
        lambda f: _again(
            f, views=(0,), depth=np.ones((1, 3, 4), "f4"), intrinsics=np.eye(3, dtype="f4")[None],
            poses=np.eye(4, dtype="f4")[None],
        ),
        "is of view 0, but the scene has 0 views",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_SCENES)
def test_bad_prediction_of_a_scene_is_a_counted_failure(
    name: str, predictions: Path, capsys: Console, tmp_path: Path
) -> None:
    out, right = tmp_path / "run", tmp_path / "right"
    told_by(capsys, "evaluate", str(predictions), "--out", str(right))
    spoil, reason = BAD_SCENES[name]
    spoil(predictions)
    shown = told_by(capsys, "evaluate", str(predictions), "--out", str(out))
    assert "1 scene of 3 failed" in shown
    summary, whole = read_run(out).summary, read_run(right).summary
    assert list(summary.failures) == ["toy-1"]
    assert reason in summary.failures["toy-1"]
    scenes = [{each.name: each.scenes for each in s.estimates} for s in (summary, whole)]
    assert scenes[0] == scenes[1]
    counts = [{each.name: each.count for each in s.estimates} for s in (summary, whole)]
    assert counts[0]["answer_score"] == counts[1]["answer_score"] == 24


def test_empty_graph_is_scored_and_no_failure(
    predictions: Path, capsys: Console, tmp_path: Path
) -> None:
    _empty_graph(predictions)
    told_by(capsys, "evaluate", str(predictions), "--out", str(tmp_path / "run"))
    run = read_run(tmp_path / "run")
    assert run.summary.failures == {}
    spq = next(each for each in run.summary.estimates if each.name == "spq")
    assert spq.scenes == 3
    whole = read_run(tmp_path / "run").records[1].rows
    assert whole["object_f1_25"][0] == 0.0


def test_scenes_that_nobody_asked_about_are_refused(
    predictions: Path, capsys: Console, tmp_path: Path
) -> None:
    shutil.copytree(predictions / "toy-0", predictions / "ガ 9")
    told = refused_by(capsys, "evaluate", str(predictions), "--out", str(tmp_path / "run"))
    assert "holds scenes that are not asked about, 1 in all ('ガ 9')" in told
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["  ", "two\nlines", "\x1b[31mred"])
def test_name_of_a_system_must_be_a_line_of_text(
    name: str, predictions: Path, capsys: Console, tmp_path: Path
) -> None:
    (predictions / "system.json").unlink()
    for scene in ROOMS.names:
        path = predictions / scene / "prediction.json"
        _values(path, lambda values: values.update(system=name))
    told = refused_by(capsys, "evaluate", str(predictions), "--out", str(tmp_path / "run"))
    assert "the name of a system must be a line of text" in told
    assert not (tmp_path / "run").exists()


def test_out_that_cannot_be_written_is_told(capsys: Console, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        told = refused_by(capsys, "evaluate", "good", "--out", str(out))
        assert str(tmp_path / "file") in told
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_folder_without_permission_is_told(capsys: Console, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert str(tmp_path) in refused_by(capsys, "evaluate", "good", "--out", str(tmp_path / "run"))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda run: (run / "run.json").unlink(), "exists and is no evaluation"),
        (lambda run: (run / "run.json").write_text(""), "run.json: is no JSON"),
        (
            lambda run: _values(run / "run.json", lambda v: v.update(version=99)),
            "run.json: is of no g2vlm-fast evaluation of version 1; name another --out, or delete",
        ),
        (
            lambda run: (run / "scenes/toy-1.json").write_text('{"name": "to'),
            "toy-1.json: is no JSON, or cut off",
        ),
        (
            lambda run: (run / "scenes/toy-1.json").write_text("[]"),
            "toy-1.json: the file is list, not an object",
        ),
    ],
    ids=["no run.json", "empty run.json", "version", "cut off", "a list"],
)
def test_damaged_evaluation_is_told(
    damage: Callable[[Path], object], told: str, capsys: Console, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    told_by(capsys, "evaluate", "good", "--out", str(run))
    shutil.copytree(run, tmp_path / "other")
    damage(run)
    message = refused_by(capsys, "evaluate", "good", "--out", str(run))
    assert told in message
    assert str(run) in message
    if "toy-1" in told:
        assert "delete it and evaluate with the same --out" in message
        (run / "scenes/toy-1.json").unlink()
        told_by(capsys, "evaluate", "good", "--out", str(run))
        assert (run / "summary.json").read_bytes() == (
            tmp_path / "other" / "summary.json"
        ).read_bytes()


def test_device_that_is_not_there_is_told(capsys: Console, tmp_path: Path) -> None:
    out = ("--out", str(tmp_path / "run"))
    told = refused_by(capsys, "evaluate", "good", "--device", "cpu", *out)
    assert "--device would not be looked at" in told
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    assert "model.safetensors: is missing" in refused_by(
        capsys, "evaluate", str(tmp_path / "model"), "--device", "tpu", *out
    )
    assert not (tmp_path / "run").exists()


def test_folder_of_a_training_run_is_told_from_its_checkpoint(
    capsys: Console, tmp_path: Path
) -> None:
    (tmp_path / "model/checkpoint").mkdir(parents=True)
    (tmp_path / "model/checkpoint/config.json").write_text("{}")
    told = refused_by(capsys, "evaluate", str(tmp_path / "model"), "--out", str(tmp_path / "run"))
    assert f"name its model, {tmp_path / 'model' / 'checkpoint'}" in told


def _layouts(folder: Path, names: list[str]) -> Path:
    box = {
        "centroid": [0.0, 0.0, 0.5], "axesLengths": [1.0, 1.0, 1.0],
        "normalizedAxes": [1, 0, 0, 0, 1, 0, 0, 0, 1],
    }  # fmt: skip
    chairs = [dict(box, centroid=[2.0 * n, 0.0, 0.5]) for n in range(4)]
    scene = {"object_bbox": {"chair": chairs}, "room_size": 20.0}
    folder.mkdir()
    (folder / "rooms.json").write_text(json.dumps(dict.fromkeys(names, scene)))
    return folder


def test_more_scenes_than_there_are_are_refused(tmp_path: Path) -> None:
    folder = _layouts(tmp_path / "layouts", ["room é", "room 2"])
    assert list(benchmark_of(EvaluateConfig(layouts=folder)).names) == ["room é", "room 2"]
    with pytest.raises(ConfigError, match=r"--scenes must be at most 2, .* got 3"):
        benchmark_of(EvaluateConfig(layouts=folder, scenes=3))


@pytest.mark.parametrize(
    "names", [["../out"], ["a/b"], ["x" * 300], ["\u00e9", "e\u0301"], ["Room", "room"], ["\ud800"]]
)
def test_scenes_whose_names_cannot_be_folders_are_refused(names: list[str], tmp_path: Path) -> None:
    folder = _layouts(tmp_path / "layouts", names)
    with pytest.raises(ConfigError, match=r"name of a case must be fit|comes twice"):
        benchmark_of(EvaluateConfig(layouts=folder))
