"""Formulas of floating-point operations, for ``torch.utils.flop_counter.FlopCounterMode``.

Importing the counter imports Triton, so formulas wait here until somebody counts.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch

_COUNTER = "torch.utils.flop_counter"
_formulas: dict[str, Callable[..., int]] = {}
_registered: set[str] = set()


def flop_formula(name: str, formula: Callable[..., int]) -> None:
    """State the operations of ``g2vlm::<name>``.

    Args:
        name: of the op.
        formula: from the op's arguments, shapes instead of tensors, and the keyword
            ``out_shape`` to the number of operations; a multiply-add counts twice.
    """
    _formulas[name] = formula
    if _COUNTER in sys.modules:
        register_flop_formulas()


def register_flop_formulas() -> None:
    """Teach ``FlopCounterMode`` the ops of this package; call it before counting."""
    from torch.utils.flop_counter import register_flop_formula

    for name in _formulas.keys() - _registered:
        register_flop_formula(getattr(torch.ops.g2vlm, name))(_formulas[name])
        _registered.add(name)
