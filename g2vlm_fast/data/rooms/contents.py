"""What is in containers: cups in sinks, books in boxes, towels in baskets, bags in wardrobes."""

from __future__ import annotations

from g2vlm_fast.data.rooms.arrangement import Arrangement
from g2vlm_fast.data.rooms.support import put_in

_LEFT_EMPTY = 0.1  # share of the containers

_FOUND_IN: dict[str, tuple[str, ...]] = {
    "bathtub": ("bowl",),
    "bin": ("cup", "cup", "book"),
    "nightstand": ("book", "book", "cup", "box", "clock"),
    "shower": ("stool", "stool", "bowl"),
    "sink": ("cup", "cup", "bowl", "bowl", "kettle"),
    "suitcase": ("book", "book", "box", "bowl"),
    "wardrobe": ("box", "backpack", "suitcase", "basket", "pillow", "pillow", "book", "box"),
}
"""What containers hold in any room; names that come twice are twice as likely."""

_FOUND_IN_ROOMS: dict[str, dict[str, tuple[str, ...]]] = {
    "basket": {
        "bedroom": ("towel", "book", "plant", "box"),
        "living room": ("book", "book", "plant", "vase"),
        "kitchen": ("bowl", "cup", "plant", "book"),
        "office": ("book", "book", "plant", "cup"),
        "bathroom": ("towel", "towel", "cup", "bowl"),
    },
    "box": {
        "bedroom": ("book", "pillow", "vase", "telephone", "basket"),
        "living room": ("book", "book", "vase", "pillow", "plant", "bowl"),
        "kitchen": ("bowl", "cup", "vase", "kettle", "plant"),
        "office": ("book", "book", "telephone", "laptop", "plant", "lamp"),
        "bathroom": ("towel", "bowl", "vase", "cup"),
    },
    "cabinet": {
        "bedroom": ("book", "box", "basket", "vase", "pillow", "lamp"),
        "living room": ("book", "book", "vase", "box", "bowl", "basket", "plant"),
        "kitchen": ("bowl", "bowl", "cup", "cup", "vase", "kettle", "basket", "box"),
        "office": ("book", "book", "box", "printer", "telephone", "basket", "plant"),
        "bathroom": ("towel", "basket", "vase", "cup", "bowl"),
    },
}
"""The same by the program of the room."""

_TRIES = 3  # for each thing that is wanted


def fill_containers(arrangement: Arrangement) -> None:
    """Put things in most containers of the current space, and in containers among these."""
    draws = arrangement.draws
    for index in _containers(arrangement, 0):
        if draws.chance(_LEFT_EMPTY):
            continue
        first = len(arrangement.placed)
        _fill(arrangement, index)
        for inner in _containers(arrangement, first):
            _fill(arrangement, inner)


def _containers(arrangement: Arrangement, first: int) -> list[int]:
    """The pieces of the current space with cavities, from one index on."""
    return [
        index
        for index, piece in enumerate(arrangement.placed[first:], first)
        if piece.furniture.cavities and arrangement.space.contains(piece.x, piece.y)
    ]


def _fill(arrangement: Arrangement, index: int) -> None:
    furniture = arrangement.placed[index].furniture
    by_room = _FOUND_IN_ROOMS.get(furniture.class_name, {})
    names = _FOUND_IN.get(furniture.class_name, by_room.get(arrangement.space.program, ()))
    draws = arrangement.draws
    wanted = draws.integer(1, 1 + len(furniture.cavities))
    for _ in range(_TRIES * wanted if names else 0):
        if put_in(arrangement, index, draws.choice(names)) is not None:
            wanted -= 1
        if wanted == 0:
            break
