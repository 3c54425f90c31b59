"""What a piece of furniture is, and the parts that it is put together from.

The frame of a piece: the centre of its footprint at x = y = 0, its bottom at z = 0, x its width,
y its depth, z up; its front faces negative y. All lengths are whole millimetres.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.rendering.materials import Material
from g2vlm_fast.data.rendering.primitives import Shape
from g2vlm_fast.data.rooms.furniture.surfaces import Cavity, Surface
from g2vlm_fast.data.rooms.turns import cosine_sine, rotation_of

Triple = tuple[int, int, int]

ROLE_COLORS: dict[str, tuple[float, float, float]] = {
    "wood": (0.55, 0.40, 0.25),
    "dark": (0.16, 0.16, 0.17),
    "light": (0.86, 0.85, 0.80),
    "metal": (0.58, 0.59, 0.61),
    "white": (0.93, 0.93, 0.92),
    "glass": (0.66, 0.78, 0.86),
    "screen": (0.07, 0.08, 0.11),
    "leaf": (0.24, 0.46, 0.20),
    "clay": (0.66, 0.38, 0.26),
    "soil": (0.24, 0.17, 0.12),
    "glow": (0.98, 0.93, 0.76),
    "art": (0.72, 0.66, 0.58),
    "water": (0.62, 0.76, 0.82),
}
"""Colours of parts that do not carry the colour of their object; the role "main" does."""


class Mount(StrEnum):
    """What a piece stands on or hangs from."""

    FLOOR = "floor"
    WALL = "wall"  # its back, at positive y, touches a wall
    TOP = "top"  # stands on a surface of another piece
    CEILING = "ceiling"  # its top touches the ceiling


@dataclass(frozen=True)
class Part:
    """A box, cylinder or sphere of a piece of furniture, in its frame, in millimetres.

    A part is tilted about its own x axis, then turned about z, then moved to its centre; a
    cylinder with tilt 90 lies along y, one with yaw 90 and tilt 90 along x.
    """

    shape: Shape
    center: Triple
    size: Triple  # full extents before it is tilted and turned
    role: str = "main"
    material: Material = Material.PLAIN
    yaw: int = 0  # degrees
    tilt: int = 0  # degrees

    def reach(self) -> tuple[float, float, float]:
        """Half the extents of the axis-aligned box around the part, in millimetres."""
        half = [side / 2 for side in self.size]
        if self.shape == Shape.BOX:
            rows = rotation_of(self.yaw, self.tilt)
            return _triple(sum(abs(row[i]) * half[i] for i in range(3)) for row in rows)
        if self.shape == Shape.CYLINDER:
            axis = [row[2] for row in rotation_of(self.yaw, self.tilt)]
            return _triple(
                half[0] * math.sqrt(max(0.0, 1 - along * along)) + half[2] * abs(along)
                for along in axis
            )
        if self.shape == Shape.SPHERE:
            return half[0], half[0], half[0]
        raise ValueError(f"Part: furniture has boxes, cylinders and spheres, got {self.shape!r}")


@dataclass(frozen=True)
class Furniture:
    """A piece of furniture before it is placed."""

    class_name: str
    size: Triple  # millimetres, of the box around it
    parts: tuple[Part, ...]
    mount: Mount = Mount.FLOOR
    surfaces: tuple[Surface, ...] = ()
    has_front: bool = False  # left and right of it are told from its own front
    elevation: int = 0  # millimetres of its bottom above the floor, for what hangs on a wall
    variant: str = ""  # name of its shape within the class

    @property
    def carries(self) -> bool:
        """Whether smaller things can stand on it."""
        return bool(self.surfaces)

    @property
    def tops(self) -> tuple[Surface, ...]:
        """The surfaces that things stand on."""
        return tuple(place for place in self.surfaces if not isinstance(place, Cavity))

    @property
    def cavities(self) -> tuple[Cavity, ...]:
        """The hollows that things are in."""
        return tuple(place for place in self.surfaces if isinstance(place, Cavity))


Builder = Callable[[Draws], Furniture]


def even(draws: Draws, low: int, high: int, step: int = 20) -> int:
    """Draw a multiple of ``step`` millimetres; those of 20 have whole even quarters."""
    return step * draws.integer(low // step, high // step)


def box(x0: int, x1: int, y0: int, y1: int, z0: int, z1: int, role: str = "main",
        material: Material = Material.PLAIN) -> Part:  # fmt: skip
    """A box between two corners."""
    center = (_middle(x0, x1, "box"), _middle(y0, y1, "box"), _middle(z0, z1, "box"))
    return Part(Shape.BOX, center, (x1 - x0, y1 - y0, z1 - z0), role, material)


def slab(width: int, depth: int, z0: int, z1: int, role: str = "main", *, x: int = 0, y: int = 0,
         material: Material = Material.PLAIN) -> Part:  # fmt: skip
    """A box from z0 to z1 over a footprint centred at x, y."""
    center = (x, y, _middle(z0, z1, "slab"))
    return Part(Shape.BOX, center, (width, depth, z1 - z0), role, material)


def upright(radius: int, z0: int, z1: int, role: str = "main", x: int = 0, y: int = 0,
            material: Material = Material.PLAIN) -> Part:  # fmt: skip
    """An upright cylinder from z0 to z1."""
    size = (2 * radius, 2 * radius, z1 - z0)
    return Part(Shape.CYLINDER, (x, y, _middle(z0, z1, "upright")), size, role, material)


def rod_x(radius: int, x0: int, x1: int, y: int, z: int, role: str = "main",
          material: Material = Material.PLAIN) -> Part:  # fmt: skip
    """A cylinder along x from x0 to x1."""
    size = (2 * radius, 2 * radius, x1 - x0)
    center = (_middle(x0, x1, "rod_x"), y, z)
    return Part(Shape.CYLINDER, center, size, role, material, yaw=90, tilt=90)


def rod_y(radius: int, y0: int, y1: int, x: int, z: int, role: str = "main",
          material: Material = Material.PLAIN) -> Part:  # fmt: skip
    """A cylinder along y from y0 to y1; a thin one is an upright disc."""
    size = (2 * radius, 2 * radius, y1 - y0)
    center = (x, _middle(y0, y1, "rod_y"), z)
    return Part(Shape.CYLINDER, center, size, role, material, tilt=90)


def leaning(width: int, thick: int, length: int, x: int, y: int, z: int, lean: int,
            role: str = "main", material: Material = Material.PLAIN) -> Part:  # fmt: skip
    """A board that stands with the middle of its lower edge at x, y, z and leans back.

    ``lean`` are degrees from upright towards positive y; a negative one leans forward.
    """
    cosine, sine = cosine_sine(lean)
    center = (x, y + round(sine * length / 2), z + round(cosine * length / 2))
    return Part(Shape.BOX, center, (width, thick, length), role, material, tilt=-lean)


def spoke(length: int, wide: int, thick: int, angle: int, z: int, role: str = "main", *,
          start: int = 0) -> Part:  # fmt: skip
    """A level bar that runs outwards from the axis, ``start`` to ``start + length`` from it."""
    center = (*around(start + length / 2, angle), z)
    return Part(Shape.BOX, center, (length, wide, thick), role, yaw=angle)


def stalk(size: Triple, angle: int, radius: float, z: int, lean: int, role: str = "main",
          material: Material = Material.PLAIN) -> Part:  # fmt: skip
    """A bar that rises from a point at a distance from the axis and leans away from the axis.

    With a negative ``lean`` it is a leg that spreads towards its foot.
    """
    cosine, sine = cosine_sine(lean)
    x, y = around(radius + sine * size[2] / 2, angle)
    center = (x, y, z + round(cosine * size[2] / 2))
    return Part(Shape.BOX, center, size, role, material, yaw=(angle - 90) % 360, tilt=-lean)


def on_front(board: Part, width: int, thick: int, z0: int, z1: int, role: str,
             material: Material = Material.PLAIN) -> Part:  # fmt: skip
    """A plate half sunk into the front of a board, from z0 to z1 along it from its lower edge."""
    rows = rotation_of(board.yaw, board.tilt)
    local = (0.0, -board.size[1] / 2, (z0 + z1 - board.size[2]) / 2)
    center = _triple(
        middle + round(sum(row[i] * local[i] for i in range(3)))
        for middle, row in zip(board.center, rows, strict=True)
    )
    size = (width, thick, z1 - z0)
    return replace(board, center=center, size=size, role=role, material=material)


def needle(length: int, wide: int, thick: int, turn: int, x: int, y: int, z: int,
           role: str = "main") -> Part:  # fmt: skip
    """A bar in an upright plane of one y, from x, z on, ``turn`` degrees clockwise from up."""
    cosine, sine = cosine_sine(turn)
    center = (x + round(sine * length / 2), y, z + round(cosine * length / 2))
    return Part(Shape.BOX, center, (thick, wide, length), role, yaw=90, tilt=turn)


def around(radius: float, angle: int) -> tuple[int, int]:
    """The point at a distance from the axis, ``angle`` degrees from x towards y."""
    cosine, sine = cosine_sine(angle)
    return round(radius * cosine), round(radius * sine)


def ball(radius: int, x: int, y: int, z: int, role: str = "main",
         material: Material = Material.PLAIN) -> Part:  # fmt: skip
    """A sphere around a point."""
    return Part(Shape.SPHERE, (x, y, z), (2 * radius, 2 * radius, 2 * radius), role, material)


def walls_around(width: int, depth: int, thick: int, z0: int, z1: int, role: str = "main",
                 material: Material = Material.PLAIN) -> list[Part]:  # fmt: skip
    """The four sides of an open box of an outer footprint, from z0 to z1."""
    x, y = width // 2, depth // 2
    return [
        *(box(-x, x, y0, y0 + thick, z0, z1, role, material) for y0 in (-y, y - thick)),
        *(box(x0, x0 + thick, thick - y, y - thick, z0, z1, role, material)
          for x0 in (-x, x - thick)),
    ]  # fmt: skip


def four_legs(width: int, depth: int, height: int, thick: int, role: str) -> list[Part]:
    """Square legs at the corners of a footprint."""
    x, y = width // 2, depth // 2
    return [
        box(x0, x0 + thick, y0, y0 + thick, 0, height, role)
        for x0 in (-x, x - thick)
        for y0 in (-y, y - thick)
    ]


def assemble(
    class_name: str,
    parts: Iterable[Part],
    *,
    mount: Mount = Mount.FLOOR,
    surfaces: Iterable[Surface] = (),
    has_front: bool = False,
    elevation: int = 0,
) -> Furniture:
    """Put parts together: move them into the frame of the piece and bound them.

    Where turned parts bound the piece, the box around it is rounded up to whole millimetres, even
    ones across; such a part may end up to 1 mm below the bottom, so that what stands touches.
    """
    parts = tuple(parts)
    reaches = [part.reach() for part in parts]
    low = [min(p.center[i] - r[i] for p, r in zip(parts, reaches, strict=True)) for i in range(3)]
    high = [max(p.center[i] + r[i] for p, r in zip(parts, reaches, strict=True)) for i in range(3)]
    shift = (
        -round((low[0] + high[0]) / 2),
        -round((low[1] + high[1]) / 2),
        -math.ceil(low[2] - _ROUNDING),
    )
    half_width, half_depth = (
        math.ceil(max(-(low[i] + shift[i]), high[i] + shift[i]) - _ROUNDING) for i in range(2)
    )
    size = (2 * half_width, 2 * half_depth, math.ceil(high[2] + shift[2] - _ROUNDING))
    moved = tuple(
        replace(part, center=_triple(c + s for c, s in zip(part.center, shift, strict=True)))
        for part in parts
    )
    places = tuple(
        replace(
            place, x0=place.x0 + shift[0], x1=place.x1 + shift[0], y0=place.y0 + shift[1],
            y1=place.y1 + shift[1], z=place.z + shift[2],
        )
        for place in surfaces
    )  # fmt: skip
    return Furniture(class_name, size, moved, mount, places, has_front, elevation)


_ROUNDING = 1e-6  # millimetres; sines are rounded to 12 digits


def _middle(low: int, high: int, maker: str) -> int:
    if (low + high) % 2:
        raise ValueError(
            f"{maker}: opposite sides must add up to an even number, so that the centre is a "
            f"whole millimetre, got {low} and {high}"
        )
    return (low + high) // 2


def _triple(values):  # type: ignore[no-untyped-def]
    x, y, z = values
    return x, y, z
