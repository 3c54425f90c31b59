"""Completion by what usually lies under a surface of a height, learned by counting."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.data.interchange import ScenePrediction
from g2vlm_fast.eval.benchmarks import RoomBenchmark
from g2vlm_fast.eval.protocol.cases import Case
from g2vlm_fast.eval.protocol.systems import Task
from g2vlm_fast.eval.systems.columns import Columns, Floats, check_upright, squares
from g2vlm_fast.eval.systems.fusion import fuse_given, fused_mesh, given_depth, mesh_prediction
from g2vlm_fast.export.completion import join
from g2vlm_fast.export.fusion import SurfacePoints

CELL = 0.05
"""Metres, side of columns and of the slices that they are cut into."""

_TOPS = 32  # classes of 0.1 m of the height of a top, and one of columns without any
_TOP_STEP = 0.10  # metres
_SLICES = 64  # from the floor to 3.2 m
_SMOOTHING = 1.0  # pseudo-observations of a rate, which say no


@dataclass(frozen=True, eq=False)
class HeightRates:
    """How often a slice of a column holds surface that was not seen.

    Attributes:
        rate: ``[TOPS, SLICES]``, by the class of the column's top and by the slice's height.
        threshold: rates from which surface is drawn; of all thresholds the one with the best F1
            on the rooms that were counted.
    """

    rate: Floats
    threshold: float

    @classmethod
    def count(cls, rooms: Iterable[tuple[Columns, SurfacePoints, Floats]]) -> HeightRates:
        """Count in rooms: what was seen, as columns and points, and true points ``[S, 3]``.

        Raises:
            ValueError: no room, or rooms in which everything was seen.
        """
        held, looked = np.zeros((_TOPS, _SLICES)), np.zeros((_TOPS, _SLICES))
        for columns, seen, truth in rooms:
            hidden = ~_occupied(columns, seen.position)
            top = np.broadcast_to(_top_class(columns)[..., None], hidden.shape)[hidden]
            height = np.broadcast_to(np.arange(_SLICES), hidden.shape)[hidden]
            np.add.at(looked, (top, height), 1)
            np.add.at(held, (top, height), _occupied(columns, truth)[hidden])
        if not held.any():
            raise ValueError("HeightRates.count: expected rooms with surface that was not seen")
        rate = held / (looked + _SMOOTHING)
        return cls(rate, _best_threshold(rate, held, looked))

    def slices(self, columns: Columns, seen: SurfacePoints) -> Floats:
        """Return the middles ``[n, 3]`` metres of the unseen slices that usually hold surface."""
        usual = (self.rate >= self.threshold)[_top_class(columns)]
        place = np.argwhere(usual & ~_occupied(columns, seen.position))
        x, y = columns.centers()
        z = columns.floor + columns.cell * place[:, 2]
        return np.column_stack([x[place[:, 0]], y[place[:, 1]], z])


@dataclass(frozen=True)
class HeightPrior:
    """The fused surface, and in every column what training rooms have under a top of its height.

    A prior of heights is the geometry-free floor of semantic scene completion: Song et al.,
    "Semantic scene completion from a single depth image", CVPR 2017, show how much of their task
    the height of a voxel tells.

    Args:
        training_rooms: rooms of the training split that are counted, with standard noise.
    """

    training_rooms: int = 24
    name: ClassVar[str] = "height-prior"
    tasks: ClassVar[frozenset[Task]] = frozenset(("surface",))
    looks_at_truth: ClassVar[bool] = False

    @property
    def fingerprint(self) -> str:
        return f"{self.name} 1 {self._training.fingerprint}"

    def predict(self, case: Case) -> ScenePrediction:
        """Fuse, and fill the columns.

        Raises:
            PredictionFailed: no depth is given, it fuses to no surface, or z does not point up.
        """
        scene, depth = given_depth(case)
        check_upright(scene)
        volume = fuse_given(scene, depth)
        seen = volume.surface_points()
        middle = self.rates.slices(Columns.of(seen, CELL), seen)
        half = np.broadcast_to([CELL / 2, 0.0, 0.0], middle.shape)
        across = np.broadcast_to([0.0, CELL / 2, 0.0], middle.shape)
        return mesh_prediction(
            self.name, case, join(fused_mesh(volume), squares(middle, half, across))
        )

    @cached_property
    def rates(self) -> HeightRates:
        """What the training rooms have, counted when it is first asked for."""
        return HeightRates.count(map(self._counted, range(self.training_rooms)))

    @property
    def _training(self) -> RoomBenchmark:
        return RoomBenchmark(split="train", count=self.training_rooms, first_seed=0)

    def _counted(self, room: int) -> tuple[Columns, SurfacePoints, Floats]:
        case = self._training.case(room)
        seen = fuse_given(*given_depth(case)).surface_points()
        assert case.surface is not None
        return Columns.of(seen, CELL), seen, case.surface.points.double().numpy()


def _top_class(columns: Columns) -> NDArray[np.int64]:
    """The class ``[X, Y]`` of each column's top; the last one is of columns without any."""
    known = np.nan_to_num(columns.top, nan=0.0)
    steps = np.clip(np.round(known / _TOP_STEP), 0, _TOPS - 2).astype(np.int64)
    return np.where(np.isnan(columns.top), _TOPS - 1, steps)


def _occupied(columns: Columns, points: NDArray) -> NDArray[np.bool_]:
    """Which slices ``[X, Y, SLICES]`` hold points ``[n, 3]``; the floor is in the middle of one."""
    low = np.array([*columns.corner, columns.floor - columns.cell / 2])
    place = np.floor((points - low) / columns.cell).astype(np.int64)
    occupied = np.zeros((*columns.top.shape, _SLICES), dtype=np.bool_)
    place = place[((place >= 0) & (place < occupied.shape)).all(1)]
    occupied[tuple(place.T)] = True
    return occupied


def _best_threshold(rate: Floats, held: Floats, looked: Floats) -> float:
    order = np.argsort(-rate, axis=None, kind="stable")
    hits, drawn = (counts.ravel()[order].cumsum() for counts in (held, looked))
    f1 = 2 * hits / (drawn + held.sum())
    return float(rate.ravel()[order][f1.argmax()])
