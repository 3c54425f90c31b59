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
from g2vlm_fast.data.materials import Material
from g2vlm_fast.data.primitives import Shape
from g2vlm_fast.data.turns import rotation_of

Triple = tuple[int, int, int]

OPEN_ROOM = 10_000
"""Free height in millimetres above a surface that nothing covers."""

ROLE_COLORS: dict[str, tuple[float, float, float]] = {
    "wood": (0.55, 0.40, 0.25),
    "dark": (0.16, 0.16, 0.17),
    "light": (0.86, 0.85, 0.80),
    "metal": (0.58, 0.59, 0.61),
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
class Surface:
    """A level place of a piece that carries smaller things, in its frame, in millimetres."""

    x0: int
    x1: int
    y0: int
    y1: int
    z: int
    room: int = OPEN_ROOM  # free height above it


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


Builder = Callable[[Draws], Furniture]


def even(draws: Draws, low: int, high: int, step: int = 20) -> int:
    """Draw a multiple of ``step`` millimetres; those of 20 have whole even quarters."""
    return step * draws.integer(low // step, high // step)


def box(x0: int, x1: int, y0: int, y1: int, z0: int, z1: int, role: str = "main",
        material: Material = Material.PLAIN) -> Part:  # fmt: skip
    """A box between two corners, whose coordinates must add up to even numbers."""
    if (x0 + x1) % 2 or (y0 + y1) % 2 or (z0 + z1) % 2:
        raise ValueError(
            "box: the sums x0 + x1, y0 + y1 and z0 + z1 must be even, so that its centre is a "
            f"whole millimetre, got {(x0, x1, y0, y1, z0, z1)}"
        )
    center = ((x0 + x1) // 2, (y0 + y1) // 2, (z0 + z1) // 2)
    return Part(Shape.BOX, center, (x1 - x0, y1 - y0, z1 - z0), role, material)


def upright(radius: int, z0: int, z1: int, role: str = "main", x: int = 0, y: int = 0,
            material: Material = Material.PLAIN) -> Part:  # fmt: skip
    """An upright cylinder from z0 to z1, whose sum must be even."""
    if (z0 + z1) % 2:
        raise ValueError(f"upright: the sum z0 + z1 must be even, got {(z0, z1)}")
    size = (2 * radius, 2 * radius, z1 - z0)
    return Part(Shape.CYLINDER, (x, y, (z0 + z1) // 2), size, role, material)


def ball(radius: int, x: int, y: int, z: int, role: str = "main",
         material: Material = Material.PLAIN) -> Part:  # fmt: skip
    """A sphere around a point."""
    return Part(Shape.SPHERE, (x, y, z), (2 * radius, 2 * radius, 2 * radius), role, material)


def four_legs(width: int, depth: int, height: int, thick: int, role: str) -> list[Part]:
    """Square legs at the corners of a footprint."""
    x, y = width // 2, depth // 2
    return [
        box(x0, x0 + thick, y0, y0 + thick, 0, height, role)
        for x0 in (-x, x - thick)
        for y0 in (-y, y - thick)
    ]


def whole_top(size: Triple) -> Surface:
    """The top of a piece with a rectangular top."""
    width, depth, height = size
    return Surface(-(width // 2), width // 2, -(depth // 2), depth // 2, height)


def round_top(radius: int, z: int) -> Surface:
    """The square inside a round top, of whole even millimetres."""
    half = int(radius / math.sqrt(2)) // 2 * 2
    return Surface(-half, half, -half, half, z)


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

    The box around the piece is rounded up to whole even millimetres where turned parts bound it.
    """
    parts = tuple(parts)
    reaches = [part.reach() for part in parts]
    low = [min(p.center[i] - r[i] for p, r in zip(parts, reaches, strict=True)) for i in range(3)]
    high = [max(p.center[i] + r[i] for p, r in zip(parts, reaches, strict=True)) for i in range(3)]
    shift = (
        -round((low[0] + high[0]) / 2),
        -round((low[1] + high[1]) / 2),
        -math.floor(low[2] + _ROUNDING),
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
        Surface(s.x0 + shift[0], s.x1 + shift[0], s.y0 + shift[1], s.y1 + shift[1],
                s.z + shift[2], s.room)
        for s in surfaces
    )  # fmt: skip
    return Furniture(class_name, size, moved, mount, places, has_front, elevation)


_ROUNDING = 1e-6  # millimetres; sines are rounded to 12 digits


def _triple(values):  # type: ignore[no-untyped-def]
    x, y, z = values
    return x, y, z
