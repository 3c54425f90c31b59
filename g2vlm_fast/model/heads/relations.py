"""The relation head: which predicates hold between each ordered pair of objects of a scene."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from g2vlm_fast.model.config import G2VLMConfig
from g2vlm_fast.model.heads.objects import Objects
from g2vlm_fast.model.layers import MLP, Linear
from g2vlm_fast.model.packing import segment_ids

_GEOMETRY = 29


class RelationHead(nn.Module):
    """Scores predicates from what two objects are and how their boxes lie to each other.

    Geometry is that of the frame of the scene's first view, in which left, right, in front and
    behind are meant. It enters without its gradient: relations do not move boxes.

    Source: Wald et al., "Learning 3D semantic scene graphs from 3D indoor reconstructions",
    CVPR 2020.
    """

    def __init__(self, config: G2VLMConfig) -> None:
        super().__init__()
        dim = config.dim
        self.subject = Linear(dim, dim)
        self.object = Linear(dim, dim)
        self.geometry = MLP(_GEOMETRY, dim, dim)
        self.score = MLP(dim, dim, len(config.relations or []))

    def forward(self, objects: Objects, pairs: Tensor, viewpoint: Tensor) -> Tensor:
        """Return the logits ``[P, R]`` float32 of pairs ``[P, 2]`` (subject, object).

        Args:
            objects: the objects.
            pairs: rows of the objects.
            viewpoint: ``[B, 3]`` float32 metres: where each scene's first view stands.
        """
        geometry = pair_geometry(objects, pairs, viewpoint)
        subject, other = pairs.unbind(-1)
        hidden = self.subject(objects.feature)[subject] + self.object(objects.feature)[other]
        return self.score(F.gelu(hidden + self.geometry(geometry))).float()


def pair_geometry(objects: Objects, pairs: Tensor, viewpoint: Tensor) -> Tensor:
    """Describe how the boxes of pairs lie to each other ``[P, 29]``, without gradient.

    In the frame of the scene: offset of the centres (3) and its direction (3), gap of the
    axis-parallel hulls on each axis (3) and in all (1), distance of the centres, over the ground
    and in all (2), how much more it lies along the first axis than the second (1), extents of
    both hulls (6), both bearings from the viewpoint (4) and the differences of distance and of
    bearing (2), heights of both undersides and the gap from top to underside, both ways (4).
    """
    scene = segment_ids(objects.offsets)
    center = objects.center.detach()
    seen_from = center - viewpoint[scene]
    extent = (objects.rotation.detach().abs() * objects.size.detach()[:, None, :]).sum(-1)
    away = seen_from[:, :2].square().sum(-1).add(1e-6).sqrt()
    bearing = seen_from[:, :2] / away[:, None]
    low = center[:, 2] - extent[:, 2] / 2
    first, second = pairs.unbind(-1)
    offset = center[first] - center[second]
    ground = offset[:, :2].square().sum(-1, keepdim=True).add(1e-6).sqrt()
    length = offset.square().sum(-1, keepdim=True).add(1e-6).sqrt()
    gap = offset.abs() - (extent[first] + extent[second]) / 2
    cross = bearing[first, 0] * bearing[second, 1] - bearing[first, 1] * bearing[second, 0]
    columns = [
        offset,
        offset / length,
        gap,
        gap.relu().square().sum(-1, keepdim=True).add(1e-6).sqrt(),
        ground,
        length,
        (offset[:, 0].abs() - offset[:, 1].abs())[:, None],
        extent[first],
        extent[second],
        bearing[first],
        bearing[second],
        (away[first] - away[second])[:, None],
        cross[:, None],
        low[first, None],
        low[second, None],
        (low[first] - low[second] - extent[second, 2])[:, None],
        (low[second] - low[first] - extent[first, 2])[:, None],
    ]
    return torch.cat(columns, dim=-1)
