"""The stream of batches is a function of the index, whoever makes it."""

from __future__ import annotations

import dataclasses
from itertools import islice

import pytest
import torch

from g2vlm_fast.data import AnswerVocabulary, split_of
from g2vlm_fast.train import DataConfig
from g2vlm_fast.train.rooms import Example, GrowingRooms, prefetched

DATA = DataConfig(
    rooms=5, scenes_per_step=3, fresh_per_step=1, texts_per_scene=4,
    image_size=(16, 24), surface_points=16, query_points=16,
)  # fmt: skip


def tokenize(texts: list[str]) -> list[list[int]]:
    return [[len(word) for word in text.split()] for text in texts]


def stream(data: DataConfig = DATA, seed: int = 0) -> GrowingRooms:
    return GrowingRooms(data, seed=seed, tokenize=tokenize, answer_vocabulary=AnswerVocabulary())


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
