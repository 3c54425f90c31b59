"""Convolutions of points over their neighbours."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from g2vlm_fast.nn._loaded_names import forget, linear_layers
from g2vlm_fast.ops import Graph, edge_conv

_AXES = 3


class PointConv(nn.Module):
    """``x'_i = global_nn(reduce_j activation(W [x_j, p_j - p_i] + bias))``, p in metres.

    The set layer of PointNet++ (Qi et al., 2017) with a one-layer local function, known from PyG
    as ``PointNetConv``. W runs on the points, and on the offsets of the edges inside
    :func:`edge_conv`: no tensor of edges x channels is stored. Offsets are subtracted in the
    precision of the positions, which stay float32 (or float64) in a half-precision model.

    Which points are neighbours the graph alone says: PyG adds a loop to every point, which is
    ``graph.with_loops()`` here.

    ``load_state_dict`` takes the names of PyG, too: ``local_nn`` of one linear layer, and
    ``global_nn``.

    Args:
        in_channels: channels of x; 0 for positions alone.
        out_channels: channels of the messages.
        activation: ``"none"``, ``"relu"``, ``"leaky_relu"`` or ``"silu"``.
        reduce: ``"max"``, ``"mean"`` or ``"sum"``.
        global_nn: what is applied to the reduced messages ``[V, out_channels]``; None for nothing.
        bias: whether the messages have a bias.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        activation: str = "relu",
        reduce: str = "max",
        global_nn: nn.Module | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.local = nn.Linear(in_channels + _AXES, out_channels, bias=bias)
        self.global_nn = global_nn
        self.activation = activation
        self.reduce = reduce
        self.register_load_state_dict_pre_hook(_translate)

    def forward(
        self, x: Tensor | None, position: Tensor | tuple[Tensor, Tensor], graph: Graph
    ) -> Tensor:
        """Return ``[V, out_channels]``, or what ``global_nn`` makes of it.

        Args:
            x: ``[num_sources, in_channels]``; None where in_channels is 0.
            position: ``[V, 3]`` float32 or float64, metres; where the graph joins two sets,
                positions of its sources and of its rows.
            graph: the neighbours of each row.
        """
        if (x is None) != (self.in_channels == 0):
            came = "None" if x is None else f"shape {list(x.shape)}"
            raise ValueError(
                f"PointConv: x must have {self.in_channels} channels (None for 0), got {came}"
            )
        sources, rows = position if isinstance(position, tuple) else (position, position)
        offset = graph.edge_geometry(rows, source_position=sources, terms=("offset",))
        weight, bias = self.local.weight, self.local.bias
        if x is None:
            message = weight.new_zeros(graph.num_sources, weight.shape[0])
            message = message if bias is None else message + bias
        else:
            message = nn.functional.linear(x, weight[:, : self.in_channels], bias)
        out = edge_conv(
            message.new_zeros(graph.num_rows, message.shape[1]),
            message,
            graph,
            offset,
            weight[:, self.in_channels :].T,
            activation=self.activation,
            reduce=self.reduce,
        )
        return out if self.global_nn is None else self.global_nn(out)

    def extra_repr(self) -> str:
        return f"activation={self.activation!r}, reduce={self.reduce!r}"


def _translate(module: nn.Module, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
    layers = linear_layers(state_dict, f"{prefix}local_nn.")
    if not layers:
        return
    if len(layers) > 1:
        rest[-1].append(f"{prefix}local_nn has {len(layers)} linear layers; PointConv has one")
        return
    forget(state_dict, f"{prefix}local_nn.")
    state_dict[f"{prefix}local.weight"] = layers[0].weight
    if layers[0].bias is not None:
        state_dict[f"{prefix}local.bias"] = layers[0].bias
