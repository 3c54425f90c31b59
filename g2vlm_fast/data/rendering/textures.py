"""Procedural textures: factors on the colour of a surface, from where on it a point lies.

What looks random is a hash of whole numbers (cells of a lattice), so that a surface looks the same
whenever and wherever it is rendered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import pi

import torch
from torch import Tensor

_WORD = 0xFFFFFFFF


@dataclass(frozen=True, eq=False)
class Place:
    """Where on surfaces N points lie."""

    u: Tensor  # [N] metres along the face
    v: Tensor  # [N] metres across it; up on upright faces
    rise: Tensor  # [N] from -1 at the bottom of the solid to 1 at its top
    salt: Tensor  # [N] int64, tells one solid's randomness from another's

    def at(self, index: Tensor) -> Place:
        """Return the places of ``index`` (int64)."""
        return Place(*(values.index_select(0, index) for values in vars(self).values()))


def plain(place: Place) -> Tensor:
    return torch.ones_like(place.u)


def checker(place: Place) -> Tensor:
    return 1.0 - 0.22 * (((place.u / 0.30).floor() + (place.v / 0.30).floor()) % 2)


def stripes(place: Place) -> Tensor:
    return 1.0 - 0.18 * ((place.u / 0.08).floor() % 2)


def wood(place: Place) -> Tensor:
    return 0.93 + 0.07 * torch.sin(2 * pi * (12.0 * place.v + 0.4 * torch.sin(3 * pi * place.u)))


def grain(place: Place) -> Tensor:
    """Boards whose grain runs upwards, as that of doors does."""
    line = 16.0 * place.u + 0.25 * torch.sin(2 * pi * 0.7 * place.v) + 1.2 * clouds(place, 0.35)
    return 0.95 + 0.05 * torch.sin(2 * pi * line)


def gradient(place: Place) -> Tensor:
    return 0.92 + 0.08 * place.rise


def tiles(place: Place) -> Tensor:
    """Square tiles of 20 cm, each a little lighter or darker, with darker joints."""
    column, across = _cell(place.u, 0.20)
    row, along = _cell(place.v, 0.20)
    tone = 0.94 + 0.06 * hashed(column, row, place.salt)
    return _jointed(tone, 0.72, [(across, 0.20, 0.006), (along, 0.20, 0.006)])


def bricks(place: Place) -> Tensor:
    """Bricks of 24 x 7.5 cm in running bond with lighter joints."""
    row, along = _cell(place.v, 0.075)
    column, across = _cell(place.u + 0.12 * (row % 2), 0.24)
    tone = 0.78 + 0.22 * hashed(column, row, place.salt)
    return _jointed(tone, 1.10, [(across, 0.24, 0.012), (along, 0.075, 0.012)])


def planks(place: Place) -> Tensor:
    """Floor boards 14 cm wide and 1.2 m long, shifted at random from row to row."""
    row, across = _cell(place.v, 0.14)
    shift = hashed(row, row, place.salt)
    column, along = _cell(place.u + 1.2 * shift, 1.2)
    tone = 0.80 + 0.18 * hashed(column, row, place.salt)
    grain = 0.03 * torch.sin(2 * pi * (40.0 * across + 3 * shift + torch.sin(5 * along)))
    return _jointed(tone + grain, 0.62, [(across, 0.14, 0.004), (along, 1.2, 0.004)])


def panels(place: Place) -> Tensor:
    """Upright boards 12 cm wide with shadows between them."""
    column, across = _cell(place.u, 0.12)
    tone = 0.95 + 0.05 * hashed(column, column, place.salt)
    return _jointed(tone, 0.78, [(across, 0.12, 0.008)])


def carpet(place: Place) -> Tensor:
    """Specks of 15 mm over clouds of 40 cm."""
    speck = hashed((place.u / 0.015).floor(), (place.v / 0.015).floor(), place.salt)
    return 0.84 + 0.12 * speck + 0.08 * clouds(place, 0.40)


def fabric(place: Place) -> Tensor:
    """A coarse weave of 3 cm, worn in clouds of 15 cm."""
    weave = torch.sin(2 * pi * place.u / 0.03) * torch.sin(2 * pi * place.v / 0.03)
    return 0.93 + 0.04 * weave + 0.08 * (clouds(place, 0.15) - 0.5)


def marble(place: Place) -> Tensor:
    """Dark veins that wander through a light stone."""
    vein = torch.sin(2 * pi * (1.6 * place.u + 0.7 * place.v + 1.5 * clouds(place, 0.30)))
    return 1.0 - 0.30 * (1 - vein.abs()).square()


def mottled(place: Place) -> Tensor:
    """Foliage: light and shade in patches of 5 cm."""
    return 0.66 + 0.50 * clouds(place, 0.05)


def folds(place: Place) -> Tensor:
    """The folds of hanging cloth, 11 cm from one to the next."""
    return 0.88 + 0.12 * torch.sin(2 * pi * (place.u / 0.11 + 0.3 * clouds(place, 0.5)))


def slats(place: Place) -> Tensor:
    """Level slats every 5 cm with shadows between them."""
    row, along = _cell(place.v, 0.05)
    return _jointed(torch.ones_like(row), 0.66, [(along, 0.05, 0.012)])


def keys(place: Place) -> Tensor:
    """Keys of 19 mm with gaps between them."""
    _, across = _cell(place.u, 0.019)
    _, along = _cell(place.v, 0.019)
    tone = torch.ones_like(across)
    return _jointed(tone, 0.45, [(across, 0.019, 0.004), (along, 0.019, 0.004)])


def spines(place: Place) -> Tensor:
    """The backs of books 36 mm thick: a colour and a height for each, ``[3, N]``."""
    column, across = _cell(place.u, 0.036)
    tint = torch.stack([hashed(column, column + k, place.salt) for k in range(3)])
    above = place.rise > 0.45 + 0.5 * hashed(column, column + 3, place.salt)
    tone = _jointed(1 - 0.75 * above.to(across), 0.3, [(across, 0.036, 0.004)])
    return (0.35 + 1.1 * tint) * tone


def painting(place: Place) -> Tensor:
    """Strokes of colour over fields of colour, ``[3, N]``."""
    channels = [replace(place, salt=3 * place.salt + k) for k in range(3)]
    return torch.stack(
        [0.3 + 0.8 * clouds(channel, 0.20) + 0.5 * clouds(channel, 0.06) for channel in channels]
    )


def hashed(column: Tensor, row: Tensor, salt: Tensor) -> Tensor:
    """A number in [0, 1) for each cell: two rounds of multiply and shift on 32 bits."""
    word = column.long() * 0x27D4EB2F + row.long() * 0x165667B1 + salt * 0x3C6EF372
    word = word & _WORD
    for shift, factor in ((15, 0x2C1B3C6D), (13, 0x297A2D39)):
        word = ((word ^ (word >> shift)) * factor) & _WORD
    return (word >> 8).to(column.dtype) / 2**24


def clouds(place: Place, size: float) -> Tensor:
    """Value noise in [0, 1): hashes at the corners of cells, blended smoothly between them."""
    column, across = _cell(place.u, size)
    row, along = _cell(place.v, size)
    x, y = (_smooth(part / size) for part in (across, along))
    low, high = (
        torch.lerp(hashed(column, line, place.salt), hashed(column + 1, line, place.salt), x)
        for line in (row, row + 1)
    )
    return torch.lerp(low, high, y)


def _smooth(t: Tensor) -> Tensor:
    return t * t * (3 - 2 * t)


def _cell(coordinate: Tensor, size: float) -> tuple[Tensor, Tensor]:
    """Which cell of a size in metres a coordinate lies in, and how far into it."""
    index = (coordinate / size).floor()
    return index, coordinate - size * index


def _jointed(tone: Tensor, joint: float, gaps: list[tuple[Tensor, float, float]]) -> Tensor:
    """Put ``joint`` where one of the (metres into cell, size, width of gap) lies in a gap."""
    for into, size, width in gaps:
        edge = (into - size / 2).abs() > (size - width) / 2
        tone = tone.masked_fill(edge, joint)
    return tone


Texture = Callable[[Place], Tensor]
