"""Recorded scans among the training batches."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

pytest.importorskip("transformers", reason="models need the extra `model`")

from g2vlm_fast import recipes
from g2vlm_fast.data import RoomConfig, Scene, generate_room
from g2vlm_fast.data.readers import ScanError
from g2vlm_fast.data.scans.writer import write_scene
from g2vlm_fast.train import DataConfig
from g2vlm_fast.train.scans import MixedExamples, ScanExamples

DATA = DataConfig(
    scenes_per_step=2, views=(2, 3), image_size=(24, 32), room_weight=1, scan_weight=1
)


def scan_of(seed: int) -> Scene:
    config = RoomConfig(
        image_size=(30, 40), views=(5, 5), depth_probability=1.0, mesh_probability=0.0
    )
    scene = generate_room(seed, config)
    return dataclasses.replace(scene, truth=None, depth_sigma=None, name=f"scan{seed}")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    out = tmp_path_factory.mktemp("scans")
    for seed in (0, 1):
        write_scene(scan_of(seed), out / f"scan{seed}")
    return [str(out / f"scan{seed}") for seed in (0, 1)]


def test_the_truth_is_what_was_measured_and_a_part_of_it_is_given(folders: list[str]) -> None:
    examples = ScanExamples(folders, DATA, seed=0)
    shares = []
    for number in range(12):
        batch, targets, features = examples.example(number)
        assert features is None
        assert batch.text_ids is None
        assert targets.depth is not None
        assert batch.depth is not None
        assert targets.depth.shape == batch.images[:, 0].shape
        given, known = batch.depth > 0, targets.depth > 0
        both = given & known
        torch.testing.assert_close(batch.depth[both], targets.depth[both], atol=0.06, rtol=0.02)
        shares.append((given.sum() / known.sum()).item())
    assert min(shares) < 0.1  # of some, next to nothing is given
    assert 0.2 < max(shares) < 0.9  # of none, everything


def test_an_example_is_a_function_of_its_number_and_the_seed(folders: list[str]) -> None:
    def images(seed: int, number: int) -> torch.Tensor:
        return ScanExamples(folders, DATA, seed=seed).example(number).batch.images

    assert torch.equal(images(0, 3), images(0, 3))
    assert not all(
        images(0, 3).shape == other.shape and torch.equal(images(0, 3), other)
        for other in (images(0, 4), images(1, 3))
    )


def test_a_model_trains_on_rooms_and_scans(folders: list[str], tmp_path: Path) -> None:
    config = recipes.tiny_test()
    data = dataclasses.replace(config.data, scans=tuple(folders), room_weight=1, scan_weight=1)
    config = dataclasses.replace(config, data=data, max_steps=8, log_every=1)
    trained = recipes.run_recipe(config, tmp_path, held_out_rooms=0)
    assert trained.report.skipped_steps == 0
    steps = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    of_scans = [step for step in steps if "spatial" not in step]
    assert 0 < len(of_scans) < len(steps) == 8
    assert {step["stage"] for step in of_scans} == {"geometry", "joint"}
    assert all(step["depth"] > 0 for step in steps)


def test_batches_keep_their_share(folders: list[str]) -> None:
    class Rooms:
        data, seed, seeds, config = DATA, 0, range(4), RoomConfig()

    mixed = MixedExamples(Rooms(), ScanExamples(folders, DATA, seed=0))  # type: ignore[arg-type]
    share = sum(mixed.is_scan(index) for index in range(2000)) / 2000
    assert share == pytest.approx(0.5, abs=0.002)


def test_scans_that_teach_nothing_are_refused_by_name(folders: list[str], tmp_path: Path) -> None:
    dark = dataclasses.replace(scan_of(2), depth=None)
    write_scene(dark, tmp_path / "dark")
    with pytest.raises(ScanError, match=r"dark.*no depth"):
        ScanExamples([str(tmp_path / "dark")], DATA, seed=0).example(0)
    tilted = dataclasses.replace(scan_of(2), gravity=torch.tensor([0.0, -1.0, 0.0]))
    write_scene(tilted, tmp_path / "tilted")
    with pytest.raises(ScanError, match=r"tilted.*upright"):
        ScanExamples([str(tmp_path / "tilted")], DATA, seed=0).example(0)
    many = dataclasses.replace(DATA, views=(2, 9))
    with pytest.raises(ScanError, match="9"):
        ScanExamples(folders, many, seed=0).example(0)
    with pytest.raises(ValueError, match="at least one"):
        ScanExamples([], DATA, seed=0)
