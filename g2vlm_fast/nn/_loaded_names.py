"""Names of parameters in other libraries, understood by ``load_state_dict``.

A translation is a load-state-dict pre-hook: it renames and cuts what it recognises and leaves the
rest, which torch then reports as unexpected.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from torch import Tensor

_PARAMETER = re.compile(r"(?:lins\.)?(?:(\d+)\.)?(weight|bias)")


class LinearLayer(NamedTuple):
    """One ``y = weight x + bias``."""

    weight: Tensor  # [out, in]
    bias: Tensor | None  # [out]


def rename(state_dict: dict[str, Any], prefix: str, names: dict[str, str]) -> None:
    """Rename entries under ``prefix``, where the new name is not there already."""
    for old, new in names.items():
        if prefix + old in state_dict and prefix + new not in state_dict:
            state_dict[prefix + new] = state_dict.pop(prefix + old)


def linear_layers(state_dict: dict[str, Any], prefix: str) -> list[LinearLayer]:
    """Return the linear layers of a network, in order; none where it has anything else.

    Networks are a linear layer (``weight``), a ``torch.nn.Sequential`` of such and activations
    (``0.weight``, ``2.weight``), or an ``MLP`` of PyG without normalisation (``lins.0.weight``).
    """
    found: dict[int, dict[str, Tensor]] = {}
    for key, value in state_dict.items():
        if not key.startswith(prefix):
            continue
        match = _PARAMETER.fullmatch(key.removeprefix(prefix))
        if match is None:
            return []
        found.setdefault(int(match[1] or 0), {})[match[2]] = value
    layers = [found[place] for place in sorted(found)]
    if not all("weight" in each and each["weight"].dim() == 2 for each in layers):
        return []
    return [LinearLayer(each["weight"], each.get("bias")) for each in layers]


def take_linear_layers(
    state_dict: dict[str, Any], prefix: str, count: int, errors: list[str]
) -> list[LinearLayer]:
    """Take the ``count`` linear layers of a network out of a state dict.

    Nothing is taken where there is no such network, or where it has another number of layers,
    which is added to ``errors``.
    """
    layers = linear_layers(state_dict, prefix)
    if not layers:
        return []
    if len(layers) != count:
        errors.append(
            f"linear layers of {prefix.removesuffix('.')}: expected {count}, got {len(layers)}; "
            "hidden_channels makes a module with two"
        )
        return []
    for key in [each for each in state_dict if each.startswith(prefix)]:
        del state_dict[key]
    return layers


def put_linear_layer(state_dict: dict[str, Any], name: str, layer: LinearLayer) -> None:
    """Enter a linear layer under its name."""
    state_dict[f"{name}.weight"] = layer.weight
    if layer.bias is not None:
        state_dict[f"{name}.bias"] = layer.bias
