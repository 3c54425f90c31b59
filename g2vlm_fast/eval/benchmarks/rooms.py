"""Generated rooms as a benchmark: everything about them is known, hidden surfaces included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Literal

import torch

from g2vlm_fast.data import (
    PROGRAMS,
    Query,
    RoomConfig,
    RoomTruth,
    Scene,
    generate_room,
    queries,
    room_config_of,
    room_record,
    seeds_of,
)
from g2vlm_fast.data.language.lexicon import Style
from g2vlm_fast.data.language.texts import KINDS, SIMPLE_KINDS
from g2vlm_fast.data.rendering.observation import observed
from g2vlm_fast.data.rendering.sampling import sample_surface
from g2vlm_fast.data.rooms.splits import style_of
from g2vlm_fast.eval.benchmarks.fingerprint import fingerprint_of
from g2vlm_fast.eval.metrics.boxes import Boxes
from g2vlm_fast.eval.protocol.cases import Case, DepthTruth, GraphTruth, SurfaceTruth

Noise = Literal["none", "standard", "strong"]

NOISE_SCALES: dict[Noise, float] = {"none": 0.0, "standard": 1.0, "strong": 2.5}
"""Spread of the noise of depth and colour, over that of a consumer RGB-D camera.

Without noise depth is exact and complete; else it also has the holes of such a camera.
"""

FIRST_SEED = 1_000_000
"""Rooms of smaller seeds were looked at while models were tuned."""

IMAGE_SIZE = (120, 160)
SURFACE_POINTS = 50_000

_VERSION = 1
_PROBES = 8  # rooms by which a change of what is generated is told


@dataclass(frozen=True, kw_only=True)
class RoomBenchmark:
    """The first rooms of a split, from seeds that no training uses.

    Depth is always given and a mesh never, unless the configuration says otherwise; the surface
    is the whole one of the room, and hidden is what no given view sees of it.

    Attributes:
        split: one of ``data.ROOM_SPLITS``.
        count: how many rooms.
        noise: of the camera.
        base: what the split changes something of; None for rooms of all programs with 4 to 8
            views of 120 x 160 pixels.
        style: the words of texts; None for those of the split.
        surface_points: samples of the surface; 50,000 are about 400 a square metre. 0 where
            nobody is asked for surfaces, which take most of the time.
        first_seed: rooms before it are left out.

    Raises:
        ValueError: no rooms, an unknown split or noise, or noise that contradicts the split.
    """

    split: str = "test"
    count: int = 50
    noise: Noise = "standard"
    base: RoomConfig | None = None
    style: Style | None = None
    surface_points: int = SURFACE_POINTS
    first_seed: int = FIRST_SEED
    _seeds: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.count < 1 or self.surface_points < 0:
            raise ValueError(
                "RoomBenchmark: count must be 1 or more and surface_points 0 or more, got "
                f"{self.count} and {self.surface_points}"
            )
        if self.noise not in NOISE_SCALES:
            raise ValueError(
                f"RoomBenchmark: noise must be one of {list(NOISE_SCALES)}, got {self.noise!r}"
            )
        if self.split == "stronger noise" and self.noise != "strong":
            raise ValueError(
                f"RoomBenchmark: split 'stronger noise' is noise 'strong', got {self.noise!r}; "
                "choose split 'test' for other noise"
            )
        seeds = tuple(seeds_of(self.split, self.count, self.first_seed))
        object.__setattr__(self, "_seeds", seeds)

    @property
    def name(self) -> str:
        """For people: programs, split, number of rooms and noise."""
        programs = self.config.programs
        kind = "rooms" if programs == PROGRAMS else f"{' and '.join(programs)} rooms"
        return f"{kind}, {self.split}, {self.count} scenes, noise {self.noise}"

    @cached_property
    def config(self) -> RoomConfig:
        """What the rooms are drawn from."""
        base = self.base or RoomConfig(
            views=(4, 8), image_size=IMAGE_SIZE, depth_probability=1.0, mesh_probability=0.0
        )
        scale = NOISE_SCALES[self.noise]
        return replace(room_config_of(self.split, base), sensor_noise=scale > 0, noise_scale=scale)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the settings and of what is drawn and asked of the first rooms."""
        probes = self._seeds[:_PROBES]
        return fingerprint_of(
            {
                "version": _VERSION,
                "config": asdict(self.config),
                "seeds": self._seeds,
                "style": self._style,
                "surface": self.surface_points,
                "records": [room_record(seed, self.config) for seed in probes],
                "texts": [[text.text for text in self.room(i)[1]] for i in range(len(probes))],
            }
        )

    @cached_property
    def names(self) -> Sequence[str]:
        """The names of the rooms, by their seeds."""
        return tuple(f"room-{seed}" for seed in self._seeds)

    def room(self, index: int) -> tuple[Scene, tuple[Query, ...]]:
        """Make a room with its truth, and its texts."""
        seed = self._seeds[index]
        scene = generate_room(seed, self.config)
        kinds = SIMPLE_KINDS if self._simple else KINDS
        return scene, tuple(queries(scene, seed, kinds=kinds, style=self._style))

    def case(self, index: int) -> Case:
        """Make the room as a case."""
        scene, texts = self.room(index)
        truth = scene.truth
        assert truth is not None
        return Case(
            name=scene.name,
            given=replace(scene, truth=None),
            queries=texts,
            surface=self._surface(scene, truth) if self.surface_points else None,
            depth=_depth(scene, truth),
            graph=GraphTruth(
                boxes=Boxes(*(part.double().numpy() for part in truth.boxes())),
                class_names=tuple(thing.class_name for thing in truth.objects),
                relations=truth.relations.numpy(),
            ),
        )

    @property
    def _simple(self) -> bool:
        return "simple" in self.config.programs

    @property
    def _style(self) -> Style:
        return self.style or style_of(self.split, self.config)

    def _surface(self, scene: Scene, truth: RoomTruth) -> SurfaceTruth:
        generator = torch.Generator().manual_seed(0)
        points, normals, _ = sample_surface(truth.primitives, self.surface_points, generator)
        seen = observed(truth.primitives, points, scene.intrinsics, scene.poses, scene.image_size)
        return SurfaceTruth(
            points=points, normals=normals, hidden=~seen, primitives=truth.primitives
        )


def _depth(scene: Scene, truth: RoomTruth) -> DepthTruth:
    given = scene.depth if scene.depth is not None else torch.zeros_like(truth.depth)
    return DepthTruth(depth=truth.depth, missing=given <= 0)
