"""Furniture that belongs together: beds and nightstands, tables and chairs."""

from __future__ import annotations

from g2vlm_fast.data.rooms.arrangement import CLEARANCE, Arrangement
from g2vlm_fast.data.rooms.furniture import Mount
from g2vlm_fast.data.rooms.support import put_on

_PASSAGE = 600  # millimetres that a person needs to walk
_PUSHED_BACK = 450  # behind a chair at a table, for who sits down
_SEAT_SPACING = 640  # of a table's side for each chair
_LOW_TABLE = 560  # height of a table before a sofa, at most


def bed_group(arrangement: Arrangement) -> int | None:
    """A bed with its head to a wall, nightstands with lamps, and a way to get in."""
    furniture = arrangement.make("bed", mount=Mount.FLOOR)
    if furniture is None:
        return None
    draws, mark = arrangement.draws, arrangement.mark()
    for _ in range(6):
        with arrangement.group():
            bed = arrangement.against_wall(furniture, into_corner=0.3, front=400)
            if bed is None:
                return None
            half = furniture.size[0] // 2
            back = furniture.size[1] // 2
            ways = [
                arrangement.keep_free(bed, *side, -back, back, required=True)
                for side in ((half, half + _PASSAGE), (-half - _PASSAGE, -half))
            ]
            if not any(ways):
                arrangement.undo(mark)
                continue
            stand = arrangement.make("nightstand")
            first: int | None = None
            for side, is_free in zip((1, -1), ways, strict=True):
                if stand is None or not is_free or draws.chance(0.2):
                    continue
                x = side * (half + stand.size[0] // 2 + CLEARANCE + 10)
                index = arrangement.stand(
                    stand, *arrangement.beside(bed, x, back - stand.size[1] // 2),
                    arrangement.placed[bed].yaw, like=first,
                )  # fmt: skip
                if index is None:
                    continue
                first = index if first is None else first
                if draws.chance(0.75):
                    put_on(arrangement, index, "lamp")
                for name in ("clock", "book", "cup", "telephone"):
                    if draws.chance(0.2):
                        put_on(arrangement, index, name)
            return bed
    return None


def dining_group(
    arrangement: Arrangement, *, most_chairs: int = 8, class_name: str = "table"
) -> int | None:
    """A table with chairs around it, square to the room."""
    draws = arrangement.draws
    table = arrangement.make(
        class_name, prefer=("rectangular", "round", "dining", "square", "trestle", "pedestal")
    )
    if table is None or table.size[2] < 650:
        return None
    space = arrangement.space
    for _ in range(14):
        with arrangement.group():
            yaw = 90 * draws.integer(0, 3)
            half = (table.size[0] if yaw in (0, 180) else table.size[1]) // 2 + 650
            deep = (table.size[1] if yaw in (0, 180) else table.size[0]) // 2 + 650
            if space.x1 - space.x0 < 2 * half or space.y1 - space.y0 < 2 * deep:
                half, deep = half - 500, deep - 500
            low_x, high_x = space.x0 + half, space.x1 - half
            low_y, high_y = space.y0 + deep, space.y1 - deep
            if low_x > high_x or low_y > high_y:
                return None
            x, y = draws.integer(low_x, high_x), draws.integer(low_y, high_y)
            index = arrangement.stand(table, x, y, yaw, clearance=_PASSAGE)
            if index is None:
                continue
            seat_around(arrangement, index, most_chairs)
            return index
    with arrangement.group():
        at_wall = arrangement.against_wall(table, into_corner=0.1)
        if at_wall is not None:
            seat_around(arrangement, at_wall, most_chairs)
    return at_wall


def seat_around(arrangement: Arrangement, table: int, most: int) -> None:
    """Put chairs of one kind at the sides of a table, fronts towards it, partly under its top."""
    draws = arrangement.draws
    piece = arrangement.placed[table]
    chair = arrangement.make("chair", prefer=("dining", "wooden", "kitchen", "plastic"))
    if chair is None:
        return
    width, depth, _ = piece.furniture.size
    seats: list[tuple[int, int, int]] = []  # side, slide, half extent of the table across
    for side, along, across in (
        (0, width, depth),
        (2, width, depth),
        (1, depth, width),
        (3, depth, width),
    ):
        count = max(1, (along - 120) // _SEAT_SPACING) if along >= 560 else 0
        seats += [
            (side, along * (2 * place + 1 - count) // (2 * count), across // 2)
            for place in range(count)
        ]
    first: int | None = None
    for side, slide, edge in seats[:most]:
        if draws.chance(0.12):
            continue
        mark = arrangement.mark()
        for pulled in (draws.integer(-180, 60), 20, 160):
            away = edge + chair.size[1] // 2 + pulled
            local = ((slide, away), (-away, slide), (-slide, -away), (away, -slide))[side]
            index = arrangement.stand(
                chair, *arrangement.beside(table, *local),
                piece.yaw + 90 * side + draws.integer(-6, 6), like=first, tucked=(table,),
            )  # fmt: skip
            if index is None:
                continue
            half, back = chair.size[0] // 2, chair.size[1] // 2
            if arrangement.keep_free(index, -half, half, back, back + _PUSHED_BACK, required=True):
                first = index if first is None else first
            else:
                arrangement.undo(mark)
            break
