"""Beds and what lies on them."""

from __future__ import annotations

from dataclasses import replace

from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.rendering.materials import Material
from g2vlm_fast.data.rooms.furniture.joinery import drawer_fronts
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
    rod_x,
    rod_y,
    slab,
)
from g2vlm_fast.data.rooms.furniture.surfaces import Surface


def _bedding(width: int, y0: int, y1: int, z: int, draws: Draws) -> list[Part]:
    """Mattress, blanket and pillows between the foot ``y0`` and the head ``y1``."""
    x, top = width // 2, z + even(draws, 160, 220)
    pillows = (-width // 4, width // 4) if width >= 1300 else (0,)
    pillow = (width // 2 - 100 if width >= 1300 else width - 260) // 4 * 4
    cloth = draws.choice((Material.STRIPES, Material.FABRIC, Material.PLAIN, Material.CHECKER))
    fold = y1 - even(draws, 560, 700)
    parts = [
        box(-x, x, y0, y1, z, top, "light"),
        box(-x - 10, x + 10, y0 - 10, fold, z + 40, top + 30, material=cloth),
        box(-x - 6, x + 6, fold, fold + 120, top - 60, top + 40, "light"),
    ]
    for middle in pillows:
        parts += [
            slab(pillow, 360, top - 20, top + 100, "white", x=middle, y=y1 - 230),
            slab(pillow - 80, 280, top + 100, top + 130, "white", x=middle, y=y1 - 230),
        ]
    return parts


def _made_up(frame: list[Part], bedding: list[Part]) -> Furniture:
    """A bed whose blanket carries things."""
    blanket = bedding[1]
    x, y = blanket.size[0] // 2 - 30, blanket.size[1] // 2 - 30
    top = blanket.center[2] + blanket.size[2] // 2
    middle = blanket.center[1]
    place = Surface(-x, x, middle - y, middle + y, top)
    return assemble("bed", [*frame, *bedding], surfaces=[place], has_front=True)


def _headboard_bed(draws: Draws) -> Furniture:
    width, length = even(draws, 1000, 1840), even(draws, 2080, 2200)
    head = even(draws, 880, 1120)
    x, y = width // 2, length // 2
    parts = [
        box(-x, x, y - 70, y, 0, head, "wood", Material.WOOD),
        box(-x, x, -y + 10, y - 70, 100, 300, "wood", Material.WOOD),
        *four_legs(width - 40, length - 160, 100, 80, "wood"),
    ]
    return _made_up(parts, _bedding(width - 40, -y + 10, y - 70, 300, draws))


def _slatted_bed(draws: Draws) -> Furniture:
    width, length = even(draws, 1000, 1640), even(draws, 2080, 2200)
    head = even(draws, 900, 1060)
    x, y = width // 2, length // 2
    bars = draws.integer(4, 6)
    step = (width - 160) // bars // 2 * 2
    parts = [
        *(box(s * x - 40 * (s > 0), s * x + 40 * (s < 0), y - 60, y, 0, head, "main")
          for s in (-1, 1)),
        *(box(s * x - 40 * (s > 0), s * x + 40 * (s < 0), -y, -y + 60, 0, 560, "main")
          for s in (-1, 1)),
        box(-x + 40, x - 40, y - 50, y - 10, head - 120, head - 20),
        box(-x + 40, x - 40, -y + 10, -y + 50, 300, 540),
        *(slab(30, 30, 300, head - 120, x=-(bars - 1) * step // 2 + index * step, y=y - 30)
          for index in range(bars)),
        box(-x + 10, x - 10, -y + 60, y - 60, 200, 320, material=Material.WOOD),
    ]  # fmt: skip
    return _made_up(parts, _bedding(width - 60, -y + 70, y - 60, 320, draws))


def _storage_bed(draws: Draws) -> Furniture:
    width, length = even(draws, 1400, 1900), even(draws, 2060, 2160)
    head = even(draws, 900, 1100)
    x, y = width // 2, length // 2
    cloth = Material.FABRIC
    parts = [
        box(-x, x, y - 120, y, 0, head, material=cloth),
        box(-x, x, -y + 40, y - 120, 40, 320, material=cloth),
        box(-x + 60, x - 60, -y + 80, y - 120, 0, 40, "dark"),
        *drawer_fronts(-x + 20, 0, -y + 40, [60], 300, "wood"),
        *drawer_fronts(0, x - 20, -y + 40, [60], 300, "wood"),
    ]
    return _made_up(parts, _bedding(width - 60, -y + 50, y - 120, 320, draws))


def _daybed(draws: Draws) -> Furniture:
    width, length = even(draws, 1000, 1100), even(draws, 2060, 2140)
    height = even(draws, 700, 860)
    x, y = width // 2, length // 2
    parts = [
        box(-x, x, y - 40, y, 0, height, material=Material.PANELS),
        box(-x, x, -y, -y + 44, 0, height - 160, material=Material.PANELS),
        box(x - 40, x, -y + 44, y - 40, 0, height - 160, material=Material.PANELS),
        box(-x + 10, x - 40, -y + 40, y - 40, 120, 280, "wood", Material.WOOD),
    ]
    return _made_up(parts, _bedding(width - 80, -y + 50, y - 40, 280, draws))


def _flat_pillow(draws: Draws) -> Furniture:
    width, depth = even(draws, 480, 720), even(draws, 360, 480)
    height = even(draws, 120, 160)
    return assemble("pillow", _cushion(width, depth, height), mount=Mount.TOP)


def _cushion(width: int, depth: int, height: int) -> list[Part]:
    """A slab that is round along its edges and at its corners."""
    radius = height // 2
    x, y = width // 2 - radius, depth // 2 - radius
    return [
        box(-x, x, -y, y, 0, 2 * radius, material=Material.FABRIC),
        *(rod_x(radius, -x, x, edge, radius, material=Material.FABRIC) for edge in (-y, y)),
        *(rod_y(radius, -y, y, edge, radius, material=Material.FABRIC) for edge in (-x, x)),
        *(
            ball(radius, *corner, radius, material=Material.FABRIC)
            for corner in ((-x, -y), (x, -y), (-x, y), (x, y))
        ),
    ]


def _square_cushion(draws: Draws) -> Furniture:
    side = even(draws, 400, 500)
    return assemble("pillow", _cushion(side, side, even(draws, 100, 140)), mount=Mount.TOP)


def _standing_cushion(draws: Draws) -> Furniture:
    side, lean = even(draws, 400, 460), draws.integer(15, 25)
    seam = leaning(side, 30, side, 0, 0, 20, lean, material=Material.FABRIC)
    parts = [
        seam,
        *(
            replace(seam, size=(side - inset, thick, side - inset))
            for inset, thick in ((20, 80), (76, 120))
        ),
    ]
    return assemble("pillow", parts, mount=Mount.TOP, has_front=True)


def _bolster(draws: Draws) -> Furniture:
    radius, length = even(draws, 80, 120, 4), even(draws, 480, 800)
    x = length // 2
    parts = [
        rod_x(radius, -x + 20, x - 20, 0, radius, material=Material.FABRIC),
        rod_x(radius - 30, -x, x, 0, radius, "light"),
    ]
    return assemble("pillow", parts, mount=Mount.TOP)


BUILDERS: dict[str, dict[str, Builder]] = {
    "bed": {
        "headboard": _headboard_bed,
        "slatted": _slatted_bed,
        "storage": _storage_bed,
        "daybed": _daybed,
    },
    "pillow": {
        "flat": _flat_pillow,
        "square": _square_cushion,
        "standing": _standing_cushion,
        "bolster": _bolster,
    },
}
