"""Rooms and their furniture, laid out without collisions."""

from __future__ import annotations

from dataclasses import dataclass

from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.furniture import SMALL_CLASSES, Furniture, make_simple_furniture
from g2vlm_fast.data.placement import Placed, fits, propose, propose_on_top
from g2vlm_fast.data.room_config import RoomConfig

_ATTEMPTS = 30  # per piece; a piece that finds no place is left out
_MOST_OF_CLASS = {"bed": 1, "sofa": 1, "shelf": 2, "cabinet": 2, "table": 2}
_MOST = 3


@dataclass(frozen=True)
class Layout:
    """An empty room, filled. The room is centred at x = y = 0 with its floor at z = 0."""

    size: tuple[int, int, int]  # millimetres
    wall_color: tuple[int, int, int]  # thousandths
    floor_color: tuple[int, int, int]
    floor_material: int
    placed: tuple[Placed, ...]


def draw_layout(draws: Draws, config: RoomConfig) -> Layout:
    """Draw a room and its furniture."""

    def side(limits: tuple[float, float]) -> int:
        return 20 * draws.integer(round(limits[0] * 50), round(limits[1] * 50))

    size = (side(config.side), side(config.side), side(config.height))
    shade = draws.integer(680, 860)
    wall = (
        shade + draws.integer(0, 60),
        shade + draws.integer(0, 40),
        shade + draws.integer(-40, 20),
    )
    tone = draws.integer(320, 560)
    floor = (
        tone + draws.integer(40, 120),
        tone + draws.integer(0, 40),
        tone - draws.integer(0, 100),
    )
    floor_material = draws.integer(0, 3)
    return Layout(size, wall, floor, floor_material, tuple(_furnish(draws, config, size)))


def _furnish(draws: Draws, config: RoomConfig, room: tuple[int, int, int]) -> list[Placed]:
    large, small = _draw_furniture(draws, config)
    placed: list[Placed] = []
    for furniture in large:
        for _ in range(_ATTEMPTS):
            piece = propose(draws, config, room, furniture, placed)
            if fits(piece, room, placed):
                placed.append(piece)
                break
    for furniture in small:
        supports = [i for i, piece in enumerate(placed) if piece.furniture.carries]
        for _ in range(_ATTEMPTS if supports else 0):
            candidate = propose_on_top(draws, config, furniture, placed, draws.choice(supports))
            if candidate is not None:
                placed.append(candidate)
                break
    return placed


def _draw_furniture(draws: Draws, config: RoomConfig) -> tuple[list[Furniture], list[Furniture]]:
    """Pieces for the floor, largest first, and pieces to stand on others."""
    names: list[str] = []
    wanted = draws.integer(*config.objects)
    while len(names) < wanted:
        free = [n for n in config.classes if names.count(n) < _MOST_OF_CLASS.get(n, _MOST)]
        if not free:
            break
        repeatable = [n for n in names if n in free]
        names.append(draws.choice(repeatable if repeatable and draws.chance(0.2) else free))
    carried = any(name in ("table", "cabinet") for name in names)
    large: list[Furniture] = []
    small: list[Furniture] = []
    for name in names:
        is_small = carried and name in SMALL_CLASSES and draws.chance(0.85)
        (small if is_small else large).append(make_simple_furniture(name, draws, small=is_small))
    large.sort(key=lambda piece: -piece.size[0] * piece.size[1])
    return large, small
