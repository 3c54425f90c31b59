"""The volume of air that the surfaces of a room enclose.

Faces are counter-clockwise seen from free space, so that the closed surface of a room, furniture
included, winds around its air -1 times and around nothing else. Scans leave holes; a point is in
the air of a mesh where the winding number is below -1/2, which is the usual rule for open meshes.
Which points are in the air of a room that is made of solids is known exactly.
"""

from __future__ import annotations

import torch
from torch import Tensor

from g2vlm_fast.data.rendering.primitives import Primitives
from g2vlm_fast.eval.metrics.winding import fast_winding_number
from g2vlm_fast.eval.protocol.cases import SurfaceTruth
from g2vlm_fast.eval.protocol.records import Row
from g2vlm_fast.eval.scoring.score import Score

SAMPLES = 10_000
"""Points drawn evenly; the standard error of an IoU of 0.9 is 0.003."""

_BEYOND = 0.5  # metres around the true surface in which air counts as said wrongly

SCORES = (
    Score(
        "mesh_iou",
        "surface",
        "volume of air that the predicted mesh and the room both enclose, of what either does, by "
        f"{SAMPLES:,} points up to {_BEYOND:g} m around the room; winding number below -1/2",
    ),
)


def rows_of(mesh: tuple[Tensor, Tensor], truth: SurfaceTruth) -> dict[str, Row]:
    """Score the volume of a predicted mesh; a truth that is not made of solids has none."""
    if truth.primitives is None:
        return {"mesh_iou": (0.0, 0.0)}
    points = _samples(truth.points)
    known = _in_air(truth.primitives, points)
    said = fast_winding_number(points, *mesh) < -0.5
    return {"mesh_iou": (float((said & known).sum() / (said | known).sum()), 1.0)}


def _samples(surface: Tensor) -> Tensor:
    low, high = surface.amin(0) - _BEYOND, surface.amax(0) + _BEYOND
    draw = torch.rand(SAMPLES, 3, generator=torch.Generator().manual_seed(0))
    return low + draw * (high - low)


def _in_air(primitives: Primitives, points: Tensor) -> Tensor:
    return primitives.signed_distance(points) > 0
