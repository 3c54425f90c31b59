"""Edge convolution layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from g2vlm_fast.ops import Graph, edge_conv


class EdgeConv(nn.Module):
    """``x'_i = reduce_j activation(W1 x_i + W2 (x_j - x_i) + W3 g_ij + bias)``.

    EdgeConv with a one-layer edge function (Wang et al., Dynamic Graph CNN for Learning on Point
    Clouds, 2019) and optional geometry of the edges. The linear maps run on the vertices,
    ``(W1 - W2) x_i`` and ``W2 x_j``, and only their sum on the edges: see :func:`edge_conv`.

    Args:
        in_channels: channels of x.
        out_channels: channels of the result.
        geometry_channels: columns of the edge geometry, 0 to 8; 0 for none.
        activation: ``"none"``, ``"relu"``, ``"leaky_relu"`` or ``"silu"``.
        reduce: ``"max"``, ``"mean"`` or ``"sum"``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        geometry_channels: int = 0,
        activation: str = "relu",
        reduce: str = "max",
    ) -> None:
        super().__init__()
        self.center = nn.Linear(in_channels, out_channels)
        self.difference = nn.Linear(in_channels, out_channels, bias=False)
        self.geometry_weight: nn.Parameter | None = None
        if geometry_channels:
            self.geometry_weight = nn.Parameter(torch.empty(geometry_channels, out_channels))
            nn.init.uniform_(
                self.geometry_weight, -(geometry_channels**-0.5), geometry_channels**-0.5
            )
        self.activation = activation
        self.reduce = reduce

    def forward(self, x: Tensor, graph: Graph, geometry: Tensor | None = None) -> Tensor:
        """Return ``[V, out_channels]`` of ``x [V, in_channels]`` and ``geometry [E, G]``."""
        a = nn.functional.linear(x, self.center.weight - self.difference.weight, self.center.bias)
        return edge_conv(
            a,
            self.difference(x),
            graph,
            geometry,
            self.geometry_weight,
            activation=self.activation,
            reduce=self.reduce,
        )

    def extra_repr(self) -> str:
        return f"activation={self.activation!r}, reduce={self.reduce!r}"
