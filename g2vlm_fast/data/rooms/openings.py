"""Doors and windows on the walls of a space, and what hangs on walls and ceilings."""

from __future__ import annotations

from g2vlm_fast.data.rooms.arrangement import Arrangement
from g2vlm_fast.data.rooms.footprints import Footprint
from g2vlm_fast.data.rooms.furniture import Furniture, Mount
from g2vlm_fast.data.rooms.outlines import Doorway, Wall

_ATTEMPTS = 12
_DOORWAY_ZONE = 800  # millimetres of floor that stay free on both sides of a doorway
_WINDOW_ZONE = 260  # of air before a window, so that no wardrobe hides it
_WALL_MARGIN = 120  # between an opening and the end of its wall
_BETWEEN = 60  # between pieces on one wall
_CURTAIN_RAILS = (0, 60, 120, 200)  # between a wall and the back of curtains


def keep_doorway_free(arrangement: Arrangement, doorway: Doorway) -> None:
    """Keep the floor before and behind a doorway free."""
    half = doorway.width // 2
    middle = Footprint(doorway.x, doorway.y, doorway.yaw, 0, 0, 0, 1)
    arrangement.keep_free(middle, -half, half, -_DOORWAY_ZONE, _DOORWAY_ZONE)


def set_door(arrangement: Arrangement) -> int | None:
    """Set a door into an outer wall of the space and keep its swing free."""
    single = ("plain", "panelled", "glazed") if arrangement.space.area < 14 else ()
    furniture = arrangement.make("door", prefer=single)
    index = _set_opening(arrangement, furniture, into_corner=0.4)
    if index is not None and furniture is not None:
        half, depth = furniture.size[0] // 2, furniture.size[1] // 2
        leaf = half if furniture.variant == "double" else 2 * half
        arrangement.keep_free(index, -half, half, -depth - leaf, -depth)
    return index


def set_window(arrangement: Arrangement) -> int | None:
    """Set a window into an outer wall of the space and keep tall furniture from it."""
    furniture = arrangement.make("window")
    index = _set_opening(arrangement, furniture, into_corner=0.0)
    if index is not None and furniture is not None:
        width, depth, height = furniture.size
        bottom = furniture.elevation
        arrangement.keep_free(
            index, -width // 2, width // 2, -depth // 2 - _WINDOW_ZONE, -depth // 2,
            bottom=bottom + 40, top=bottom + height,
        )  # fmt: skip
    return index


def _set_opening(
    arrangement: Arrangement, furniture: Furniture | None, *, into_corner: float
) -> int | None:
    walls = [wall for wall in arrangement.walls if wall.is_outer]
    if furniture is None or not walls:
        return None
    draws = arrangement.draws
    for _ in range(_ATTEMPTS):
        wall = draws.choice(walls)
        reach = (wall.length - furniture.size[0]) // 2 - _WALL_MARGIN
        if reach < 0:
            continue
        slide = 10 * draws.integer(-(reach // 10), reach // 10)
        if draws.chance(into_corner):
            slide = reach if slide > 0 else -reach
        index = hang_at(arrangement, furniture, wall, slide, furniture.elevation)
        if index is not None:
            return index
    return None


def hang_at(
    arrangement: Arrangement,
    furniture: Furniture,
    wall: Wall,
    slide: int,
    elevation: int,
    *,
    away: int = 0,
    tucked: tuple[int, ...] = (),
) -> int | None:
    """Hang a piece on a wall, ``slide`` from its middle; None where it has no place.

    Args:
        arrangement: the room.
        furniture: the piece.
        wall: of the current space.
        slide: millimetres along the wall.
        elevation: of its bottom above the floor.
        away: between the wall and its back.
        tucked: pieces whose boxes it may enter, but not their parts.
    """
    width, depth, height = furniture.size
    room_at_ends = abs(slide) + width / 2 <= wall.length / 2
    if not room_at_ends or elevation + height > arrangement.height:
        return None
    x, y = wall.at(slide, depth // 2 + away)
    return arrangement.stand(
        furniture, x, y, wall.yaw, z=elevation, clearance=_BETWEEN, tucked=tucked
    )


def hang(arrangement: Arrangement, class_name: str) -> int | None:
    """Hang a piece anywhere on the walls of the space."""
    furniture = arrangement.make(class_name, mount=Mount.WALL)
    if furniture is None:
        return None
    draws = arrangement.draws
    for _ in range(_ATTEMPTS):
        wall = draws.choice(arrangement.walls)
        reach = (wall.length - furniture.size[0]) // 2 - _BETWEEN
        if reach < 0:
            continue
        slide = 10 * draws.integer(-(reach // 10), reach // 10)
        index = hang_at(arrangement, furniture, wall, slide, furniture.elevation)
        if index is not None:
            return index
    return None


def hang_over(arrangement: Arrangement, base: int, class_name: str) -> int | None:
    """Hang a piece on the wall above a piece that stands with its back to it."""
    furniture = arrangement.make(class_name, mount=Mount.WALL)
    wall = wall_behind(arrangement, base)
    if furniture is None or wall is None:
        return None
    solid = arrangement.solid(base)
    elevation = max(furniture.elevation, round(solid.top) + 120)
    return hang_at(arrangement, furniture, wall, slide_along(wall, solid.x, solid.y), elevation)


def hang_under(arrangement: Arrangement, opening: int, class_name: str) -> int | None:
    """Hang a piece, a radiator for example, on the wall below a window."""
    furniture = arrangement.make(class_name, mount=Mount.WALL)
    wall = wall_behind(arrangement, opening)
    if furniture is None or wall is None:
        return None
    solid = arrangement.solid(opening)
    if furniture.elevation + furniture.size[2] > solid.bottom:
        return None
    slide = slide_along(wall, solid.x, solid.y)
    return hang_at(arrangement, furniture, wall, slide, furniture.elevation)


def hang_before(arrangement: Arrangement, opening: int, class_name: str) -> int | None:
    """Hang a piece, curtains for example, close before a window, its parts clear of it."""
    furniture = arrangement.make(class_name, mount=Mount.WALL)
    wall = wall_behind(arrangement, opening)
    if furniture is None or wall is None:
        return None
    solid = arrangement.solid(opening)
    slide = slide_along(wall, solid.x, solid.y)
    for away in _CURTAIN_RAILS:
        index = hang_at(
            arrangement, furniture, wall, slide, furniture.elevation, away=away, tucked=(opening,)
        )
        if index is not None:
            return index
    return None


def wall_behind(arrangement: Arrangement, base: int) -> Wall | None:
    """Return the wall that a piece has its back to, within 15 cm."""
    piece = arrangement.placed[base]
    back = arrangement.solid(base).to_world(0, piece.furniture.size[1] / 2)
    for wall in arrangement.walls:
        across = abs(wall.y - back[1]) if wall.yaw in (0, 180) else abs(wall.x - back[0])
        within = abs(slide_along(wall, *back)) <= wall.length / 2
        if wall.yaw == piece.yaw and across <= 150 and within:
            return wall
    return None


def slide_along(wall: Wall, x: float, y: float) -> int:
    """Return how far along a wall from its middle a point lies; inverse of ``Wall.at``."""
    along = {0: x - wall.x, 90: y - wall.y, 180: wall.x - x, 270: wall.y - y}
    return round(along[wall.yaw])


def light_ceiling(arrangement: Arrangement, count: int) -> None:
    """Hang lights of one kind under the ceiling, in a row along the longer side of the space."""
    furniture = arrangement.make("ceiling light", mount=Mount.CEILING)
    if furniture is None:
        return
    space = arrangement.space
    x, y = (space.x0 + space.x1) // 2, (space.y0 + space.y1) // 2
    along_x = space.x1 - space.x0 >= space.y1 - space.y0
    length = space.x1 - space.x0 if along_x else space.y1 - space.y0
    first: int | None = None
    for place in range(count):
        slide = length * (2 * place + 1 - count) // (2 * count)
        index = arrangement.stand(
            furniture,
            x + slide if along_x else x,
            y if along_x else y + slide,
            0 if along_x else 90,
            z=arrangement.height - furniture.size[2],
            like=first,
        )
        first = index if first is None else first
