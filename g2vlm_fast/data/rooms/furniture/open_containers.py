"""Boxes, baskets and suitcases that are open, so that things are seen in them."""

from __future__ import annotations

from dataclasses import replace

from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.rendering.materials import Material
from g2vlm_fast.data.rooms.furniture.pieces import (
    Furniture,
    Mount,
    Part,
    assemble,
    even,
    leaning,
    rod_x,
    slab,
    walls_around,
)
from g2vlm_fast.data.rooms.furniture.surfaces import open_above


def open_carton(draws: Draws) -> Furniture:
    """A carton whose long flaps are folded outwards."""
    width, depth, height = even(draws, 420, 480), even(draws, 300, 360), even(draws, 240, 300)
    board, flap = 8, even(draws, 80, 120)
    x, y = width // 2, depth // 2
    parts: list[Part] = [
        slab(width - 2 * board, depth - 2 * board, 0, board),
        *walls_around(width, depth, board, 0, height),
        leaning(width, board, flap, 0, y - 2, height - 6, 60, "light"),
        leaning(width, board, flap, 0, 2 - y, height - 6, -60, "light"),
    ]
    inside = open_above(-x + 12, x - 12, -y + 12, y - 12, board, height)
    return assemble("box", parts, surfaces=[inside])


def storage_box(draws: Draws) -> Furniture:
    """A shallow box with grips, for boards and tables."""
    width, depth, height = even(draws, 320, 400), even(draws, 240, 300), even(draws, 200, 240)
    x, y, side = width // 2, depth // 2, 12
    parts = [
        slab(width - 2 * side, depth - 2 * side, 0, side),
        *walls_around(width, depth, side, 0, height, material=Material.FABRIC),
        *(slab(8, 80, height - 60, height - 30, "dark", x=s * (x + 4)) for s in (-1, 1)),
    ]
    inside = open_above(-x + 16, x - 16, -y + 16, y - 16, side, height)
    return assemble("box", parts, mount=Mount.TOP, surfaces=[inside])


def _woven(width: int, depth: int, height: int, weave: Material) -> list[Part]:
    """A basket of wicker with a thicker rim."""
    return [
        slab(width - 64, depth - 64, 0, 20, "light", material=Material.FABRIC),
        *walls_around(width - 16, depth - 16, 24, 0, height - 24, material=weave),
        *walls_around(width, depth, 32, height - 24, height),
    ]


def laundry_basket(draws: Draws) -> Furniture:
    """A deep basket for the floor."""
    width, depth, height = even(draws, 360, 420), even(draws, 240, 300), even(draws, 200, 340)
    weave = Material.CHECKER if draws.chance(0.3) else Material.SLATS
    x, y = width // 2 - 36, depth // 2 - 36
    inside = open_above(-x, x, -y, y, 20, height)
    return assemble("basket", _woven(width, depth, height, weave), surfaces=[inside])


def shelf_basket(draws: Draws) -> Furniture:
    """A low basket with two handles, for boards and tables."""
    width, depth, height = even(draws, 340, 400), even(draws, 220, 280), even(draws, 140, 200)
    x, y = width // 2 - 36, depth // 2 - 36
    parts = _woven(width, depth, height, Material.SLATS)
    parts += [slab(8, 100, height - 20, height + 20, "dark", x=s * (width // 2 - 8))
              for s in (-1, 1)]  # fmt: skip
    inside = open_above(-x, x, -y, y, 20, height)
    return assemble("basket", parts, mount=Mount.TOP, surfaces=[inside])


def open_suitcase(draws: Draws) -> Furniture:
    """A suitcase on its back with its lid up."""
    width, depth, shell = even(draws, 560, 640), even(draws, 340, 360), even(draws, 140, 180)
    x, y, side = width // 2, depth // 2, 20
    lid = leaning(width, 40, depth, 0, y + 20, shell - 20, 4)
    parts = [
        slab(width - 2 * side, depth - 2 * side, 0, side, "light", material=Material.FABRIC),
        *walls_around(width, depth, side, 0, shell, material=Material.FABRIC),
        lid,
        replace(lid, center=(0, lid.center[1] - 22, lid.center[2]),
                size=(width - 60, 20, depth - 60), role="light", material=Material.FABRIC),
        rod_x(10, -60, 60, -y - 4, shell // 2, "dark"),
        *(slab(30, 12, shell - 50, shell - 10, "metal", x=s * (x - 120), y=-y - 2)
          for s in (-1, 1)),
    ]  # fmt: skip
    inside = open_above(-x + 24, x - 24, -y + 24, y - 24, side, shell)
    return assemble("suitcase", parts, surfaces=[inside], has_front=True)
