"""Outlines of rooms and flats: where there is floor and what walls stand around it.

A building is a bounding rectangle centred at x = y = 0 with its floor at z = 0, less solid
:class:`Block` s: the corner of an L-shaped room, the inner walls of a flat and the lintels over
its doorways. Lengths are whole millimetres.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.rooms.footprints import Footprint
from g2vlm_fast.data.rooms.turns import cosine_sine

INNER_WALL = 120
"""Thickness of the walls between the rooms of a flat."""

_LEAST_SIDE = 2200  # of a room of a flat
_DOORWAY_HEIGHT = 2060
_DOORWAY_MARGIN = 140  # between a doorway and the next wall


@dataclass(frozen=True)
class Block:
    """A solid part of the building."""

    x0: int
    x1: int
    y0: int
    y1: int
    z0: int
    z1: int

    def footprint(self) -> Footprint:
        """Return it as a solid for questions of overlap."""
        return Footprint(
            (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2, 0,
            (self.x1 - self.x0) / 2, (self.y1 - self.y0) / 2, self.z0, self.z1,
        )  # fmt: skip


@dataclass(frozen=True)
class Wall:
    """A straight stretch of wall as seen from one space."""

    x: int  # its middle
    y: int
    yaw: int  # of a piece of furniture that has its back to it: a multiple of 90 degrees
    length: int
    is_outer: bool  # behind it lies the open air

    def at(self, slide: int, away: int) -> tuple[int, int]:
        """Return the point ``slide`` along the wall from its middle and ``away`` from it."""
        cosine, sine = (round(part) for part in cosine_sine(self.yaw))
        return self.x + cosine * slide + sine * away, self.y + sine * slide - cosine * away


@dataclass(frozen=True)
class Space:
    """A room, or one of the rooms of a flat."""

    program: str
    x0: int
    x1: int
    y0: int
    y1: int
    corner: Block | None = None  # makes it L-shaped

    @property
    def area(self) -> float:
        """Square metres of floor."""
        whole = (self.x1 - self.x0) * (self.y1 - self.y0)
        taken = (self.corner.x1 - self.corner.x0) * (self.corner.y1 - self.corner.y0) \
            if self.corner else 0  # fmt: skip
        return (whole - taken) / 1e6

    def contains(self, x: float, y: float, margin: float = 0.0) -> bool:
        """Whether a point lies on its floor, at least ``margin`` from the walls."""
        inside = (
            self.x0 + margin <= x <= self.x1 - margin and self.y0 + margin <= y <= self.y1 - margin
        )
        if not inside or self.corner is None:
            return inside
        block = self.corner
        return not (
            block.x0 - margin < x < block.x1 + margin and block.y0 - margin < y < block.y1 + margin
        )

    def holds(self, footprint: Footprint, gap: float = 0.0) -> bool:
        """Whether a footprint lies wholly on its floor, at least ``gap`` from the walls."""
        grown = footprint.grown(gap) if gap else footprint
        inside = all(
            self.x0 - 1 <= x <= self.x1 + 1 and self.y0 - 1 <= y <= self.y1 + 1
            for x, y in grown.corners()
        )
        if not inside or self.corner is None:
            return inside
        return not self.corner.footprint().grown(-1).overlaps(grown)

    def walls(self, building: tuple[int, int, int]) -> list[Wall]:
        """Return the walls around it, in a fixed order.

        Args:
            building: size of the bounding rectangle, which tells outer walls from inner ones.
        """
        walls = []
        for yaw in (0, 90, 180, 270):
            across = self.y1 if yaw == 0 else self.x0 if yaw == 90 else \
                self.y0 if yaw == 180 else self.x1  # fmt: skip
            low, high = (self.x0, self.x1) if yaw in (0, 180) else (self.y0, self.y1)
            edge = building[1] // 2 if yaw in (0, 180) else building[0] // 2
            walls.append(
                _wall(yaw, across, *self._less_corner(yaw, low, high), abs(across) == edge)
            )
        if self.corner is not None:
            block = self.corner
            at_right, at_back = block.x1 == self.x1, block.y1 == self.y1
            face_x, face_y = block.x0 if at_right else block.x1, block.y0 if at_back else block.y1
            walls.append(_wall(270 if at_right else 90, face_x, block.y0, block.y1, True))
            walls.append(_wall(0 if at_back else 180, face_y, block.x0, block.x1, True))
        return walls

    def _less_corner(self, yaw: int, low: int, high: int) -> tuple[int, int]:
        """Shorten the side of the bounding rectangle that its corner block covers in part."""
        block = self.corner
        if block is None:
            return low, high
        covers = {
            0: block.y1 == self.y1, 90: block.x0 == self.x0,
            180: block.y0 == self.y0, 270: block.x1 == self.x1,
        }  # fmt: skip
        if not covers[yaw]:
            return low, high
        first, last = (block.x0, block.x1) if yaw in (0, 180) else (block.y0, block.y1)
        return (last, high) if first == low else (low, first)


@dataclass(frozen=True)
class Doorway:
    """An opening in an inner wall; people walk through it."""

    x: int
    y: int
    yaw: int  # 0: the wall runs along x; 90: along y
    width: int


@dataclass(frozen=True)
class Outline:
    """The empty building."""

    size: tuple[int, int, int]
    spaces: tuple[Space, ...]
    blocks: tuple[Block, ...] = ()
    doorways: tuple[Doorway, ...] = ()


def draw_room_outline(
    draws: Draws, program: str, size: tuple[int, int, int], *, l_shaped: bool
) -> Outline:
    """Draw the outline of one room: a rectangle, or an L with a corner taken out."""
    half_x, half_y = size[0] // 2, size[1] // 2
    if not l_shaped:
        return Outline(size, (Space(program, -half_x, half_x, -half_y, half_y),))
    width = 20 * draws.integer(size[0] // 80, size[0] // 45)
    depth = 20 * draws.integer(size[1] // 80, size[1] // 45)
    x0 = half_x - width if draws.chance(0.5) else -half_x
    y0 = half_y - depth if draws.chance(0.5) else -half_y
    block = Block(x0, x0 + width, y0, y0 + depth, 0, size[2])
    space = Space(program, -half_x, half_x, -half_y, half_y, block)
    return Outline(size, (space,), (block,))


def draw_flat_outline(
    draws: Draws, size: tuple[int, int, int], programs: tuple[str, ...]
) -> Outline:
    """Draw a flat: one inner wall across the building, and one more in a half for each room more.

    Args:
        draws: source of randomness.
        size: of the bounding rectangle, and the height of its rooms.
        programs: of its two to four rooms; the first gets the largest one.

    Raises:
        ValueError: not two to four programs, or a building too small for them.
    """
    if not 2 <= len(programs) <= 4:
        raise ValueError(f"draw_flat_outline: a flat has 2 to 4 rooms, got {programs}")
    if min(size[:2]) < 2 * _LEAST_SIDE + INNER_WALL:
        raise ValueError(f"draw_flat_outline: {size} is too small for several rooms")
    half_x, half_y = size[0] // 2, size[1] // 2
    whole = (-half_x, half_x, -half_y, half_y)
    along_x = size[0] >= size[1]  # the long side is cut, so the wall runs across it
    cut = _draw_cut(draws, whole, along_x)
    halves = list(_halves(whole, along_x, cut))
    halves.sort(key=lambda half: -_area(half))
    rooms: list[Rectangle] = []
    abutting: list[int] = []
    cuts = [(whole, along_x, cut)]
    for index, half in enumerate(halves):
        if len(programs) > 2 + index:
            across = _draw_cut(draws, half, not along_x)
            rooms += _halves(half, not along_x, across)
            cuts.append((half, not along_x, across))
            abutting.append(across)
        else:
            rooms.append(half)
    rooms.sort(key=lambda room: -_area(room))
    blocks: list[Block] = []
    doorways: list[Doorway] = []
    for index, (rectangle, is_along_x, at) in enumerate(cuts):
        avoid = abutting if index == 0 else []
        doorway = _draw_doorway(draws, rectangle, is_along_x, at, avoid)
        doorways.append(doorway)
        blocks += _inner_wall(rectangle, is_along_x, at, doorway, size[2])
    spaces = tuple(Space(name, *room) for name, room in zip(programs, rooms, strict=True))
    return Outline(size, spaces, tuple(blocks), tuple(doorways))


Rectangle = tuple[int, int, int, int]  # x0, x1, y0, y1


def _wall(yaw: int, across: int, low: int, high: int, is_outer: bool) -> Wall:
    middle = (low + high) // 2
    x, y = (middle, across) if yaw in (0, 180) else (across, middle)
    return Wall(x, y, yaw, high - low, is_outer)


def _area(rectangle: Rectangle) -> int:
    x0, x1, y0, y1 = rectangle
    return (x1 - x0) * (y1 - y0)


def _draw_cut(draws: Draws, rectangle: Rectangle, along_x: bool) -> int:
    """Middle of a wall that cuts a rectangle at 40 to 60 % of its extent along an axis."""
    low, high = rectangle[:2] if along_x else rectangle[2:]
    slack = max(0, (high - low - INNER_WALL) // 2 - _LEAST_SIDE)
    most = min(slack, (high - low) // 10) // 20
    return (low + high) // 2 + 20 * draws.integer(-most, most)


def _halves(rectangle: Rectangle, along_x: bool, cut: int) -> tuple[Rectangle, Rectangle]:
    x0, x1, y0, y1 = rectangle
    before, after = cut - INNER_WALL // 2, cut + INNER_WALL // 2
    if along_x:
        return (x0, before, y0, y1), (after, x1, y0, y1)
    return (x0, x1, y0, before), (x0, x1, after, y1)


def _draw_doorway(
    draws: Draws, rectangle: Rectangle, along_x: bool, cut: int, avoid: list[int]
) -> Doorway:
    """A doorway in a cutting wall, away from the walls that meet it."""
    low, high = rectangle[2:] if along_x else rectangle[:2]
    width = 20 * draws.integer(40, 48)
    edge = width // 2 + _DOORWAY_MARGIN
    walls = sorted([low, high, *avoid])
    stretches = [
        (start + edge + (INNER_WALL // 2 if start in avoid else 0),
         end - edge - (INNER_WALL // 2 if end in avoid else 0))
        for start, end in pairwise(walls)
    ]  # fmt: skip
    first, last = draws.choice([stretch for stretch in stretches if stretch[0] <= stretch[1]])
    at = first + 20 * draws.integer(0, (last - first) // 20)
    return Doorway(cut, at, 90, width) if along_x else Doorway(at, cut, 0, width)


def _inner_wall(
    rectangle: Rectangle, along_x: bool, cut: int, doorway: Doorway, height: int
) -> list[Block]:
    """The wall on both sides of its doorway, and the lintel above."""
    low, high = rectangle[2:] if along_x else rectangle[:2]
    at = doorway.y if along_x else doorway.x
    first, last = at - doorway.width // 2, at + doorway.width // 2
    before, after = cut - INNER_WALL // 2, cut + INNER_WALL // 2
    stretches = (
        (low, first, 0, height),
        (last, high, 0, height),
        (first, last, _DOORWAY_HEIGHT, height),
    )
    return [
        Block(before, after, start, end, z0, z1) if along_x
        else Block(start, end, before, after, z0, z1)
        for start, end, z0, z1 in stretches
    ]  # fmt: skip
