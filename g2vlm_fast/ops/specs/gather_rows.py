"""Specification of :func:`g2vlm_fast.ops.gather_rows`."""

from __future__ import annotations

import torch

from g2vlm_fast.ops.gather_rows import gather_rows
from g2vlm_fast.ops.specs.base import Cost, Hostile, InputFactory, Inputs, OpSpec, Tolerance
from g2vlm_fast.ops.specs.graphs import values

_TOLERANCE = {
    torch.float64: Tolerance(1e-14, 1e-14),
    torch.float32: Tolerance(2e-6, 2e-6),
    torch.float16: Tolerance(6e-4, 1e-3),
    torch.bfloat16: Tolerance(4e-3, 8e-3),
}


def _rows(rows: int, taken: int, channels: int) -> InputFactory:
    def make(generator: torch.Generator) -> Inputs:
        index = torch.randint(0, max(rows, 1), (taken,), generator=generator)
        return {"x": values(generator, rows, channels), "index": index}

    return make


def _many_rows(generator: torch.Generator) -> Inputs:
    index = torch.randint(0, 1_000_000, (6_000_000,), generator=generator)
    return {"x": torch.randn(1_000_000, 128, generator=generator), "index": index}


def _gather_cost(inputs: Inputs) -> Cost:
    x, index = inputs["x"], inputs["index"]
    return Cost(x.nbytes + index.nbytes + index.shape[0] * x.shape[1] * x.element_size(), 0)


SPEC = OpSpec(
    op="gather_rows",
    kernels=("graph_reduce", "graph_reduce_backward", "graph_transpose", "index_members"),
    function=gather_rows,
    small={
        "several_times": _rows(7, 40, 5),
        "few": _rows(50, 9, 16),
        "none": _rows(5, 0, 3),
        "of_nothing": _rows(0, 0, 3),
    },
    timed={"gather_rows_6M": _many_rows},
    timed_dtype=torch.bfloat16,
    grad_inputs=("x",),
    tolerance=_TOLERANCE,
    cost=_gather_cost,
    suite="graph",
    hostile=(
        Hostile("negative", lambda i: {**i, "index": i["index"] - 60}, ValueError, "index"),
        Hostile("too large", lambda i: {**i, "index": i["index"] + 60}, ValueError, "index"),
        Hostile("too wide", lambda i: {**i, "index": i["index"] + 2**32}, ValueError, "index"),
        Hostile("no integers", lambda i: {**i, "index": i["x"][:, 0]}, TypeError, "index"),
    ),
)
