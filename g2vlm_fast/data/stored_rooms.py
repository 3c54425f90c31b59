"""Generated rooms that lie in shards, by their seeds."""

from __future__ import annotations

import re
from pathlib import Path

from g2vlm_fast.data.readers.errors import ScanError
from g2vlm_fast.data.rooms.splits import split_of
from g2vlm_fast.data.scene import Scene
from g2vlm_fast.data.shards import Shards

_NAME = re.compile(r"room-(\d{1,18})")


class StoredRooms:
    """The rooms of a folder that ``g2vlm-fast data write`` filled, each read when it is asked for.

    Args:
        folder: with shards of rooms of the training split.

    Attributes:
        seeds: of the rooms, in the order of the files.

    Raises:
        ScanError: no shards there, a file that is none, a scene that is no generated room or comes
            twice, or a room that is kept for validation or tests.
    """

    def __init__(self, folder: Path) -> None:
        self._shards = Shards(folder)
        self._places: dict[int, int] = {}
        for place, name in enumerate(self._shards.names):
            found = _NAME.fullmatch(name)
            seed = int(found[1]) if found else -1
            if found is None or seed in self._places:
                raise ScanError(
                    folder, f"holds {name!r}, {'twice' if found else 'which is no generated room'}",
                    "Fill a folder with: g2vlm-fast data write",
                )  # fmt: skip
            if split_of(seed) != "train":
                raise ScanError(
                    folder, f"holds {name!r}, a room of the split {split_of(seed)!r}",
                    "Train on rooms of: g2vlm-fast data write --split train",
                )  # fmt: skip
            self._places[seed] = place
        self.seeds = list(self._places)

    def room(self, seed: int) -> Scene:
        """Read a room.

        Raises:
            KeyError: a seed that is not among ``seeds``.
            ScanError: its file is damaged.
        """
        return self._shards[self._places[seed]]
