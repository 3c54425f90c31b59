"""Specification of :func:`g2vlm_fast.ops.segment_csr`."""

from __future__ import annotations

import torch

from g2vlm_fast.ops.segment_csr import segment_csr
from g2vlm_fast.ops.specs.base import Cost, Hostile, InputFactory, Inputs, OpSpec, Tolerance
from g2vlm_fast.ops.specs.graphs import tied_values, values
from g2vlm_fast.ops.specs.points import offsets

_TOLERANCE = {
    torch.float64: Tolerance(1e-14, 1e-14),
    torch.float32: Tolerance(2e-6, 2e-6),
    torch.float16: Tolerance(6e-4, 1e-3),
    torch.bfloat16: Tolerance(4e-3, 8e-3),
}


def _runs(reduce: str, channels: int, *lengths: int, ties: bool = False) -> InputFactory:
    def make(generator: torch.Generator) -> Inputs:
        draw = tied_values if ties else values
        x = draw(generator, sum(lengths), channels)
        return {"x": x, "offsets": offsets(*lengths), "reduce": reduce}

    return make


def _long_runs(segments: int, length: int, channels: int) -> InputFactory:
    def make(generator: torch.Generator) -> Inputs:
        x = torch.randn(segments * length, channels, generator=generator)
        pointers = torch.arange(segments + 1, dtype=torch.int32) * length
        return {"x": x, "offsets": pointers, "reduce": "sum"}

    return make


def _segment_cost(inputs: Inputs) -> Cost:
    x, segments = inputs["x"], inputs["offsets"].shape[0] - 1
    rows = x.shape[0] + segments
    return Cost(rows * x.shape[1] * x.element_size() + 4 * (segments + 1), x.numel())


SPEC = OpSpec(
    op="segment_csr",
    kernels=("graph_reduce", "graph_reduce_backward"),
    function=segment_csr,
    small={
        "sum": _runs("sum", 5, 3, 0, 7, 1, 0),
        "mean": _runs("mean", 8, 0, 2, 9, 4),
        "max": _runs("max", 16, 6, 0, 1, 8),
        "min": _runs("min", 3, 6, 5, 0),
        "ties": _runs("max", 4, 9, 20, ties=True),
        "long": _runs("max", 2, 400, 3),
        "one_segment": _runs("sum", 1, 12),
        "empty": _runs("sum", 4, 0, 0),
    },
    timed={"segment_sum_6M": _long_runs(1_000_000, 6, 128)},
    timed_dtype=torch.bfloat16,
    grad_inputs=("x",),
    tolerance=_TOLERANCE,
    smooth=("sum", "mean", "max", "min", "one_segment"),
    cost=_segment_cost,
    suite="graph",
    hostile=(
        Hostile("unknown reduction", lambda i: {**i, "reduce": "mul"}, ValueError, "reduce"),
        Hostile("ends early", lambda i: {**i, "offsets": offsets(3)}, ValueError, "offsets"),
        Hostile(
            "decreasing",
            lambda i: {**i, "offsets": torch.tensor([0, 5, 3, 11], dtype=torch.int32)},
            ValueError,
            "offsets",
        ),
        Hostile(
            "wide offsets", lambda i: {**i, "offsets": i["offsets"].long()}, TypeError, "offsets"
        ),
    ),
)
