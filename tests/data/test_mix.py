"""Sources take turns by weight, the same way each time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scan_layouts import frames
from scan_layouts.room import small_room

from g2vlm_fast.data.mix import Mix, Place, ScanSource
from g2vlm_fast.data.readers import ScanError, read_scan
from g2vlm_fast.data.scans.writer import write_scene
from g2vlm_fast.data.scene import Scene


@dataclass(frozen=True)
class Numbers:
    """A source of a size, whose scenes are never asked for."""

    size: int

    def __len__(self) -> int:
        return self.size

    def scene(self, index: int) -> Scene:
        raise NotImplementedError


def _mix(seed: int = 0, **weights: int) -> Mix:
    return Mix({name: Numbers(50) for name in weights}, weights, seed=seed)


@given(
    weights=st.lists(st.integers(0, 9), min_size=1, max_size=5).filter(any),
    seed=st.integers(0, 2**31),
    start=st.integers(0, 10**9),
)
@settings(max_examples=40, deadline=None)
def test_shares_follow_the_weights(weights: list[int], seed: int, start: int) -> None:
    named = {f"source {number}": weight for number, weight in enumerate(weights)}
    mix = _mix(seed, **named)
    counts = Counter(mix.source_at(index) for index in range(start, start + 1000))
    for name, weight in named.items():
        assert counts[name] / 1000 == pytest.approx(weight / sum(weights), abs=0.01)


def test_what_is_drawn_is_a_function_of_seed_and_index() -> None:
    first, again, other = _mix(5, a=1, b=2), _mix(5, a=1, b=2), _mix(6, a=1, b=2)
    places = [first.places_at(index, 4) for index in range(100)]
    assert [again.places_at(index, 4) for index in reversed(range(100))] == places[::-1]
    assert [other.places_at(index, 4) for index in range(100)] != places


def test_first_draws_stay_as_they_are() -> None:
    mix = _mix(0, rooms=3, scans=1)
    assert "".join(mix.source_at(index)[0] for index in range(16)) == "rrsrsrrsrrrrsrrs"
    assert [place.index for place in mix.places_at(0, 5)] == [16, 20, 1, 44, 49]


def test_batch_is_of_one_source_and_does_not_repeat() -> None:
    mix = _mix(1, rooms=1, scans=1)
    for index in range(200):
        places = mix.places_at(index, 8)
        assert len({place.source for place in places}) == 1
        assert len(set(places)) == 8


def test_small_source_repeats_as_late_as_it_can() -> None:
    mix = Mix({"few": Numbers(3)}, {"few": 1}, seed=0)
    drawn = [place.index for place in mix.places_at(0, 10)]
    assert all(len(set(drawn[i : i + 3])) >= 2 for i in range(8))
    assert Mix({"one": Numbers(1)}, {"one": 1}, seed=0).places_at(3, 2) == [Place("one", 0)] * 2


def test_every_scene_has_its_chance() -> None:
    mix = _mix(2, scans=1)
    seen = Counter(place.index for index in range(2000) for place in mix.places_at(index))
    assert len(seen) == 50
    assert max(seen.values()) < 2 * 2000 / 50


@pytest.mark.parametrize(
    ("sources", "weights", "words"),
    [
        ({}, {}, "must name"),
        ({"a": Numbers(1)}, {"b": 1}, "must name"),
        ({"a": Numbers(1)}, {"a": 0}, "above 0"),
        ({"a": Numbers(1)}, {"a": -1}, "whole"),
        ({"a": Numbers(1)}, {"a": 0.5}, "whole"),
        ({"a": Numbers(0)}, {"a": 1}, "empty"),
    ],
)
def test_impossible_mix_is_refused(
    sources: dict[str, Numbers], weights: dict[str, int], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        Mix(sources, weights, seed=0)


def test_preprocessed_scenes_are_found_and_read(tmp_path: Path) -> None:
    scene = read_scan(frames.write(tmp_path, small_room()))
    for name in ("b", "a"):
        write_scene(scene, tmp_path / "standard" / name)
    (tmp_path / "standard" / "notes").mkdir()
    source = ScanSource.below(tmp_path / "standard")
    assert [folder.name for folder in source.folders] == ["a", "b"]
    mix = Mix({"scans": source, "rooms": Numbers(5)}, {"scans": 1, "rooms": 0}, seed=0)
    assert {scene.name for scene in mix.scenes_at(0, 2)} == {"a", "b"}
    with pytest.raises(ScanError, match="preprocess"):
        ScanSource.below(tmp_path / "standard" / "notes")


def test_no_scenes_at_all_are_refused() -> None:
    mix = Mix({"a": Numbers(3)}, {"a": 1}, seed=0)
    with pytest.raises(ValueError, match="count"):
        mix.places_at(0, 0)
