"""The tables of the bias of ``geometry_attention`` in plain torch: look-ups and derivatives.

What is not a number falls somewhere in a table, and its value there is NaN.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


class Knots:
    """Where distances ``[...]`` fall between the knots of :class:`RadialTable`."""

    def __init__(self, length: Tensor, count: int, maximum: float) -> None:
        self.count = count
        self.per_metre = (count - 1) / maximum
        place = length * self.per_metre
        self.beyond = place >= count - 1
        self.near = torch.where(place < count - 1, place.detach(), count - 2).floor().long()
        self.fraction = torch.where(self.beyond, 1, place - self.near)

    def value(self, table: Tensor) -> Tensor:
        """Return what the tables ``[..., count]``, which broadcast, hold there."""
        near, far = _entry(table, self.near), _entry(table, self.near + 1)
        return (1 - self.fraction) * near + self.fraction * far

    def slope(self, table: Tensor) -> Tensor:
        """Return the derivative of the value by the distance."""
        rise = _entry(table, self.near + 1) - _entry(table, self.near)
        return torch.where(self.beyond, 0, rise * self.per_metre)

    def shares(self) -> Iterator[Tensor]:
        """Yield the derivative of the value by each entry."""
        for knot in range(self.count):
            far = torch.where(self.near + 1 == knot, self.fraction, 0)
            yield torch.where(self.near == knot, 1 - self.fraction, far)


class Steps:
    """Where differences ``[..., 3]`` fall in the three tables of :class:`AxisTable`."""

    def __init__(self, difference: Tensor, count: int, cell: float) -> None:
        self.size = count // 3  # of the table of one axis
        reach = self.size // 2
        steps = (difference.detach() / cell + 0.5).floor().clamp(-reach, reach)
        self.lost = steps.isnan()
        self.entries = torch.where(self.lost, 0, steps).long() + reach

    def value(self, table: Tensor) -> Tensor:
        """Return the sum over axes of what the tables ``[..., 3 size]``, which broadcast, hold."""
        total = torch.zeros_like(self.entries[..., 0])
        for axis, of_axis in enumerate(table.split(self.size, -1)):
            held = _entry(of_axis, self.entries[..., axis])
            total = total + torch.where(self.lost[..., axis], torch.nan, held)
        return total

    def shares(self) -> Iterator[Tensor]:
        """Yield whether the value is that of each entry, which is its derivative by it."""
        for axis in range(3):
            for entry in range(self.size):
                yield self.entries[..., axis] == entry


def _entry(table: Tensor, index: Tensor) -> Tensor:
    """Return the entries ``index [...]`` of tables ``[..., size]``, which broadcast."""
    shape = torch.broadcast_shapes(table.shape[:-1], index.shape)
    return table.expand(*shape, -1).gather(-1, index.expand(shape)[..., None])[..., 0]
