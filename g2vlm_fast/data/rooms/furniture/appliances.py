"""Kitchen and household machines, radiators and fans."""

from __future__ import annotations

from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.rendering.materials import Material
from g2vlm_fast.data.rooms.furniture.pieces import (
    Builder,
    Furniture,
    Mount,
    Part,
    assemble,
    ball,
    box,
    even,
    needle,
    rod_x,
    rod_y,
    slab,
    upright,
)
from g2vlm_fast.data.rooms.furniture.surfaces import Surface, whole_top


def _two_door_refrigerator(draws: Draws) -> Furniture:
    width, height = even(draws, 540, 700), even(draws, 1500, 1900)
    split = height * draws.integer(30, 65) // 200 * 2
    x = width // 2
    parts = [
        box(-x, x, -220, 320, 40, height),
        box(-x + 20, x - 20, -200, 300, 0, 40, "dark"),
        box(-x, x, -280, -220, 44, split - 6),
        box(-x, x, -280, -220, split + 6, height - 4),
        slab(24, 24, split - 240, split - 40, "metal", x=-x + 60, y=-292),
        slab(24, 24, split + 40, split + 240, "metal", x=-x + 60, y=-292),
    ]
    return assemble("refrigerator", parts, has_front=True)


def _side_by_side_refrigerator(draws: Draws) -> Furniture:
    width, height = even(draws, 860, 1000), even(draws, 1700, 1900)
    x = width // 2
    parts = [
        box(-x, x, -240, 320, 40, height, material=Material.GRADIENT),
        box(-x + 20, x - 20, -220, 300, 0, 40, "dark"),
        box(-x, -4, -300, -240, 44, height - 4),
        box(4, x, -300, -240, 44, height - 4),
        *(slab(24, 30, 700, 1400, "metal", x=s * 50, y=-315) for s in (-1, 1)),
        slab(180, 12, 1000, 1300, "dark", x=-x // 2 // 2 * 2 - 20, y=-304),
    ]
    return assemble("refrigerator", parts, has_front=True)


def _small_refrigerator(draws: Draws) -> Furniture:
    width, height = even(draws, 480, 560), even(draws, 760, 880)
    x = width // 2
    parts = [
        box(-x, x, -200, 260, 20, height),
        box(-x + 20, x - 20, -180, 240, 0, 20, "dark"),
        box(-x, x, -250, -200, 24, height - 40),
        slab(20, 24, height - 300, height - 120, "metal", x=-x + 40, y=-260),
    ]
    top = Surface(-x, x, -200, 260, height)
    return assemble("refrigerator", parts, surfaces=[top], has_front=True)


def _stove_body(draws: Draws, width: int, height: int) -> list[Part]:
    x = width // 2
    knobs = draws.integer(4, 5)
    return [
        box(-x, x, -270, 310, 60, height - 30),
        box(-x + 20, x - 20, -240, 290, 0, 60, "dark"),
        box(-x, x, -300, 310, height - 30, height, "metal"),
        box(-x + 10, x - 10, -300, -270, 160, height - 160),
        slab(width - 160, 8, 240, height - 280, "screen", y=-304),
        rod_x(12, -x + 60, x - 60, -330, height - 200, "metal"),
        *(slab(20, 40, height - 212, height - 188, "metal", x=s * (x - 80), y=-318)
          for s in (-1, 1)),
        *(rod_y(20, -298, -270, -x + 60 + k * ((width - 120) // (knobs - 1)), height - 90, "dark")
          for k in range(knobs)),
    ]  # fmt: skip


def _gas_stove(draws: Draws) -> Furniture:
    width, height = even(draws, 580, 760), even(draws, 860, 920)
    x = width // 4 // 2 * 2
    parts = _stove_body(draws, width, height)
    parts.append(slab(width, 30, height, height + 100, y=295))
    for sx in (-1, 1):
        for y in (-140, 150):
            radius = 70 if sx * y > 0 else 90
            parts += [
                upright(radius, height, height + 12, "dark", x=sx * x, y=y),
                slab(2 * radius, 16, height + 12, height + 26, "dark", x=sx * x, y=y),
            ]
    return assemble("stove", parts, has_front=True)


def _glass_stove(draws: Draws) -> Furniture:
    width, height = even(draws, 580, 620), even(draws, 860, 920)
    parts = _stove_body(draws, width, height)
    parts.append(slab(width - 20, 560, height, height + 8, "screen", y=0))
    for sx in (-1, 1):
        for y in (-130, 140):
            radius = 80 if sx * y > 0 else 100
            parts.append(upright(radius, height + 8, height + 10, "metal", x=sx * 140, y=y))
    return assemble("stove", parts, has_front=True)


def _front_loader(draws: Draws) -> Furniture:
    width, height = 600, even(draws, 840, 880)
    depth = even(draws, 540, 620)
    y = depth // 2
    parts = [
        slab(width, depth - 20, 30, height, y=10),
        *(upright(24, 0, 30, "dark", x=s * 240, y=t * (y - 60)) for s in (-1, 1) for t in (-1, 1)),
        rod_y(200, -y - 10, -y + 20, 0, 400, "metal"),
        rod_y(150, -y - 30, -y - 10, 0, 400, "screen"),
        slab(width, 20, height - 140, height - 4, "light", y=-y + 10),
        rod_y(36, -y - 30, -y, 60, height - 72, "metal"),
        slab(180, 12, height - 120, height - 30, "white", x=-190, y=-y - 4),
        slab(120, 8, height - 90, height - 54, "screen", x=200, y=-y - 2),
    ]
    top = whole_top((width, depth - 40, height))
    return assemble("washing machine", parts, surfaces=[top], has_front=True)


def _top_loader(draws: Draws) -> Furniture:
    width, height = even(draws, 560, 680), even(draws, 860, 920)
    parts = [
        slab(width, 600, 20, height, material=Material.GRADIENT),
        slab(width - 40, 560, 0, 20, "dark"),
        slab(width - 60, 420, height, height + 20, "white", y=-60),
        slab(width, 110, height, height + 140, "light", y=245),
        slab(100, 20, height + 16, height + 40, "metal", y=-250),
        *(rod_y(28, 166, 190, x, height + 80, "metal") for x in (-180, 180)),
        slab(140, 8, height + 50, height + 110, "screen", y=188),
    ]
    return assemble("washing machine", parts, has_front=True)


def _microwave(draws: Draws) -> Furniture:
    width, depth = even(draws, 480, 560), even(draws, 320, 400)
    height = even(draws, 260, 320)
    x, y = width // 2, depth // 2
    door = x - 120
    parts = [
        box(-x, x, -y + 40, y, 10, height),
        *(box(s * (x - 40) - 16, s * (x - 40) + 16, -y + 60, y - 20, 0, 10, "dark")
          for s in (-1, 1)),
        box(-x, door, -y + 16, -y + 40, 14, height - 4),
        box(-x + 40, door - 50, -y + 12, -y + 16, 50, height - 40, "screen"),
        slab(16, 24, 60, height - 50, "metal", x=door - 20, y=-y + 10),
        box(door + 4, x, -y + 20, -y + 40, 14, height - 4, "dark"),
        slab(80, 6, height - 70, height - 40, "glass", x=x - 58, y=-y + 18),
        slab(80, 6, 40, height - 90, "light", x=x - 58, y=-y + 18, material=Material.KEYS),
    ]  # fmt: skip
    return assemble("microwave", parts, mount=Mount.TOP, has_front=True)


def _dial_microwave(draws: Draws) -> Furniture:
    width, depth = even(draws, 480, 520), even(draws, 300, 380)
    height = even(draws, 260, 300)
    x, y = width // 2, depth // 2
    parts = [
        box(-x, x, -y + 20, y, 0, height),
        box(-x + 30, x - 150, -y + 10, -y + 20, 30, height - 30, "screen"),
        *(rod_y(30, -y, -y + 20, x - 60, z, "metal") for z in (height - 90, 80)),
        slab(16, 28, 40, height - 40, "metal", x=x - 120, y=-y + 10),
    ]
    return assemble("microwave", parts, mount=Mount.TOP, has_front=True)


def _electric_kettle(draws: Draws) -> Furniture:
    radius, height = even(draws, 60, 70, 2), even(draws, 208, 228, 4)
    grip = radius + 30
    parts = [
        upright(radius + 4, 0, 24, "dark"),
        upright(radius, 24, height - 40, material=Material.GRADIENT),
        upright(radius - 10, height - 40, height - 20),
        upright(16, height - 20, height + 4, "dark"),
        slab(20, 24, 60, height - 20, "dark", x=grip),
        slab(36, 24, height - 40, height - 20, "dark", x=grip - 18 + 2),
        slab(36, 24, 60, 80, "dark", x=grip - 16),
        slab(28, 30, height - 64, height - 40, x=-radius),
    ]
    return assemble("kettle", parts, mount=Mount.TOP)


def _stove_kettle(draws: Draws) -> Furniture:
    radius = even(draws, 64, 72, 2)
    parts = [
        upright(radius, 0, 80, material=Material.GRADIENT),
        ball(radius - 6, 0, 0, 84),
        ball(14, 0, 0, 84 + radius, "dark"),
        *(slab(12, 20, 100, 210, "dark", x=s * (radius - 14)) for s in (-1, 1)),
        rod_x(12, -radius + 8, radius - 8, 0, 206, "dark"),
        slab(44, 26, 80, 110, x=-radius - 10),
    ]
    return assemble("kettle", parts, mount=Mount.TOP)


def _pedestal_fan(draws: Draws) -> Furniture:
    radius, height = even(draws, 170, 200, 10), even(draws, 860, 1200)
    hub = height - radius
    blades = draws.integer(3, 4)
    parts = [
        upright(190, 0, 30),
        upright(20, 30, hub, "metal"),
        rod_y(60, -60, 120, 0, hub),
        rod_y(radius, -66, -60, 0, hub, "light"),
        rod_y(radius - 20, -72, -66, 0, hub, "dark"),
        rod_y(40, -90, -72, 0, hub),
    ]
    for blade in range(blades):
        turn = 20 + 360 * blade // blades
        parts.append(needle(radius - 30, 90, 6, turn, 0, -75, hub, "metal"))
    return assemble("fan", parts, has_front=True)


def _tower_fan(draws: Draws) -> Furniture:
    height = even(draws, 860, 1100)
    parts = [
        upright(160, 0, 30, "dark"),
        upright(90, 30, 90),
        slab(200, 200, 90, height - 60),
        slab(140, 16, 140, height - 160, "dark", y=-104, material=Material.SLATS),
        upright(100, height - 60, height),
        slab(60, 6, height - 130, height - 90, "screen", y=-102),
    ]
    return assemble("fan", parts, has_front=True)


def _panel_radiator(draws: Draws) -> Furniture:
    width, height = even(draws, 760, 1600), even(draws, 400, 600)
    x = width // 2
    parts = [
        slab(width, 24, 0, height, y=-30, material=Material.STRIPES),
        slab(width, 24, 0, height, y=10, material=Material.STRIPES),
        slab(width + 8, 80, height, height + 16, y=-6),
        *(slab(40, 40, height - 160, height - 60, "metal", x=s * (x - 160), y=38) for s in (-1, 1)),
        rod_x(24, x, x + 60, -10, height - 60, "light"),
    ]
    return assemble("radiator", parts, mount=Mount.WALL, has_front=True,
                    elevation=even(draws, 100, 160))  # fmt: skip


def _column_radiator(draws: Draws) -> Furniture:
    columns, height = draws.integer(10, 16), even(draws, 460, 640)
    step = 72
    width = columns * step
    parts: list[Part] = [
        rod_x(20, -width // 2 + 20, width // 2 - 20, 0, z, material=Material.PLAIN)
        for z in (60, height - 60)
    ]
    for column in range(columns):
        x = -width // 2 + step // 2 + column * step
        parts.append(slab(44, 120, 0, height, x=x))
    parts.append(rod_x(26, width // 2 - 20, width // 2 + 50, 0, height - 60, "light"))
    parts.append(slab(60, 28, height - 140, height - 80, "metal", y=70))
    return assemble("radiator", parts, mount=Mount.WALL, has_front=True,
                    elevation=even(draws, 100, 140))  # fmt: skip


def _portable_heater(draws: Draws) -> Furniture:
    width, height = even(draws, 720, 820), even(draws, 400, 480)
    x = width // 2
    parts = [
        slab(width, 90, 40, height, material=Material.SLATS),
        *(slab(40, 220, 0, 40, "dark", x=s * (x - 100)) for s in (-1, 1)),
        rod_x(24, x, x + 20, 0, height - 80, "dark"),
    ]
    return assemble("radiator", parts, has_front=True)


BUILDERS: dict[str, dict[str, Builder]] = {
    "refrigerator": {
        "two doors": _two_door_refrigerator,
        "side by side": _side_by_side_refrigerator,
        "small": _small_refrigerator,
    },
    "stove": {"gas": _gas_stove, "glass": _glass_stove},
    "washing machine": {"front": _front_loader, "top": _top_loader},
    "microwave": {"keys": _microwave, "dials": _dial_microwave},
    "kettle": {"electric": _electric_kettle, "stove": _stove_kettle},
    "fan": {"pedestal": _pedestal_fan, "tower": _tower_fan},
    "radiator": {
        "panel": _panel_radiator,
        "columns": _column_radiator,
        "portable": _portable_heater,
    },
}
