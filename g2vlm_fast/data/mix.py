"""Generated rooms and recorded scans, mixed by weight.

What is drawn at an index is a function of (seed, index) alone, so that training can stop and go on
anywhere. Sources take turns along a Weyl sequence: after n draws the share of each is off its
weight by about log(n) / n, where independent draws would be off by 1 / sqrt(n).

Source: Weyl, *Ueber die Gleichverteilung von Zahlen mod. Eins*, Mathematische Annalen 77, 1916;
Knuth, *The Art of Computer Programming*, volume 3, section 6.4 (the multiplier).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Protocol

from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.readers import ReadOptions, ScanError, read_scan
from g2vlm_fast.data.readers.standard import is_standard
from g2vlm_fast.data.rooms.config import RoomConfig
from g2vlm_fast.data.rooms.generate import generate_room
from g2vlm_fast.data.scene import Scene

_START_STREAM, _SCENE_STREAM = 11, 12
_GOLDEN = 0x9E3779B97F4A7C15
"""2**64 over the golden ratio, odd."""

_WHOLE = 2**64


class SceneSource(Protocol):
    """Scenes of one kind, by index."""

    def __len__(self) -> int:
        """How many there are."""

    def scene(self, index: int) -> Scene:
        """The scene of an index below ``len``."""


@dataclass(frozen=True)
class RoomSource:
    """Generated rooms; all have truth.

    Attributes:
        seeds: of the rooms, for example ``seeds_of("train", 10_000)``.
        config: what they are drawn from.
        device: where they are rendered, as of :func:`generate_room`.
    """

    seeds: Sequence[int]
    config: RoomConfig = field(default_factory=RoomConfig)
    device: str = "cpu"

    def __len__(self) -> int:
        return len(self.seeds)

    def scene(self, index: int) -> Scene:
        """Generate a room."""
        return generate_room(self.seeds[index], self.config, device=self.device)


@dataclass(frozen=True)
class ScanSource:
    """Recorded scans, read when they are drawn; none has truth.

    Attributes:
        folders: of the scans, best preprocessed.
        options: how to read them.
    """

    folders: Sequence[Path]
    options: ReadOptions = field(default_factory=ReadOptions)

    @staticmethod
    def below(folder: Path, options: ReadOptions | None = None) -> ScanSource:
        """All scenes that ``g2vlm-fast preprocess --out FOLDER`` wrote, by name.

        Raises:
            ScanError: there is none.
        """
        inside = sorted(folder.iterdir()) if folder.is_dir() else []
        found = [path for path in inside if path.is_dir() and is_standard(path)]
        if not found:
            raise ScanError(
                folder, "holds no preprocessed scenes",
                f"Write some with: g2vlm-fast preprocess SCAN... --out {folder.name}",
            )  # fmt: skip
        return ScanSource(found, options or ReadOptions())

    def __len__(self) -> int:
        return len(self.folders)

    def scene(self, index: int) -> Scene:
        """Read a scan; raises :class:`ScanError` where it cannot be read."""
        return read_scan(self.folders[index], self.options)


@dataclass(frozen=True)
class Place:
    """Which scene of which source."""

    source: str
    index: int


class Mix:
    """Several sources, each with the share of the draws that its weight says.

    Args:
        sources: by name.
        weights: by name, whole numbers; a weight of 0 keeps a source out.
        seed: of the order.

    Raises:
        ValueError: no source, an empty one, or weights that are no whole numbers of the same
            names, or are all 0.
    """

    def __init__(
        self, sources: dict[str, SceneSource], weights: dict[str, int], *, seed: int
    ) -> None:
        if sources.keys() != weights.keys() or not sources:
            raise ValueError(
                f"Mix: weights must name the sources {sorted(sources)}, got {sorted(weights)}"
            )
        for name, weight in weights.items():
            if not isinstance(weight, int) or isinstance(weight, bool) or weight < 0:
                raise ValueError(
                    f"Mix: weights must be whole and not negative, got {name}: {weight}"
                )
            if weight and not len(sources[name]):
                raise ValueError(f"Mix: source {name!r} is empty; give it scenes, or weight 0")
        if not any(weights.values()):
            raise ValueError("Mix: at least one weight must be above 0, got 0 for all")
        self.sources = dict(sources)
        self.weights = dict(weights)
        self.seed = seed
        self._names = sorted(name for name in sources if weights[name])
        self._bounds = list(accumulate(weights[name] for name in self._names))
        self._start = Draws(seed, _START_STREAM).integer(0, _WHOLE - 1)

    def source_at(self, index: int) -> str:
        """Name of the source whose turn it is at ``index`` (0, 1, ...).

        Raises:
            ValueError: a negative index.
        """
        if index < 0:
            raise ValueError(f"Mix: index must be 0 or larger, got {index}")
        turn = (self._start + index * _GOLDEN) % _WHOLE
        return self._names[bisect_right(self._bounds, turn * self._bounds[-1] // _WHOLE)]

    def places_at(self, index: int, count: int = 1) -> list[Place]:
        """The scenes of batch ``index``: all of one source, for a batch has truth or has none.

        Scenes do not repeat within a batch, unless the source has fewer than ``count``.
        """
        if count < 1:
            raise ValueError(f"Mix: count must be positive, got {count}")
        name = self.source_at(index)
        size = len(self.sources[name])
        draws = Draws(self.seed, _SCENE_STREAM, index)
        chosen: list[int] = []
        while len(chosen) < count:
            drawn = draws.integer(0, size - 1)
            if drawn not in chosen[-(size - 1) :] or size <= 1:
                chosen.append(drawn)
        return [Place(name, drawn) for drawn in chosen]

    def scenes_at(self, index: int, count: int = 1) -> list[Scene]:
        """The scenes themselves, generated or read now."""
        return [self.sources[p.source].scene(p.index) for p in self.places_at(index, count)]
