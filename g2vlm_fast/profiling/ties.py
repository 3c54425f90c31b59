"""Where several edges attain a maximum: which of them gets the gradient is a matter of taste.

Our ops say which one; others split it or take another. In half precision such ties are common, so
that without this no other implementation would ever pass the check of its gradients. The backward
passes of these ops therefore start from zero there, for everyone alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

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


_MESSAGES: Mapping[str, Callable[[Inputs], Tensor]] = {
    "graph_reduce": _reduce_messages,
    "edge_conv": _conv_messages,
    "edge_conv_layer": _layer_messages,
}


def tied_winners(op: str, inputs: Inputs) -> Tensor | None:
    """Return the (row, channel) pairs that several edges win, ``[V, C]`` bool.

    Args:
        op: name of the op.
        inputs: in float64.

    Returns:
        None for ops and reductions without winners.
    """
    default = {"edge_conv_layer": "max", "edge_conv": "max"}.get(op, "sum")
    reduce = inputs.get("reduce", default)
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
