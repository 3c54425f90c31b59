"""Cabinets and wardrobes with compartments that nothing closes."""

from __future__ import annotations

from itertools import pairwise

from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.rendering.materials import Material
from g2vlm_fast.data.rooms.furniture.joinery import doors
from g2vlm_fast.data.rooms.furniture.pieces import (
    Furniture,
    Mount,
    Part,
    assemble,
    box,
    even,
    four_legs,
    rod_x,
    slab,
)
from g2vlm_fast.data.rooms.furniture.surfaces import Cavity, closed_above, whole_top

_BOARD = 20  # thickness of sides and boards
_AIR = 6  # between the sides of a compartment and what may stand in it


def _compartments(
    x0: int, x1: int, front: int, back: int, levels: list[int], look: Material
) -> tuple[list[Part], list[Cavity]]:
    """Boards between two sides, and the compartments between the boards.

    Args:
        x0: right face of the left side.
        x1: left face of the right side.
        front: y of the front edges.
        back: y of the back panel.
        levels: undersides of the boards, rising; the last one bounds the highest compartment.
        look: of the boards.
    """
    boards = [box(x0, x1, front + 4, back, z, z + _BOARD, material=look) for z in levels]
    cavities = [
        closed_above(x0 + _AIR, x1 - _AIR, front + 20, back - _AIR, low + _BOARD, high)
        for low, high in pairwise(levels)
    ]
    return boards, cavities


def open_cabinet(draws: Draws) -> Furniture:
    """A low cabinet with two columns of open compartments, or one behind a door."""
    width, depth = even(draws, 960, 1300), even(draws, 380, 460)
    foot, room = even(draws, 60, 120), even(draws, 300, 380)
    x, y, back = width // 2, depth // 2, depth // 2 - 10
    levels = [foot, foot + room + _BOARD, foot + 2 * (room + _BOARD)]
    top = levels[-1]
    size = (width, depth, top + _BOARD)
    parts = [
        slab(width, depth, top, top + _BOARD, material=Material.WOOD),
        *(box(x0, x0 + _BOARD, -y, y, foot, top, material=Material.GRAIN)
          for x0 in (-x, x - _BOARD)),
        box(-10, 10, -y, back, foot + _BOARD, top),
        box(-x + _BOARD, x - _BOARD, back, y, foot, top),
        *four_legs(width - 60, depth - 60, foot, 40, "dark"),
    ]  # fmt: skip
    cavities: list[Cavity] = []
    closed = draws.integer(-1, 1)  # the column behind a door, 0 for none
    for column, (x0, x1) in ((-1, (-x + _BOARD, -10)), (1, (10, x - _BOARD))):
        boards, found = _compartments(x0, x1, -y, back, levels, Material.WOOD)
        parts += boards[:-1]
        if column == closed:
            parts += doors(x0 - 10, x1 + 10, -y, foot, top, 1)
        else:
            cavities += found
    return assemble("cabinet", parts, surfaces=[whole_top(size), *cavities], has_front=True)


def open_wall_cabinet(draws: Draws) -> Furniture:
    """A wall cabinet with two rows of open compartments beside a door."""
    width, depth = even(draws, 800, 1200), even(draws, 300, 360)
    room = even(draws, 260, 320)
    x, y, back = width // 2, depth // 2, depth // 2 - 10
    levels = [0, room + _BOARD, 2 * (room + _BOARD)]
    height = levels[-1] + _BOARD
    middle = -x + width // 3 // 2 * 2
    parts = [
        *(box(x0, x0 + _BOARD, -y, y, 0, height, material=Material.GRAIN)
          for x0 in (-x, x - _BOARD)),
        box(middle, middle + _BOARD, -y, back, 0, height),
        box(-x + _BOARD, x - _BOARD, back, y, 0, height),
        *(box(-x + _BOARD, middle, -y + 4, back, z, z + _BOARD) for z in (levels[0], levels[-1])),
        *doors(-x + _BOARD, middle + _BOARD, -y, 0, height, 1),
    ]  # fmt: skip
    boards, cavities = _compartments(
        middle + _BOARD, x - _BOARD, -y, back, levels, Material.WOOD
    )  # fmt: skip
    return assemble("cabinet", [*parts, *boards], mount=Mount.WALL, surfaces=cavities,
                    has_front=True, elevation=even(draws, 1360, 1420))  # fmt: skip


def open_wardrobe(draws: Draws) -> Furniture:
    """A wardrobe without doors: clothes on a rail above a compartment, and boards beside them."""
    width, depth, height = even(draws, 1200, 1600), even(draws, 560, 620), even(draws, 1900, 2100)
    x, y, back = width // 2, depth // 2, depth // 2 - 10
    foot, top = 80, height - 30
    middle = even(draws, -40, 80)
    room = (top - foot - 5 * _BOARD) // 4 // 2 * 2
    levels = [foot + step * (room + _BOARD) for step in range(4)]
    floor = foot + _BOARD
    parts = [
        *(box(x0, x0 + _BOARD, -y, y, 0, top, material=Material.GRAIN)
          for x0 in (-x, x - _BOARD)),
        box(middle, middle + _BOARD, -y, back, foot, top),
        box(-x + _BOARD, x - _BOARD, back, y, 0, top),
        box(-x, x, -y, y, top, height),
        box(-x + _BOARD, x - _BOARD, -y + 40, back, 0, foot, "dark"),
        box(-x + _BOARD, middle, -y + 4, back, foot, floor),
        rod_x(14, -x + _BOARD, middle, 20, top - 120, "metal"),
    ]  # fmt: skip
    clothes = draws.integer(3, 5)
    step = (middle + x - _BOARD - 120) // clothes // 2 * 2
    for place in range(clothes):
        hem = top - even(draws, 760, 1000)
        role = draws.choice(("dark", "light", "main", "glow"))
        parts.append(
            slab(60, 400, hem, top - 110, role, x=-x + 100 + place * step, y=20,
                 material=Material.FOLDS)
        )  # fmt: skip
    boards, cavities = _compartments(
        middle + _BOARD, x - _BOARD, -y, back, [*levels, top], Material.WOOD
    )
    below = closed_above(-x + 30, middle - 10, -y + 20, back - _AIR, floor, top - 1010)
    return assemble("wardrobe", [*parts, *boards[:-1]], surfaces=[below, *cavities],
                    has_front=True)  # fmt: skip
