"""Distances of many points to the common surface of many solids, without trying every pair."""

from __future__ import annotations

import torch
from torch import Tensor

from g2vlm_fast.data.rendering.primitives import Primitives

_CELL = 0.25  # metres; the smaller, the fewer points a solid meets, and the more cells there are
_RADIUS = _CELL * 3**0.5 / 2
_ROUNDING = 1e-4


def distance_to_solids(primitives: Primitives, points: Tensor) -> Tensor:
    """Return how far points are from the surface of a union of solids.

    A distance changes by at most the way one goes, so that in a cell of radius r no solid matters
    that is farther from its centre than the nearest one by more than 2 r. Each solid is held
    against the points of those cells alone where it matters.

    Args:
        primitives: the solids.
        points: ``[n, 3]`` float32 metres, world.

    Returns:
        ``[n]`` float64 metres. Exact in free space and inside of a single solid; where solids
        overlap, the distance to the surface of the one that the point lies deepest in.
    """
    cells, cell_of = torch.unique((points / _CELL).floor(), dim=0, return_inverse=True)
    reach = primitives.signed_distances((cells + 0.5) * _CELL)
    matters = reach <= reach.amin(0) + 2 * _RADIUS + _ROUNDING
    signed = points.new_full((len(points),), torch.inf)
    for solid, in_cells in enumerate(matters):
        rows = in_cells[cell_of].nonzero()[:, 0]
        distance = primitives.rows(torch.tensor([solid])).signed_distance(points[rows])
        signed[rows] = torch.minimum(signed[rows], distance)
    return signed.abs().double()
