"""Fixed splits of the seeds, and the rooms that each of them is made of.

``train``, ``validation`` and ``test`` share one configuration and differ in their seeds, by a
hash of the seed alone. The other splits use the seeds of ``test`` and change one thing each that
training rooms never show:

======================  ===========================================================================
split                   what is different
======================  ===========================================================================
unseen furniture        pieces come in the variants of ``held_out.HELD_OUT_VARIANTS``
unseen facts            every room realises at least one of ``held_out.HELD_OUT_FACTS``
unseen low viewpoints   cameras 0.5 to 0.9 m above the floor, which look level or up
unseen high viewpoints  cameras 2.05 to 2.3 m above the floor, which look down steeply
unseen sizes            rooms larger than any of training
stronger noise          the sensor's noise has 2.5 times its spread
fewer views             two views of a room
unseen words            texts in wordings that "training" never uses (``queries(style=)``)
======================  ===========================================================================
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Literal, get_args

from g2vlm_fast.data.language.lexicon import Style
from g2vlm_fast.data.rooms.config import RoomConfig

Split = Literal["train", "validation", "test"]

_CHANGES: dict[str, dict[str, Any]] = {
    "train": {},
    "validation": {},
    "test": {},
    "unseen furniture": {"variants": "unseen"},
    "unseen facts": {"facts": "unseen"},
    "unseen low viewpoints": {"eye_height": (0.5, 0.9), "pitch": (-10, 20)},
    "unseen high viewpoints": {"eye_height": (2.05, 2.3), "pitch": (-65, -40)},
    "unseen sizes": {"side": (7.0, 8.5), "flat_side": (10.0, 12.0)},
    "stronger noise": {"noise_scale": 2.5},
    "fewer views": {"views": (2, 2)},
    "unseen words": {},
}

_NOT_OF_SIMPLE_ROOMS = (
    "unseen furniture", "unseen facts", "unseen low viewpoints", "unseen high viewpoints",
)  # fmt: skip

ROOM_SPLITS: tuple[str, ...] = tuple(_CHANGES)
"""The names of all splits of generated rooms."""

_BASE = RoomConfig(views=(4, 8))


def split_of(seed: int) -> Split:
    """Return the fixed split of a room: 80 % train, 10 % validation, 10 % test.

    The split is a hash of the seed alone, so no change of configuration moves a room.
    """
    digest = hashlib.sha256(f"g2vlm-fast room {seed}".encode()).digest()
    bucket = int.from_bytes(digest[:4], "big") % 10
    return "train" if bucket < 8 else "validation" if bucket == 8 else "test"


def seeds_of(split: str, count: int, start: int = 0) -> list[int]:
    """Return the first ``count`` seeds of a split from seed ``start`` on.

    Raises:
        ValueError: a split that is none of ``ROOM_SPLITS``.
    """
    _check(split)
    share = split if split in get_args(Split) else "test"
    seeds: list[int] = []
    while len(seeds) < count:
        if split_of(start) == share:
            seeds.append(start)
        start += 1
    return seeds


def room_config_of(split: str, base: RoomConfig | None = None) -> RoomConfig:
    """Return what the rooms of a split are drawn from.

    Args:
        split: one of ``ROOM_SPLITS``.
        base: the configuration of training, which the split changes in what it is about; None
            for rooms of all programs with 4 to 8 views.

    Raises:
        ValueError: a split that is none of ``ROOM_SPLITS``, or one that changes what simple rooms
            do not have, of simple rooms.
    """
    _check(split)
    base = base or _BASE
    if "simple" in base.programs and split in _NOT_OF_SIMPLE_ROOMS:
        raise ValueError(
            f"room_config_of: simple rooms are the same in split {split!r} as in training; choose "
            "other programs, or another split"
        )
    return replace(base, **_CHANGES[split])


def style_of(split: str, config: RoomConfig) -> Style:
    """Return whose words the texts of a split are in: the ``style`` of ``queries``.

    Raises:
        ValueError: a split that is none of ``ROOM_SPLITS``.
    """
    _check(split)
    if split == "unseen words":
        return "held out"
    return "simple" if "simple" in config.programs else "training"


def _check(split: str) -> None:
    if split not in _CHANGES:
        raise ValueError(f"split must be one of {ROOM_SPLITS}, got {split!r}")


CHANGES_OF_SPLITS: Mapping[str, Mapping[str, Any]] = MappingProxyType(_CHANGES)
"""What the splits change of the configuration of training."""
