"""Simple rooms: one rectangle with three to seven plain pieces, for models trained in minutes.

Their draws are part of the record of a seed: the number and order of them stay as they are.
"""

from __future__ import annotations

import math

from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.rooms.config import RoomConfig
from g2vlm_fast.data.rooms.furniture import SMALL_CLASSES, Furniture, make_simple_furniture
from g2vlm_fast.data.rooms.placement import Placed
from g2vlm_fast.ontology import SIMPLE_CLASSES

_ATTEMPTS = 30  # per piece; a piece that finds no place is left out
_MOST_OF_CLASS = {"bed": 1, "sofa": 1, "shelf": 2, "cabinet": 2, "table": 2}
_MOST = 3
_CLEARANCE = 60  # millimetres between pieces
_WALL_GAP = 30
_AGAINST_WALL = {"bed": 1.0, "sofa": 0.7, "cabinet": 1.0, "shelf": 1.0, "bin": 0.6, "lamp": 0.6}


def furnish_simply(draws: Draws, config: RoomConfig, room: tuple[int, int, int]) -> list[Placed]:
    """Draw the furniture of a simple room of (length, width, height) millimetres."""
    large, small = _draw_furniture(draws, config)
    placed: list[Placed] = []
    for furniture in large:
        for _ in range(_ATTEMPTS):
            piece = _propose(draws, config, room, furniture, placed)
            if _fits(piece, room, placed):
                placed.append(piece)
                break
    for furniture in small:
        supports = [i for i, piece in enumerate(placed) if piece.furniture.carries]
        for _ in range(_ATTEMPTS if supports else 0):
            candidate = _propose_on_top(draws, config, furniture, placed, draws.choice(supports))
            if candidate is not None:
                placed.append(candidate)
                break
    return placed


def _draw_furniture(draws: Draws, config: RoomConfig) -> tuple[list[Furniture], list[Furniture]]:
    """Pieces for the floor, largest first, and pieces to stand on others."""
    names: list[str] = []
    classes = [name for name in config.classes if name in SIMPLE_CLASSES]
    wanted = draws.integer(*config.objects)
    while len(names) < wanted:
        free = [n for n in classes if names.count(n) < _MOST_OF_CLASS.get(n, _MOST)]
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


def _propose(
    draws: Draws,
    config: RoomConfig,
    room: tuple[int, int, int],
    furniture: Furniture,
    placed: list[Placed],
) -> Placed:
    tables = [piece for piece in placed if piece.furniture.class_name == "table"]
    if furniture.class_name in ("chair", "stool") and tables and draws.chance(0.6):
        x, y, yaw = _beside(draws, furniture, draws.choice(tables))
    elif draws.chance(_AGAINST_WALL.get(furniture.class_name, 0.0)):
        x, y, yaw = _against_wall(draws, room, furniture)
    else:
        reach_x, reach_y = room[0] // 2 - 400, room[1] // 2 - 400
        x, y = draws.integer(-reach_x, reach_x), draws.integer(-reach_y, reach_y)
        yaw = draws.integer(0, 359) if draws.chance(0.5) else 90 * draws.integer(0, 3)
    return Placed(furniture, draws.choice(config.colors), _jitter(draws), x, y, 0, yaw)


def _jitter(draws: Draws) -> tuple[int, int, int]:
    return draws.integer(-80, 80), draws.integer(-80, 80), draws.integer(-80, 80)


def _against_wall(
    draws: Draws, room: tuple[int, int, int], furniture: Furniture
) -> tuple[int, int, int]:
    """Back to a wall, front into the room."""
    wall = draws.integer(0, 3)
    along, across = (room[0], room[1]) if wall % 2 == 0 else (room[1], room[0])
    reach = max(0, along // 2 - furniture.size[0] // 2 - _WALL_GAP)
    slide, inset = draws.integer(-reach, reach), across // 2 - furniture.size[1] // 2 - _WALL_GAP
    x, y = ((slide, inset), (-inset, slide), (slide, -inset), (inset, slide))[wall]
    return x, y, 90 * wall


def _beside(draws: Draws, furniture: Furniture, table: Placed) -> tuple[int, int, int]:
    """At a side of a table, front towards it."""
    side = draws.integer(0, 3)
    width, depth, _ = table.furniture.size
    along, across = (width, depth) if side % 2 == 0 else (depth, width)
    slide = draws.integer(-along // 3, along // 3)
    away = across // 2 + furniture.size[1] // 2 + _CLEARANCE + draws.integer(10, 120)
    local = ((slide, away), (-away, slide), (slide, -away), (away, slide))[side]
    x, y = table.to_world(*local)
    return round(x), round(y), (table.yaw + 90 * side + draws.integer(-15, 15)) % 360


def _fits(piece: Placed, room: tuple[int, int, int], placed: list[Placed]) -> bool:
    corners = piece.footprint()
    inside = all(
        abs(x) <= room[0] / 2 - _WALL_GAP / 2 and abs(y) <= room[1] / 2 - _WALL_GAP / 2
        for x, y in corners
    )
    grown = piece.footprint(_CLEARANCE)
    return inside and not any(_overlap(grown, other.footprint()) for other in placed)


def _propose_on_top(
    draws: Draws, config: RoomConfig, furniture: Furniture, placed: list[Placed], support: int
) -> Placed | None:
    base = placed[support]
    width, depth, height = base.furniture.size
    reach = math.hypot(furniture.size[0], furniture.size[1]) / 2
    round_top = base.furniture.class_name == "table" and width == depth
    limit = 0.65 if round_top else 1.0
    reach_x, reach_y = int(limit * width / 2 - reach), int(limit * depth / 2 - reach)
    if min(reach_x, reach_y) < 0:
        return None
    x, y = base.to_world(draws.integer(-reach_x, reach_x), draws.integer(-reach_y, reach_y))
    color, jitter, yaw = draws.choice(config.colors), _jitter(draws), draws.integer(0, 359)
    piece = Placed(furniture, color, jitter, round(x), round(y), height, yaw, support)
    beside = [other.footprint() for other in placed if other.support == support]
    grown = piece.footprint(_CLEARANCE // 2)
    return None if any(_overlap(grown, other) for other in beside) else piece


def _overlap(first: list[tuple[float, float]], second: list[tuple[float, float]]) -> bool:
    """Separating axis test of two rectangles (Gottschalk et al., SIGGRAPH 1996)."""
    for rectangle in (first, second):
        for start, end in ((0, 1), (1, 2)):
            axis_x = rectangle[end][0] - rectangle[start][0]
            axis_y = rectangle[end][1] - rectangle[start][1]
            spans = [[axis_x * x + axis_y * y for x, y in corners] for corners in (first, second)]
            if max(spans[0]) < min(spans[1]) or max(spans[1]) < min(spans[0]):
                return False
    return True
