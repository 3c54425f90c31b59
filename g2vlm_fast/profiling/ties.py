"""Where several edges attain a maximum: which of them gets the gradient is a matter of taste.

Our ops say which one; others split it or take another. In half precision such ties are common, so
that without this no other implementation would ever pass the check of its gradients. The backward
passes of these ops therefore start from zero there, for everyone alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from g2vlm_fast.ops.reference.edge_conv import activate, preactivation
from g2vlm_fast.ops.specs import Inputs
from g2vlm_fast.profiling.blocks import channel_blocks, narrowed


def _reduce_messages(inputs: Inputs) -> Tensor:
    message: Tensor = inputs["x"][inputs["graph"].columns.long()]
    weight = inputs.get("weight")
    return message if weight is None else message * weight[:, None]


def _conv_messages(inputs: Inputs) -> Tensor:
    """All but what every edge of a row shares; activations do not change the order."""
    message: Tensor = inputs["b"][inputs["graph"].columns.long()]
    geometry = inputs.get("geometry")
    return message if geometry is None else message + geometry @ inputs["weight"]


def _layer_messages(inputs: Inputs) -> Tensor:
    return _conv_messages({**inputs, "b": inputs["x"] @ inputs["difference"].T})


def _mlp_messages(inputs: Inputs) -> Tensor:
    """All but the bias, which every edge of a row shares."""
    graph = inputs["graph"]
    z = preactivation(
        inputs["a"],
        inputs["b"],
        graph.edge_rows().long(),
        graph.columns,
        inputs.get("geometry"),
        inputs.get("geometry_weight"),
    )
    return activate(z, inputs.get("activation", "relu")) @ inputs["weight"]


def _mlp_layer_messages(inputs: Inputs) -> Tensor:
    x, center, difference = inputs["x"], inputs["center"], inputs["difference"]
    return _mlp_messages({**inputs, "a": x @ (center - difference).T, "b": x @ difference.T})


_MESSAGES: Mapping[str, Callable[[Inputs], Tensor]] = {
    "graph_reduce": _reduce_messages,
    "edge_conv": _conv_messages,
    "edge_conv_layer": _layer_messages,
    "edge_mlp": _mlp_messages,
    "edge_mlp_layer": _mlp_layer_messages,
}
_MAXIMA_BY_DEFAULT = ("edge_conv", "edge_conv_layer", "edge_mlp", "edge_mlp_layer")


def tied_winners(op: str, inputs: Inputs) -> Tensor | None:
    """Return the (row, channel) pairs that several edges win, ``[V, C]`` bool.

    Args:
        op: name of the op.
        inputs: in float64.

    Returns:
        None for ops and reductions without winners.
    """
    reduce = inputs.get("reduce", "max" if op in _MAXIMA_BY_DEFAULT else "sum")
    if op not in _MESSAGES or reduce not in ("max", "min"):
        return None
    rows = inputs["graph"].edge_rows().long()
    parts = []
    for block in channel_blocks(op, inputs):
        message = _MESSAGES[op](narrowed(op, inputs, block))
        index = rows[:, None].expand_as(message)
        shape = (inputs["graph"].num_rows, message.shape[1])
        best = message.new_zeros(shape).scatter_reduce(
            0, index, message, f"a{reduce}", include_self=False
        )
        wins = torch.zeros(shape, dtype=torch.int32, device=message.device)
        wins.index_add_(0, rows, (message == best[rows]).int())
        parts.append(wins > 1)
    return torch.cat(parts, 1)
