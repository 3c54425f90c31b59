"""Boxes, bins, baskets, suitcases, backpacks and coat racks."""

from __future__ import annotations

from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.rendering.materials import Material
from g2vlm_fast.data.rooms.furniture import open_containers, simple
from g2vlm_fast.data.rooms.furniture.joinery import even_steps
from g2vlm_fast.data.rooms.furniture.pieces import (
    Builder,
    Furniture,
    Mount,
    Part,
    around,
    assemble,
    ball,
    even,
    leaning,
    rod_x,
    slab,
    spoke,
    upright,
)
from g2vlm_fast.data.rooms.furniture.surfaces import open_above, whole_top


def _coat_stand(draws: Draws) -> Furniture:
    height = even(draws, 1700, 1800)
    parts: list[Part] = [upright(24, 20, height - 40, "main"), ball(40, 0, 0, height - 40)]
    for arm in range(4):
        angle = 45 + 90 * arm
        parts += [
            spoke(200, 44, 40, angle, 20, "main"),
            spoke(150, 20, 20, angle, height - 160, "metal"),
            ball(20, *around(160, angle), height - 150, "metal"),
        ]
    if draws.chance(0.6):
        coat = even(draws, 700, 900)
        parts += [
            slab(260, 100, height - 160 - coat, height - 260, "dark", x=110, y=90,
                 material=Material.FOLDS),
            slab(340, 80, height - 360, height - 210, "dark", x=110, y=90),
            slab(120, 60, height - 210, height - 150, "dark", x=110, y=90),
        ]  # fmt: skip
    return assemble("coat rack", parts)


def _coat_hooks(draws: Draws) -> Furniture:
    hooks = draws.integer(3, 4)
    step = even(draws, 120, 160)
    width = hooks * step
    parts: list[Part] = [
        slab(width, 24, 1180, 1300, y=68, material=Material.WOOD),
        slab(width, 160, 1300, 1324),
    ]
    coat = draws.integer(0, hooks - 1)
    for hook in range(hooks):
        x = -width // 2 + step // 2 + hook * step
        parts += [slab(20, 60, 1220, 1240, "metal", x=x, y=30), ball(16, x, 0, 1240, "metal")]
        if hook == coat:
            bottom = 1230 - even(draws, 800, 1100)
            parts += [
                slab(step - 60, 60, 1140, 1230, "dark", x=x, y=8),
                slab(step + 40, 80, 980, 1140, "dark", x=x, y=8, material=Material.FABRIC),
                slab(step, 100, bottom, 980, "dark", x=x, y=8, material=Material.FOLDS),
            ]
    return assemble("coat rack", parts, mount=Mount.WALL, has_front=True,
                    elevation=even(draws, 360, 460))  # fmt: skip


def _crate(draws: Draws) -> Furniture:
    width, depth = even(draws, 400, 560), even(draws, 300, 400)
    height = even(draws, 240, 340)
    x, y = width // 2, depth // 2
    parts: list[Part] = [slab(width - 20, depth - 20, 0, 24, "wood")]
    for z in even_steps(20, height, 3):
        top = z + height // 4 // 2 * 2
        parts += [
            *(slab(width, 20, z, top, x=0, y=s * (y - 10), material=Material.WOOD)
              for s in (-1, 1)),
            *(slab(20, depth - 40, z, top, x=s * (x - 10), material=Material.WOOD)
              for s in (-1, 1)),
        ]  # fmt: skip
    parts += [slab(30, 30, 0, height - 20, "wood", x=s * (x - 35), y=t * (y - 35))
              for s in (-1, 1) for t in (-1, 1)]  # fmt: skip
    inside = open_above(-x + 52, x - 52, -y + 52, y - 52, 24, height - 20)
    return assemble("box", parts, surfaces=[inside])


def _chest(draws: Draws) -> Furniture:
    width, depth, height = even(draws, 640, 960), even(draws, 400, 500), even(draws, 400, 520)
    x, y = width // 2, depth // 2
    lid = height - 100
    parts = [
        slab(width - 20, depth - 20, 0, lid, material=Material.WOOD),
        slab(width, depth, lid, height),
        slab(60, 16, lid - 60, lid + 20, "metal", y=-y + 2),
        *(slab(40, depth + 4, 0, lid - 10, "metal", x=s * (x - 140)) for s in (-1, 1)),
    ]
    return assemble("box", parts, surfaces=[whole_top((width, depth, height))])


def _pedal_bin(draws: Draws) -> Furniture:
    radius, height = even(draws, 130, 180), even(draws, 400, 700)
    parts = [
        upright(radius, 0, 30, "dark"),
        upright(radius - 6, 30, height - 40, material=Material.GRADIENT),
        upright(radius, height - 40, height - 16, "metal"),
        upright(radius - 20, height - 16, height, "metal"),
        slab(80, 40, 10, 26, "dark", y=-radius - 10),
    ]
    return assemble("bin", parts)


def _swing_bin(draws: Draws) -> Furniture:
    width, depth, height = even(draws, 260, 400), even(draws, 240, 320), even(draws, 480, 760)
    parts = [
        slab(width - 20, depth - 20, 0, height - 160, material=Material.GRADIENT),
        slab(width, depth, height - 160, height - 60),
        slab(width, depth - 80, height - 60, height, y=40),
        leaning(width - 60, 16, 120, 0, -depth // 2 + 4, height - 80, 34, "dark"),
    ]
    return assemble("bin", parts, has_front=True)


def _open_bin(draws: Draws) -> Furniture:
    width, depth, height = even(draws, 260, 360), even(draws, 200, 280), even(draws, 280, 400)
    x, y = width // 2, depth // 2
    parts = [
        slab(width - 20, depth - 20, 0, 20),
        *(slab(width, 16, 10, height, y=s * (y - 8)) for s in (-1, 1)),
        *(slab(16, depth - 32, 10, height, x=s * (x - 8)) for s in (-1, 1)),
        slab(width - 40, depth - 40, 20, 60, "light", material=Material.MOTTLED),
    ]
    inside = open_above(-x + 22, x - 22, -y + 22, y - 22, 60, height)
    return assemble("bin", parts, surfaces=[inside])


def _handled_basket(draws: Draws) -> Furniture:
    width, depth, bowl = even(draws, 320, 420), even(draws, 200, 280), even(draws, 120, 160)
    x, arch = width // 2, even(draws, 300, 340)
    parts = [
        slab(width - 40, depth - 40, 0, bowl, material=Material.SLATS),
        slab(width, depth, bowl, bowl + 24),
        slab(width - 48, depth - 48, bowl + 24, bowl + 40, "light", material=Material.MOTTLED),
        *(slab(20, 24, bowl, arch - 20, x=s * (x - 10)) for s in (-1, 1)),
        rod_x(12, -x, x, 0, arch - 12),
    ]
    return assemble("basket", parts, mount=Mount.TOP)


def _trolley_case(draws: Draws) -> Furniture:
    width, depth = even(draws, 420, 480), even(draws, 220, 280)
    body = even(draws, 460, 500)
    x, y = width // 2, depth // 2
    shell = Material.PANELS
    parts = [
        slab(width, depth - 20, 50, body + 50, y=-4, material=shell),
        slab(width + 6, 12, 46, body + 54, "dark", y=-4),
        slab(120, 20, body + 50, body + 74, "dark", y=-4),
        *(slab(16, 12, body + 40, body + 160, "metal", x=s * 70, y=y - 40) for s in (-1, 1)),
        slab(170, 24, body + 140, body + 164, "dark", y=y - 40),
        *(rod_x(30, s * (x - 60) - 20, s * (x - 60) + 20, t * (y - 60), 30, "dark")
          for s in (-1, 1) for t in (-1, 1)),
    ]  # fmt: skip
    return assemble("suitcase", parts, has_front=True)


def _old_suitcase(draws: Draws) -> Furniture:
    width, depth, height = even(draws, 480, 660), even(draws, 200, 240), even(draws, 360, 460)
    x = width // 2
    parts = [
        slab(width, depth, 0, height, material=Material.FABRIC),
        slab(width + 4, 8, 0, height + 2, "dark"),
        *(slab(40, depth + 8, 0, height + 4, "wood", x=s * (x - 100)) for s in (-1, 1)),
        *(slab(20, 24, height, height + 40, "dark", x=s * 70) for s in (-1, 1)),
        slab(160, 28, height + 40, height + 60, "dark"),
    ]
    return assemble("suitcase", parts)


def _school_backpack(draws: Draws) -> Furniture:
    width, depth, height = even(draws, 280, 340), even(draws, 180, 220), even(draws, 380, 480)
    y = depth // 2
    parts = [
        slab(width, depth, 0, height - 60, material=Material.FABRIC),
        slab(width - 40, depth - 30, height - 60, height, y=10, material=Material.FABRIC),
        slab(width - 60, 60, 20, height // 4 * 2, "dark", y=-y - 20, material=Material.FABRIC),
        slab(width - 90, 16, height // 4 * 2 - 30, height // 4 * 2 - 10, "metal", y=-y - 44),
        *(slab(40, 24, 60, height - 40, "dark", x=s * (width // 4), y=y + 8) for s in (-1, 1)),
        rod_x(12, -50, 50, 40, height + 6, "dark"),
    ]
    return assemble("backpack", parts, has_front=True)


def _duffel_backpack(draws: Draws) -> Furniture:
    radius, height = even(draws, 120, 160), even(draws, 380, 460)
    parts = [
        upright(radius, 0, height - 80, material=Material.FABRIC),
        upright(radius - 30, height - 80, height - 20, material=Material.FOLDS),
        ball(radius - 40, 0, 0, height - 30, "dark"),
        slab(160, 80, 40, 220, "dark", y=-radius - 10, material=Material.FABRIC),
        *(slab(40, 30, 40, height - 100, "dark", x=s * 80, y=radius - 16) for s in (-1, 1)),
    ]
    return assemble("backpack", parts, has_front=True)


BUILDERS: dict[str, dict[str, Builder]] = {
    "coat rack": {"stand": _coat_stand, "hooks": _coat_hooks},
    "box": {
        "large carton": simple.large_carton,
        "small carton": simple.small_carton,
        "open carton": open_containers.open_carton,
        "storage": open_containers.storage_box,
        "crate": _crate,
        "chest": _chest,
    },
    "bin": {
        "round": simple.waste_bin,
        "pedal": _pedal_bin,
        "swing": _swing_bin,
        "open": _open_bin,
    },
    "basket": {
        "laundry": open_containers.laundry_basket,
        "handled": _handled_basket,
        "grips": open_containers.shelf_basket,
    },
    "suitcase": {
        "trolley": _trolley_case,
        "old": _old_suitcase,
        "lid up": open_containers.open_suitcase,
    },
    "backpack": {"school": _school_backpack, "duffel": _duffel_backpack},
}
