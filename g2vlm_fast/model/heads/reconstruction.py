"""The reconstruction head: completion points, and the truncated signed distance anywhere."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from g2vlm_fast.model.config import G2VLMConfig
from g2vlm_fast.model.layers import MLP, Linear, ZeroLinear
from g2vlm_fast.ops import nearest
from g2vlm_fast.records import GeometryTokens

REACH = 1.5  # completion points lie within this many extents of their token


class CompletionHead(nn.Module):
    """Decodes each token into coloured points around it.

    Source: Yuan et al., "PCN: point completion network", 3DV 2018.
    """

    def __init__(self, config: G2VLMConfig) -> None:
        super().__init__()
        self.points = config.completion_points
        self.decode = MLP(config.dim, config.dim, 6 * self.points)

    def forward(self, tokens: GeometryTokens) -> tuple[Tensor, Tensor, Tensor]:
        """Return points ``[S, 3]`` (float32 metres), colours ``[S, 3]`` and offsets."""
        decoded = self.decode(tokens.feature).float().unflatten(-1, (self.points, 6))
        reach = REACH * tokens.scale[:, None, None]
        offset = (reach * torch.tanh(decoded[..., :3])).flatten(0, 1)
        points = tokens.position.repeat_interleave(self.points, dim=0) + offset
        colors = torch.sigmoid(decoded[..., 3:].flatten(0, 1))
        return points, colors, tokens.offsets * self.points


class DistanceHead(nn.Module):
    """Truncated signed distance at query points, by attention over the nearest points of a scale.

    The vertices, and every scale but the finest, give each query its nearest points; a query
    attends to them by where they lie, how they face and what they are. The output adds to a base
    distance in logit space: it starts as the base itself, and stays within the truncation.

    Source: Chibane et al., "Implicit functions in feature space", CVPR 2020; Curless and Levoy,
    "A volumetric method for building complex models from range images", SIGGRAPH 1996.
    """

    def __init__(self, config: G2VLMConfig) -> None:
        super().__init__()
        hidden = config.point_dim
        self.truncation = config.truncation
        self.neighbours = config.distance_neighbours
        scales = config.voxel_sizes or []
        widths = [config.point_dim] + [config.dim] * (len(scales) - 1)
        self.feature = nn.ModuleList(Linear(width, hidden) for width in widths)
        self.geometry = nn.ModuleList(Linear(_GEOMETRY, hidden) for _ in scales)
        # A softmax follows, to which a bias is nothing.
        self.score = nn.ModuleList(Linear(hidden, 1, bias=False) for _ in scales)
        self.output = MLP(len(scales) * hidden + 1, hidden, 1, last=ZeroLinear)

    def forward(
        self,
        levels: tuple[GeometryTokens, ...],
        query: Tensor,
        offsets: Tensor,
        base: Tensor | None = None,
    ) -> Tensor:
        """Return the signed distance ``[Q]`` float32 metres, positive in free space.

        Args:
            levels: the vertices, then the scales but the finest.
            query: ``[Q, 3]`` float32 metres, in the frames of the scenes.
            offsets: ``[B + 1]`` int32, the scenes of the queries.
            base: ``[Q]`` float32 metres, a distance to correct (of a fused TSDF, say), NaN where
                it is unknown; None to predict the distance from nothing.
        """
        summaries = [
            self._summarise(points, query, offsets, level) for level, points in enumerate(levels)
        ]
        start = query.new_zeros(len(query))
        if base is not None:
            share = (base / self.truncation).nan_to_num(0).clamp(-0.98, 0.98)
            start = torch.atanh(share)
        known = torch.cat([*summaries, start[:, None].to(summaries[0].dtype)], dim=-1)
        return self.truncation * torch.tanh(start + self.output(known)[:, 0].float())

    def _summarise(
        self, points: GeometryTokens, query: Tensor, offsets: Tensor, level: int
    ) -> Tensor:
        _, index = nearest(
            query,
            points.position,
            k=self.neighbours,
            query_offsets=offsets,
            target_offsets=points.offsets,
        )
        found = index >= 0
        slot = index.clamp_min(0).long()
        rows = slot.flatten()
        difference = (query[:, None] - points.position[slot]).flatten(0, 1)
        unit = points.scale[rows, None] + self.truncation
        offset, normal = difference / unit, points.normal[rows]
        height = (offset * normal).sum(-1, keepdim=True)
        length = offset.square().sum(-1, keepdim=True).add(1e-6).sqrt()
        geometry = torch.cat([offset, normal, height, length, height * length], dim=-1)
        feature = self.feature[level](points.feature)[rows]
        hidden = nn.functional.gelu(feature + self.geometry[level](geometry))
        score = self.score[level](hidden)[:, 0].float() - 4 * length[:, 0]
        score = torch.where(found, score.unflatten(0, slot.shape), -torch.inf)
        weight = torch.softmax(score, dim=-1).nan_to_num(0).to(hidden.dtype)
        return (weight[..., None] * hidden.unflatten(0, slot.shape)).sum(1)


_GEOMETRY = 9  # offset 3, normal 3, height over the surface, distance, their product
