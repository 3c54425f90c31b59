"""The main job: a scan or a seed in, everything out, or a clear error and nothing."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from g2vlm_fast.data.readers import ScanError
from g2vlm_fast.export.files import OutputError
from g2vlm_fast.pipeline import ModelError, RunConfig, default_checkpoint, load_model, run
from g2vlm_fast.pipeline import checkpoint as checkpoints
from g2vlm_fast.pipeline.config import ConfigError

FILES = {
    "answer.json", "caption.json", "cloud.ply", "mesh.ply", "previews", "report.html", "run.json",
    "scene_graph.json",
}  # fmt: skip
PREVIEWS = {
    "depth_agreement.png", "fusion_alone_1.png", "fusion_alone_2.png", "objects.png",
    "reconstruction_1.png", "reconstruction_2.png", "scene_graph.png", "views.png",
}  # fmt: skip


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the smallest recipe: it has learned nothing, but every part of it runs."""
    from g2vlm_fast import recipes

    trained = recipes.run_recipe(
        recipes.tiny_test(), tmp_path_factory.mktemp("run"), held_out_rooms=2
    )
    return trained.checkpoint


def _check_files(out: Path) -> None:
    import open3d as o3d

    assert set(os.listdir(out)) == FILES
    assert set(os.listdir(out / "previews")) == PREVIEWS
    mesh = o3d.io.read_triangle_mesh(out / "mesh.ply")
    assert len(mesh.triangles) > 1000
    assert mesh.has_vertex_colors()
    assert mesh.has_vertex_normals()
    assert len(o3d.io.read_point_cloud(out / "cloud.ply").points) > 1000
    html = (out / "report.html").read_text(encoding="utf-8")
    assert "https://" not in html
    assert "data:image/webp" in html


@pytest.mark.slow
def test_recorded_scan_gives_everything(
    frame_folder: Path, checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    told: list[tuple[str, float]] = []
    result = run(
        RunConfig(
            scan=frame_folder, out=out, checkpoint=checkpoint, ask=("what is left of the table?",)
        ),
        on_stage=lambda name, done: told.append((name, done)),
    )
    _check_files(out)
    facts = json.loads((out / "run.json").read_text())
    assert facts["completed"]["depth_agreement"]["absolute_relative"] < 0.02
    assert facts["conventions"].startswith("The views agree to")
    answers = json.loads((out / "answer.json").read_text())["answers"]
    assert [answer["question"] for answer in answers] == ["what is left of the table?"]
    assert answers[0]["truth"] is None
    nodes = json.loads((out / "scene_graph.json").read_text())["nodes"]
    assert len(nodes) == len(result.understanding.objects)
    assert [done for _, done in told] == sorted(done for _, done in told)
    assert told[-1] == ("Done", 1.0)
    assert {path.name for path in tmp_path.iterdir()} == {"scan", "out"}
    assert abs(float(result.scene.gravity[2]) + 1) < 1e-6


@pytest.mark.slow
def test_without_a_scan_a_room_is_generated_and_its_truth_is_told(
    checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = run(RunConfig(out=out, checkpoint=checkpoint, room_seed=5))
    _check_files(out)
    facts = json.loads((out / "run.json").read_text())
    assert 0.3 < facts["fusion"]["score_5cm"]["f_score"] < 1
    answers = json.loads((out / "answer.json").read_text())["answers"]
    assert len(answers) >= 3
    assert all(answer["truth"] for answer in answers)
    assert result.reconstruction.fused.score is not None
    cloud = result.reconstruction.cloud
    measured = cloud.points[: len(cloud.points) - cloud.predicted]
    assert np.isfinite(measured).all()
    assert len(measured) > len(result.reconstruction.fused.mesh.vertices)


@pytest.mark.parametrize("voxel_size", [1e-7, 5.0])
def test_voxel_size_that_does_not_fit_the_scan_is_blamed_on_the_option(
    voxel_size: float, frame_folder: Path, tmp_path: Path
) -> None:
    config = RunConfig(
        scan=frame_folder, out=tmp_path / "out", checkpoint=tmp_path, voxel_size=voxel_size
    )
    with pytest.raises(ConfigError, match=rf"--voxel-size .* metres .*got {voxel_size:g};"):
        run(config)
    assert os.listdir(tmp_path) == ["scan"]


def test_bad_scan_leaves_nothing_behind(frame_folder: Path, tmp_path: Path) -> None:
    (frame_folder / "frame-000002.depth.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(ScanError, match=r"frame-000002\.depth\.png"):
        run(RunConfig(scan=frame_folder, out=tmp_path / "out", checkpoint=tmp_path, max_missing=0))
    assert os.listdir(tmp_path) == ["scan"]


def test_results_that_are_there_are_kept(frame_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "report.html").write_text("mine")
    with pytest.raises(OutputError, match="--overwrite"):
        run(RunConfig(scan=frame_folder, out=out))
    with pytest.raises(OutputError, match="earlier run"):
        run(RunConfig(scan=frame_folder, out=out, overwrite=True))
    (out / "run.json").touch()
    with pytest.raises(ScanError):
        run(RunConfig(scan=tmp_path / "absent", out=out, overwrite=True))
    assert (out / "report.html").read_text() == "mine"


def test_missing_or_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json: is missing"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "g2vlm_fast"}')
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(tmp_path)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    from g2vlm_fast.data import AnswerVocabulary
    from g2vlm_fast.model import G2VLM, G2VLMConfig

    G2VLM(G2VLMConfig.tiny(answer_vocabulary=AnswerVocabulary().words)).save_pretrained(tmp_path)
    load_model(tmp_path)
    path = tmp_path / "model.safetensors"
    weights = load_file(path)
    name, weight = next(iter(weights.items()))
    others = {key: value for key, value in weights.items() if key != name}
    for changed, words in (
        (others, "1 missing, 0 unexpected, 0 mismatched"),
        (weights | {"new": torch.zeros(3)}, "0 missing, 1 unexpected, 0 mismatched"),
        (weights | {name: torch.cat([weight, weight])}, "0 missing, 0 unexpected, 1 mismatched"),
    ):
        save_file(changed, path, metadata={"format": "pt"})
        with pytest.raises(ModelError, match=words):
            load_model(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"stride": 0}, "--stride"),
        ({"voxel_size": -0.01}, "--voxel-size"),
        ({"model_views": 0}, "--model-views"),
        ({"ask": (" ",)}, "--ask"),
        ({"room_seed": -1}, "--room-seed"),
    ],
)
def test_impossible_option_is_named(change: dict, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        run(RunConfig(out=tmp_path / "out", **change))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "change",
    [
        {"intrinsics": Path("camera.txt")},
        {"mesh": Path("part.ply")},
        {"depth_scale": 5000.0},
        {"stride": 2},
        {"max_frames": 10},
    ],
)
def test_options_about_scans_need_a_scan(change: dict, tmp_path: Path) -> None:
    option = "--" + next(iter(change)).replace("_", "-")
    with pytest.raises(ConfigError, match=f"^{option} .*run SCAN {option} .*leave it out"):
        run(RunConfig(out=tmp_path / "out", **change))
    assert os.listdir(tmp_path) == []


def test_a_room_cannot_be_chosen_for_a_scan(frame_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--room-seed .*scan was: leave out one"):
        run(RunConfig(scan=frame_folder, out=tmp_path / "out", room_seed=5))
    assert os.listdir(tmp_path) == ["scan"]


def test_default_checkpoint_follows_the_environment_and_the_release(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("G2VLM_CHECKPOINT", str(tmp_path / "here"))
    assert default_checkpoint() == tmp_path / "here"
    monkeypatch.setenv("G2VLM_CHECKPOINT", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(checkpoints, "__version__", "1.2.3+cu130")
    assert default_checkpoint() == tmp_path / "g2vlm-fast" / "1.2.3" / "demo" / "checkpoint"


def test_folder_to_delete_is_named_for_the_cached_checkpoint_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("G2VLM_CHECKPOINT", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cached = default_checkpoint()
    with pytest.raises(ModelError, match="g2vlm-fast run trains"):
        load_model(cached)
    for folder in (cached, tmp_path / "mine"):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text('{"model_type": "g2vlm_fast"}')
        (folder / "model.safetensors").write_bytes(b"of an older release")
    with pytest.raises(ModelError, match=re.escape(f"delete the folder {cached.parent} to")):
        load_model(cached)
    with pytest.raises(ModelError) as caught:
        load_model(tmp_path / "mine")
    assert "delete the folder" not in str(caught.value)
    assert "--checkpoint" in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shelf_bin", "icl_livingroom"])
def test_real_scan_keeps_its_depth(
    name: str, checkpoint: Path, shared_data: Path, tmp_path: Path
) -> None:
    scan = shared_data / "real_scans" / name
    result = run(RunConfig(scan=scan, out=tmp_path / "out", checkpoint=checkpoint))
    _check_files(tmp_path / "out")
    assert result.reconstruction.completed.agreement.absolute_relative <= 0.02
    assert result.conventions is not None
    assert result.conventions.consistent
