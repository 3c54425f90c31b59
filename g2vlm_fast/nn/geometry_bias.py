"""The learned parameters of a geometric attention bias."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn

from g2vlm_fast.ops.bias import BiasSpec


class GeometryBias(nn.Module):
    """Owns the per-head parameters of a :class:`~g2vlm_fast.ops.bias.BiasSpec`.

    ``parameters_per_head [num_heads, spec.num_parameters]`` start at zero, so that attention
    starts as plain attention. They are free in sign: a slope that training makes negative
    attends to what is far. They stay float32 when the module is cast to half precision, because
    they multiply metres.
    """

    def __init__(self, spec: BiasSpec, num_heads: int) -> None:
        super().__init__()
        if not isinstance(spec, BiasSpec):
            raise TypeError(f"GeometryBias: spec must be a BiasSpec, got {type(spec).__name__}")
        if num_heads < 1:
            raise ValueError(f"GeometryBias: num_heads must be at least 1, got {num_heads}")
        self.spec = spec
        self.parameters_per_head = nn.Parameter(
            torch.zeros(num_heads, spec.num_parameters, dtype=torch.float32)
        )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        def keep_wide(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            if moved.dtype in (torch.float16, torch.bfloat16):
                return tensor.to(moved.device)
            return moved

        return super()._apply(keep_wide, recurse)

    def extra_repr(self) -> str:
        terms = ", ".join(map(repr, self.spec.terms))
        return f"{terms}, num_heads={self.parameters_per_head.shape[0]}"
