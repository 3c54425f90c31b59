"""Options of graph layers, refused where a layer is made and not where it first runs."""

from __future__ import annotations

from typing import Any

from g2vlm_fast.ops._checks import check_choice, check_flag, check_integer
from g2vlm_fast.ops._edge_conv_backends import ACTIVATIONS
from g2vlm_fast.ops.edge_conv import MAX_GEOMETRY_TERMS

_MOST = 2**31 - 1
_REDUCTIONS = ("max", "mean", "sum")


def check_sizes(layer: str, least: int = 1, **sizes: Any) -> None:
    """Check numbers of channels and heads."""
    for name, size in sizes.items():
        check_integer(layer, name, size, least, _MOST)


def check_message(
    layer: str,
    out_channels: Any,
    hidden_channels: Any,
    activation: Any,
    reduce: Any,
    bias: Any,
) -> None:
    """Check what layers of messages of one linear map or two have in common."""
    check_sizes(layer, out_channels=out_channels)
    if hidden_channels is not None:
        check_sizes(layer, hidden_channels=hidden_channels)
    check_choice(layer, "activation", activation, ACTIVATIONS)
    check_choice(layer, "reduce", reduce, _REDUCTIONS)
    check_flag(layer, "bias", bias)


def check_terms(layer: str, name: str, terms: Any, least: int) -> None:
    """Check the number of columns of the edge geometry."""
    check_integer(layer, name, terms, least, MAX_GEOMETRY_TERMS)
