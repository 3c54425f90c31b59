"""What rooms of each program hold, in the order in which it finds its place."""

from __future__ import annotations

from collections.abc import Callable

from g2vlm_fast.data.rooms.arrangement import Arrangement
from g2vlm_fast.data.rooms.fixtures import bathroom_fixtures, kitchen_row
from g2vlm_fast.data.rooms.furniture import Mount
from g2vlm_fast.data.rooms.groups import bed_group, dining_group
from g2vlm_fast.data.rooms.lounges import television_group
from g2vlm_fast.data.rooms.openings import (
    hang,
    hang_over,
)
from g2vlm_fast.data.rooms.support import put_on
from g2vlm_fast.data.rooms.workplaces import desk_group

_IN_OFFICES = (
    "filing", "two doors", "compartments", "rectangular", "bookcase", "rack", "open", "swing",
)  # fmt: skip
_IN_HOMES = (
    "two doors", "sideboard", "compartments", "doorless", "sliding", "three doors", "laundry",
    "pedal", "open", "standing",
)  # fmt: skip
"""Variants that are preferred where the class of a piece does not say where it belongs."""

_ON_BOARDS = ("book", "book", "book", "vase", "box", "plant", "bowl", "basket", "clock", "cup")


def _bedroom(arrangement: Arrangement, richness: float) -> None:
    may = chances(arrangement, richness)
    bed = bed_group(arrangement)
    if may(0.85):
        wall_piece(arrangement, "wardrobe", front=600)
    if may(0.6):
        _dresser(arrangement)
    if arrangement.space.area > 10 and may(0.45):
        desk_group(arrangement)
    if may(0.35):
        wall_piece(arrangement, "shelf", front=400)
    if may(0.3):
        wall_piece(arrangement, "armchair", front=400)
    if may(0.25):
        wall_piece(arrangement, "bench", front=300)
    if bed is not None and may(0.6):
        hang_over(arrangement, bed, "picture")
    if bed is not None and may(0.5):
        for _ in range(arrangement.draws.integer(1, 3)):
            put_on(arrangement, bed, "pillow")
    if may(0.45):
        _lay_rug(arrangement)


def _living_room(arrangement: Arrangement, richness: float) -> None:
    may = chances(arrangement, richness)
    sofa = television_group(arrangement)
    if sofa is not None and may(0.6):
        hang_over(arrangement, sofa, "picture")
    if arrangement.space.area > 13 and may(0.75):
        dining_group(arrangement, most_chairs=6)
    for name, chance, front in (
        ("shelf", 0.75, 450), ("cabinet", 0.5, 500), ("shelf", 0.35, 450), ("piano", 0.15, 700),
        ("armchair", 0.35, 400), ("bench", 0.2, 300), ("desk", 0.15, 600),
    ):  # fmt: skip
        if may(chance):
            _filled(arrangement, wall_piece(arrangement, name, front=front))
    if arrangement.space.area > 22 and may(0.6):
        desk_group(arrangement)


def _kitchen(arrangement: Arrangement, richness: float) -> None:
    may = chances(arrangement, richness)
    kitchen_row(arrangement)
    if arrangement.space.area > 11 and may(0.5):
        kitchen_row(arrangement)
    for name in ("refrigerator", "stove"):
        if not arrangement.standing(name):
            wall_piece(arrangement, name, front=600)
    dining_group(arrangement, most_chairs=arrangement.draws.integer(2, 6))
    for name, chance, front in (("cabinet", 0.45, 500), ("shelf", 0.3, 400), ("stool", 0.3, 0)):
        if may(chance):
            _filled(arrangement, wall_piece(arrangement, name, front=front))
    if may(0.8):
        wall_piece(arrangement, "bin")


def _office(arrangement: Arrangement, richness: float) -> None:
    may = chances(arrangement, richness)
    desks = max(1, round(arrangement.space.area / 6.5 * richness))
    for _ in range(min(desks, 8)):
        desk_group(arrangement)
    if arrangement.space.area > 18 and may(0.7):
        dining_group(arrangement, most_chairs=8)
    for name, chance, front in (
        ("shelf", 0.7, 450), ("cabinet", 0.7, 500), ("shelf", 0.4, 450), ("cabinet", 0.3, 500),
        ("table", 0.3, 500), ("sofa", 0.15, 600), ("armchair", 0.2, 400), ("coat rack", 0.35, 0),
    ):  # fmt: skip
        if may(chance):
            index = wall_piece(arrangement, name, front=front)
            if index is not None and name in ("cabinet", "table"):
                put_on(arrangement, index, "printer")
            _filled(arrangement, index)
    for name, chance in (("whiteboard", 0.7), ("clock", 0.4), ("whiteboard", 0.25)):
        if may(chance):
            hang(arrangement, name)
    if may(0.6):
        wall_piece(arrangement, "bin")


def _bathroom(arrangement: Arrangement, richness: float) -> None:
    may = chances(arrangement, richness)
    bathroom_fixtures(arrangement)
    for name, chance, front in (
        ("washing machine", 0.4, 500), ("cabinet", 0.35, 400), ("bin", 0.6, 0),
        ("basket", 0.45, 0), ("stool", 0.2, 0),
    ):  # fmt: skip
        if may(chance):
            _filled(arrangement, wall_piece(arrangement, name, front=front))
    for _ in range(arrangement.draws.integer(0, 2)):
        hang(arrangement, "towel")
    if may(0.3):
        _lay_rug(arrangement)


FURNISHERS: dict[str, Callable[[Arrangement, float], None]] = {
    "bedroom": _bedroom,
    "living room": _living_room,
    "kitchen": _kitchen,
    "office": _office,
    "bathroom": _bathroom,
}
"""How each program furnishes the current space, given how richly (about 1)."""


def wall_piece(
    arrangement: Arrangement, class_name: str, *, front: int = 0, into_corner: float = 0.4
) -> int | None:
    """Stand a piece against a wall of the current space; None where it has no place."""
    in_office = arrangement.space.program == "office"
    prefer = _IN_OFFICES if in_office else _IN_HOMES
    furniture = arrangement.make(class_name, mount=Mount.FLOOR, prefer=prefer)
    if furniture is None:
        return None
    return arrangement.against_wall(furniture, front=front, into_corner=into_corner)


def _dresser(arrangement: Arrangement) -> None:
    draws = arrangement.draws
    index = wall_piece(arrangement, "dresser", front=550)
    if index is None:
        return
    hung = hang_over(arrangement, index, "mirror") if draws.chance(0.6) else None
    if hung is None and draws.chance(0.5):
        put_on(arrangement, index, "television")
    for name, chance in (
        ("lamp", 0.35),
        ("vase", 0.35),
        ("box", 0.3),
        ("plant", 0.2),
        ("book", 0.2),
    ):
        if draws.chance(chance):
            put_on(arrangement, index, name)


def _filled(arrangement: Arrangement, index: int | None) -> None:
    """Put small things on the boards and the top of a piece of storage."""
    if index is None:
        return
    draws = arrangement.draws
    piece = arrangement.placed[index].furniture
    if piece.class_name not in ("shelf", "cabinet", "bench", "piano", "desk"):
        return
    for _ in range(draws.integer(0, min(6, 1 + 2 * len(piece.surfaces)))):
        put_on(arrangement, index, draws.choice(_ON_BOARDS))


def _lay_rug(arrangement: Arrangement) -> None:
    rug = arrangement.make("rug")
    if rug is None:
        return
    draws, space = arrangement.draws, arrangement.space
    for _ in range(12):
        x, y = draws.integer(space.x0, space.x1), draws.integer(space.y0, space.y1)
        if arrangement.stand(rug, x, y, 90 * draws.integer(0, 1)) is not None:
            return


def chances(arrangement: Arrangement, richness: float) -> Callable[[float], bool]:
    """Return a draw that comes true with a probability, times ``richness``."""

    def may(chance: float) -> bool:
        return arrangement.draws.chance(min(0.97, chance * richness))

    return may
