"""Toilets, sinks, bathtubs, showers, towels and mirrors."""

from __future__ import annotations

from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.rendering.materials import Material
from g2vlm_fast.data.rooms.furniture.joinery import doors
from g2vlm_fast.data.rooms.furniture.pieces import (
    Builder,
    Furniture,
    Mount,
    Part,
    assemble,
    ball,
    box,
    even,
    four_legs,
    leaning,
    on_front,
    rod_x,
    rod_y,
    slab,
    upright,
)
from g2vlm_fast.data.rooms.furniture.surfaces import Surface, open_above

Rectangle = tuple[int, int, int, int]


def _tap(x: int, y: int, z: int, height: int, reach: int) -> list[Part]:
    """A tap with its foot at x, y, z, its spout towards the front, and a lever."""
    return [
        upright(18, z, z + height, "metal", x=x, y=y),
        slab(24, reach, z + height - 30, z + height - 8, "metal", x=x, y=y - reach // 2),
        slab(20, 20, z + height - 60, z + height - 30, "metal", x=x, y=y - reach + 10),
        slab(14, 60, z + height, z + height + 14, "metal", x=x, y=y + 4),
    ]


def _close_coupled_toilet(draws: Draws) -> Furniture:
    rim, tank = even(draws, 380, 420), even(draws, 360, 420)
    width = even(draws, 370, 400, 10) // 2 * 2
    lid_up = draws.chance(0.3)
    parts = [
        slab(240, 420, 0, 260, y=-10),
        upright(180, 220, rim, y=-110),
        slab(360, 160, 220, rim, y=-20),
        upright(184, rim, rim + 20, "white", y=-110),
        upright(110, rim + 20, rim + 22, "water" if lid_up else "white", y=-130),
        slab(width, 180, rim - 20, rim + tank, y=150),
        slab(width + 20, 200, rim + tank, rim + tank + 30, y=150),
        upright(24, rim + tank + 30, rim + tank + 38, "metal", y=150),
        leaning(340, 24, 380, 0, 40, rim + 14, 4, "white")
        if lid_up
        else slab(340, 330, rim + 20, rim + 40, "white", y=-110),
    ]
    return assemble("toilet", parts, has_front=True)


def _wall_hung_toilet(draws: Draws) -> Furniture:
    rim = even(draws, 380, 420)
    plate = even(draws, 820, 860)
    parts = [
        slab(440, 160, 0, plate, "light", y=210, material=Material.TILES),
        slab(260, 240, 180, rim, y=40),
        upright(180, 240, rim, y=-60),
        upright(186, rim, rim + 20, "white", y=-60),
        slab(330, 120, rim - 20, rim + 16, "white", y=70),
        upright(176, rim + 20, rim + 36, "white", y=-60),
        slab(240, 12, plate - 200, plate - 60, "metal", y=126),
    ]
    return assemble("toilet", parts, has_front=True)


def _pedestal_sink(draws: Draws) -> Furniture:
    width, height = even(draws, 500, 640), even(draws, 820, 880)
    parts = [
        upright(110, 0, 60, y=60),
        upright(84, 60, height - 180, y=60),
        slab(width, 440, height - 180, height - 20),
        upright(190, height - 20, height, y=-20),
        upright(160, height, height + 2, "water", y=-20),
        slab(width, 100, height - 20, height, y=170),
        upright(24, height + 2, height + 6, "metal", y=-20),
        *_tap(0, 160, height, 140, 150),
    ]
    return assemble("sink", parts, has_front=True)


def _vanity(draws: Draws) -> Furniture:
    width, height = even(draws, 600, 1200), even(draws, 780, 840)
    x = width // 2
    parts = [
        box(-x, x, -200, 240, 120, height - 30, material=Material.GRAIN),
        *four_legs(width - 20, 400, 120, 50, "wood"),
        box(-x, x, -240, 240, height - 30, height, "light", Material.MARBLE),
        *doors(-x, x, -200, 130, height - 40, 2),
        upright(190, height, height + 110, "white", y=-30),
        upright(160, height + 110, height + 112, "water", y=-30),
        *_tap(0, 196, height, 220, 180),
    ]  # fmt: skip
    return assemble("sink", parts, has_front=True)


def _around_hole(outer: Rectangle, hole: Rectangle, z0: int, z1: int, role: str = "main",
                 material: Material = Material.PLAIN) -> list[Part]:  # fmt: skip
    """A slab from z0 to z1 with a rectangular hole; rectangles are x0, x1, y0, y1."""
    x0, x1, y0, y1 = outer
    left, right, front, back = hole
    sides = ((x0, left, y0, y1), (right, x1, y0, y1), (left, right, y0, front),
             (left, right, back, y1))  # fmt: skip
    return [box(*side, z0, z1, role, material) for side in sides]


def _kitchen_sink(draws: Draws) -> Furniture:
    width, depth, height = even(draws, 800, 1200), 620, even(draws, 860, 920)
    x = width // 2
    basin = even(draws, 400, 480)
    left, right = -x + 80, -x + 80 + basin
    low = height - 200
    parts = [
        box(-x, x, -270, 310, 100, low),
        box(-x + 20, x - 20, -220, 290, 0, 100, "dark"),
        *_around_hole((-x, x, -270, 310), (left, right, -230, 170), low, height - 40),
        *_around_hole((-x, x, -310, 310), (left, right, -230, 170), height - 40, height,
                      "light", Material.MARBLE),
        *doors(-x, x, -270, 110, height - 50, 2),
        box(left, right, -230, 170, low, low + 20, "metal"),
        *_around_hole((left, right, -230, 170), (left + 20, right - 20, -210, 150),
                      low + 20, height + 6, "metal"),
        upright(30, low + 20, low + 22, "dark", x=left + basin // 2, y=120),
        *_tap(left + basin // 2, 220, height, 300, 220),
    ]  # fmt: skip
    drainer = Surface(right + 20, x, -depth // 2, depth // 2, height)
    inside = open_above(left + 24, right - 24, -206, 80, low + 20, height)
    return assemble("sink", parts, surfaces=[drainer, inside], has_front=True)


def _wall_sink(draws: Draws) -> Furniture:
    width = even(draws, 440, 560)
    parts = [
        slab(width, 400, 40, 200),
        slab(width - 100, 300, 0, 40, y=40),
        upright(150, 200, 202, "water", y=-30),
        upright(20, 202, 206, "metal", y=-30),
        *_tap(0, 150, 200, 130, 140),
    ]
    return assemble("sink", parts, mount=Mount.WALL, has_front=True,
                    elevation=even(draws, 620, 680))  # fmt: skip


def _built_in_bathtub(draws: Draws) -> Furniture:
    length, width = even(draws, 1500, 1800), even(draws, 700, 800)
    height = even(draws, 520, 600)
    x, y = length // 2, width // 2
    rim = 70
    parts = [
        slab(length - 40, width - 40, 0, 160, material=Material.TILES),
        *(slab(length, rim, 0, height, y=s * (y - rim // 2 - 0)) for s in (-1, 1)),
        *(slab(rim + 60 * (s > 0), width - 2 * rim, 0, height,
               x=s * (x - (rim + 60 * (s > 0)) // 2)) for s in (-1, 1)),
        slab(length - 2 * rim - 60, width - 2 * rim, 160, 180, "white", x=-30),
        rod_y(30, -20, 20, x - 160, height - 120, "metal"),
        *_tap(x - 60, 0, height, 120, 20),
    ]  # fmt: skip
    inside = open_above(-x + rim + 10, x - 240, -y + rim + 10, y - rim - 10, 180, height)
    return assemble("bathtub", parts, surfaces=[inside], has_front=True)


def _free_standing_bathtub(draws: Draws) -> Furniture:
    length, width = even(draws, 1560, 1760), even(draws, 700, 780)
    height, foot = even(draws, 540, 600), 120
    radius = width // 2
    middle = length // 2 - radius
    wall = 50
    parts = [
        *(upright(radius, foot, height, x=s * middle) for s in (-1, 1)),
        slab(2 * middle, width, foot, height),
        *(upright(radius - wall, height, height + 2, "water", x=s * middle) for s in (-1, 1)),
        slab(2 * middle, width - 2 * wall, height, height + 2, "water"),
        *(ball(60, s * middle, t * (radius - 110), 60, "metal")
          for s in (-1, 1) for t in (-1, 1)),
        *(upright(24, 60, foot + 40, "metal", x=s * middle, y=t * (radius - 110))
          for s in (-1, 1) for t in (-1, 1)),
        upright(20, height - 20, height + 160, "metal", x=length // 2 - 26),
        slab(160, 24, height + 140, height + 160, "metal", x=length // 2 - 100),
    ]  # fmt: skip
    return assemble("bathtub", parts, has_front=True)


def _shower_fittings(x: int, y: int) -> list[Part]:
    return [
        upright(14, 900, 2060, "metal", x=x, y=y - 40),
        slab(24, 300, 2040, 2060, "metal", x=x, y=y - 180),
        upright(110, 2010, 2042, "metal", x=x, y=y - 320),
        rod_x(24, x - 130, x + 130, y - 40, 1040, "metal"),
    ]


def _corner_shower(draws: Draws) -> Furniture:
    side = even(draws, 800, 1000)
    x = side // 2
    parts = [
        slab(side, side, 0, 120, "white"),
        upright(50, 120, 124, "metal"),
        *(slab(30, 30, 120, 2000, "metal", x=a, y=b)
          for a, b in ((-x + 17, -x + 17), (x - 17, -x + 17), (-x + 17, x - 17))),
        slab(side, 30, 2000, 2030, "metal", y=-x + 15),
        slab(30, side - 8, 2000, 2030, "metal", x=-x + 17),
        slab(12, side - 60, 120, 900, "glass", x=-x + 15),
        slab(side // 2 - 20, 12, 120, 2000, "glass", x=-side // 4 + 10, y=-x + 15),
        slab(16, 40, 960, 1160, "metal", x=-20, y=-x + 10),
        slab(side, 16, 116, 2100, y=x - 8, material=Material.TILES),
        *_shower_fittings(x // 2, x),
    ]  # fmt: skip
    return assemble("shower", parts, has_front=True)


def _walk_in_shower(draws: Draws) -> Furniture:
    width, depth = even(draws, 1000, 1400), even(draws, 800, 960)
    x, y, pane = width // 2, depth // 2, width * 3 // 5 // 4 * 4
    parts = [
        slab(width, depth, 0, 60, "white"),
        slab(width - 240, 60, 60, 66, "metal", y=y - 120),
        slab(width, 24, 60, 2120, y=y - 12, material=Material.TILES),
        slab(24, depth - 24, 60, 2120, x=-x + 12, y=-12, material=Material.TILES),
        slab(pane - 8, 12, 60, 1960, "glass", x=-x + pane // 2 + 4, y=-y + 10),
        slab(width - 8, 24, 1960, 1990, "metal", y=-y + 14),
        slab(24, depth - 24, 1960, 1990, "metal", x=x - 12),
        slab(30, 24, 60, 1960, "metal", x=x - 17, y=y - 30),
        *_shower_fittings(x // 2, y - 8),
    ]  # fmt: skip
    inside = open_above(-x + 60, x - 60, -y + 40, y - 160, 60, 1960)
    return assemble("shower", parts, surfaces=[inside], has_front=True)


def _towel_on_rail(draws: Draws) -> Furniture:
    width, length = even(draws, 360, 520), even(draws, 440, 700)
    cloth = draws.choice((Material.STRIPES, Material.FABRIC, Material.FABRIC))
    parts = [
        rod_x(10, -width // 2 - 60, width // 2 + 60, -10, length - 20, "metal"),
        *(slab(20, 70, length - 30, length - 10, "metal", x=s * (width // 2 + 50), y=25)
          for s in (-1, 1)),
        slab(width, 20, 0, length - 10, y=-30, material=cloth),
        slab(width, 16, length // 4 * 2, length - 10, y=8, material=cloth),
        slab(width, 56, length - 10, length, y=-12, material=cloth),
    ]  # fmt: skip
    return assemble("towel", parts, mount=Mount.WALL, has_front=True,
                    elevation=even(draws, 700, 900))  # fmt: skip


def _towel_on_hook(draws: Draws) -> Furniture:
    length = even(draws, 500, 800)
    parts = [
        slab(60, 16, length - 20, length + 60, "metal", y=52),
        slab(20, 60, length - 10, length + 10, "metal", y=20),
        ball(20, 0, -14, length + 4, "metal"),
        slab(140, 70, length - 180, length - 4, y=4, material=Material.FOLDS),
        slab(220, 88, 0, length - 180, y=4, material=Material.FOLDS),
    ]
    return assemble("towel", parts, mount=Mount.WALL, has_front=True,
                    elevation=even(draws, 700, 900))  # fmt: skip


def _rolled_towels(draws: Draws) -> Furniture:
    """Towels in rolls that stand on end, as in a basket."""
    radius, length = even(draws, 52, 56, 4), even(draws, 340, 420)
    parts = [
        *(upright(radius, 0, length - drop, role, x=s * radius, material=Material.FABRIC)
          for s, drop, role in ((-1, 0, "main"), (1, 20, "light"))),
        *(upright(radius - 30, length - drop, length - drop + 4, "white", x=s * radius)
          for s, drop in ((-1, 0), (1, 20))),
    ]  # fmt: skip
    return assemble("towel", parts, mount=Mount.TOP)


def _framed_mirror(draws: Draws) -> Furniture:
    width, height = even(draws, 480, 1000), even(draws, 560, 1100)
    x, bar = width // 2, even(draws, 40, 60)
    parts = [
        slab(width - 2 * bar, 40, bar, height - bar, "glass", y=20),
        *(slab(bar, 80, 0, height, x=s * (x - bar // 2)) for s in (-1, 1)),
        *(slab(width - 2 * bar, 80, z, z + bar) for z in (0, height - bar)),
    ]
    return assemble("mirror", parts, mount=Mount.WALL, has_front=True,
                    elevation=even(draws, 960, 1120))  # fmt: skip


def _round_mirror(draws: Draws) -> Furniture:
    radius = even(draws, 240, 400, 10)
    parts = [
        rod_y(radius, -20, 40, 0, radius),
        rod_y(radius - 40, -28, -20, 0, radius, "glass"),
    ]
    return assemble("mirror", parts, mount=Mount.WALL, has_front=True,
                    elevation=even(draws, 1100, 1300))  # fmt: skip


def _standing_mirror(draws: Draws) -> Furniture:
    width, length = even(draws, 440, 600), even(draws, 1440, 1580)
    board = leaning(width, 40, length, 0, 0, 0, 5)
    parts = [
        board,
        on_front(board, width - 100, 12, 50, length - 50, "glass"),
        leaning(60, 24, length - 300, 0, 180, 0, -3, "wood"),
    ]
    return assemble("mirror", parts, has_front=True)


BUILDERS: dict[str, dict[str, Builder]] = {
    "toilet": {"close coupled": _close_coupled_toilet, "wall hung": _wall_hung_toilet},
    "sink": {
        "pedestal": _pedestal_sink,
        "vanity": _vanity,
        "kitchen": _kitchen_sink,
        "wall": _wall_sink,
    },
    "bathtub": {"built in": _built_in_bathtub, "free standing": _free_standing_bathtub},
    "shower": {"corner": _corner_shower, "walk in": _walk_in_shower},
    "towel": {"rail": _towel_on_rail, "hook": _towel_on_hook, "rolled": _rolled_towels},
    "mirror": {"framed": _framed_mirror, "round": _round_mirror, "standing": _standing_mirror},
}
