"""The room that the renderer is timed on is what it is said to be."""

from __future__ import annotations

import pytest

from g2vlm_fast.data.rooms.config import PROGRAMS, RoomConfig
from g2vlm_fast.data.rooms.records import draw_room
from g2vlm_fast.data.rooms.solids import build_primitives
from g2vlm_fast.profiling.peers.rendering import median_room


def test_the_rendered_room_has_the_number_that_reports_state() -> None:
    assert len(median_room()) == 138


@pytest.mark.slow
def test_the_rendered_room_is_of_median_size() -> None:
    config = RoomConfig(programs=PROGRAMS)
    counts = [len(build_primitives(draw_room(seed, config).layout)) for seed in range(120)]
    smaller = sum(count < len(median_room()) for count in counts) / len(counts)
    assert 0.42 <= smaller <= 0.58
