"""Level places of furniture: tops and boards that carry things, hollows that things are in.

They are in the frame of their piece, in whole millimetres, as
:mod:`g2vlm_fast.data.rooms.furniture.pieces` describes it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

OPEN_ROOM = 10_000
"""Free height in millimetres above a surface that nothing covers."""


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
class Cavity(Surface):
    """The bottom of a hollow: what stands on it is in the piece, not on it."""

    depth: int = 0  # millimetres that the sides around it rise above it

    @property
    def has_ceiling(self) -> bool:
        """Whether it is covered, so that things are put in and seen from the front alone."""
        return self.room <= self.depth

    @property
    def tallest(self) -> int:
        """Height of the tallest thing that may stand in it: two thirds of it below the rim."""
        return min(self.room, self.depth * 3 // 2)


def closed_above(x0: int, x1: int, y0: int, y1: int, z: int, top: int) -> Cavity:
    """A compartment with a bottom at z, a ceiling at ``top`` and an open front."""
    return Cavity(x0, x1, y0, y1, z, top - z, top - z)


def open_above(x0: int, x1: int, y0: int, y1: int, z: int, rim: int) -> Cavity:
    """A hollow with a bottom at z and sides that rise to ``rim``."""
    return Cavity(x0, x1, y0, y1, z, depth=rim - z)


def whole_top(size: tuple[int, int, int]) -> Surface:
    """The top of a piece with a rectangular top."""
    width, depth, height = size
    return Surface(-(width // 2), width // 2, -(depth // 2), depth // 2, height)


def round_top(radius: int, z: int) -> Surface:
    """The square inside a round top, of whole even millimetres."""
    half = int(radius / math.sqrt(2)) // 2 * 2
    return Surface(-half, half, -half, half, z)
