"""What tensors cost on their way into native code: one pair of points, searched by four roads.

The arithmetic is that of a single pair, so the time is that of the call: four tensors converted and
checked, the lock released and taken back.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from g2vlm_fast import _C
from g2vlm_fast.ops import nearest
from g2vlm_fast.ops.specs import Inputs, OpSpec, Tolerance
from g2vlm_fast.profiling.providers import Function, Provider

_OPTIONS = (2, float("inf"), 0, 1)  # norm, largest distance, method, threads


def _pair(generator: torch.Generator) -> Inputs:
    points = torch.randn(2, 1, 3, generator=generator, dtype=torch.float64)
    return {
        "query": points[0],
        "target": points[1],
        "distance": torch.zeros(1, 1, dtype=torch.float64),
        "index": torch.zeros(1, 1, dtype=torch.int32),
    }


def _native(query: Tensor, target: Tensor, distance: Tensor, index: Tensor) -> tuple[Tensor, ...]:
    _C.nearest_cpu(query, target, None, None, distance, index, *_OPTIONS)
    return distance, index


def _arithmetic(query: Tensor, target: Tensor, **_: Any) -> tuple[Tensor, Tensor]:
    square = (query - target).square().sum(1, keepdim=True)
    return square, torch.zeros_like(square, dtype=torch.int32)


def _numpy(inputs: Inputs) -> Function:
    arrays = {name: value.numpy() for name, value in inputs.items()}
    call = (arrays["query"], arrays["target"], None, None, arrays["distance"], arrays["index"])

    def search(distance: Tensor, index: Tensor, **_: Any) -> tuple[Tensor, Tensor]:
        _C.nearest_cpu(*call, *_OPTIONS)
        return distance, index

    return search


def _registered(inputs: Inputs) -> Function:
    op = torch.ops.g2vlm.nearest.default

    def search(query: Tensor, target: Tensor, **_: Any) -> Any:
        return op(query, target, None, None, 1, 2, float("inf"), "auto")

    return search


def _public(inputs: Inputs) -> Function:
    def search(query: Tensor, target: Tensor, **_: Any) -> Any:
        return nearest(query, target)

    return search


BINDING = OpSpec(
    op="binding",
    kernels=("nearest",),
    function=_native,
    reference=_arithmetic,
    small={"four_tensors": _pair},
    timed={},
    called={"four_tensors": _pair},
    grad_inputs=(),
    tolerance={torch.float32: Tolerance(1e-6, 1e-6)},
    suite="binding",
)

PEERS = (
    Provider("NumPy arrays", {"binding": _numpy}, devices=("cpu",), differentiable=False),
    Provider("registered op", {"binding": _registered}, devices=("cpu",), differentiable=False),
    Provider("public op", {"binding": _public}, devices=("cpu",), differentiable=False),
)
