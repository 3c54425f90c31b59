"""Doors, windows and curtains, which stand before the walls of a room."""

from __future__ import annotations

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
    rod_x,
    slab,
    upright,
)


def _door_frame(width: int, height: int) -> list[Part]:
    """Two posts and a lintel, 70 mm wide."""
    x = width // 2
    return [
        *(slab(70, 80, 0, height, "white", x=s * (x - 35)) for s in (-1, 1)),
        slab(width - 140, 80, height - 70, height, "white"),
    ]


def _handle(x: int, toward: int) -> list[Part]:
    return [
        slab(40, 8, 980, 1120, "metal", x=x, y=-20),
        slab(20, 44, 1050, 1070, "metal", x=x, y=-46),
        slab(120, 16, 1050, 1070, "metal", x=x + toward * 50, y=-66),
    ]


def _plain_door(draws: Draws) -> Furniture:
    width, height = even(draws, 840, 1060), even(draws, 2040, 2160)
    x = width // 2
    grip = draws.choice((-1, 1))
    leaf = Material.GRAIN if draws.chance(0.4) else Material.PLAIN
    parts = [
        *_door_frame(width, height),
        slab(width - 140, 40, 0, height - 70, material=leaf),
        *_handle(grip * (x - 130), -grip),
    ]
    return assemble("door", parts, mount=Mount.WALL, has_front=True)


def _panelled_door(draws: Draws) -> Furniture:
    width, height = even(draws, 840, 1000), even(draws, 2040, 2160)
    x = width // 2
    grip = draws.choice((-1, 1))
    panel = (width - 340) // 4 * 2
    parts = [*_door_frame(width, height), slab(width - 140, 40, 0, height - 70)]
    for z0, z1 in ((160, 820), (960, height - 200)):
        for side in (-1, 1):
            parts.append(slab(panel - 20, 12, z0, z1, x=side * (panel // 2 + 20), y=-22,
                              material=Material.GRADIENT))  # fmt: skip
    parts += _handle(grip * (x - 110), -grip)
    return assemble("door", parts, mount=Mount.WALL, has_front=True)


def _glazed_door(draws: Draws) -> Furniture:
    width, height = even(draws, 840, 1000), even(draws, 2040, 2160)
    x = width // 2
    grip = draws.choice((-1, 1))
    panes = draws.integer(2, 4)
    low, high = 440, height - 220
    parts = [
        *_door_frame(width, height),
        slab(width - 140, 40, 0, height - 70),
        slab(width - 380, 12, low, high, "glass", y=-22),
        *(slab(width - 380, 20, z, z + 30, y=-24)
          for z in range(low + (high - low) // panes // 2 * 2, high - 40,
                         (high - low) // panes // 2 * 2)),
        slab(30, 20, low, high, y=-24),
        *_handle(grip * (x - 130), -grip),
    ]  # fmt: skip
    return assemble("door", parts, mount=Mount.WALL, has_front=True)


def _double_door(draws: Draws) -> Furniture:
    width, height = even(draws, 1240, 1480), even(draws, 2040, 2200)
    leaf = (width - 140) // 4 * 2
    parts = [*_door_frame(width, height)]
    for side in (-1, 1):
        parts += [
            slab(leaf - 4, 40, 0, height - 70, x=side * leaf // 2),
            slab(leaf - 200, 12, 900, height - 260, "glass", x=side * leaf // 2, y=-22),
            slab(leaf - 200, 12, 160, 760, x=side * leaf // 2, y=-22, material=Material.GRADIENT),
            *_handle(side * 60, side),
        ]
    return assemble("door", parts, mount=Mount.WALL, has_front=True)


def _window_frame(width: int, height: int) -> list[Part]:
    x = width // 2
    return [
        *(slab(60, 100, 40, height, "white", x=s * (x - 30)) for s in (-1, 1)),
        slab(width - 120, 100, height - 60, height, "white"),
        slab(width - 120, 100, 40, 100, "white"),
        slab(width + 80, 200, 0, 40, y=-50),
    ]


def _casement_window(draws: Draws) -> Furniture:
    width, height = even(draws, 700, 1100), even(draws, 800, 1400)
    x = width // 2 - 60
    parts = [
        *_window_frame(width, height),
        slab(width - 160, 12, 120, height - 80, "glass", y=20),
        *(slab(50, 60, 100, height - 60, x=s * (x - 25)) for s in (-1, 1)),
        *(slab(2 * x - 100, 60, z, z + 50) for z in (100, height - 110)),
        slab(20, 30, height // 4 * 2, height // 4 * 2 + 120, "metal", x=x - 24, y=-44),
    ]
    return assemble("window", parts, mount=Mount.WALL, has_front=True,
                    elevation=min(even(draws, 800, 960), 2240 - height))  # fmt: skip


def _double_window(draws: Draws) -> Furniture:
    width, height = even(draws, 1200, 1800), even(draws, 900, 1400)
    x = width // 2 - 60
    parts = [
        *_window_frame(width, height),
        slab(width - 160, 12, 120, height - 80, "glass", y=20),
        slab(80, 80, 98, height - 58, "white"),
        *(slab(50, 60, 100, height - 60, x=s * (x - 25)) for s in (-1, 1)),
        *(slab(2 * x - 100, 60, z, z + 50) for z in (100, height - 110)),
        *(slab(20, 30, height // 4 * 2, height // 4 * 2 + 120, "metal", x=s * 24, y=-54)
          for s in (-1, 1)),
    ]  # fmt: skip
    return assemble("window", parts, mount=Mount.WALL, has_front=True,
                    elevation=min(even(draws, 800, 960), 2240 - height))  # fmt: skip


def _latticed_window(draws: Draws) -> Furniture:
    width, height = even(draws, 800, 1400), even(draws, 900, 1500)
    columns, rows = draws.integer(2, 4), draws.integer(2, 3)
    parts = [
        *_window_frame(width, height),
        slab(width - 120, 12, 100, height - 60, "glass", y=20),
    ]
    step = (width - 120) // columns // 2 * 2
    for column in range(1, columns):
        x = -(width - 120) // 2 + step * column
        parts.append(slab(30, 40, 100, height - 60, "white", x=x, y=4))
    rise = (height - 160) // rows // 2 * 2
    for row in range(1, rows):
        z = 100 + rise * row
        parts.append(slab(width - 120, 40, z - 14, z + 14, "white", y=2))
    return assemble("window", parts, mount=Mount.WALL, has_front=True,
                    elevation=min(even(draws, 800, 960), 2240 - height))  # fmt: skip


def _drapes(draws: Draws, sides: tuple[int, ...]) -> Furniture:
    width, height = even(draws, 1400, 2200), even(draws, 2060, 2240)
    drape = even(draws, 300, 480)
    x = width // 2
    parts = [
        rod_x(14, -x, x, 0, height - 30, "metal"),
        *(rod_x(24, s * x - 30, s * x + 30, 0, height - 30, "metal") for s in (-1, 1)),
        *(slab(24, 80, height - 50, height - 10, "metal", x=s * (x - 60), y=40) for s in (-1, 1)),
    ]
    for side in sides:
        middle = side * (x - drape // 2 - 40)
        parts.append(slab(drape, 60, 0, height - 20, x=middle, material=Material.FOLDS))
        for fold in range(4):
            offset = middle - drape // 2 + 40 + fold * ((drape - 80) // 3)
            parts.append(upright(36, 0, height - 24, x=offset, y=-16, material=Material.GRADIENT))
    return assemble("curtain", parts, mount=Mount.WALL, has_front=True,
                    elevation=even(draws, 20, 60))  # fmt: skip


def _blind(draws: Draws) -> Furniture:
    width, height = even(draws, 900, 1600), even(draws, 600, 1300)
    parts = [
        slab(width, 80, height - 70, height),
        slab(width - 40, 40, 40, height - 70, material=Material.SLATS),
        slab(width - 40, 50, 10, 40, "light"),
        upright(4, 120, height - 70, "light", x=width // 2 - 60, y=-24),
        upright(4, 120, height - 70, "light", x=-width // 2 + 60, y=-24),
    ]
    elevation = 2200 - height
    return assemble("curtain", parts, mount=Mount.WALL, has_front=True, elevation=elevation)


def _roller_blind(draws: Draws) -> Furniture:
    width, height = even(draws, 800, 1500), even(draws, 500, 1200)
    x = width // 2
    parts = [
        rod_x(36, -x, x, 0, height - 36, material=Material.FABRIC),
        box(-x + 20, x - 20, -40, -32, 20, height - 36, material=Material.FABRIC),
        rod_x(12, -x + 10, x - 10, -36, 12, "light"),
        *(slab(16, 60, height - 76, height, "metal", x=s * (x + 4), y=14) for s in (-1, 1)),
    ]
    return assemble("curtain", parts, mount=Mount.WALL, has_front=True, elevation=2200 - height)


BUILDERS: dict[str, dict[str, Builder]] = {
    "door": {
        "plain": _plain_door,
        "panelled": _panelled_door,
        "glazed": _glazed_door,
        "double": _double_door,
    },
    "window": {
        "casement": _casement_window,
        "double": _double_window,
        "lattice": _latticed_window,
    },
    "curtain": {
        "pair": lambda draws: _drapes(draws, (-1, 1)),
        "single": lambda draws: _drapes(draws, (-1,)),
        "slats": _blind,
        "roller": _roller_blind,
    },
}
