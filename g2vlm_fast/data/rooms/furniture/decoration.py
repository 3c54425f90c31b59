"""Pictures, whiteboards, clocks, plants, vases, rugs and pianos."""

from __future__ import annotations

from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.rendering.materials import Material
from g2vlm_fast.data.rooms.furniture.pieces import (
    Builder,
    Furniture,
    Mount,
    Part,
    around,
    assemble,
    ball,
    box,
    even,
    four_legs,
    leaning,
    needle,
    rod_y,
    slab,
    stalk,
    upright,
)
from g2vlm_fast.data.rooms.furniture.surfaces import Surface


def _framed(width: int, height: int, bar: int, x: int = 0, z: int = 0) -> list[Part]:
    half = width // 2
    return [
        slab(width - 2 * bar, 20, z + bar, z + height - bar, "art", x=x, y=10,
             material=Material.PAINTING),
        *(slab(bar, 40, z, z + height, x=x + s * (half - bar // 2)) for s in (-1, 1)),
        *(slab(width - 2 * bar, 40, z + w, z + w + bar, x=x) for w in (0, height - bar)),
    ]  # fmt: skip


def _picture(draws: Draws) -> Furniture:
    width, height = even(draws, 400, 1000), even(draws, 360, 760)
    parts = _framed(width, height, even(draws, 20, 60))
    return assemble("picture", parts, mount=Mount.WALL, has_front=True,
                    elevation=even(draws, 1300, 1500))  # fmt: skip


def _picture_with_mount(draws: Draws) -> Furniture:
    width, height = even(draws, 360, 600), even(draws, 460, 760)
    bar = 20
    parts = [
        *_framed(width, height, bar)[1:],
        slab(width - 2 * bar, 16, bar, height - bar, "white", y=12),
        slab(width - 180, 12, 100, height - 100, "art", y=6, material=Material.PAINTING),
    ]
    return assemble("picture", parts, mount=Mount.WALL, has_front=True,
                    elevation=even(draws, 1300, 1460))  # fmt: skip


def _canvas(draws: Draws) -> Furniture:
    width, height = even(draws, 500, 1200), even(draws, 400, 700)
    parts = [
        slab(width - 40, 20, 20, height - 20, "wood", y=20),
        slab(width, 24, 0, height, material=Material.PAINTING),
    ]
    return assemble("picture", parts, mount=Mount.WALL, has_front=True,
                    elevation=even(draws, 1300, 1460))  # fmt: skip


def _whiteboard_on_wall(draws: Draws) -> Furniture:
    width, height = even(draws, 1000, 2300), even(draws, 800, 1260)
    x = width // 2
    parts = [
        slab(width - 40, 24, 20, height - 20, "white", y=8),
        *(slab(20, 30, 0, height, x=s * (x - 10), y=5) for s in (-1, 1)),
        *(slab(width - 40, 30, z, z + 20, y=5) for z in (0, height - 20)),
        slab(width // 2, 60, 0, 14, "metal", y=-40),
        *(slab(120, 14, 14, 28, role, x=dx, y=-50)
          for role, dx in (("dark", -60), ("main", 120))),
    ]  # fmt: skip
    return assemble("whiteboard", parts, mount=Mount.WALL, has_front=True,
                    elevation=even(draws, 840, 960))  # fmt: skip


def _whiteboard_on_stand(draws: Draws) -> Furniture:
    width = even(draws, 1000, 1500)
    x = width // 2
    low, high = 860, 1960
    parts = [
        slab(width, 20, low, high, "white"),
        *(slab(30, 30, low - 20, high + 20, x=s * (x - 5)) for s in (-1, 1)),
        slab(width - 40, 70, low - 14, low, y=-30),
        *(slab(40, 40, 60, low, "metal", x=s * (x - 5)) for s in (-1, 1)),
        *(slab(50, 380, 40, 80, "metal", x=s * (x - 5)) for s in (-1, 1)),
        *(ball(24, s * (x - 5), t * 170, 24, "dark") for s in (-1, 1) for t in (-1, 1)),
        slab(width - 50, 30, 300, 330, "metal"),
    ]
    return assemble("whiteboard", parts, has_front=True)


def _round_clock(draws: Draws) -> Furniture:
    radius = even(draws, 130, 220, 10)
    hour, minute = draws.integer(0, 11), 5 * draws.integer(0, 11)
    parts = [
        rod_y(radius, 0, 40, 0, radius),
        rod_y(radius - 20, -4, 0, 0, radius, "white"),
        *(slab(8, 4, z, z + 24, "dark", y=-4) for z in (30, 2 * radius - 54)),
        *(slab(24, 4, radius - 4, radius + 4, "dark", x=s * (radius - 42), y=-4)
          for s in (-1, 1)),
        needle(radius // 2, 14, 4, (30 * hour + minute // 2) % 360, 0, -6, radius, "dark"),
        needle(radius * 3 // 4, 8, 4, 6 * minute, 0, -8, radius, "dark"),
        rod_y(12, -12, -4, 0, radius, "metal"),
    ]  # fmt: skip
    return assemble("clock", parts, mount=Mount.WALL, has_front=True,
                    elevation=even(draws, 1700, 1900))  # fmt: skip


def _square_clock(draws: Draws) -> Furniture:
    side = even(draws, 260, 400)
    hour, minute = draws.integer(0, 11), 5 * draws.integer(0, 11)
    middle = side // 2
    parts = [
        slab(side, 40, 0, side, y=20),
        slab(side - 40, 4, 20, side - 20, "white", y=-2),
        needle(middle // 2, 14, 4, (30 * hour + minute // 2) % 360, 0, -6, middle, "dark"),
        needle(middle * 3 // 4, 8, 4, 6 * minute, 0, -8, middle, "dark"),
        rod_y(12, -12, -4, 0, middle, "metal"),
    ]
    return assemble("clock", parts, mount=Mount.WALL, has_front=True,
                    elevation=even(draws, 1700, 1900))  # fmt: skip


def _pot(draws: Draws, radius: int, height: int) -> list[Part]:
    role = draws.choice(("clay", "white", "dark", "metal"))
    return [
        upright(radius - 16, 0, height - 30, role, material=Material.GRADIENT),
        upright(radius, height - 30, height, role),
        upright(radius - 14, height, height + 4, "soil"),
    ]


def _bush(draws: Draws) -> Furniture:
    radius, pot = even(draws, 80, 120, 4), even(draws, 120, 200)
    leaf = even(draws, 70, 110, 4)
    leaves = draws.integer(5, 8)
    first = draws.integer(0, 59)
    parts = [*_pot(draws, radius, pot), ball(leaf, 0, 0, pot + leaf + 30, "main", Material.MOTTLED)]
    for index in range(leaves):
        x, y = (2 * c for c in around(leaf * 0.35, first + 360 * index // leaves))
        size = leaf * draws.integer(60, 85) // 200 * 2
        z = pot + leaf + draws.integer(-leaf // 3, leaf * 2 // 3)
        parts.append(ball(size, x, y, z, "main", Material.MOTTLED))
    parts.append(upright(20, pot, pot + leaf, "wood"))
    return assemble("plant", parts, mount=Mount.TOP)


def _tree(draws: Draws) -> Furniture:
    radius, pot = even(draws, 130, 180, 10), even(draws, 240, 320)
    trunk, leaf = even(draws, 420, 640), even(draws, 140, 180, 4)
    top = pot + trunk
    parts = [*_pot(draws, radius, pot), upright(24, pot, top, "wood")]
    first = draws.integer(0, 71)
    parts.append(ball(leaf, 0, 0, top + leaf // 2, "main", Material.MOTTLED))
    for index in range(draws.integer(5, 8)):
        x, y = (2 * c for c in around(leaf * 0.35, first + 72 * index))
        size = leaf * draws.integer(55, 80) // 200 * 2
        z = top + draws.integer(-leaf // 2, leaf)
        parts.append(ball(size, x, y, z, "main", Material.MOTTLED))
    return assemble("plant", parts)


def _snake_plant(draws: Draws) -> Furniture:
    radius, pot = even(draws, 90, 130, 10), even(draws, 160, 260)
    blades = draws.integer(6, 9)
    parts = _pot(draws, radius, pot)
    for index in range(blades):
        angle = 360 * index // blades + draws.integer(0, 20)
        size = (50, 10, even(draws, 240, 480))
        lean = draws.integer(4, 16)
        parts.append(stalk(size, angle, radius * 0.35, pot - 20, lean, material=Material.MOTTLED))
    return assemble("plant", parts)


def _cactus(draws: Draws) -> Furniture:
    radius, height = even(draws, 60, 80, 2), even(draws, 120, 220)
    pot = 80
    parts = [
        *_pot(draws, radius, pot),
        upright(28, pot, pot + height, "main", material=Material.STRIPES),
        ball(28, 0, 0, pot + height, "main"),
    ]
    for side in (-1, 1):
        z = pot + even(draws, 40, height - 60, 4)
        parts += [
            slab(50, 24, z, z + 24, "main", x=side * 46),
            upright(18, z, z + 70, "main", x=side * 68),
            ball(18, side * 68, 0, z + 70, "main"),
        ]
    return assemble("plant", parts, mount=Mount.TOP)


def _round_vase(draws: Draws) -> Furniture:
    belly = even(draws, 60, 100, 4)
    neck = even(draws, 40, 100, 4)
    parts = [
        upright(belly - 20, 0, 20),
        ball(belly, 0, 0, belly + 8, material=Material.GRADIENT),
        upright(belly // 2, 2 * belly - 12, 2 * belly + neck),
        upright(belly // 2 + 12, 2 * belly + neck, 2 * belly + neck + 12),
        upright(belly // 2, 2 * belly + neck + 12, 2 * belly + neck + 14, "dark"),
    ]
    return assemble("vase", parts, mount=Mount.TOP)


def _vase_with_flowers(draws: Draws) -> Furniture:
    radius, height = even(draws, 44, 64, 4), even(draws, 180, 260)
    flowers = draws.integer(3, 5)
    first = draws.integer(0, 71)
    parts: list[Part] = [
        upright(radius + 10, 0, 16),
        upright(radius, 16, height, material=Material.GRADIENT),
        upright(radius - 8, height, height + 2, "dark"),
    ]
    for index in range(flowers):
        angle, lean = first + 360 * index // flowers, draws.integer(6, 18)
        stem = stalk((8, 8, even(draws, 160, 260)), angle, radius / 4, height - 20, lean, "leaf")
        foot = (*around(radius / 4, angle), height - 20)
        x, y, z = (2 * c - f for c, f in zip(stem.center, foot, strict=True))
        look = draws.choice(("main", "light", "glow"))
        parts += [stem, ball(even(draws, 24, 40, 4), x, y, z, look)]
    return assemble("vase", parts, mount=Mount.TOP)


def _tall_vase(draws: Draws) -> Furniture:
    radius, height = even(draws, 110, 150, 10), even(draws, 440, 680)
    parts = [
        upright(radius - 40, 0, 30),
        upright(radius - 20, 30, height // 4 * 2),
        upright(radius, height // 4, height * 3 // 4 // 2 * 2 + (height // 4) % 2),
        upright(radius - 40, height // 4 * 2, height - 20),
        upright(radius - 24, height - 20, height),
        upright(radius - 40, height, height + 2, "dark"),
    ]
    return assemble("vase", parts)


def _rug(draws: Draws) -> Furniture:
    width, depth = even(draws, 1400, 2600), even(draws, 900, 1800)
    border = even(draws, 60, 160)
    look = draws.choice((Material.CARPET, Material.CHECKER, Material.STRIPES, Material.MARBLE))
    parts = [
        slab(width, depth, 0, 8, material=Material.CARPET),
        slab(width - 2 * border, depth - 2 * border, 8, 12, "light", material=look),
    ]
    if draws.chance(0.5):
        inner = border + 120
        parts.append(slab(width - 2 * inner, depth - 2 * inner, 12, 14, material=Material.CARPET))
    return assemble("rug", parts)


def _round_rug(draws: Draws) -> Furniture:
    radius = even(draws, 600, 1000)
    rings = draws.integer(2, 4)
    parts = [
        upright(radius - radius * ring // rings // 2 * 2, 4 * ring, 4 * ring + 4 * (ring == 0) + 4,
                "main" if ring % 2 == 0 else "light", material=Material.CARPET)
        for ring in range(rings)
    ]  # fmt: skip
    return assemble("rug", parts)


def _upright_piano(draws: Draws) -> Furniture:
    width, height = even(draws, 1440, 1520), even(draws, 1080, 1240)
    x = width // 2
    parts = [
        box(-x, x, -40, 300, 100, height - 30),
        box(-x, x, -60, 300, height - 30, height),
        box(-x, x, -40, 300, 0, 100, "dark"),
        box(-x, x, -300, -40, 600, 660),
        *(slab(60, 60, 0, 600, x=s * (x - 30), y=-270) for s in (-1, 1)),
        *(slab(60, 260, 660, 760, x=s * (x - 30), y=-170) for s in (-1, 1)),
        slab(width - 140, 150, 660, 680, "white", y=-200, material=Material.STRIPES),
        slab(width - 140, 90, 680, 690, "dark", y=-150, material=Material.STRIPES),
        slab(width - 140, 60, 660, 760, y=-60),
        leaning(600, 16, 240, 0, -76, 780, 8, "wood"),
        *(slab(40, 100, 40, 56, "metal", x=dx, y=-80) for dx in (-80, 0, 80)),
    ]
    top = Surface(-x, x, -60, 300, height)
    return assemble("piano", parts, surfaces=[top], has_front=True)


def _grand_piano(draws: Draws) -> Furniture:
    width, length = even(draws, 1440, 1520), even(draws, 1500, 1800)
    x, y = width // 2, length // 2
    low, high = 620, 940
    tail = even(draws, 360, 440)
    parts = [
        slab(width, 240, low, low + 100, y=-y + 120),
        slab(width, 560, low, high, y=-y + 520),
        *(slab(80, 240, low + 100, low + 220, x=s * (x - 40), y=-y + 120) for s in (-1, 1)),
        slab(width - 160, 150, low + 100, low + 120, "white", y=-y + 80,
             material=Material.STRIPES),
        slab(width - 160, 90, low + 120, low + 132, "dark", y=-y + 120,
             material=Material.STRIPES),
        box(-x, x - 300, -y + 800, y - tail, low, high),
        upright(tail, low, high, x=-x + tail, y=y - tail),
        *(upright(50, 40, low, x=dx, y=dy)
          for dx, dy in ((-x + 120, -y + 300), (x - 120, -y + 300), (-x + tail, y - tail))),
        *(ball(40, dx, dy, 40, "metal")
          for dx, dy in ((-x + 120, -y + 300), (x - 120, -y + 300), (-x + tail, y - tail))),
        slab(160, 40, 100, low, y=-y + 420),
        slab(200, 140, 60, 100, "metal", y=-y + 370),
        leaning(640, 16, 240, 0, -y + 300, high - 6, 12),
    ]  # fmt: skip
    return assemble("piano", parts, has_front=True)


def _digital_piano(draws: Draws) -> Furniture:
    width, depth = even(draws, 1300, 1400), even(draws, 380, 440)
    x = width // 2
    parts = [
        slab(width, depth, 600, 720),
        slab(width - 120, 150, 720, 732, "white", y=-depth // 2 + 90, material=Material.STRIPES),
        slab(width - 120, 90, 732, 740, "dark", y=-depth // 2 + 120, material=Material.STRIPES),
        *(slab(40, depth - 60, 0, 600, x=s * (x - 60)) for s in (-1, 1)),
        slab(width - 160, 30, 200, 560, y=60),
        leaning(560, 12, 220, 0, depth // 2 - 80, 710, 10, "wood"),
        *four_legs(200, 120, 30, 30, "metal"),
        slab(200, 160, 30, 60, "metal", y=20),
        slab(60, 60, 40, 220, "main", y=60),
    ]
    return assemble("piano", parts, has_front=True)


BUILDERS: dict[str, dict[str, Builder]] = {
    "picture": {"framed": _picture, "mounted": _picture_with_mount, "canvas": _canvas},
    "whiteboard": {"wall": _whiteboard_on_wall, "stand": _whiteboard_on_stand},
    "clock": {"round": _round_clock, "square": _square_clock},
    "plant": {"bush": _bush, "tree": _tree, "snake": _snake_plant, "cactus": _cactus},
    "vase": {"round": _round_vase, "flowers": _vase_with_flowers, "tall": _tall_vase},
    "rug": {"rectangular": _rug, "round": _round_rug},
    "piano": {
        "upright": _upright_piano,
        "grand": _grand_piano,
        "digital": _digital_piano,
    },
}
