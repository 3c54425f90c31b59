"""Kitchen rows and bathroom fixtures: what stands along walls because pipes do."""

from __future__ import annotations

from g2vlm_fast.data.rooms.arrangement import WALL_GAP, Arrangement
from g2vlm_fast.data.rooms.furniture import Furniture, Mount
from g2vlm_fast.data.rooms.openings import hang_over
from g2vlm_fast.data.rooms.outlines import Wall
from g2vlm_fast.data.rooms.support import put_on

_WORK_SPACE = 750  # millimetres before a kitchen row
_JOINT = 10  # between the pieces of a row
_OF_KITCHENS = ("kitchen", "with doors", "with drawers")
_LEFT_OUT_LAST = ("counter", "refrigerator", "stove", "sink", "washing machine")
"""A row that is too long for all walls goes without its second counter, then the last named."""


def kitchen_row(arrangement: Arrangement) -> list[int]:
    """A refrigerator, counters with a sink, and a stove side by side along a wall."""
    draws, mark = arrangement.draws, arrangement.mark()
    sequence = [
        name
        for name, chance in (
            ("refrigerator", 0.85), ("counter", 1.0), ("sink", 0.9), ("stove", 0.85),
            ("counter", 0.5), ("washing machine", 0.2),
        )
        if draws.chance(chance)
    ]  # fmt: skip
    if draws.chance(0.5):
        sequence.reverse()
    row = [piece for name in sequence if (piece := _piece_of_row(arrangement, name)) is not None]
    while row:
        length = sum(piece.size[0] + _JOINT for piece in row) - _JOINT
        walls = [w for w in arrangement.walls if w.length >= length + 2 * WALL_GAP]
        for _ in range(16 if walls else 0):
            wall = draws.choice(walls)
            reach = (wall.length - length) // 2 - WALL_GAP
            slide = draws.choice((-reach, reach, draws.integer(-reach, reach)))
            with arrangement.group():
                placed = _stand_in_row(arrangement, row, wall, slide - length // 2)
                if len(placed) == len(row):
                    _fit_out_row(arrangement, placed)
                    return placed
            arrangement.undo(mark)
        row.pop(max(range(len(row)), key=lambda place: _LEFT_OUT_LAST.index(row[place].class_name)))
    return []


def bathroom_fixtures(arrangement: Arrangement) -> None:
    """A toilet, a sink with a mirror above, and a bathtub or shower, each with room before it."""
    draws = arrangement.draws
    basin_first = draws.chance(0.5)
    tub = arrangement.make("bathtub" if draws.chance(0.5) else "shower", mount=Mount.FLOOR)
    if tub is not None and draws.chance(0.85):
        arrangement.against_wall(tub, into_corner=1.0, gap=10, front=450, attempts=20)
    for name in ("sink", "toilet") if basin_first else ("toilet", "sink"):
        piece = arrangement.make(name, mount=Mount.FLOOR, prefer=("pedestal", "vanity"))
        if piece is None:
            continue
        index = arrangement.against_wall(piece, into_corner=0.2, gap=10, front=500, attempts=20)
        if name == "sink" and index is not None:
            hang_over(arrangement, index, "mirror")
            for small, chance in (("cup", 0.5), ("vase", 0.1), ("towel", 0.2)):
                if draws.chance(chance):
                    put_on(arrangement, index, small)


def _piece_of_row(arrangement: Arrangement, class_name: str) -> Furniture | None:
    """Draw a piece; of two counters the shorter, so that the row fits more walls."""
    draws = 2 if class_name == "counter" else 1
    pieces = [
        piece
        for _ in range(draws)
        if (piece := arrangement.make(class_name, mount=Mount.FLOOR, prefer=_OF_KITCHENS))
        is not None
        and (class_name != "sink" or piece.variant == "kitchen")
    ]
    return min(pieces, key=lambda piece: piece.size[0], default=None)


def _stand_in_row(
    arrangement: Arrangement,
    row: list[Furniture],
    wall: Wall,
    start: int,
) -> list[int]:
    """Place pieces side by side from ``start`` along a wall; fewer where one has no place."""
    placed: list[int] = []
    for furniture in row:
        slide = start + furniture.size[0] // 2
        x, y = wall.at(slide, furniture.size[1] // 2 + WALL_GAP)
        index = arrangement.stand(
            furniture,
            x,
            y,
            wall.yaw,
            clearance=0,
            front=_WORK_SPACE,
            like=_same(arrangement, placed, furniture),
        )
        if index is None:
            break
        placed.append(index)
        start += furniture.size[0] + _JOINT
    return placed


def _same(arrangement: Arrangement, placed: list[int], furniture: Furniture) -> int | None:
    """A piece of the row of the same class, whose colour is taken."""
    for index in placed:
        if arrangement.placed[index].furniture.class_name == furniture.class_name:
            return index
    return None


def _fit_out_row(arrangement: Arrangement, row: list[int]) -> None:
    draws = arrangement.draws
    counters = [i for i in row if arrangement.placed[i].furniture.class_name == "counter"]
    for counter in counters:
        for name, chance in (
            ("microwave", 0.35), ("kettle", 0.45), ("bowl", 0.45), ("cup", 0.6), ("cup", 0.4),
            ("vase", 0.15), ("plant", 0.15), ("box", 0.15), ("basket", 0.15),
        ):  # fmt: skip
            if draws.chance(chance):
                put_on(arrangement, counter, name)
        if draws.chance(0.6):
            hang_over(arrangement, counter, draws.choice(("cabinet", "cabinet", "shelf")))
