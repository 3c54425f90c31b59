"""Generated rooms lie within the ranges of real ones: counts, sizes, gaps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from g2vlm_fast.data import room_config_of
from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.rooms.footprints import Footprint
from g2vlm_fast.data.rooms.layout import draw_layout
from g2vlm_fast.data.rooms.realism import (
    Box,
    boxes_of,
    class_counts,
    class_sides,
    gap_between,
    nearest_gaps,
    plot_comparison,
    read_real_rooms,
)

ENOUGH = 8  # real boxes of a class, or rooms that have it, whose quantiles mean something
MARKED_IN_PART = {"counter": (2,)}  # real boxes hold the slab alone: no height (axis 2)


@pytest.fixture(scope="module")
def real(shared_data: Path) -> list[list[Box]]:
    return read_real_rooms(shared_data / "real_rooms")


@pytest.fixture(scope="module")
def generated() -> list[list[Box]]:
    config = room_config_of("train")
    return [boxes_of(draw_layout(Draws(seed, 0), config)) for seed in range(500)]


def within(sample: object, reference: object) -> bool:
    low, high = np.percentile(np.asarray(reference), (5, 95))
    return bool(low <= np.median(np.asarray(sample)) <= high)


@pytest.mark.slow
def test_object_counts_lie_within_those_of_real_rooms(
    real: list[list[Box]], generated: list[list[Box]]
) -> None:
    shared = {box.class_name for room in real for box in room}
    counts = [sum(box.class_name in shared for box in room) for room in generated]
    assert within(counts, [len(room) for room in real])
    low, high = np.percentile([len(room) for room in real], (5, 95))
    assert np.mean([low <= count <= high for count in counts]) > 0.9
    real_counts, own_counts = class_counts(real), class_counts(generated)
    for name in set(real_counts) & set(own_counts):
        if len(real_counts[name]) >= ENOUGH:
            assert within(own_counts[name], real_counts[name]), name


@pytest.mark.slow
def test_sizes_lie_within_those_of_real_pieces(
    real: list[list[Box]], generated: list[list[Box]]
) -> None:
    real_sides, sides = class_sides(real), class_sides(generated)
    compared = 0
    for name in set(real_sides) & set(sides):
        if len(real_sides[name]) < ENOUGH:
            continue
        for axis in range(3):
            if axis not in MARKED_IN_PART.get(name, ()):
                assert within(sides[name][:, axis], real_sides[name][:, axis]), (name, axis)
                compared += 1
    assert compared >= 90


@pytest.mark.slow
def test_gaps_between_pieces_lie_within_those_of_real_rooms(
    real: list[list[Box]], generated: list[list[Box]]
) -> None:
    assert within(nearest_gaps(generated), nearest_gaps(real))


def test_gaps_are_measured_between_rectangles() -> None:
    one = Footprint(0, 0, 0, 1, 0.5, 0, 1)
    assert gap_between(one, Footprint(3, 0, 0, 1, 0.5, 0, 1)) == pytest.approx(1.0)
    assert gap_between(one, Footprint(3, 0, 90, 1, 0.5, 0, 1)) == pytest.approx(1.5)
    assert gap_between(one, Footprint(0.5, 0.5, 45, 1, 0.5, 0, 1)) == 0.0


def test_a_folder_without_layouts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no \.json file of real layouts"):
        read_real_rooms(tmp_path)


def test_the_comparison_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    config = room_config_of("train")
    rooms = [boxes_of(draw_layout(Draws(seed, 0), config)) for seed in range(40)]
    plot_comparison(rooms[:20], rooms[20:], tmp_path / "comparison.png")
    assert (tmp_path / "comparison.png").read_bytes().startswith(b"\x89PNG")
