"""Screens, computers, keyboards, printers and telephones."""

from __future__ import annotations

from dataclasses import replace

from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.rendering.materials import Material
from g2vlm_fast.data.rooms.furniture.pieces import (
    Builder,
    Furniture,
    Mount,
    Part,
    assemble,
    box,
    even,
    leaning,
    on_front,
    rod_x,
    rod_y,
    slab,
    upright,
)


def _screen(width: int, height: int, y: int, z: int, thick: int = 30) -> list[Part]:
    """A housing with its front at ``y`` and a picture area in it."""
    return [
        slab(width, thick, z, z + height, y=y + thick // 2),
        slab(width - 20, 4, z + 16, z + height - 10, "screen", y=y - 2),
    ]


def _monitor_on_foot(draws: Draws) -> Furniture:
    width, height = even(draws, 500, 620), even(draws, 300, 360)
    lift = even(draws, 100, 140)
    parts = [
        slab(even(draws, 200, 260), 180, 0, 16, "dark"),
        slab(60, 24, 16, lift + height // 4 * 2, "dark", y=40),
        slab(80, 30, lift + 100, lift + 180, "dark", y=14),
        *_screen(width, height, -30, lift),
    ]
    return assemble("monitor", parts, mount=Mount.TOP, has_front=True)


def _monitor_on_round_foot(draws: Draws) -> Furniture:
    width, height = even(draws, 460, 560), even(draws, 300, 340)
    lift = even(draws, 100, 160)
    parts = [
        upright(100, 0, 14),
        upright(20, 14, lift + 120, "metal", y=30),
        *_screen(width, height, -40, lift, 60),
    ]
    return assemble("monitor", parts, mount=Mount.TOP, has_front=True)


def _monitor_on_spread_legs(draws: Draws) -> Furniture:
    width, height = even(draws, 580, 680), even(draws, 360, 400)
    lift = even(draws, 80, 120)
    parts = [
        replace(slab(240, 30, 0, 16, "metal", x=80, y=-20), yaw=-25),
        replace(slab(240, 30, 0, 16, "metal", x=-80, y=-20), yaw=25),
        slab(50, 20, 8, lift + 160, "metal", y=30),
        *_screen(width, height, -20, lift, 40),
    ]
    return assemble("monitor", parts, mount=Mount.TOP, has_front=True)


def _full_keyboard(draws: Draws) -> Furniture:
    depth = even(draws, 132, 168, 4)
    parts = [
        slab(448, depth, 0, 18),
        slab(284, depth - 40, 18, 26, "dark", x=-70, y=-6, material=Material.KEYS),
        slab(56, depth - 40, 18, 26, "dark", x=108, y=-6, material=Material.KEYS),
        slab(72, depth - 40, 18, 26, "dark", x=180, y=-6, material=Material.KEYS),
        *(slab(40, 20, 0, 34, "dark", x=s * 200, y=depth // 2 - 10) for s in (-1, 1)),
    ]
    return assemble("keyboard", parts, mount=Mount.TOP, has_front=True)


def _flat_keyboard(draws: Draws) -> Furniture:
    width, depth = even(draws, 400, 440, 8), even(draws, 124, 148, 4)
    parts: list[Part] = [slab(width, depth, 0, 14)]
    rows = 5
    pitch = (depth - 20) // rows // 2 * 2
    for row in range(rows):
        y = -depth // 2 + 10 + pitch // 2 + row * pitch
        parts.append(slab(width - 20 - 8 * (row % 2), pitch - 4, 14, 20, "light", y=y,
                          material=Material.KEYS))  # fmt: skip
    return assemble("keyboard", parts, mount=Mount.TOP, has_front=True)


def _laptop(draws: Draws) -> Furniture:
    width, depth = even(draws, 300, 400, 4), even(draws, 232, 264, 4)
    y = depth // 2
    lid = leaning(width, 10, depth - 10, 0, y - 6, 12, draws.integer(14, 22))
    parts = [
        slab(width, depth, 0, 18, "metal"),
        slab(width - 40, depth // 2 - 10, 18, 20, "dark", y=depth // 8, material=Material.KEYS),
        slab(100, 60, 18, 20, "dark", y=-y + 50),
        lid,
        on_front(lid, width - 24, 4, 24, depth - 24, "screen"),
    ]
    return assemble("laptop", parts, mount=Mount.TOP, has_front=True)


def _closed_laptop(draws: Draws) -> Furniture:
    width, depth = even(draws, 300, 380, 4), even(draws, 232, 280, 4)
    parts = [
        slab(width - 4, depth - 4, 0, 16, "dark"),
        slab(width, depth, 16, 30),
        slab(40, 40, 30, 32, "metal"),
    ]
    return assemble("laptop", parts, mount=Mount.TOP, has_front=True)


def _tower_computer(draws: Draws) -> Furniture:
    width, depth, height = even(draws, 160, 220), even(draws, 400, 500), even(draws, 360, 460)
    y = depth // 2
    parts = [
        box(-width // 2, width // 2, -y + 20, y, 16, height),
        *(slab(40, 40, 0, 16, "dark", x=s * (width // 2 - 30), y=t * (y - 60))
          for s in (-1, 1) for t in (-1, 1)),
        slab(width, 20, 16, height, "dark", y=-y + 10),
        slab(width - 30, 8, height - 70, height - 30, "metal", y=-y),
        rod_y(16, -y - 6, -y, 0, height - 110, "glow"),
        slab(width - 40, 6, 60, height - 180, "main", y=-y, material=Material.SLATS),
    ]  # fmt: skip
    return assemble("computer", parts, has_front=True)


def _gaming_computer(draws: Draws) -> Furniture:
    width, depth, height = even(draws, 200, 240), even(draws, 420, 500), even(draws, 400, 480)
    y = depth // 2
    parts = [
        slab(width, depth, 20, height),
        slab(width - 40, depth - 40, 0, 20, "dark"),
        slab(8, depth - 60, 60, height - 40, "screen", x=width // 2),
        *(rod_y(70, -y - 8, -y, 0, z, "glow") for z in (120, height - 110)),
        *(rod_y(54, -y - 12, -y - 8, 0, z, "dark") for z in (120, height - 110)),
    ]
    return assemble("computer", parts, has_front=True)


def _desk_printer(draws: Draws) -> Furniture:
    width, depth, height = even(draws, 420, 520), even(draws, 320, 400), even(draws, 220, 320)
    y = depth // 2
    parts = [
        slab(width, depth, 0, height - 60),
        slab(width - 20, depth - 20, height - 60, height - 20, "light"),
        slab(width - 160, 160, height - 20, height, "dark", y=-y + 120),
        slab(width - 120, 120, 60, 76, "dark", y=-y - 40),
        slab(240, 110, 76, 80, "white", y=-y - 40),
        slab(140, 20, height - 90, height - 40, "screen", x=width // 4, y=-y),
        leaning(240, 10, 160, 0, y - 60, height - 30, 20, "white"),
    ]
    return assemble("printer", parts, mount=Mount.TOP, has_front=True)


def _office_printer(draws: Draws) -> Furniture:
    width, depth, height = even(draws, 480, 600), even(draws, 460, 500), even(draws, 480, 640)
    y = depth // 2
    parts = [
        slab(width, depth, 0, height - 180),
        slab(width - 60, depth - 100, height - 180, height - 100, "dark", y=40),
        slab(width, depth - 20, height - 100, height - 30, "light", y=10),
        slab(width - 40, depth - 80, height - 30, height, y=20),
        *(slab(width - 60, 12, z, z + 100, "light", y=-y - 4) for z in (20, 140)),
        *(slab(120, 12, z, z + 20, "dark", y=-y - 10) for z in (90, 210)),
        slab(160, 60, height - 90, height - 40, "screen", x=-width // 4, y=-y - 10),
    ]
    return assemble("printer", parts, mount=Mount.TOP, has_front=True)


def _television_on_feet(draws: Draws) -> Furniture:
    width = even(draws, 760, 1300)
    height = width * 9 // 16 // 4 * 4
    lift = 60
    parts = [
        *_screen(width, height, -20, lift, 40),
        slab(width // 8 * 4, 80, lift + 60, lift + height // 8 * 4, "dark", y=50),
        *(slab(40, 220, 0, 16, "dark", x=s * (width // 2 - 120)) for s in (-1, 1)),
        *(slab(40, 24, 16, lift + 20, "dark", x=s * (width // 2 - 120)) for s in (-1, 1)),
    ]
    return assemble("television", parts, mount=Mount.TOP, has_front=True)


def _television_on_wall(draws: Draws) -> Furniture:
    width = even(draws, 900, 1340)
    height = width * 9 // 16 // 4 * 4
    parts = [
        *_screen(width, height, -60, 0, 40),
        slab(width // 8 * 4, 60, height // 8 * 2, height // 8 * 6, "dark", y=10),
        slab(120, 40, height // 8 * 2 + 20, height // 8 * 4, "metal", y=50),
    ]
    return assemble("television", parts, mount=Mount.WALL, has_front=True,
                    elevation=even(draws, 900, 1160))  # fmt: skip


def _old_television(draws: Draws) -> Furniture:
    width, height = even(draws, 560, 700), even(draws, 460, 560)
    parts = [
        slab(width, 140, 20, height, y=-40),
        slab(width - 160, 120, 60, height - 60, "dark", y=90),
        slab(width - 60, 8, 100, height - 40, "screen", y=-112),
        *(slab(60, 180, 0, 20, "dark", x=s * (width // 2 - 80)) for s in (-1, 1)),
        slab(width - 200, 8, 40, 80, "metal", y=-112, material=Material.STRIPES),
    ]
    return assemble("television", parts, mount=Mount.TOP, has_front=True)


def _desk_telephone(draws: Draws) -> Furniture:
    width, depth = even(draws, 180, 220, 4), even(draws, 200, 240, 4)
    x = -width // 2 + 34
    parts = [
        slab(width, depth, 0, 36),
        slab(width, depth // 2, 36, 60, y=depth // 4),
        slab(width - 90, depth // 2 - 20, 36, 44, "light", x=38, y=-depth // 4,
             material=Material.KEYS),
        slab(width - 100, 60, 60, 64, "screen", x=38, y=depth // 4),
        slab(44, depth - 20, 74, 96, "dark", x=x),
        *(slab(48, 50, 34, 76, "dark", x=x, y=s * (depth // 2 - 40)) for s in (-1, 1)),
    ]  # fmt: skip
    return assemble("telephone", parts, mount=Mount.TOP, has_front=True)


def _classic_telephone(draws: Draws) -> Furniture:
    width = even(draws, 200, 240, 4)
    parts = [
        slab(width, 190, 0, 50),
        slab(width - 60, 120, 50, 90, y=20),
        replace(upright(60, 60, 78, "light", y=-50), tilt=30),
        *(slab(20, 40, 90, 116, x=s * 46, y=30) for s in (-1, 1)),
        rod_x(16, -90, 90, 30, 128),
        *(upright(30, 100, 136, x=s * 96, y=30) for s in (-1, 1)),
    ]
    return assemble("telephone", parts, mount=Mount.TOP, has_front=True)


def _cordless_telephone(draws: Draws) -> Furniture:
    height = even(draws, 160, 200)
    handset = leaning(50, 26, height, 0, 0, 30, 10, "dark")
    parts = [
        slab(140, 110, 0, 50),
        handset,
        on_front(handset, 34, 4, height - 60, height - 16, "glass"),
        on_front(handset, 38, 4, 50, height - 70, "metal", Material.KEYS),
    ]
    return assemble("telephone", parts, mount=Mount.TOP, has_front=True)


BUILDERS: dict[str, dict[str, Builder]] = {
    "monitor": {
        "square foot": _monitor_on_foot,
        "round foot": _monitor_on_round_foot,
        "spread legs": _monitor_on_spread_legs,
    },
    "keyboard": {"full": _full_keyboard, "flat": _flat_keyboard},
    "laptop": {"open": _laptop, "closed": _closed_laptop},
    "computer": {"tower": _tower_computer, "gaming": _gaming_computer},
    "printer": {"desk": _desk_printer, "office": _office_printer},
    "television": {
        "feet": _television_on_feet,
        "wall": _television_on_wall,
        "old": _old_television,
    },
    "telephone": {
        "desk": _desk_telephone,
        "classic": _classic_telephone,
        "cordless": _cordless_telephone,
    },
}
