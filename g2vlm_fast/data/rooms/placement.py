"""Pieces of furniture in their places, in whole millimetres and degrees."""

from __future__ import annotations

from dataclasses import dataclass

from g2vlm_fast.data.rendering.primitives import Shape
from g2vlm_fast.data.rooms.footprints import Footprint
from g2vlm_fast.data.rooms.furniture import Furniture, Part
from g2vlm_fast.data.rooms.turns import cosine_sine


@dataclass(frozen=True)
class Placed:
    """A piece of furniture in its place."""

    furniture: Furniture
    color: str
    jitter: tuple[int, int, int]  # thousandths of each channel of the colour
    x: int  # millimetres
    y: int
    z: int
    yaw: int  # degrees, counter-clockwise from above
    support: int | None = None  # index of the piece that it stands on

    def footprint(self, margin: int = 0) -> list[tuple[float, float]]:
        """Corners of the ground rectangle in millimetres, grown by ``margin`` on all sides."""
        width, depth = self.furniture.size[0] / 2 + margin, self.furniture.size[1] / 2 + margin
        corners = ((-width, -depth), (width, -depth), (width, depth), (-width, depth))
        return [self.to_world(x, y) for x, y in corners]

    def solid(self) -> Footprint:
        """Return the upright box around it."""
        width, depth, height = self.furniture.size
        return Footprint(self.x, self.y, self.yaw, width / 2, depth / 2, self.z, self.z + height)

    def part_solids(self) -> list[Footprint]:
        """Return its parts; of tilted ones the upright boxes around them."""
        return [self._part_solid(part) for part in self.furniture.parts]

    def _part_solid(self, part: Part) -> Footprint:
        x, y = self.to_world(part.center[0], part.center[1])
        middle = self.z + part.center[2]
        if part.tilt:
            width, depth, height = part.reach()
            return Footprint(x, y, self.yaw, width, depth, middle - height, middle + height)
        width, depth, height = (side / 2 for side in part.size)
        is_round = part.shape in (Shape.CYLINDER, Shape.SPHERE)
        yaw = self.yaw + part.yaw
        return Footprint(x, y, yaw, width, depth, middle - height, middle + height, is_round)

    def to_world(self, x: float, y: float) -> tuple[float, float]:
        """Move a point of the ground plane from the frame of the furniture into the room."""
        cosine, sine = cosine_sine(self.yaw)
        return self.x + cosine * x - sine * y, self.y + sine * x + cosine * y

    def to_local(self, x: float, y: float) -> tuple[float, float]:
        """Move a point of the ground plane from the room into the frame of the furniture."""
        cosine, sine = cosine_sine(self.yaw)
        x, y = x - self.x, y - self.y
        return cosine * x + sine * y, -sine * x + cosine * y
