"""The vertex branch: graph layers over vertices that know where they are and how they look."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from g2vlm_fast.model.config import G2VLMConfig
from g2vlm_fast.model.layers import MLP, LayerNorm, PositionEmbedding
from g2vlm_fast.model.lift import Points
from g2vlm_fast.model.room import ROOM_COLUMNS, room_coordinates
from g2vlm_fast.nn import EdgeConv
from g2vlm_fast.ops import Graph, graph_reduce

EDGE_TERMS = ("offset", "distance", "normal_dot", "normal_angle", "source_normal_angle")
_EDGE_CHANNELS = 7
_SURFACE_CHANNELS = 3 + 1 + 3 + 1 + 2  # normal, has one, colour, seen, spacing, curvature
_INPUTS = _SURFACE_CHANNELS + ROOM_COLUMNS


class GraphLayer(nn.Module):
    """A pre-norm residual edge convolution whose messages know the geometry of their edge.

    Source: Wang et al., "Dynamic graph CNN for learning on point clouds", TOG 2019.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = LayerNorm(dim)
        self.convolution = EdgeConv(dim, dim, _EDGE_CHANNELS, activation="leaky_relu", reduce="max")
        self.mlp_norm = LayerNorm(dim)
        self.mlp = MLP(dim, dim, dim)

    def forward(self, x: Tensor, graph: Graph, geometry: Tensor) -> Tensor:
        x = x + self.convolution(self.norm(x), graph, geometry)
        return x + self.mlp(self.mlp_norm(x))


class GraphLayers(nn.ModuleList):
    """Graph layers, one after the other."""

    def __init__(self, dim: int, count: int) -> None:
        super().__init__(GraphLayer(dim) for _ in range(count))

    def forward(self, x: Tensor, graph: Graph, geometry: Tensor) -> Tensor:
        for layer in self:
            x = layer(x, graph, geometry)
        return x


def edge_geometry(graph: Graph, position: Tensor, normal: Tensor, unit: float) -> Tensor:
    """Describe the edges of a graph by lengths in the given unit (metres) and by angles."""
    return graph.edge_geometry(position / unit, normal, terms=EDGE_TERMS)


class VertexBranch(nn.Module):
    """Embeds vertices (place, normal, colour, spacing, curvature, room, image); graph layers."""

    def __init__(self, config: G2VLMConfig) -> None:
        super().__init__()
        dim = config.point_dim
        self.unit = config.vertex_size
        self.place = PositionEmbedding(dim)
        self.surface = MLP(_INPUTS + config.dense_dim, 2 * dim, dim)
        self.layers = GraphLayers(dim, config.vertex_layers)

    def forward(self, points: Points, graph: Graph, image: Tensor, seen: Tensor) -> Tensor:
        """Return the features ``[N, point_dim]`` of the vertices.

        Args:
            points: N vertices, in the frames of their scenes.
            graph: their edges.
            image: ``[N, dense_dim]`` features of the views that see each vertex.
            seen: ``[N]`` float32, how well it is seen.
        """
        position, normal = points.position, points.normal
        geometry = edge_geometry(graph, position, normal, self.unit)
        ones = position.new_ones(len(position), 1)
        distance, bend = geometry[:, 3].contiguous(), geometry[:, 5].contiguous()
        surface = [
            normal,
            (normal.abs().sum(-1, keepdim=True) > 0).float(),
            2 * points.color - 1,
            seen[:, None],
            graph_reduce(ones, graph, "mean", weight=distance),
            graph_reduce(ones, graph, "mean", weight=bend),
            room_coordinates(position, normal, points.offsets),
        ]
        x = self.place(position) + self.surface(torch.cat([*surface, image.float()], dim=-1))
        out: Tensor = self.layers(x, graph, geometry)
        return out
