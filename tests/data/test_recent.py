"""What is remembered, what is forgotten, and what that costs."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from g2vlm_fast.data import RoomConfig, generate_room
from g2vlm_fast.data.recent import Recent, tensor_bytes


@given(st.lists(st.integers(0, 9), max_size=60), st.integers(0, 200))
def test_values_are_the_same_and_memory_is_limited(keys: list[int], limit: int) -> None:
    recent = Recent(lambda key: torch.full((key,), key, dtype=torch.uint8), limit)
    for key in keys:
        assert recent[key].tolist() == [key] * key
        assert recent.bytes <= limit or len(recent) == 1


def test_what_was_not_asked_for_the_longest_is_forgotten_first() -> None:
    made: list[int] = []

    def make(key: int) -> torch.Tensor:
        made.append(key)
        return torch.zeros(10, dtype=torch.uint8)

    recent = Recent(make, 30)
    for key in (1, 2, 3, 1, 4, 1, 3, 2):
        recent[key]
    assert made == [1, 2, 3, 4, 2]


def test_the_bytes_of_a_room_are_those_of_all_its_tensors() -> None:
    room = generate_room(5, RoomConfig(image_size=(24, 32), views=(2, 2)))
    assert room.truth is not None
    pixels = 2 * 24 * 32
    least = pixels * (3 + 4 + 3 * 4 + 8)  # colour, true depth, normals, instances
    assert least < tensor_bytes(room) < 3 * least
    assert (
        tensor_bytes({"a": [torch.zeros(3)], "b": (torch.zeros(2, dtype=torch.int64), "c")}) == 28
    )
