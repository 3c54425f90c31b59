"""Batches of whole scenes that fill a budget of tokens."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest

from g2vlm_fast.data import Query, RoomConfig, Scene, generate_room, queries
from g2vlm_fast.data.packing import Packed, TokenCost, packed_batches

ROOMS = {seed: generate_room(seed, RoomConfig(image_size=(16, 24))) for seed in range(4)}
COST = TokenCost((16, 24), patch_size=8)


def scene_at(place: int) -> tuple[Scene, list[Query]]:
    seed = place * 7 % 4
    return ROOMS[seed], queries(ROOMS[seed], place)[: 2 + place % 5]


def first(count: int, budget: int, **options: int) -> list[Packed]:
    return list(itertools.islice(packed_batches(scene_at, COST, budget, **options), count))


def names(batches: Sequence[Packed]) -> list[list[tuple[str, list[str]]]]:
    return [
        [
            (scene.name, [text.text for text in said])
            for scene, said in zip(batch.scenes, batch.texts, strict=True)
        ]
        for batch in batches
    ]


def test_the_cost_counts_patches_vertices_and_words() -> None:
    scene, said = scene_at(3)
    words = sum(len(text.text.split()) for text in said)
    vertices = 0 if scene.vertices is None else len(scene.vertices)
    patches = scene.num_views * 2 * 3
    assert TokenCost((16, 24), word_tokens=1.0)(scene, said) == patches + vertices + words
    assert TokenCost((16, 24), vertex_budget=0, word_tokens=0.0)(scene, said) == patches


def test_batches_keep_the_budget_and_the_next_scene_would_not_have_fitted() -> None:
    largest = max(COST(*scene_at(place)) for place in range(40))
    budget = 2 * largest
    place = 0
    for batch in first(6, budget):
        costs = [COST(*pair) for pair in zip(batch.scenes, batch.texts, strict=True)]
        assert batch.tokens == sum(costs) <= budget
        assert batch.next_place == place + len(costs)
        assert batch.tokens + COST(*scene_at(batch.next_place)) > budget
        place = batch.next_place


def test_a_stream_goes_on_from_where_a_batch_ended() -> None:
    budget = 2 * max(COST(*scene_at(place)) for place in range(40))
    whole = first(6, budget)
    again = first(3, budget, place=whole[2].next_place)
    assert names(again) == names(whole[3:])
    assert [batch.next_place for batch in again] == [batch.next_place for batch in whole[3:]]


def test_workers_change_no_batch() -> None:
    budget = 2 * max(COST(*scene_at(place)) for place in range(40))
    assert names(first(3, budget, workers=2, place=5)) == names(first(3, budget, place=5))


def test_a_scene_beyond_the_budget_and_impossible_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"room-0.*budget is 3"):
        first(1, 3)
    with pytest.raises(ValueError, match="budget"):
        first(1, 0)
    with pytest.raises(ValueError, match="place"):
        first(1, 100, place=-1)


@pytest.mark.parametrize("budget", [float("nan"), float("inf"), 8.5])
def test_a_budget_that_is_no_whole_number_is_refused_at_once(budget: float) -> None:
    with pytest.raises(ValueError, match="whole number"):
        packed_batches(scene_at, COST, budget)  # type: ignore[arg-type]
