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


def forget(state_dict: dict[str, Any], prefix: str) -> None:
    """Drop all entries under ``prefix``."""
    for key in [each for each in state_dict if each.startswith(prefix)]:
        del state_dict[key]
