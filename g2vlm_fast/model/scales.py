"""Several scales of one scene: voxel pooling, graph layers at each, and a top-down path."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from g2vlm_fast.model.config import G2VLMConfig
from g2vlm_fast.model.layers import MLP, LayerNorm, Linear, PositionEmbedding
from g2vlm_fast.model.lift import Points
from g2vlm_fast.model.packing import offsets_of_ids, segment_ids
from g2vlm_fast.model.vertex_branch import GraphLayers, edge_geometry
from g2vlm_fast.model.vertices import vertex_graph
from g2vlm_fast.ops import Clusters, pool, unpool, voxel_clusters
from g2vlm_fast.records import GeometryTokens


class Scales(nn.Module):
    """A feature pyramid over voxel grids of growing size.

    Source: Lin et al., "Feature pyramid networks for object detection", CVPR 2017; Wu et al.,
    "Point Transformer V2: grid pooling", NeurIPS 2022.
    """

    def __init__(self, config: G2VLMConfig) -> None:
        super().__init__()
        self.sizes = list(config.voxel_sizes or [])
        self.neighbours = config.neighbours
        dim = config.dim
        widths = [config.point_dim] + [dim] * (len(self.sizes) - 1)
        self.enter = nn.ModuleList(MLP(2 * width, dim, dim) for width in widths)
        self.place = PositionEmbedding(dim)
        self.layers = nn.ModuleList(GraphLayers(dim, config.scale_layers) for _ in self.sizes)
        self.down = nn.ModuleList(Linear(dim, dim) for _ in self.sizes[1:])
        self.norm = nn.ModuleList(LayerNorm(dim) for _ in self.sizes)

    def forward(
        self, points: Points, feature: Tensor
    ) -> tuple[tuple[GeometryTokens, ...], tuple[Clusters, ...]]:
        """Return the points of each scale, fine to coarse, and how each clusters the one before.

        Args:
            points: the vertices, in the frames of their scenes.
            feature: ``[N, point_dim]`` of the vertices.
        """
        levels: list[GeometryTokens] = []
        clusterings: list[Clusters] = []
        position, normal, offsets = points.position, points.normal, points.offsets
        for size, enter, layers in zip(self.sizes, self.enter, self.layers, strict=True):
            clusters = voxel_clusters(position, size, offsets)
            normal = F.normalize(pool(normal, clusters, "mean"), dim=-1)
            pooled = [pool(feature, clusters, reduce) for reduce in ("mean", "max")]
            position, offsets = clusters.position, clusters.offsets
            feature = enter(torch.cat(pooled, dim=-1)) + self.place(position)
            graph = vertex_graph(position, offsets, None, self.neighbours)
            geometry = edge_geometry(graph, position, normal, size)
            feature = layers(feature, graph, geometry)
            clusterings.append(clusters)
            levels.append(
                GeometryTokens(
                    position=position,
                    normal=normal,
                    feature=feature,
                    scale=position.new_full((len(position),), size),
                    offsets=offsets,
                )
            )
        return self._top_down(levels, clusterings), tuple(clusterings)

    def _top_down(
        self, levels: list[GeometryTokens], clusterings: list[Clusters]
    ) -> tuple[GeometryTokens, ...]:
        feature = levels[-1].feature
        features = [feature]
        for level in range(len(levels) - 2, -1, -1):
            above = unpool(self.down[level](feature), clusterings[level + 1])
            feature = levels[level].feature + above
            features.insert(0, feature)
        return tuple(
            _with_feature(level, norm(x))
            for level, norm, x in zip(levels, self.norm, features, strict=True)
        )


def _with_feature(tokens: GeometryTokens, feature: Tensor) -> GeometryTokens:
    return GeometryTokens(**{**tokens.tensors(), "feature": feature})


def select_tokens(
    scales: tuple[GeometryTokens, ...], importance: tuple[Tensor, ...], budget: int
) -> GeometryTokens:
    """Join scales into one sequence of at most ``budget`` tokens a scene.

    Args:
        scales: the scales that become tokens, fine to coarse.
        importance: ``[.]`` of each token of each scale; what is coarser goes first whatever it is.
        budget: tokens a scene.

    Returns:
        Tokens sorted by scene; within one, coarse before fine, then by falling importance.
    """
    scenes = len(scales[0].offsets) - 1
    scene = torch.cat([segment_ids(tokens.offsets) for tokens in scales])
    level = torch.cat(
        [torch.full_like(x, rank, dtype=torch.long) for rank, x in enumerate(importance)]
    )
    order = torch.cat(importance).detach().float().argsort(descending=True, stable=True)
    order = order[level[order].argsort(descending=True, stable=True)]
    order = order[scene[order].argsort(stable=True)]
    starts = offsets_of_ids(scene[order], scenes).long()
    rank = torch.arange(len(order), device=order.device) - starts[scene[order]]
    order = order[rank < budget]

    def joined(name: str) -> Tensor:
        return torch.cat([getattr(tokens, name) for tokens in scales])[order]

    return GeometryTokens(
        position=joined("position"),
        normal=joined("normal"),
        feature=joined("feature"),
        scale=joined("scale"),
        offsets=offsets_of_ids(scene[order], scenes),
    )
