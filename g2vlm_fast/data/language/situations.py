"""Places that somebody stands at, and on which side of them things are.

A situation is a position on the floor and a direction to face, as in SQA3D (Ma et al., ICLR
2023). The bearing of a thing is the angle from ahead to its centre over the floor, positive to
the left. A bearing within :data:`MARGIN` degrees of the boundary of two sectors is undecided, and
so is every bearing of a thing whose centre is nearer than :data:`LEAST_DISTANCE` metres.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MARGIN = 10.0
LEAST_DISTANCE = 0.5

SECTORS: dict[str, tuple[tuple[str, float, float], ...]] = {
    "left or right": (("left", 0, 180), ("right", -180, 0)),
    "sides": (
        ("in front", -45, 45), ("left", 45, 135), ("right", -135, -45), ("behind", 135, 225),
    ),
    "quadrants": (
        ("front left", 0, 90), ("front right", -90, 0), ("back left", 90, 180),
        ("back right", -180, -90),
    ),
}  # fmt: skip
"""Sectors by name and the bearings in degrees between which they lie: the easy, the medium and
the hard question of VSI-Bench (Yang et al., CVPR 2025), with "in front" added to the medium."""

TURNS: dict[str, str] = {"left": "left", "right": "right", "behind": "back"}
"""Turns by the side on which the next thing is."""

SIDES: tuple[str, ...] = tuple(name for name, _, _ in SECTORS["sides"])


@dataclass(frozen=True)
class Situation:
    """A place to stand and a direction to face, in whole numbers."""

    x: int  # millimetres, world
    y: int  # millimetres, world
    yaw: int  # degrees of the facing direction, counter-clockwise from the x axis

    def __str__(self) -> str:
        return f"{self.x} {self.y} {self.yaw}"

    @classmethod
    def parse(cls, text: str) -> Situation:
        """Return the situation of a text as ``str`` makes it.

        Raises:
            ValueError: anything but three whole numbers.
        """
        parts = text.split()
        if len(parts) != 3 or not all(part.lstrip("-").isdecimal() for part in parts):
            raise ValueError(
                f"Situation: expected 'x y yaw' as whole millimetres and degrees, got {text!r}"
            )
        return cls(*map(int, parts))

    def standpoint(self) -> Standpoint:
        """Return the place in metres and radians."""
        return Standpoint(self.x / 1000, self.y / 1000, math.radians(self.yaw))


@dataclass(frozen=True)
class Standpoint:
    """A place to stand and a direction to face, in metres and radians."""

    x: float
    y: float
    yaw: float

    def distance(self, x: float, y: float) -> float:
        """Metres over the floor."""
        return math.hypot(x - self.x, y - self.y)

    def bearing(self, x: float, y: float) -> float:
        """Degrees from ahead to a point, positive to the left, from -180 to 180."""
        angle = math.degrees(math.atan2(y - self.y, x - self.x) - self.yaw)
        return (angle + 180) % 360 - 180

    def side_label(self, side: str, x: float, y: float) -> int:
        """Whether a point is on a side: 1 it is, 0 it is not, -1 undecided."""
        if self.distance(x, y) < LEAST_DISTANCE:
            return -1
        _, low, high = next(sector for sector in SECTORS["sides"] if sector[0] == side)
        off = abs(_turn(self.bearing(x, y), (low + high) / 2)) - (high - low) / 2
        return 1 if off <= -MARGIN else 0 if off >= MARGIN else -1

    def sector(self, sectors: str, x: float, y: float) -> str | None:
        """Return the name of the sector that a point is in, or None if undecided."""
        if self.distance(x, y) < LEAST_DISTANCE:
            return None
        bearing = self.bearing(x, y)
        for name, low, high in SECTORS[sectors]:
            if abs(_turn(bearing, (low + high) / 2)) <= (high - low) / 2 - MARGIN:
                return name
        return None


def _turn(first: float, second: float) -> float:
    return (first - second + 180) % 360 - 180
