"""The float64 reference of ops over edges, a few channels at a time.

The references hold a message for every edge and channel; channels do not meet in these ops, so
the truth of a large case is that of its channels one block after the other, put together again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from g2vlm_fast.ops.specs import Inputs

# Bytes of one [edges, channels] array in float64; the references hold about ten.
_ARRAY_BYTES = {"cuda": 4 << 30, "cpu": 1 << 28}


@dataclass(frozen=True)
class ChannelAxes:
    """Which axis of an op's inputs counts output channels, or heads; the outputs' axis 1 does."""

    inputs: Mapping[str, int]
    counted_by: str
    of_head: int | None = None
    """The axis of ``counted_by`` that has the channels of a head, where heads are counted."""


CHANNELS: Mapping[str, ChannelAxes] = {
    "graph_reduce": ChannelAxes({"x": 1}, "x"),
    "edge_conv": ChannelAxes({"a": 1, "b": 1, "weight": 1}, "a"),
    "edge_conv_layer": ChannelAxes({"center": 0, "difference": 0, "weight": 1}, "center"),
    "edge_attention_layer": ChannelAxes(
        {"source_map": 0, "row_map": 0, "attention": 0, "geometry_weight": 1},
        "source_map",
        of_head=1,
    ),
    "edge_mlp": ChannelAxes({"weight": 1, "bias": 0}, "weight"),
    "edge_mlp_reduced": ChannelAxes({"weight": 1, "bias": 0}, "weight"),
    "edge_mlp_layer": ChannelAxes({"weight": 1, "bias": 0}, "weight"),
}


def channel_blocks(op: str, inputs: Inputs) -> list[slice]:
    """Return the blocks of channels that a case is cut into; one block for all where it fits."""
    axes = CHANNELS.get(op)
    if axes is None:
        return [slice(None)]
    counting = inputs[axes.counted_by]
    channels = counting.shape[axes.inputs[axes.counted_by]]
    column = 8 * max(1, inputs["graph"].num_edges)
    if axes.of_head is not None:
        column *= max(1, counting.shape[axes.of_head])
    width = max(1, _ARRAY_BYTES[counting.device.type] // column)
    if width >= channels:
        return [slice(None)]
    return [slice(begin, begin + width) for begin in range(0, channels, width)]


def narrowed(op: str, inputs: Inputs, block: slice) -> Inputs:
    """Return the inputs of one block of channels."""
    if block == slice(None):
        return inputs
    result = dict(inputs)
    for name, axis in CHANNELS[op].inputs.items():
        if isinstance(inputs.get(name), Tensor):
            result[name] = inputs[name][(slice(None),) * axis + (block,)].contiguous()
    return result


def joined_gradients(op: str, parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Put the gradients of the blocks together: side by side, or summed where all share one."""
    if len(parts) == 1:
        return parts[0]
    axes = CHANNELS[op].inputs
    return {
        name: torch.cat([part[name] for part in parts], axes[name])
        if name in axes
        else torch.stack([part[name] for part in parts]).sum(0)
        for name in parts[0]
    }
