"""Edge convolution layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from g2vlm_fast.nn._layer_options import check_message, check_sizes, check_terms
from g2vlm_fast.nn._loaded_names import LinearLayer, put_linear_layer, take_linear_layers
from g2vlm_fast.ops import Graph, edge_conv, edge_mlp


class EdgeConv(nn.Module):
    """``x'_i = reduce_j activation(W1 x_i + W2 (x_j - x_i) + W3 g_ij + bias)``.

    EdgeConv (Wang et al., Dynamic Graph CNN for Learning on Point Clouds, 2019) with optional
    geometry of the edges. The linear maps run on the vertices, ``(W1 - W2) x_i`` and ``W2 x_j``,
    and only their sum on the edges: see :func:`edge_conv`. With ``hidden_channels`` the message has
    a second layer, ``W4 activation(...) + bias``: see :func:`edge_mlp`.

    ``load_state_dict`` takes its own names (``center`` is W1 and the bias, ``difference`` W2,
    ``second`` W4) and those of PyG's ``EdgeConv`` whose ``nn`` has one linear layer ``[W1, W2]``,
    or two of them. Activations and the reduction are no part of a state dict. An activation behind
    the second layer is yours to apply to the result, which is the same for ``"max"``.

    Args:
        in_channels: channels of x.
        out_channels: channels of the result.
        geometry_channels: columns of the edge geometry, 0 to 8; 0 for none.
        activation: ``"none"``, ``"relu"``, ``"leaky_relu"`` (slope 0.2) or ``"silu"``.
        reduce: ``"max"``, ``"mean"`` or ``"sum"``.
        bias: whether the layers of the message have a bias.
        hidden_channels: channels between the two layers of the message; None for one layer.

    Raises:
        TypeError, ValueError: an option has the wrong type or value.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        geometry_channels: int = 0,
        activation: str = "relu",
        reduce: str = "max",
        bias: bool = True,
        hidden_channels: int | None = None,
    ) -> None:
        super().__init__()
        check_sizes("EdgeConv", in_channels=in_channels)
        check_terms("EdgeConv", "geometry_channels", geometry_channels, least=0)
        check_message("EdgeConv", out_channels, hidden_channels, activation, reduce, bias)
        channels = out_channels if hidden_channels is None else hidden_channels
        self.center = nn.Linear(in_channels, channels, bias=bias)
        self.difference = nn.Linear(in_channels, channels, bias=False)
        self.second = (
            None if hidden_channels is None else nn.Linear(channels, out_channels, bias=bias)
        )
        self.geometry_weight: nn.Parameter | None = None
        if geometry_channels:
            self.geometry_weight = nn.Parameter(torch.empty(geometry_channels, channels))
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
        a = nn.functional.linear(rows, center, self.center.bias)
        b = self.difference(sources)
        options = (geometry, self.geometry_weight, self.activation, self.reduce)
        if self.second is None:
            return edge_conv(a, b, graph, *options)
        weight, bias = second_map(self.second, a.dtype)
        return edge_mlp(a, b, graph, weight, bias, *options)

    def extra_repr(self) -> str:
        return f"activation={self.activation!r}, reduce={self.reduce!r}"


def second_map(layer: nn.Linear, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """Return weight and bias for :func:`edge_mlp` in the dtype that autocast gave the first map."""
    return layer.weight.T.to(dtype), None if layer.bias is None else layer.bias.to(dtype)


def _translate(module: EdgeConv, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
    count = 1 if module.second is None else 2
    layers = take_linear_layers(state_dict, f"{prefix}nn.", count, rest[-1])
    if not layers:
        return
    center, difference = layers[0].weight.chunk(2, dim=1)
    put_linear_layer(state_dict, f"{prefix}center", LinearLayer(center, layers[0].bias))
    put_linear_layer(state_dict, f"{prefix}difference", LinearLayer(difference, None))
    if count == 2:
        put_linear_layer(state_dict, f"{prefix}second", layers[1])
