"""The ten plain pieces of simple rooms, which a small model learns to tell apart in minutes.

Their draws are part of the record of simple rooms: their number and order stay as they are.
Dimensions follow what furniture shops sell.
"""

from __future__ import annotations

from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.rendering.materials import Material
from g2vlm_fast.data.rooms.furniture.pieces import (
    Builder,
    Furniture,
    Mount,
    assemble,
    box,
    even,
    four_legs,
    upright,
)
from g2vlm_fast.data.rooms.furniture.surfaces import round_top, whole_top


def make_simple_furniture(class_name: str, draws: Draws, *, small: bool = False) -> Furniture:
    """Draw a piece for a simple room.

    Args:
        class_name: one of ``ontology.SIMPLE_CLASSES``.
        draws: source of randomness.
        small: True for a lamp or a box that stands on other furniture.

    Raises:
        ValueError: a class that is not simple, or that has no small form.
    """
    builders = _SMALL_BUILDERS if small else _BUILDERS
    if class_name not in builders:
        kind = "small" if small else "simple"
        raise ValueError(
            f"make_simple_furniture: only {tuple(builders)} are {kind}, got {class_name!r}"
        )
    return builders[class_name](draws)


def _table(draws: Draws) -> Furniture:
    height = even(draws, 700, 760)
    return round_table(draws, height) if draws.chance(0.25) else rectangular_table(draws, height)


def round_table(draws: Draws, height: int) -> Furniture:
    """A round top on a column."""
    radius = even(draws, 400, 560)
    parts = [
        upright(radius, height - 40, height),
        upright(60, 40, height - 40, "metal"),
        upright(radius // 2, 0, 40, "metal"),
    ]
    return assemble("table", parts, surfaces=[round_top(radius, height)])


def rectangular_table(draws: Draws, height: int) -> Furniture:
    """A rectangular top on four legs."""
    width, depth = even(draws, 1000, 1700), even(draws, 640, 900)
    x, y = width // 2, depth // 2
    top = box(-x, x, -y, y, height - 40, height, material=Material.WOOD)
    legs = four_legs(width - 40, depth - 40, height - 40, 60, "main")
    return assemble("table", (top, *legs), surfaces=[whole_top((width, depth, height))])


def chair(draws: Draws) -> Furniture:
    """A seat on four legs with an upright back."""
    width, depth = even(draws, 420, 500), even(draws, 440, 520)
    return four_legged_chair(width, depth, even(draws, 430, 470), even(draws, 840, 980))


def four_legged_chair(width: int, depth: int, seat: int, height: int) -> Furniture:
    """A seat on four legs with an upright back, of a given size."""
    x, y = width // 2, depth // 2
    parts = [
        box(-x, x, -y, y, seat - 60, seat),
        *four_legs(width, depth, seat - 60, 40, "wood"),
        box(-x, x, y - 40, y, seat, height),
    ]
    return assemble("chair", parts, has_front=True)


def stool(draws: Draws) -> Furniture:
    radius, height = even(draws, 160, 200), even(draws, 440, 660)
    inset = 2 * round(radius * 0.66 / 2) * 2
    parts = [
        upright(radius, height - 60, height),
        *four_legs(inset, inset, height - 60, 40, "metal"),
        upright(inset // 2, 140, 160, "metal"),
    ]
    return assemble("stool", parts)


def sofa(draws: Draws) -> Furniture:
    width, depth = even(draws, 1560, 2200), even(draws, 820, 960)
    height, arm = even(draws, 760, 860), even(draws, 140, 220)
    x, y, inner = width // 2, depth // 2, width // 2 - arm
    parts = [
        box(-inner, inner, -y + 40, y - 200, 60, 300),
        box(-inner + 6, -6, -y, y - 200, 300, 440, material=Material.GRADIENT),
        box(6, inner - 6, -y, y - 200, 300, 440, material=Material.GRADIENT),
        box(-inner, inner, y - 200, y, 60, height),
        box(-x, -inner, -y + 20, y, 60, 620),
        box(inner, x, -y + 20, y, 60, 620),
        *four_legs(width - 80, depth - 80, 60, 60, "dark"),
    ]
    return assemble("sofa", parts, has_front=True)


def bed(draws: Draws) -> Furniture:
    width, depth = even(draws, 1000, 1800), even(draws, 2000, 2120)
    head, mattress = even(draws, 880, 1080), even(draws, 480, 580)
    x, y = width // 2, depth // 2
    pillow = width // 2 - 120 if width >= 1400 else width - 300
    middles = (-width // 4, width // 4) if width >= 1400 else (0,)
    parts = [
        box(-x, x, y - 60, y, 0, head, "wood", Material.WOOD),
        box(-x, x, -y, y - 60, 80, 280, "wood", Material.WOOD),
        *four_legs(width - 40, depth - 160, 80, 80, "wood"),
        box(-x + 20, x - 20, -y + 20, y - 60, 280, mattress - 40, "light"),
        box(-x + 10, x - 10, -y + 10, y - 620, 300, mattress, material=Material.STRIPES),
        *(
            box(
                m - pillow // 2,
                m + pillow // 2,
                y - 520,
                y - 120,
                mattress - 40,
                mattress + 80,
                "light",
            )
            for m in middles
        ),
    ]
    return assemble("bed", parts, has_front=True)


def cabinet(draws: Draws) -> Furniture:
    width, depth = even(draws, 800, 1300), even(draws, 400, 500)
    height = even(draws, 720, 1060)
    x, y, front = width // 2, depth // 2, -depth // 2 + 40
    parts = [
        box(-x + 20, x - 20, front + 20, y - 20, 0, 80, "dark"),
        box(-x, x, front, y, 80, height, material=Material.GRADIENT),
        box(-x + 20, -10, front - 20, front, 110, height - 30),
        box(10, x - 20, front - 20, front, 110, height - 30),
        box(-60, -40, front - 40, front - 20, height - 300, height - 120, "metal"),
        box(40, 60, front - 40, front - 20, height - 300, height - 120, "metal"),
    ]
    return assemble("cabinet", parts, surfaces=[whole_top((width, depth, height))], has_front=True)


def shelf(draws: Draws) -> Furniture:
    width, depth = even(draws, 700, 1100), even(draws, 280, 360)
    height, boards = even(draws, 1500, 2000), draws.integer(4, 5)
    x, y = width // 2, depth // 2
    parts = [
        box(-x, -x + 40, -y, y, 0, height),
        box(x - 40, x, -y, y, 0, height),
        box(-x + 40, x - 40, y - 20, y, 0, height, material=Material.GRADIENT),
    ]
    for board in range(boards + 1):
        bottom = 60 + (height - 100) * board // boards
        bottom -= bottom % 2
        parts.append(box(-x + 40, x - 40, -y, y - 20, bottom, bottom + 40))
        if board < boards and draws.chance(0.7):
            x0, x1 = -x + 40, -x + 40 + 2 * draws.integer(80, (width - 120) // 2)
            z0, z1 = bottom + 40, bottom + 40 + 2 * draws.integer(80, 120)
            role = draws.choice(("wood", "light", "dark"))
            parts.append(box(x0, x1, -y + 60, y - 20, z0, z1, role, Material.STRIPES))
    return assemble("shelf", parts, has_front=True)


def _lamp(height: int, shade: int, rise: int, mount: Mount) -> Furniture:
    parts = (
        upright(shade * 3 // 5, 0, 30, "dark"),
        upright(max(shade // 12, 14), 30, height - rise, "dark"),
        upright(shade, height - rise, height, material=Material.GRADIENT),
    )
    return assemble("lamp", parts, mount=mount)


def floor_lamp(draws: Draws) -> Furniture:
    return _lamp(even(draws, 1360, 1680), even(draws, 180, 240), 280, Mount.FLOOR)


def table_lamp(draws: Draws) -> Furniture:
    return _lamp(even(draws, 420, 580), even(draws, 120, 160), 200, Mount.TOP)


def _carton(width: int, depth: int, height: int, mount: Mount) -> Furniture:
    x, y = width // 2, depth // 2
    parts = (
        box(-x, x, -y, y, 0, height - 10),
        box(-20, 20, -y, y, height - 10, height, "light"),
        box(-x, -20, -y, y, height - 10, height),
        box(20, x, -y, y, height - 10, height),
    )
    return assemble("box", parts, mount=mount)


def large_carton(draws: Draws) -> Furniture:
    width, depth, height = even(draws, 380, 620), even(draws, 320, 480), even(draws, 260, 460)
    return _carton(width, depth, height, Mount.FLOOR)


def small_carton(draws: Draws) -> Furniture:
    width, depth, height = even(draws, 260, 400), even(draws, 220, 320), even(draws, 160, 280)
    return _carton(width, depth, height, Mount.TOP)


def waste_bin(draws: Draws) -> Furniture:
    radius, height = even(draws, 140, 200), even(draws, 340, 520)
    parts = (
        upright(radius - 10, 0, height - 40, material=Material.GRADIENT),
        upright(radius, height - 40, height - 4),
        upright(radius - 20, height - 4, height, "dark"),
    )
    return assemble("bin", parts)


_BUILDERS: dict[str, Builder] = {
    "table": _table,
    "chair": chair,
    "sofa": sofa,
    "bed": bed,
    "cabinet": cabinet,
    "shelf": shelf,
    "lamp": floor_lamp,
    "box": large_carton,
    "stool": stool,
    "bin": waste_bin,
}

_SMALL_BUILDERS: dict[str, Builder] = {"lamp": table_lamp, "box": small_carton}

SMALL_CLASSES: tuple[str, ...] = tuple(_SMALL_BUILDERS)
"""Simple classes that have a small form, which stands on other furniture."""
