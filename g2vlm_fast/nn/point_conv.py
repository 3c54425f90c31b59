"""Convolutions of points over their neighbours."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from g2vlm_fast.nn._layer_options import check_message, check_sizes
from g2vlm_fast.nn._loaded_names import put_linear_layer, take_linear_layers
from g2vlm_fast.nn.edge_conv import second_map
from g2vlm_fast.ops import Graph, edge_conv, edge_mlp

_AXES = 3


class PointConv(nn.Module):
    """``x'_i = global_nn(reduce_j activation(W [x_j, p_j - p_i] + bias))``, p in metres.

    The set layer of PointNet++ (Qi et al., 2017), known from PyG as ``PointNetConv``. W runs on the
    points, and on the offsets of the edges inside :func:`edge_conv`: no tensor of edges x channels
    is stored. Offsets are subtracted in the precision of the positions, which stay float32 (or
    float64) in a half-precision model. With ``hidden_channels`` the message has a second layer,
    ``W2 activation(...) + bias``: see :func:`edge_mlp`.

    Which points are neighbours the graph alone says: PyG adds a loop to every point, which is
    ``graph.with_loops()`` here.

    ``load_state_dict`` takes its own names (``local``, ``second``, ``global_nn``) and those of
    PyG, whose ``local_nn`` has one linear layer or two. An activation behind the second one belongs
    into ``global_nn``, which is the same for ``"max"``.

    Args:
        in_channels: channels of x; 0 for positions alone.
        out_channels: channels of the messages.
        activation: ``"none"``, ``"relu"``, ``"leaky_relu"`` (slope 0.2) or ``"silu"``.
        reduce: ``"max"``, ``"mean"`` or ``"sum"``.
        global_nn: what is applied to the reduced messages ``[V, out_channels]``; None for nothing.
        bias: whether the layers of the message have a bias.
        hidden_channels: channels between the two layers of the message; None for one layer.

    Raises:
        TypeError, ValueError: an option has the wrong type or value.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        activation: str = "relu",
        reduce: str = "max",
        global_nn: nn.Module | None = None,
        bias: bool = True,
        hidden_channels: int | None = None,
    ) -> None:
        super().__init__()
        check_sizes("PointConv", least=0, in_channels=in_channels)
        check_message("PointConv", out_channels, hidden_channels, activation, reduce, bias)
        channels = out_channels if hidden_channels is None else hidden_channels
        self.in_channels = in_channels
        self.local = nn.Linear(in_channels + _AXES, channels, bias=bias)
        self.second = (
            None if hidden_channels is None else nn.Linear(channels, out_channels, bias=bias)
        )
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
        a = message.new_zeros(graph.num_rows, message.shape[1])
        options = (offset, weight[:, self.in_channels :].T, self.activation, self.reduce)
        if self.second is None:
            out = edge_conv(a, message, graph, *options)
        else:
            second, second_bias = second_map(self.second, a.dtype)
            out = edge_mlp(a, message, graph, second, second_bias, *options)
        return out if self.global_nn is None else self.global_nn(out)

    def extra_repr(self) -> str:
        return f"activation={self.activation!r}, reduce={self.reduce!r}"


def _translate(module: PointConv, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
    count = 1 if module.second is None else 2
    layers = take_linear_layers(state_dict, f"{prefix}local_nn.", count, rest[-1])
    for name, layer in zip(("local", "second"), layers, strict=False):
        put_linear_layer(state_dict, f"{prefix}{name}", layer)
