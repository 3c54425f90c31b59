"""Free places to stand on the floor of a room."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.language.facts import Facts
from g2vlm_fast.data.language.situations import Situation
from g2vlm_fast.data.rendering.primitives import Primitives, Shape
from g2vlm_fast.data.scene import RoomTruth

_BODY = 0.20  # metres that a person needs on all sides
_HEIGHTS = (0.05, 1.80)  # metres between which nothing may be in the way
_BESIDE = (0.25, 0.60)  # metres from a footprint that one stands beside
_ATTEMPTS = 12
_STEP = 0.08  # metres between the points at which a line of sight is looked at
_EYE = 1.5  # metres above the floor


@dataclass(frozen=True, eq=False)
class _Solids:
    """The boxes around solids, in float64."""

    center: NDArray[np.float64]  # [P, 3] metres
    half_size: NDArray[np.float64]  # [P, 3] metres
    rotation: NDArray[np.float64]  # [P, 3, 3] local axes to world

    @classmethod
    def of(cls, solids: Primitives, chosen: Tensor) -> _Solids:
        parts = (solids.center, solids.half_size, solids.rotation)
        return cls(*(part[chosen].double().numpy() for part in parts))

    def near(self, x: float, y: float, distance: float) -> _Solids:
        """Return those that may be within a distance of a point of the floor."""
        away = np.hypot(self.center[:, 0] - x, self.center[:, 1] - y)
        chosen = away <= np.linalg.norm(self.half_size, axis=-1) + distance
        return _Solids(self.center[chosen], self.half_size[chosen], self.rotation[chosen])

    def reached(self, points: NDArray[np.float64], distance: float) -> bool:
        """Whether any of ``points [N, 3]`` is within a distance of a box."""
        offset = points[None] - self.center[:, None]
        local = np.abs((offset[..., None] * self.rotation[:, None]).sum(-2))
        beyond = np.maximum(local - self.half_size[:, None], 0)
        return bool(((beyond**2).sum(-1) <= distance**2).any())


class FreeFloor:
    """Where somebody can stand: inside the room and off everything that is solid there."""

    def __init__(self, truth: RoomTruth) -> None:
        solids = truth.primitives
        low, high = _HEIGHTS
        reach = (solids.rotation[:, 2].abs() * solids.half_size).sum(-1)
        in_the_way = (
            (solids.shape != Shape.ROOM)
            & (solids.center[:, 2] + reach > low)
            & (solids.center[:, 2] - reach < high)
        )
        self._half_room = (truth.room_size[:2].double() / 2).numpy()
        self._solids = _Solids.of(solids, in_the_way)
        self._walls = _Solids.of(solids, in_the_way & (solids.instance == -1))

    def is_free(self, x: float, y: float) -> bool:
        """Whether a person fits at a point (metres): no solid's box is within 0.2 m of it."""
        if np.any(np.abs([x, y]) > self._half_room - _BODY):
            return False
        heights = np.arange(0.1, _HEIGHTS[1], 0.2)
        points = np.stack([np.full_like(heights, x), np.full_like(heights, y), heights], axis=-1)
        return not self._solids.near(x, y, _BODY).reached(points, _BODY)

    def is_open(self, x: float, y: float, to_x: float, to_y: float) -> bool:
        """Whether no wall of the room stands between two points (metres)."""
        steps = max(2, int(math.hypot(to_x - x, to_y - y) / _STEP))
        share = np.linspace(0, 1, steps, endpoint=False)
        points = np.stack(
            [x + share * (to_x - x), y + share * (to_y - y), np.full_like(share, _EYE)], axis=-1
        )
        return not self._walls.reached(points, 0.0)

    def beside(self, facts: Facts, at: int, towards: int, draws: Draws) -> Situation | None:
        """Draw a free place beside one object, facing the middle of another.

        Returns:
            The situation, or None where no free place was found.
        """
        center, size, rotation = (part[at].double().numpy() for part in facts.boxes)
        for _ in range(_ATTEMPTS):
            side, along = draws.integer(0, 3), draws.integer(-1000, 1000) / 1000
            away = draws.integer(round(_BESIDE[0] * 1000), round(_BESIDE[1] * 1000)) / 1000
            across = 1.0 if side % 2 else -1.0
            if side < 2:
                local = np.array([along * size[0] / 2, across * (size[1] / 2 + away)])
            else:
                local = np.array([across * (size[0] / 2 + away), along * size[1] / 2])
            x, y = (float(c) for c in center[:2] + rotation[:2, :2] @ local)
            x, y = round(x * 1000) / 1000, round(y * 1000) / 1000
            if self.is_free(x, y) and self.is_open(x, y, *facts.centers[towards][:2]):
                return facing(facts, towards, x, y)
        return None


def facing(facts: Facts, towards: int, x: float, y: float) -> Situation | None:
    """Return the situation at a point (metres) that faces an object; None if on top of it."""
    tx, ty, _ = facts.centers[towards]
    if math.hypot(tx - x, ty - y) < 0.5:
        return None
    yaw = round(math.degrees(math.atan2(ty - y, tx - x)))
    return Situation(round(x * 1000), round(y * 1000), yaw % 360)
