"""Lamps that stand and lights that hang."""

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
    even,
    leaning,
    rod_x,
    slab,
    stalk,
    upright,
)


def _floor_lamp(draws: Draws) -> Furniture:
    height, shade = even(draws, 1400, 1700), even(draws, 140, 170, 10)
    parts = [
        upright(shade - 20, 0, 24, "dark"),
        upright(14, 24, height - 200, "dark"),
        upright(shade, height - 260, height, material=Material.GRADIENT),
        upright(shade - 24, height, height + 4, "glow"),
    ]
    return assemble("lamp", parts)


def _tripod_lamp(draws: Draws) -> Furniture:
    height, shade = even(draws, 1360, 1560), even(draws, 140, 170, 10)
    legs = [stalk((30, 30, height - 290), angle, 150, 0, -6, "wood") for angle in (30, 150, 270)]
    parts = [
        *legs,
        upright(40, height - 360, height - 300, "metal"),
        upright(14, height - 300, height - 200, "metal"),
        upright(shade, height - 260, height, material=Material.GRADIENT),
    ]
    return assemble("lamp", parts)


def _table_lamp(draws: Draws) -> Furniture:
    height, shade = even(draws, 400, 560), even(draws, 120, 160, 10)
    belly = even(draws, 60, 80, 4)
    parts = [
        upright(belly + 10, 0, 20, "main"),
        ball(belly, 0, 0, belly + 10, "main"),
        upright(14, belly, height - 180, "metal"),
        upright(shade, height - 200, height, "light", material=Material.GRADIENT),
    ]
    return assemble("lamp", parts, mount=Mount.TOP)


def _column_lamp(draws: Draws) -> Furniture:
    height, shade = even(draws, 380, 540), even(draws, 120, 150, 10)
    parts = [
        upright(shade - 50, 0, 20, "dark"),
        upright(20, 20, height - 180, "dark"),
        upright(shade, height - 200, height, material=Material.GRADIENT),
    ]
    return assemble("lamp", parts, mount=Mount.TOP)


def _desk_lamp(draws: Draws) -> Furniture:
    lower, lean, reach = even(draws, 260, 320), draws.integer(14, 20), even(draws, 200, 240)
    elbow_y, elbow_z = lower * 3 // 10, lower * 19 // 20
    head = (elbow_z + reach * 4 // 10) // 2 * 2
    parts = [
        upright(90, 0, 24),
        leaning(24, 24, lower, 0, 0, 16, lean, "metal"),
        ball(24, 0, elbow_y, elbow_z + 10, "dark"),
        leaning(24, 24, reach, 0, elbow_y, elbow_z + 10, -66, "metal"),
        upright(64, head - 40, head + 20, y=elbow_y - reach + 20, material=Material.GRADIENT),
        upright(56, head - 44, head - 40, "glow", y=elbow_y - reach + 20),
    ]
    return assemble("lamp", parts, mount=Mount.TOP, has_front=True)


def _globe_lamp(draws: Draws) -> Furniture:
    radius, stem = even(draws, 110, 150, 10), even(draws, 60, 200)
    parts = [
        upright(radius - 30, 0, 20),
        upright(20, 20, stem + 20),
        ball(radius, 0, 0, stem + radius, "glow"),
    ]
    return assemble("lamp", parts, mount=Mount.TOP)


def _pendant(draws: Draws) -> Furniture:
    radius, drop = even(draws, 150, 280, 10), even(draws, 180, 240)
    shade = even(draws, 100, 120)
    parts = [
        upright(50, shade + drop - 20, shade + drop, "white"),
        upright(8, shade, shade + drop - 20, "dark"),
        upright(radius, 20, shade, material=Material.GRADIENT),
        upright(radius - 20, 10, 20, "glow"),
        upright(40, shade, shade + 20, "dark"),
    ]
    return assemble("ceiling light", parts, mount=Mount.CEILING)


def _dome(draws: Draws) -> Furniture:
    radius = even(draws, 140, 280, 10)
    parts = [
        upright(radius, 70, 110),
        upright(radius - 20, 30, 70, "glow"),
        upright(radius - 70, 10, 30, "glow"),
        upright(20, 0, 10, "metal"),
    ]
    return assemble("ceiling light", parts, mount=Mount.CEILING)


def _panel(draws: Draws) -> Furniture:
    width, depth = even(draws, 560, 1240), even(draws, 240, 600)
    parts = [
        slab(width, depth, 40, 100),
        *(slab(30, depth, 0, 40, x=s * (width // 2 - 15)) for s in (-1, 1)),
        *(slab(width - 60, 30, 0, 40, y=s * (depth // 2 - 15)) for s in (-1, 1)),
        slab(width - 60, depth - 60, 10, 40, "glow"),
    ]
    return assemble("ceiling light", parts, mount=Mount.CEILING)


def _tubes(draws: Draws) -> Furniture:
    width = even(draws, 900, 1500)
    x = width // 2
    parts = [
        slab(width, 180, 60, 110),
        *(rod_x(18, -x + 40, x - 40, s * 50, 36, "glow") for s in (-1, 1)),
        *(slab(40, 180, 10, 60, x=s * (x - 20)) for s in (-1, 1)),
    ]
    return assemble("ceiling light", parts, mount=Mount.CEILING)


def _spots(draws: Draws) -> Furniture:
    count = draws.integer(3, 4)
    step = even(draws, 200, 280)
    width = count * step
    parts: list[Part] = [slab(width, 60, 170, 200)]
    for index in range(count):
        x = -width // 2 + step // 2 + index * step
        tilt = draws.choice((-25, -15, 15, 25))
        parts += [
            upright(10, 100, 170, "metal", x=x),
            Part(
                upright(46, 0, 120).shape, (x, 0, 70), (96, 96, 120), "main",
                Material.GRADIENT, tilt=tilt,
            ),
        ]  # fmt: skip
    parts.append(slab(40, 160, 180, 200))
    return assemble("ceiling light", parts, mount=Mount.CEILING)


BUILDERS: dict[str, dict[str, Builder]] = {
    "lamp": {
        "floor": _floor_lamp,
        "tripod": _tripod_lamp,
        "table": _table_lamp,
        "column": _column_lamp,
        "desk": _desk_lamp,
        "globe": _globe_lamp,
    },
    "ceiling light": {
        "pendant": _pendant,
        "dome": _dome,
        "panel": _panel,
        "tubes": _tubes,
        "spots": _spots,
    },
}
