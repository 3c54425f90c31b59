"""The stream of batches is a function of the index, whoever makes it."""

from __future__ import annotations

import dataclasses
import pickle
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from g2vlm_fast.data import (
    AnswerVocabulary,
    RoomConfig,
    Scene,
    generate_room,
    seeds_of,
    split_of,
)
from g2vlm_fast.data.readers import ScanError
from g2vlm_fast.data.shards import write_shards
from g2vlm_fast.train import DataConfig
from g2vlm_fast.train import rooms as rooms_module
from g2vlm_fast.train.rooms import Example, GrowingRooms, prefetched, rendering_device

DATA = DataConfig(
    rooms=5, scenes_per_step=3, fresh_per_step=1, texts_per_scene=4,
    image_size=(16, 24), surface_points=16, query_points=16,
)  # fmt: skip


def tokenize(texts: list[str]) -> list[list[int]]:
    return [[len(word) for word in text.split()] for text in texts]


def stream(data: DataConfig = DATA, seed: int = 0, device: str = "cpu") -> GrowingRooms:
    return GrowingRooms(
        data, seed=seed, tokenize=tokenize, answer_vocabulary=AnswerVocabulary(), device=device
    )


def same(first: Example, second: Example) -> bool:
    return all(
        torch.equal(torch.nan_to_num(a), torch.nan_to_num(b))
        for one, other in zip(first[:2], second[:2], strict=True)
        for a, b in zip(one.tensors().values(), other.tensors().values(), strict=True)
    )


def test_rooms_are_introduced_bit_by_bit_and_then_replayed() -> None:
    rooms = stream()
    batches = [rooms.seeds_of_batch(index) for index in range(8)]
    assert batches[0] == rooms.seeds[:3]
    assert batches[1][0] == rooms.seeds[3]
    assert batches[2][0] == rooms.seeds[4]
    for index, batch in enumerate(batches):
        assert len(set(batch)) == 3
        assert set(batch) <= set(rooms.seeds[: 3 + index])
    assert {seed for batch in batches for seed in batch} == set(rooms.seeds)
    assert all(split_of(seed) == "train" for seed in rooms.seeds)


def test_the_number_of_known_rooms_is_told() -> None:
    assert [GrowingRooms.known_after(DATA, count) for count in range(5)] == [0, 3, 4, 5, 5]


def test_a_batch_depends_on_its_index_and_seed_alone() -> None:
    first, second = stream(), stream()
    late = first[4]
    for index in range(4):
        second[index]
    assert same(late, second[4])
    assert not same(late, first[5])
    assert not same(late, stream(seed=1)[4])


def test_a_room_has_the_same_texts_whenever_it_comes() -> None:
    rooms = stream(dataclasses.replace(DATA, rooms=3, texts_per_scene=100))
    first, later = rooms[0].batch, rooms[3].batch
    assert first.text_ids is not None
    assert later.text_ids is not None
    assert sorted(first.text_ids.tolist()) == sorted(later.text_ids.tolist())


def test_other_processes_make_the_same_stream() -> None:
    here = prefetched(stream(), 2, workers=0)
    elsewhere = prefetched(stream(), 2, workers=1)
    for one, other in islice(zip(here, elsewhere, strict=False), 3):
        assert same(one, other)


def test_more_fresh_rooms_than_scenes_are_refused() -> None:
    with pytest.raises(ValueError, match="fresh_per_step"):
        stream(dataclasses.replace(DATA, fresh_per_step=4))


def test_features_come_with_their_texts_and_are_a_function_of_the_room() -> None:
    calls = 0

    def encode(ids: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return ids[:, None].float() * 2

    rooms = GrowingRooms(
        DATA, seed=0, tokenize=tokenize, answer_vocabulary=AnswerVocabulary(), encode_texts=encode
    )
    for index in range(4):
        example = rooms[index]
        assert example.text_features is not None
        assert example.batch.text_ids is not None
        assert torch.equal(example.text_features[:, 0], example.batch.text_ids * 2.0)
    assert calls == 5


def test_rooms_that_are_forgotten_are_made_again_as_they_were() -> None:
    plenty, none = stream(), stream(dataclasses.replace(DATA, room_memory=0.0))
    for index in range(4):
        assert same(plenty[index], none[index])


def test_a_stream_is_the_same_after_its_way_to_another_process() -> None:
    there = pickle.loads(pickle.dumps(stream()))
    assert same(there[1], stream()[1])


@pytest.mark.slow
def test_processes_that_are_started_anew_make_the_same_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[object] = []

    class Watched(rooms_module.DataLoader):
        def __init__(self, *arguments: object, **options: Any) -> None:
            asked.append(options["multiprocessing_context"])
            super().__init__(*arguments, **options)

    monkeypatch.setattr(rooms_module, "DataLoader", Watched)
    here = prefetched(stream(), 2, workers=0)
    elsewhere = prefetched(stream(), 2, workers=1, device="meta")  # any but the CPU
    for one, other in islice(zip(here, elsewhere, strict=False), 2):
        assert same(one, other)
    assert asked == ["spawn"]


def test_rooms_are_rendered_where_the_model_is_unless_it_is_said() -> None:
    assert rendering_device(DATA, "cpu").type == "cpu"
    elsewhere = dataclasses.replace(DATA, render_device="cpu")
    assert rendering_device(elsewhere, "cuda").type == "cpu"
    with pytest.raises(ValueError, match=r"render_device.*'toaster'"):
        rendering_device(dataclasses.replace(DATA, render_device="toaster"), "cpu")


def test_a_missing_gpu_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="no GPU is here; let render_device be 'cpu'"):
        rendering_device(DATA, "cuda")


def test_the_stream_renders_on_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def watched(seed: int, config: RoomConfig, *, device: str) -> Scene:
        asked.append(device)
        return generate_room(seed, config)

    monkeypatch.setattr("g2vlm_fast.data.batches.generate_room", watched)
    assert same(stream(device="meta")[0], stream()[0])
    assert asked == ["meta"] * 3 + ["cpu"] * 3


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    config = DATA.room_config()
    rooms = [generate_room(seed, config) for seed in seeds_of("train", DATA.rooms)]
    write_shards(tmp_path, rooms, scenes_per_shard=2)
    return tmp_path


def test_rooms_of_shards_make_the_batches_that_generated_rooms_make(
    shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [stream()[index] for index in range(3)]
    stored = stream(dataclasses.replace(DATA, shards=str(shards)))
    monkeypatch.setattr("g2vlm_fast.data.batches.generate_room", None)
    for index, example in enumerate(expected):
        assert same(example, stored[index])


def test_shards_with_too_few_rooms_are_refused(shards: Path) -> None:
    with pytest.raises(ValueError, match="at most 5"):
        stream(dataclasses.replace(DATA, shards=str(shards), rooms=6))


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ([f"room-{seeds_of('test', 1)[0]}"], "split 'test'"),
        (["kitchen"], "no generated room"),
        (["room-0", "room-0"], "twice"),
    ],
)
def test_shards_of_other_scenes_are_refused(names: list[str], told: str, tmp_path: Path) -> None:
    room = generate_room(0, DATA.room_config())
    write_shards(tmp_path, [dataclasses.replace(room, name=name) for name in names])
    with pytest.raises(ScanError, match=told):
        stream(dataclasses.replace(DATA, shards=str(tmp_path)))


@pytest.mark.gpu
@pytest.mark.parametrize("workers", [0, 1])
def test_what_a_gpu_renders_beside_the_step_is_the_same_stream(workers: int) -> None:
    here = stream(device="cuda")
    beside = prefetched(stream(device="cuda"), 1, workers=workers, device="cuda")
    for index, example in zip(range(1, 4), beside, strict=False):
        assert same(here[index], example)
        assert example.batch.images.is_pinned()
