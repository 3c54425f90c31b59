"""Edge convolution layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from g2vlm_fast.nn._loaded_names import forget, linear_layers
from g2vlm_fast.ops import Graph, edge_conv


class EdgeConv(nn.Module):
    """``x'_i = reduce_j activation(W1 x_i + W2 (x_j - x_i) + W3 g_ij + bias)``.

    EdgeConv with a one-layer edge function (Wang et al., Dynamic Graph CNN for Learning on Point
    Clouds, 2019) and optional geometry of the edges. The linear maps run on the vertices,
    ``(W1 - W2) x_i`` and ``W2 x_j``, and only their sum on the edges: see :func:`edge_conv`.

    ``load_state_dict`` takes its own names (``center`` is W1 and the bias, ``difference`` W2) and
    those of PyG's ``EdgeConv`` whose ``nn`` has one linear layer, ``[W1, W2]``. The activation
    and the reduction are no part of a state dict.

    Args:
        in_channels: channels of x.
        out_channels: channels of the result.
        geometry_channels: columns of the edge geometry, 0 to 8; 0 for none.
        activation: ``"none"``, ``"relu"``, ``"leaky_relu"`` or ``"silu"``.
        reduce: ``"max"``, ``"mean"`` or ``"sum"``.
        bias: whether there is a bias.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        geometry_channels: int = 0,
        activation: str = "relu",
        reduce: str = "max",
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.center = nn.Linear(in_channels, out_channels, bias=bias)
        self.difference = nn.Linear(in_channels, out_channels, bias=False)
        self.geometry_weight: nn.Parameter | None = None
        if geometry_channels:
            self.geometry_weight = nn.Parameter(torch.empty(geometry_channels, out_channels))
            nn.init.uniform_(
                self.geometry_weight, -(geometry_channels**-0.5), geometry_channels**-0.5
            )
        self.activation = activation
        self.reduce = reduce
        self.register_load_state_dict_pre_hook(_translate)

    def forward(
        self,
        x: Tensor | tuple[Tensor, Tensor],
        graph: Graph,
        geometry: Tensor | None = None,
    ) -> Tensor:
        """Return ``[V, out_channels]``.

        Args:
            x: ``[V, in_channels]``; where the graph joins two sets, features of its sources and of
                its rows.
            graph: the neighbours of each row.
            geometry: ``[E, geometry_channels]``, such as :meth:`Graph.edge_geometry` makes.
        """
        sources, rows = x if isinstance(x, tuple) else (x, x)
        center = self.center.weight - self.difference.weight
        return edge_conv(
            nn.functional.linear(rows, center, self.center.bias),
            self.difference(sources),
            graph,
            geometry,
            self.geometry_weight,
            activation=self.activation,
            reduce=self.reduce,
        )

    def extra_repr(self) -> str:
        return f"activation={self.activation!r}, reduce={self.reduce!r}"


def _translate(module: nn.Module, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
    layers = linear_layers(state_dict, f"{prefix}nn.")
    if not layers:
        return
    if len(layers) > 1:
        rest[-1].append(f"{prefix}nn has {len(layers)} linear layers; EdgeConv has one")
        return
    forget(state_dict, f"{prefix}nn.")
    center, difference = layers[0].weight.chunk(2, dim=1)
    state_dict[f"{prefix}center.weight"] = center
    state_dict[f"{prefix}difference.weight"] = difference
    if layers[0].bias is not None:
        state_dict[f"{prefix}center.bias"] = layers[0].bias
