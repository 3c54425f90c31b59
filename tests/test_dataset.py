"""Data sets of generated rooms from the command line."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("tyro", reason="the command line needs the extra `app`")

from g2vlm_fast.cli import BAD_INPUT, main
from g2vlm_fast.data import ROOM_SPLITS, Query, generate_room, queries, room_config_of, split_of
from g2vlm_fast.data.language.lexicon import Style
from g2vlm_fast.data.language.texts import KINDS
from g2vlm_fast.data.shards import Shards
from g2vlm_fast.eval.benchmarks import RoomBenchmark
from g2vlm_fast.pipeline.data_config import StatisticsConfig
from g2vlm_fast.pipeline.dataset import text_statistics
from g2vlm_fast.pipeline.evaluation import benchmark_of
from g2vlm_fast.pipeline.evaluation_config import EvaluateConfig


def test_rooms_are_written_and_read_back(tmp_path: Path) -> None:
    out = tmp_path / "rooms"
    arguments = ["--rooms", "3", "--rooms-per-shard", "2", "--split", "test", "--first-seed", "50"]
    assert main(["data", "write", "--out", str(out), *arguments, "--image-size", "24", "32"]) == 0
    rooms = Shards(out)
    assert len(rooms) == 3
    assert len(list(out.iterdir())) == 2
    for room in rooms:
        seed = int(room.name.removeprefix("room-"))
        assert seed >= 50
        assert split_of(seed) == "test"
        assert room.image_size == (24, 32)
        assert room.truth is not None


@pytest.mark.parametrize("split", ROOM_SPLITS)
def test_every_split_is_written_and_judged_by_its_name(split: str, tmp_path: Path) -> None:
    out = tmp_path / "rooms"
    arguments = ["--rooms", "1", "--split", split, "--out", str(out), "--image-size", "24", "32"]
    assert main(["data", "write", *arguments]) == 0
    (room,) = Shards(out)
    seed = int(room.name.removeprefix("room-"))
    config = dataclasses.replace(room_config_of(split), image_size=(24, 32))
    assert torch.equal(room.images, generate_room(seed, config).images)

    benchmark = benchmark_of(EvaluateConfig(split=split, scenes=1))
    assert isinstance(benchmark, RoomBenchmark)
    assert benchmark.split == split
    assert benchmark.config.noise_scale == (2.5 if split == "stronger noise" else 1.0)


@pytest.mark.parametrize(("split", "style"), [("test", "training"), ("unseen words", "held out")])
def test_texts_of_a_split_are_in_its_words(split: str, style: Style) -> None:
    benchmark = benchmark_of(EvaluateConfig(split=split, scenes=1))
    assert isinstance(benchmark, RoomBenchmark)
    room, texts = benchmark.room(0)
    seed = int(room.name.removeprefix("room-"))
    assert list(texts) == queries(room, seed, kinds=KINDS, style=style)


def test_statistics_of_unseen_words_are_of_texts_that_training_never_shows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def watched(*arguments: Any, style: Style, **options: Any) -> list[Query]:
        asked.append(style)
        return queries(*arguments, style=style, **options)

    monkeypatch.setattr("g2vlm_fast.pipeline.dataset.queries", watched)
    text_statistics(StatisticsConfig(split="unseen words", rooms=2, training_rooms=1))
    assert asked == ["training", "held out", "held out"]


def test_statistics_count_another_set_of_rooms_than_guessers_learn_from() -> None:
    shares: list[float] = []
    table = text_statistics(
        StatisticsConfig(split="train", rooms=2, training_rooms=2), shares.append
    )
    assert table.startswith("2 rooms, ")
    assert shares == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["write", "--out", "x", "--rooms", "0"], "--rooms"),
        (["write", "--out", "x", "--split", "mine"], "--split"),
        (["write", "--out", "x", "--image-size", "4", "4"], "--image-size"),
        (["write", "--out", "x", "--first-seed", "-1"], "--first-seed"),
        (["statistics", "--rooms", "1"], "--rooms"),
        (["statistics", "--training-rooms", "0"], "--training-rooms"),
        (["statistics", "--split", "mine"], "--split"),
    ],
)
def test_impossible_data_sets_are_refused(
    arguments: list[str],
    told: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["data", *arguments]) == BAD_INPUT
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_shards_is_not_written_into(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "00000.safetensors").write_bytes(b"")
    assert main(["data", "write", "--out", str(tmp_path), "--rooms", "1"]) == BAD_INPUT
    assert "holds shards already" in capsys.readouterr().err
