"""What rooms of each program hold, in the order in which it finds its place."""

from __future__ import annotations

from collections.abc import Callable

from g2vlm_fast.data.arrangement import Arrangement
from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.fixtures import bathroom_fixtures, kitchen_row
from g2vlm_fast.data.furniture import Mount
from g2vlm_fast.data.groups import bed_group, desk_group, dining_group, television_group
from g2vlm_fast.data.openings import (
    hang,
    hang_before,
    hang_over,
    hang_under,
    keep_doorway_free,
    light_ceiling,
    set_door,
    set_window,
)
from g2vlm_fast.data.outlines import Outline, draw_flat_outline, draw_room_outline
from g2vlm_fast.data.placement import Placed
from g2vlm_fast.data.room_config import RoomConfig
from g2vlm_fast.data.support import put_on
from g2vlm_fast.data.ways import make_walkable

_SIDES: dict[str, tuple[float, float]] = {
    "bedroom": (0.0, 0.6),
    "living room": (0.2, 1.0),
    "kitchen": (0.0, 0.5),
    "office": (0.0, 1.0),
    "bathroom": (-0.25, 0.1),
}
"""Sides of rooms as shares of the way from the low to the high end of ``RoomConfig.side``."""

_LEAST_L = 3800  # millimetres of the shorter side of an L-shaped room

_FLATS: tuple[tuple[str, ...], ...] = (
    ("living room", "bedroom"),
    ("living room", "kitchen"),
    ("living room", "bedroom", "kitchen"),
    ("living room", "bedroom", "bathroom"),
    ("living room", "bedroom", "kitchen", "bathroom"),
    ("living room", "bedroom", "office", "kitchen"),
)
"""The rooms of flats, the largest first."""

_ESSENTIAL: dict[str, tuple[str, ...]] = {
    "bedroom": ("bed",),
    "living room": ("sofa",),
    "kitchen": ("counter",),
    "office": ("desk", "chair"),
    "bathroom": ("toilet", "sink"),
}
"""What a room of a program is not believed without."""

_TRIES = 6  # of openings and furniture, for a room that lacks something essential

_DISTRACTORS = (
    "chair", "stool", "lamp", "plant", "box", "bin", "basket", "armchair", "cabinet", "shelf",
    "nightstand", "backpack", "suitcase",
)  # fmt: skip
"""Classes of which a room is given another piece on purpose, so that a name is not enough."""


_IN_OFFICES = ("filing", "two doors", "rectangular", "bookcase", "rack", "open", "swing")
_IN_HOMES = ("two doors", "sideboard", "laundry", "pedal", "standing")
"""Variants that are preferred where the class of a piece does not say where it belongs."""

_ON_BOARDS = ("book", "book", "book", "vase", "box", "plant", "bowl", "basket", "clock", "cup")


def draw_outline(draws: Draws, config: RoomConfig, program: str) -> Outline:
    """Draw the empty building of a program."""

    def side(limits: tuple[float, float], shares: tuple[float, float]) -> int:
        low, span = limits[0], limits[1] - limits[0]
        first, last = (round((low + span * share) * 50) for share in shares)
        return 20 * draws.integer(first, last)

    height = side(config.height, (0.0, 1.0))
    if program == "flat":
        size = (side(config.flat_side, (0, 1)), side(config.flat_side, (0, 1)), height)
        return draw_flat_outline(draws, size, draws.choice(_FLATS))
    shares = _SIDES[program]
    size = (side(config.side, shares), side(config.side, shares), height)
    is_roomy = min(size[:2]) >= _LEAST_L
    l_shaped = is_roomy and draws.chance(config.l_shaped)
    return draw_room_outline(draws, program, size, l_shaped=l_shaped)


def furnish(draws: Draws, config: RoomConfig, program: str, outline: Outline) -> list[Placed]:
    """Furnish a building room by room.

    Args:
        draws: source of randomness.
        config: classes, colours and variants of furniture.
        program: of the building; the spaces of the outline name their own.
        outline: the empty building.
    """
    arrangement = Arrangement(draws, config, outline)
    for doorway in outline.doorways:
        keep_doorway_free(arrangement, doorway)
    entrance = draws.integer(0, len(outline.spaces) - 1) if program == "flat" else 0
    for index, space in enumerate(outline.spaces):
        arrangement.enter(space)
        richness = draws.integer(60, 140) / 100
        mark = arrangement.mark()
        for _ in range(_TRIES):
            arrangement.undo(mark)
            windows = _set_openings(arrangement, with_door=index == entrance)
            _FURNISHERS[space.program](arrangement, richness)
            if all(arrangement.standing(name) for name in _ESSENTIAL[space.program]):
                break
        _dress(arrangement, windows, richness)
    essential = {name for names in _ESSENTIAL.values() for name in names}
    make_walkable(arrangement, essential)
    return arrangement.placed


def _set_openings(arrangement: Arrangement, *, with_door: bool) -> list[int]:
    """Set doors and windows; return the windows."""
    draws = arrangement.draws
    if with_door:
        set_door(arrangement)
        if arrangement.space.area > 16 and draws.chance(0.35):
            set_door(arrangement)
    most = 1 if arrangement.space.program == "bathroom" else 2 + (arrangement.space.area > 18)
    wanted = draws.integer(0 if most == 1 else 1, most)
    windows = [set_window(arrangement) for _ in range(wanted)]
    return [window for window in windows if window is not None]


def _bedroom(arrangement: Arrangement, richness: float) -> None:
    may = _chances(arrangement, richness)
    bed = bed_group(arrangement)
    if may(0.85):
        _wall_piece(arrangement, "wardrobe", front=600)
    if may(0.6):
        _dresser(arrangement)
    if arrangement.space.area > 10 and may(0.45):
        desk_group(arrangement)
    if may(0.35):
        _wall_piece(arrangement, "shelf", front=400)
    if may(0.3):
        _wall_piece(arrangement, "armchair", front=400)
    if may(0.25):
        _wall_piece(arrangement, "bench", front=300)
    if bed is not None and may(0.6):
        hang_over(arrangement, bed, "picture")
    if bed is not None and may(0.5):
        for _ in range(arrangement.draws.integer(1, 3)):
            put_on(arrangement, bed, "pillow")
    if may(0.45):
        _lay_rug(arrangement)


def _living_room(arrangement: Arrangement, richness: float) -> None:
    may = _chances(arrangement, richness)
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
            _filled(arrangement, _wall_piece(arrangement, name, front=front))
    if arrangement.space.area > 22 and may(0.6):
        desk_group(arrangement)


def _kitchen(arrangement: Arrangement, richness: float) -> None:
    may = _chances(arrangement, richness)
    kitchen_row(arrangement)
    if arrangement.space.area > 11 and may(0.5):
        kitchen_row(arrangement)
    for name in ("refrigerator", "stove"):
        if not arrangement.standing(name):
            _wall_piece(arrangement, name, front=600)
    dining_group(arrangement, most_chairs=arrangement.draws.integer(2, 6))
    for name, chance, front in (("cabinet", 0.45, 500), ("shelf", 0.3, 400), ("stool", 0.3, 0)):
        if may(chance):
            _filled(arrangement, _wall_piece(arrangement, name, front=front))
    if may(0.8):
        _wall_piece(arrangement, "bin")


def _office(arrangement: Arrangement, richness: float) -> None:
    may = _chances(arrangement, richness)
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
            index = _wall_piece(arrangement, name, front=front)
            if index is not None and name in ("cabinet", "table"):
                put_on(arrangement, index, "printer")
            _filled(arrangement, index)
    for name, chance in (("whiteboard", 0.7), ("clock", 0.4), ("whiteboard", 0.25)):
        if may(chance):
            hang(arrangement, name)
    if may(0.6):
        _wall_piece(arrangement, "bin")


def _bathroom(arrangement: Arrangement, richness: float) -> None:
    may = _chances(arrangement, richness)
    bathroom_fixtures(arrangement)
    for name, chance, front in (
        ("washing machine", 0.4, 500), ("cabinet", 0.35, 400), ("bin", 0.6, 0),
        ("basket", 0.45, 0), ("stool", 0.2, 0),
    ):  # fmt: skip
        if may(chance):
            _filled(arrangement, _wall_piece(arrangement, name, front=front))
    for _ in range(arrangement.draws.integer(0, 2)):
        hang(arrangement, "towel")
    if may(0.3):
        _lay_rug(arrangement)


_FURNISHERS: dict[str, Callable[[Arrangement, float], None]] = {
    "bedroom": _bedroom,
    "living room": _living_room,
    "kitchen": _kitchen,
    "office": _office,
    "bathroom": _bathroom,
}


def _dress(arrangement: Arrangement, windows: list[int], richness: float) -> None:
    """Curtains, radiators, pictures, lights, clutter and more of the same."""
    draws, space = arrangement.draws, arrangement.space
    may = _chances(arrangement, richness)
    dry = space.program != "bathroom"
    for window in windows:
        if may(0.6):
            hang_under(arrangement, window, "radiator")
        if dry and may(0.45):
            hang_before(arrangement, window, "curtain")
    for name, chance in (
        ("picture", 0.5), ("picture", 0.35), ("mirror", 0.2), ("clock", 0.25),
    ):  # fmt: skip
        if dry and may(chance):
            hang(arrangement, name)
    light_ceiling(arrangement, 1 + round(space.area * draws.integer(0, 10) / 100))
    for name, chance in (
        ("plant", 0.45), ("lamp", 0.3), ("bin", 0.25), ("plant", 0.2), ("basket", 0.2),
        ("backpack", 0.25), ("suitcase", 0.15), ("box", 0.25), ("fan", 0.12),
        ("coat rack", 0.12), ("stool", 0.15), ("box", 0.15), ("computer", 0.05),
    ):  # fmt: skip
        if dry and may(chance):
            _wall_piece(arrangement, name, into_corner=0.5)
    for _ in range(draws.integer(0, 2)):
        _add_distractor(arrangement)


def _add_distractor(arrangement: Arrangement) -> None:
    """Add another piece of a class that the space already has."""
    present = [name for name in _DISTRACTORS if arrangement.standing(name)]
    if present:
        name = arrangement.draws.choice(present)
        furniture = arrangement.make(name, mount=Mount.FLOOR)
        if furniture is not None:
            arrangement.against_wall(furniture, into_corner=0.2)


def _wall_piece(
    arrangement: Arrangement, class_name: str, *, front: int = 0, into_corner: float = 0.4
) -> int | None:
    in_office = arrangement.space.program == "office"
    prefer = _IN_OFFICES if in_office else _IN_HOMES
    furniture = arrangement.make(class_name, mount=Mount.FLOOR, prefer=prefer)
    if furniture is None:
        return None
    return arrangement.against_wall(furniture, front=front, into_corner=into_corner)


def _dresser(arrangement: Arrangement) -> None:
    draws = arrangement.draws
    index = _wall_piece(arrangement, "dresser", front=550)
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


def _chances(arrangement: Arrangement, richness: float) -> Callable[[float], bool]:
    def may(chance: float) -> bool:
        return arrangement.draws.chance(min(0.97, chance * richness))

    return may
