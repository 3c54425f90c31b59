"""Upright boxes and discs in plan: what overlaps what, in millimetres."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from g2vlm_fast.data.rooms.turns import cosine_sine


@dataclass(frozen=True, slots=True)
class Footprint:
    """An upright box, turned about z, or an upright cylinder (``is_round``)."""

    x: float
    y: float
    yaw: int  # degrees, counter-clockwise from above
    half_width: float
    half_depth: float
    bottom: float
    top: float
    is_round: bool = False
    cosine: float = field(init=False)
    sine: float = field(init=False)
    reach: float = field(init=False)  # radius of the circle around it

    def __post_init__(self) -> None:
        cosine, sine = cosine_sine(self.yaw)
        corner = math.sqrt(self.half_width**2 + self.half_depth**2)
        object.__setattr__(self, "cosine", cosine)
        object.__setattr__(self, "sine", sine)
        object.__setattr__(self, "reach", self.half_width if self.is_round else corner)

    def grown(self, margin: float) -> Footprint:
        """Return it with its sides moved outwards; bottom and top stay."""
        return replace(
            self, half_width=self.half_width + margin, half_depth=self.half_depth + margin
        )

    def corners(self) -> list[tuple[float, float]]:
        """Corners of the rectangle around it, counter-clockwise."""
        width, depth = self.half_width, self.half_depth
        return [
            self.to_world(x, y)
            for x, y in ((-width, -depth), (width, -depth), (width, depth), (-width, depth))
        ]

    def to_world(self, x: float, y: float) -> tuple[float, float]:
        """Move a point of the ground plane from its frame into the room."""
        return self.x + self.cosine * x - self.sine * y, self.y + self.sine * x + self.cosine * y

    def to_local(self, x: float, y: float) -> tuple[float, float]:
        """Move a point of the ground plane from the room into its frame."""
        x, y = x - self.x, y - self.y
        return self.cosine * x + self.sine * y, -self.sine * x + self.cosine * y

    def distance_to(self, x: float, y: float) -> float:
        """Distance in plan from a point, 0 inside."""
        local_x, local_y = self.to_local(x, y)
        if self.is_round:
            return max(0.0, math.sqrt(local_x**2 + local_y**2) - self.half_width)
        beyond_x = max(0.0, abs(local_x) - self.half_width)
        beyond_y = max(0.0, abs(local_y) - self.half_depth)
        return math.sqrt(beyond_x**2 + beyond_y**2)

    def overlaps(self, other: Footprint) -> bool:
        """Whether the two solids share volume; touching is none."""
        if self.bottom >= other.top or other.bottom >= self.top:
            return False
        apart_x, apart_y = other.x - self.x, other.y - self.y
        reach = self.reach + other.reach
        if apart_x * apart_x + apart_y * apart_y >= reach * reach:
            return False
        if self.is_round:
            return other.distance_to(self.x, self.y) < self.half_width
        if other.is_round:
            return self.distance_to(other.x, other.y) < other.half_width
        return not (_separates(self, other) or _separates(other, self))


_TOUCHING = 1e-6  # millimetres


def _separates(one: Footprint, other: Footprint) -> bool:
    """Whether an axis of ``one`` separates the rectangles (Gottschalk et al., SIGGRAPH 1996)."""
    x, y = one.to_local(other.x, other.y)
    cosine = abs(one.cosine * other.cosine + one.sine * other.sine)
    sine = abs(one.cosine * other.sine - one.sine * other.cosine)
    along_x = one.half_width + other.half_width * cosine + other.half_depth * sine
    along_y = one.half_depth + other.half_width * sine + other.half_depth * cosine
    return abs(x) >= along_x - _TOUCHING or abs(y) >= along_y - _TOUCHING
