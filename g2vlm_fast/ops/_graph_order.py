"""Reverse edges of a graph, and orders of its rows in which near ones are near."""

from __future__ import annotations

import torch
from torch import Tensor

_BITS = 20  # of each axis of the grid; 60 fit into an int64
_SPREAD = (  # moves bit n of a number of up to 21 bits to bit 3 n, in five steps
    (32, 0x1F00000000FFFF),
    (16, 0x1F0000FF0000FF),
    (8, 0x100F00F00F00F00F),
    (4, 0x10C30C30C30C30C3),
    (2, 0x1249249249249249),
)


def reverse_edges(rows: Tensor, columns: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Pair each edge (j, i) with an edge (i, j), equal ones in the order in which they come.

    Args:
        rows: ``[E]``, the row of each edge.
        columns: ``[E]``, its source.
        count: number of rows, and of sources.

    Returns:
        The reverse of each edge, ``[E]`` int32, and whether every edge has one, ``[]`` bool;
        without it the former means nothing.
    """
    rows, columns = rows.long(), columns.long()
    forward, order = (rows * count + columns).sort(stable=True)
    backward, reverse_order = (columns * count + rows).sort(stable=True)
    reverse = torch.empty_like(columns, dtype=torch.int32)
    reverse[order] = reverse_order.int()
    return reverse, (forward == backward).all()


def morton_order(position: Tensor, segment: Tensor | None) -> Tensor:
    """Return the points ``[V]`` int64 along a Morton curve through a grid of 2^20 cells a side.

    Points of one segment (``[V]``, rising) stay together. Points that are not finite come first of
    their segment; equal cells keep the order of the points.
    """
    finite = position.isfinite().all(1, keepdim=True)
    place = torch.where(finite, position.detach(), 0).double()
    inside = torch.where(finite, place, torch.inf)
    least = inside.amin(0) if len(place) else place.sum(0)
    extent = torch.where(finite, place - least, 0).amax() if len(place) else place.sum()
    cells = (2**_BITS - 1) * (place - least) / torch.where(extent > 0, extent, 1)
    cells = torch.where(finite, cells, 0).long()
    key = sum((_spread(cells[:, axis]) << axis for axis in range(3)), start=cells.new_zeros(1))
    order = key.sort(stable=True).indices
    if segment is None:
        return order
    return order[segment[order].sort(stable=True).indices]


def _spread(cell: Tensor) -> Tensor:
    for shift, mask in _SPREAD:
        cell = (cell | (cell << shift)) & mask
    return cell
