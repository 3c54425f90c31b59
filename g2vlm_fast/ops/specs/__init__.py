"""One specification per op, which drives its tests, its benchmarks and ``g2vlm-fast profile``."""

from __future__ import annotations

from importlib import import_module

from g2vlm_fast.ops.specs.base import Cost, Hostile, InputFactory, Inputs, OpSpec, Tolerance
from g2vlm_fast.ops.specs.compare import (
    cast_inputs,
    draw_case,
    expected,
    ops_on,
    output_errors,
    outputs_and_gradients,
    relative_error,
    run_on,
    widen_inputs,
)

__all__ = [
    "Cost",
    "Hostile",
    "InputFactory",
    "Inputs",
    "OpSpec",
    "Tolerance",
    "all_specs",
    "cast_inputs",
    "draw_case",
    "expected",
    "ops_on",
    "output_errors",
    "outputs_and_gradients",
    "relative_error",
    "run_on",
    "widen_inputs",
]

# Modules of this package; each holds SPEC, or SPECS where a stem has several ops.
STEMS = (
    "nearest",
    "nearest_index",
    "nearest_pair",
    "point_to_mesh",
    "chamfer",
    "graph_build",
    "graph_reduce",
    "edge_conv",
    "edge_attention",
    "edge_mlp",
    "segment_csr",
    "gather_rows",
    "voxel_pool",
    "geometry_attention",
)


def all_specs() -> dict[str, OpSpec]:
    """Return the specification of every op, by op."""
    specs: list[OpSpec] = []
    for stem in STEMS:
        module = import_module(f"{__name__}.{stem}")
        specs += getattr(module, "SPECS", None) or (module.SPEC,)
    return {spec.op: spec for spec in specs}
