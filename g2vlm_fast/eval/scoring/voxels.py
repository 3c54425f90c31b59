"""Occupancy of surface voxels: where a predicted cloud and a true surface pass through.

A voxel is occupied where it holds a point. Counts are added over scenes. Two regions are scored:
everywhere, and everywhere but the voxels of the surface that a given view sees.
"""

from __future__ import annotations

from torch import Tensor, isin

from g2vlm_fast.eval.protocol.cases import SurfaceTruth
from g2vlm_fast.eval.protocol.records import Row
from g2vlm_fast.eval.scoring.score import Score

VOXEL = 0.10
"""Metres, side of a voxel."""

_FARTHEST = 2**20  # voxels along an axis, so that three of them fit into 63 bits

SCORES = (
    Score(
        "occupancy_iou_10cm",
        "surface",
        "10 cm voxels that hold predicted and true surface, of those that hold either; everywhere",
    ),
    Score(
        "occupancy_iou_10cm_hidden",
        "surface",
        "the same without the voxels that hold surface which a given view sees",
    ),
)


def rows_of(points: Tensor, truth: SurfaceTruth) -> dict[str, Row]:
    """Count the voxels of a predicted cloud ``[n, 3]`` and of the truth."""
    said, known = voxels_of(points), voxels_of(truth.points)
    seen = voxels_of(truth.points[~truth.hidden])
    return {
        "occupancy_iou_10cm": _overlap(said, known),
        "occupancy_iou_10cm_hidden": _overlap(said[~isin(said, seen)], known[~isin(known, seen)]),
    }


def voxels_of(points: Tensor) -> Tensor:
    """Return the voxels that hold points ``[n, 3]`` metres: a number each, once, sorted.

    The origin is the centre of a voxel, so that a floor at z = 0 lies in the middle of one.
    """
    cell = (points.double() / VOXEL).round().clamp(-_FARTHEST, _FARTHEST - 1).long() + _FARTHEST
    x, y, z = cell.unbind(1)
    side = 2 * _FARTHEST
    return ((x * side + y) * side + z).unique()


def _overlap(said: Tensor, known: Tensor) -> Row:
    both = int(isin(said, known).sum())
    return float(both), float(len(said) + len(known) - both)
