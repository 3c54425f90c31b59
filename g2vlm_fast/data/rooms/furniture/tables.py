"""Tables, desks, counters and nightstands."""

from __future__ import annotations

from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.rendering.materials import Material
from g2vlm_fast.data.rooms.furniture import simple
from g2vlm_fast.data.rooms.furniture.joinery import doors, drawer_fronts, even_steps
from g2vlm_fast.data.rooms.furniture.pieces import (
    Builder,
    Furniture,
    Part,
    assemble,
    box,
    even,
    four_legs,
    slab,
    upright,
)
from g2vlm_fast.data.rooms.furniture.surfaces import Surface, closed_above, round_top, whole_top


def _coffee_table(draws: Draws) -> Furniture:
    width, depth = even(draws, 800, 1200), even(draws, 480, 680)
    height = even(draws, 380, 460)
    parts = [
        slab(width, depth, height - 40, height, material=Material.WOOD),
        *four_legs(width - 20, depth - 20, height - 40, 60, "main"),
        slab(width - 100, depth - 100, 120, 140, material=Material.WOOD),
    ]
    below = Surface(-width // 2 + 80, width // 2 - 80, -depth // 2 + 80, depth // 2 - 80, 140,
                    height - 180)  # fmt: skip
    return assemble("table", parts, surfaces=[whole_top((width, depth, height)), below])


def _trestle_table(draws: Draws) -> Furniture:
    width, depth = even(draws, 1400, 2200), even(draws, 760, 960)
    height = even(draws, 720, 760)
    x = width // 2 - 200
    parts = [slab(width, depth, height - 40, height, material=Material.WOOD)]
    for side in (-1, 1):
        parts += [
            slab(60, depth - 120, height - 100, height - 40, x=side * x),
            slab(100, 80, 60, height - 100, x=side * x),
            slab(80, depth - 160, 0, 60, x=side * x),
        ]
    parts.append(slab(2 * x - 100, 40, 280, 360))
    return assemble("table", parts, surfaces=[whole_top((width, depth, height))])


def _side_table(draws: Draws) -> Furniture:
    radius, height = even(draws, 260, 320), even(draws, 440, 600)
    parts = [
        upright(radius, height - 30, height, material=Material.WOOD),
        upright(24, 20, height - 30, "metal"),
        upright(radius - 40, 0, 20, "metal"),
    ]
    return assemble("table", parts, surfaces=[round_top(radius, height)])


def _desk_with_drawers(draws: Draws) -> Furniture:
    width, depth = even(draws, 1200, 1640), even(draws, 640, 800)
    height = even(draws, 720, 760)
    x, y = width // 2, depth // 2
    inner = -x + 20
    parts = [
        slab(width, depth, height - 30, height, material=Material.WOOD),
        box(x - 440, x - 20, -y + 60, y - 20, 40, height - 30),
        box(inner, inner + 40, -y + 40, y - 20, 0, height - 30),
        box(inner + 40, x - 440, y - 80, y - 60, 240, height - 30),
        box(x - 420, x - 40, -y + 80, y - 40, 0, 40, "dark"),
        *drawer_fronts(x - 440, x - 20, -y + 60, even_steps(60, height - 40, 3), height - 40),
    ]
    top = whole_top((width, depth, height))
    return assemble("desk", parts, surfaces=[top], has_front=True)


def _frame_desk(draws: Draws) -> Furniture:
    width, depth = even(draws, 1100, 1800), even(draws, 600, 820)
    height = even(draws, 700, 760)
    x, y = width // 2, depth // 2
    parts = [slab(width, depth, height - 26, height, material=Material.WOOD)]
    for side in (-1, 1):
        foot = side * (x - 80)
        parts += [
            slab(70, depth - 60, 0, 40, "metal", x=foot),
            slab(60, 100, 40, height - 66, "metal", x=foot, y=20),
            slab(60, depth - 160, height - 66, height - 26, "metal", x=foot),
        ]
    parts += [
        slab(width - 240, 20, height - 326, height - 26, y=y - 100),
        slab(2 * x - 160, 40, height - 66, height - 30, "metal", y=40),
    ]
    top = whole_top((width, depth, height))
    return assemble("desk", parts, surfaces=[top], has_front=True)


def _desk_with_rack(draws: Draws) -> Furniture:
    width, depth = even(draws, 1000, 1400), even(draws, 560, 680)
    height, rack = even(draws, 720, 760), even(draws, 300, 420)
    x, y = width // 2, depth // 2
    parts = [
        slab(width, depth, height - 30, height, material=Material.WOOD),
        *four_legs(width - 20, depth - 20, height - 30, 60, "main"),
        *drawer_fronts(-x + 80, x - 80, -y + 40, [height - 130], height - 30),
        box(-x + 80, x - 80, -y + 40, y - 60, height - 130, height - 30),
        box(-x, x, y - 220, y, height + rack, height + rack + 24, material=Material.WOOD),
        *(
            box(x0, x0 + 24, y - 220, y, height, height + rack)
            for x0 in (-x, -12, x - 24)
        ),
    ]  # fmt: skip
    surfaces = [
        Surface(-x, x, -y, y - 230, height),
        Surface(-x, x, y - 220, y, height + rack + 24),
    ]
    return assemble("desk", parts, surfaces=surfaces, has_front=True)


def _counter_body(width: int, depth: int, height: int) -> list[Part]:
    y = depth // 2
    return [
        slab(width, depth, height - 40, height, "light", material=Material.MARBLE),
        box(-width // 2, width // 2, -y + 40, y, 100, height - 40),
        box(-width // 2 + 20, width // 2 - 20, -y + 90, y, 0, 100, "dark"),
    ]


def _counter_with_doors(draws: Draws) -> Furniture:
    units = draws.integer(2, 4)
    unit, depth, height = even(draws, 480, 620), even(draws, 620, 680), even(draws, 860, 940)
    width, y = units * unit, depth // 2
    parts = _counter_body(width, depth, height)
    for index in range(units):
        x0 = -width // 2 + index * unit
        parts += doors(x0, x0 + unit, -y + 40, 110, height - 190, 1)
        parts += drawer_fronts(x0, x0 + unit, -y + 40, [height - 190], height - 50)
    top = whole_top((width, depth, height))
    return assemble("counter", parts, surfaces=[top], has_front=True)


def _counter_with_drawers(draws: Draws) -> Furniture:
    units = draws.integer(2, 3)
    unit, depth, height = even(draws, 600, 800), even(draws, 620, 680), even(draws, 860, 940)
    width, y = units * unit, depth // 2
    parts = _counter_body(width, depth, height)
    for index in range(units):
        x0 = -width // 2 + index * unit
        bottoms = even_steps(110, height - 50, 3)
        parts += drawer_fronts(x0, x0 + unit, -y + 40, bottoms, height - 50)
    top = whole_top((width, depth, height))
    return assemble("counter", parts, surfaces=[top], has_front=True)


def _island(draws: Draws) -> Furniture:
    width, depth = even(draws, 1200, 2000), even(draws, 800, 1000)
    height = even(draws, 880, 940)
    parts = [
        slab(width, depth, height - 40, height, "light", material=Material.MARBLE),
        slab(width - 80, depth - 280, 80, height - 40, y=100, material=Material.PANELS),
        slab(width - 120, depth - 340, 0, 80, "dark", y=100),
        *(slab(60, 60, 0, height - 40, x=s * (width // 2 - 60), y=-depth // 2 + 80)
          for s in (-1, 1)),
    ]  # fmt: skip
    top = whole_top((width, depth, height))
    return assemble("counter", parts, surfaces=[top], has_front=True)


def _nightstand_with_drawer(draws: Draws) -> Furniture:
    width, depth = even(draws, 500, 600), even(draws, 400, 460)
    height = even(draws, 480, 620)
    x, y = width // 2, depth // 2
    parts = [
        slab(width, depth, height - 24, height, material=Material.WOOD),
        box(-x, -x + 24, -y + 20, y, 0, height - 24),
        box(x - 24, x, -y + 20, y, 0, height - 24),
        box(-x + 24, x - 24, y - 20, y, 80, height - 24),
        box(-x + 24, x - 24, -y + 20, y - 20, 80, 104),
        box(-x + 24, x - 24, -y + 40, y - 20, height - 204, height - 24),
        *drawer_fronts(-x + 24, x - 24, -y + 40, [height - 200], height - 28),
    ]
    surfaces = [
        whole_top((width, depth, height)),
        closed_above(-x + 30, x - 30, -y + 30, y - 30, 104, height - 204),
    ]
    return assemble("nightstand", parts, surfaces=surfaces, has_front=True)


def _nightstand_chest(draws: Draws) -> Furniture:
    width, depth = even(draws, 500, 620), even(draws, 400, 480)
    height = even(draws, 500, 660)
    y = depth // 2
    parts = [
        slab(width, depth, height - 24, height, material=Material.WOOD),
        slab(width - 20, depth - 40, 100, height - 24, y=10),
        *four_legs(width - 20, depth - 40, 100, 40, "main"),
        *drawer_fronts(-width // 2 + 20, width // 2 - 20, -y + 30,
                       even_steps(110, height - 30, draws.integer(2, 3)), height - 30),
    ]  # fmt: skip
    top = whole_top((width, depth, height))
    return assemble("nightstand", parts, surfaces=[top], has_front=True)


BUILDERS: dict[str, dict[str, Builder]] = {
    "table": {
        "rectangular": lambda draws: simple.rectangular_table(draws, even(draws, 700, 760)),
        "round": lambda draws: simple.round_table(draws, even(draws, 700, 760)),
        "coffee": _coffee_table,
        "trestle": _trestle_table,
        "side": _side_table,
    },
    "desk": {
        "with drawers": _desk_with_drawers,
        "frame": _frame_desk,
        "with rack": _desk_with_rack,
    },
    "counter": {
        "with doors": _counter_with_doors,
        "with drawers": _counter_with_drawers,
        "island": _island,
    },
    "nightstand": {"open": _nightstand_with_drawer, "chest": _nightstand_chest},
}
