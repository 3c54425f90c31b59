"""One specification per op, which drives its tests, its benchmarks and ``g2vlm-fast profile``."""

from g2vlm_fast.ops.specs.base import (
    Cost,
    Inputs,
    OpSpec,
    Tolerance,
    cast_inputs,
    outputs_and_gradients,
    relative_error,
)

__all__ = [
    "Cost",
    "Inputs",
    "OpSpec",
    "Tolerance",
    "cast_inputs",
    "outputs_and_gradients",
    "relative_error",
]
