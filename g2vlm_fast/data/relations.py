"""Spatial relations between objects, decided from their boxes with a margin.

Every ordered pair gets a label for every predicate: 1 holds, 0 does not, -1 undecided, where
the geometry is so close to a boundary that people would differ. Undecided labels are never
trained on, asked about or scored.

Directions are meant in the levelled frame of one view (the first of the scene): ``left of`` is
towards the left of the image, ``in front of`` is towards the camera. With the displacement
(x to the right, y away from the camera) from object to subject, between box centres:

=============  =====================================  ==========================================
predicate      holds (1)                              does not hold (0)
=============  =====================================  ==========================================
left of        x <= -0.30 m and ``|x| >= 1.2 |y|``    x >= -0.20 m or ``|x| <= |y| / 1.2``
right of       mirrored                               mirrored
in front of    y <= -0.30 m and ``|y| >= 1.2 |x|``    y >= -0.20 m or ``|y| <= |x| / 1.2``
behind         mirrored                               mirrored
on             bottom within 0.02 m of the top of     bottom further than 0.06 m from that top,
               the object, and at least half of the   or less than a fifth of the footprint
               footprint above it                     above it
near           closest points within 0.50 m           closest points 0.80 m apart or more
=============  =====================================  ==========================================

So left and right are inverse, front and behind are inverse, near is symmetric, and nothing
stands in a relation to itself (its labels are -1).
"""

from __future__ import annotations

import torch
from torch import Tensor

from g2vlm_fast.geometry.boxes import footprint_overlap, upright_box_gap
from g2vlm_fast.geometry.cameras import horizontal_axes
from g2vlm_fast.ontology import RELATIONS

_HOLDS_FROM, _FAILS_BELOW = 0.30, 0.20  # metres along the direction
_DOMINANCE = 1.2  # ratio of the displacement along the direction to the one across it
_CONTACT, _NO_CONTACT = 0.02, 0.06  # metres between bottom and top
_SUPPORTED, _UNSUPPORTED = 0.5, 0.2  # share of the footprint
_NEAR, _FAR = 0.50, 0.80  # metres between closest points


def relation_labels(
    center: Tensor, size: Tensor, rotation: Tensor, view_pose: Tensor, gravity: Tensor
) -> Tensor:
    """Label all ordered pairs of objects.

    Args:
        center: ``[K, 3]`` metres.
        size: ``[K, 3]`` metres, full extents.
        rotation: ``[K, 3, 3]``, box axes to world; upright.
        view_pose: ``[4, 4]`` camera to world, the view that directions are meant from.
        gravity: ``[3]`` unit vector that points down.

    Returns:
        ``[K, K, R]`` int8 for (subject, object, predicate of ``ontology.RELATIONS``).
    """
    right, forward = horizontal_axes(view_pose, gravity)
    displacement = center[:, None] - center[None]
    x, y = (displacement * right).sum(-1), (displacement * forward).sum(-1)
    by_name = {
        "left of": _directed(-x, y),
        "right of": _directed(x, y),
        "in front of": _directed(-y, x),
        "behind": _directed(y, x),
        "on": _supported(center, size, rotation),
        "near": _near(center, size, rotation),
    }
    labels = torch.stack([by_name[name] for name in RELATIONS], dim=-1)
    return labels.masked_fill(torch.eye(len(center), dtype=torch.bool)[..., None], -1)


def _label(holds: Tensor, fails: Tensor) -> Tensor:
    return torch.where(holds, 1, torch.where(fails, 0, -1)).to(torch.int8)


def _directed(along: Tensor, across: Tensor) -> Tensor:
    holds = (along >= _HOLDS_FROM) & (along >= _DOMINANCE * across.abs())
    fails = (along <= _FAILS_BELOW) | (along <= across.abs() / _DOMINANCE)
    return _label(holds, fails)


def _near(center: Tensor, size: Tensor, rotation: Tensor) -> Tensor:
    gap = upright_box_gap((center, size, rotation), (center, size, rotation))
    return _label(gap <= _NEAR, gap >= _FAR)


def _supported(center: Tensor, size: Tensor, rotation: Tensor) -> Tensor:
    bottom = center[:, 2] - size[:, 2] / 2
    top = center[:, 2] + size[:, 2] / 2
    gap = (bottom[:, None] - top[None]).abs()
    boxes = (center, size, rotation)
    share = footprint_overlap(boxes, boxes) / size[:, :2].prod(-1).clamp_min(1e-9)[:, None]
    holds = (gap <= _CONTACT) & (share >= _SUPPORTED)
    return _label(holds, (gap >= _NO_CONTACT) | (share <= _UNSUPPORTED))
