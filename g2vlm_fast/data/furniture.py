"""Furniture from boxes and cylinders, in integer millimetres.

A piece stands on z = 0 around the origin of its own frame: x is its width, y its depth, z up,
and its front faces negative y. Dimensions follow what furniture shops sell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.materials import Material
from g2vlm_fast.data.primitives import Shape
from g2vlm_fast.ontology import CLASSES

Triple = tuple[int, int, int]

ROLE_COLORS: dict[str, tuple[float, float, float]] = {
    "wood": (0.55, 0.40, 0.25),
    "dark": (0.16, 0.16, 0.17),
    "light": (0.86, 0.85, 0.80),
    "metal": (0.58, 0.59, 0.61),
}
"""Colours of parts that do not carry the colour of their object; the role "main" does."""


@dataclass(frozen=True)
class Part:
    """A box or cylinder of a piece of furniture, in its frame, in millimetres."""

    shape: Shape
    center: Triple
    size: Triple  # full extents
    role: str = "main"
    material: Material = Material.PLAIN


@dataclass(frozen=True)
class Furniture:
    """A piece of furniture before it is placed."""

    class_name: str
    size: Triple  # millimetres, of the box around it
    parts: tuple[Part, ...]
    carries: bool = False  # small things can stand on its top


def make_furniture(class_name: str, draws: Draws, *, small: bool = False) -> Furniture:
    """Draw a piece of furniture.

    Args:
        class_name: one of ``ontology.CLASSES``.
        draws: source of randomness.
        small: True for a lamp or a box that stands on other furniture.

    Raises:
        ValueError: a class that is unknown, or that has no small form.
    """
    if class_name not in CLASSES:
        raise ValueError(f"make_furniture: class_name must be one of {CLASSES}, got {class_name!r}")
    if not small:
        return _BUILDERS[class_name](draws)
    if class_name not in SMALL_CLASSES:
        raise ValueError(f"make_furniture: only {SMALL_CLASSES} are small, got {class_name!r}")
    return _SMALL_BUILDERS[class_name](draws)


def _box(x0: int, x1: int, y0: int, y1: int, z0: int, z1: int, role: str = "main",
         material: Material = Material.PLAIN) -> Part:  # fmt: skip
    center = ((x0 + x1) // 2, (y0 + y1) // 2, (z0 + z1) // 2)
    return Part(Shape.BOX, center, (x1 - x0, y1 - y0, z1 - z0), role, material)


def _upright(radius: int, z0: int, z1: int, role: str = "main", x: int = 0, y: int = 0,
             material: Material = Material.PLAIN) -> Part:  # fmt: skip
    size = (2 * radius, 2 * radius, z1 - z0)
    return Part(Shape.CYLINDER, (x, y, (z0 + z1) // 2), size, role, material)


def _legs(width: int, depth: int, height: int, thick: int, role: str) -> list[Part]:
    x, y = width // 2, depth // 2
    return [
        _box(x0, x0 + thick, y0, y0 + thick, 0, height, role)
        for x0 in (-x, x - thick)
        for y0 in (-y, y - thick)
    ]


def _even(draws: Draws, low: int, high: int) -> int:
    """Draw a multiple of 20 mm, so that halves stay whole."""
    return 20 * draws.integer(low // 20, high // 20)


def _table(draws: Draws) -> Furniture:
    height = _even(draws, 700, 760)
    if draws.chance(0.25):
        radius = _even(draws, 400, 560)
        parts = [
            _upright(radius, height - 40, height),
            _upright(60, 40, height - 40, "metal"),
            _upright(radius // 2, 0, 40, "metal"),
        ]
        return Furniture("table", (2 * radius, 2 * radius, height), tuple(parts), carries=True)
    width, depth = _even(draws, 1000, 1700), _even(draws, 640, 900)
    x, y = width // 2, depth // 2
    top = _box(-x, x, -y, y, height - 40, height, material=Material.WOOD)
    legs = _legs(width - 40, depth - 40, height - 40, 60, "main")
    return Furniture("table", (width, depth, height), (top, *legs), carries=True)


def _chair(draws: Draws) -> Furniture:
    width, depth = _even(draws, 420, 500), _even(draws, 440, 520)
    seat, height = _even(draws, 430, 470), _even(draws, 840, 980)
    x, y = width // 2, depth // 2
    parts = [
        _box(-x, x, -y, y, seat - 60, seat),
        *_legs(width, depth, seat - 60, 40, "wood"),
        _box(-x, x, y - 40, y, seat, height),
    ]
    return Furniture("chair", (width, depth, height), tuple(parts))


def _stool(draws: Draws) -> Furniture:
    radius, height = _even(draws, 160, 200), _even(draws, 440, 660)
    inset = 2 * round(radius * 0.66 / 2) * 2
    parts = [
        _upright(radius, height - 60, height),
        *_legs(inset, inset, height - 60, 40, "metal"),
        _upright(inset // 2, 140, 160, "metal"),
    ]
    return Furniture("stool", (2 * radius, 2 * radius, height), tuple(parts))


def _sofa(draws: Draws) -> Furniture:
    width, depth = _even(draws, 1560, 2200), _even(draws, 820, 960)
    height, arm = _even(draws, 760, 860), _even(draws, 140, 220)
    x, y, inner = width // 2, depth // 2, width // 2 - arm
    parts = [
        _box(-inner, inner, -y + 40, y - 200, 60, 300),
        _box(-inner + 6, -6, -y, y - 200, 300, 440, material=Material.GRADIENT),
        _box(6, inner - 6, -y, y - 200, 300, 440, material=Material.GRADIENT),
        _box(-inner, inner, y - 200, y, 60, height),
        _box(-x, -inner, -y + 20, y, 60, 620),
        _box(inner, x, -y + 20, y, 60, 620),
        *_legs(width - 80, depth - 80, 60, 60, "dark"),
    ]
    return Furniture("sofa", (width, depth, height), tuple(parts))


def _bed(draws: Draws) -> Furniture:
    width, depth = _even(draws, 1000, 1800), _even(draws, 2000, 2120)
    head, mattress = _even(draws, 880, 1080), _even(draws, 480, 580)
    x, y = width // 2, depth // 2
    pillow = width // 2 - 120 if width >= 1400 else width - 300
    middles = (-width // 4, width // 4) if width >= 1400 else (0,)
    parts = [
        _box(-x, x, y - 60, y, 0, head, "wood", Material.WOOD),
        _box(-x, x, -y, y - 60, 80, 280, "wood", Material.WOOD),
        *_legs(width - 40, depth - 160, 80, 80, "wood"),
        _box(-x + 20, x - 20, -y + 20, y - 60, 280, mattress - 40, "light"),
        _box(-x + 10, x - 10, -y + 10, y - 620, 300, mattress, material=Material.STRIPES),
        *(
            _box(
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
    return Furniture("bed", (width, depth, head), tuple(parts))


def _cabinet(draws: Draws) -> Furniture:
    width, depth = _even(draws, 800, 1300), _even(draws, 400, 500)
    height = _even(draws, 720, 1060)
    x, y, front = width // 2, depth // 2, -depth // 2 + 40
    parts = [
        _box(-x + 20, x - 20, front + 20, y - 20, 0, 80, "dark"),
        _box(-x, x, front, y, 80, height, material=Material.GRADIENT),
        _box(-x + 20, -10, front - 20, front, 110, height - 30),
        _box(10, x - 20, front - 20, front, 110, height - 30),
        _box(-60, -40, front - 40, front - 20, height - 300, height - 120, "metal"),
        _box(40, 60, front - 40, front - 20, height - 300, height - 120, "metal"),
    ]
    return Furniture("cabinet", (width, depth, height), tuple(parts), carries=True)


def _shelf(draws: Draws) -> Furniture:
    width, depth = _even(draws, 700, 1100), _even(draws, 280, 360)
    height, boards = _even(draws, 1500, 2000), draws.integer(4, 5)
    x, y = width // 2, depth // 2
    parts = [
        _box(-x, -x + 40, -y, y, 0, height),
        _box(x - 40, x, -y, y, 0, height),
        _box(-x + 40, x - 40, y - 20, y, 0, height, material=Material.GRADIENT),
    ]
    for board in range(boards + 1):
        bottom = 60 + (height - 100) * board // boards
        bottom -= bottom % 2
        parts.append(_box(-x + 40, x - 40, -y, y - 20, bottom, bottom + 40))
        if board < boards and draws.chance(0.7):
            x0, x1 = -x + 40, -x + 40 + 2 * draws.integer(80, (width - 120) // 2)
            z0, z1 = bottom + 40, bottom + 40 + 2 * draws.integer(80, 120)
            role = draws.choice(("wood", "light", "dark"))
            parts.append(_box(x0, x1, -y + 60, y - 20, z0, z1, role, Material.STRIPES))
    return Furniture("shelf", (width, depth, height), tuple(parts))


def _lamp_of(draws: Draws, height: int, shade: int, rise: int) -> Furniture:
    parts = (
        _upright(shade * 3 // 5, 0, 30, "dark"),
        _upright(max(shade // 12, 14), 30, height - rise, "dark"),
        _upright(shade, height - rise, height, material=Material.GRADIENT),
    )
    return Furniture("lamp", (2 * shade, 2 * shade, height), parts)


def _floor_lamp(draws: Draws) -> Furniture:
    return _lamp_of(draws, _even(draws, 1360, 1680), _even(draws, 180, 240), 280)


def _table_lamp(draws: Draws) -> Furniture:
    return _lamp_of(draws, _even(draws, 420, 580), _even(draws, 120, 160), 200)


def _carton(width: int, depth: int, height: int) -> Furniture:
    x, y = width // 2, depth // 2
    parts = (
        _box(-x, x, -y, y, 0, height - 10),
        _box(-20, 20, -y, y, height - 10, height, "light"),
        _box(-x, -20, -y, y, height - 10, height),
        _box(20, x, -y, y, height - 10, height),
    )
    return Furniture("box", (width, depth, height), parts)


def _floor_box(draws: Draws) -> Furniture:
    return _carton(_even(draws, 380, 620), _even(draws, 320, 480), _even(draws, 260, 460))


def _small_box(draws: Draws) -> Furniture:
    return _carton(_even(draws, 260, 400), _even(draws, 220, 320), _even(draws, 160, 280))


def _bin(draws: Draws) -> Furniture:
    radius, height = _even(draws, 140, 200), _even(draws, 340, 520)
    parts = (
        _upright(radius - 10, 0, height - 40, material=Material.GRADIENT),
        _upright(radius, height - 40, height - 4),
        _upright(radius - 20, height - 4, height, "dark"),
    )
    return Furniture("bin", (2 * radius, 2 * radius, height), parts)


_BUILDERS: dict[str, Callable[[Draws], Furniture]] = {
    "table": _table,
    "chair": _chair,
    "sofa": _sofa,
    "bed": _bed,
    "cabinet": _cabinet,
    "shelf": _shelf,
    "lamp": _floor_lamp,
    "box": _floor_box,
    "stool": _stool,
    "bin": _bin,
}

_SMALL_BUILDERS: dict[str, Callable[[Draws], Furniture]] = {"lamp": _table_lamp, "box": _small_box}

SMALL_CLASSES: tuple[str, ...] = tuple(_SMALL_BUILDERS)
"""Classes that have a small form, which stands on other furniture."""
