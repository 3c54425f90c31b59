"""Programs of buildings: outlines, and room by room openings, furniture and what is about."""

from __future__ import annotations

from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.rooms.arrangement import Arrangement
from g2vlm_fast.data.rooms.config import RoomConfig
from g2vlm_fast.data.rooms.contents import fill_containers
from g2vlm_fast.data.rooms.dressing import dress
from g2vlm_fast.data.rooms.furnishing import FURNISHERS
from g2vlm_fast.data.rooms.openings import (
    keep_doorway_free,
    set_door,
    set_window,
)
from g2vlm_fast.data.rooms.outlines import Outline, draw_flat_outline, draw_room_outline
from g2vlm_fast.data.rooms.placement import Placed
from g2vlm_fast.data.rooms.ways import make_walkable

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

ESSENTIAL: dict[str, tuple[str, ...]] = {
    "bedroom": ("bed",),
    "living room": ("sofa",),
    "kitchen": ("counter", "table"),
    "office": ("desk", "chair"),
    "bathroom": ("toilet", "sink"),
}
"""What a room of a program is not believed without."""

_TRIES = 6  # of openings and furniture, for a room that lacks something essential


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
            FURNISHERS[space.program](arrangement, richness)
            if all(arrangement.standing(name) for name in ESSENTIAL[space.program]):
                break
        dress(arrangement, windows, richness)
        fill_containers(arrangement)
    essential = {name for names in ESSENTIAL.values() for name in names}
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
