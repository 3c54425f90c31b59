"""How an op enters torch: one definition, one implementation, one fake.

The implementation runs below autograd and picks the backend each time it runs, so that a
compiled graph keeps no choice. Gradients belong to a ``torch.autograd.Function`` around
the op, whose backward is an op too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

_LIBRARY = torch.library.Library("g2vlm", "DEF")


def define_op(
    schema: str, *, implementation: Callable[..., Any], fake: Callable[..., Any]
) -> torch._ops.OpOverload:
    """Define ``g2vlm::<schema>`` for CPU and CUDA tensors and return its overload.

    Args:
        schema: ``"name(Tensor x, int k) -> Tensor"``; fixed arity, no optional outputs.
        implementation: called with real tensors.
        fake: called with tensors that have shapes only; returns empty outputs.
    """
    name = schema.split("(")[0]
    _LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    for key in ("CPU", "CUDA"):
        _LIBRARY.impl(name, implementation, key)
    torch.library.register_fake(f"g2vlm::{name}", fake, lib=_LIBRARY)
    overload: torch._ops.OpOverload = getattr(torch.ops.g2vlm, name).default
    return overload
