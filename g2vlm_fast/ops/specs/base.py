"""What a specification says of an op, and how an op is held against its reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Inputs = dict[str, Any]
InputFactory = Callable[[torch.Generator], Inputs]


@dataclass(frozen=True)
class Cost:
    """The least work of a call: each input read once, each output written once."""

    bytes: int
    flops: int


@dataclass(frozen=True)
class Tolerance:
    """Largest relative L2 error against float64."""

    forward: float
    gradient: float


@dataclass(frozen=True)
class OpSpec:
    """How to make inputs for an op, and how exact it must be.

    ``small`` and ``timed`` map case names to factories that draw float64 CPU inputs (keyword
    arguments of ``function``) from a generator; :func:`cast_inputs` moves them to a dtype and a
    device. Inputs named in ``float32_inputs`` (positions, bias parameters) stay float32 where
    the others become half precision. The reference of a case is ``function`` itself on the
    ``reference`` backend in float64, on the very numbers that the backend under test got.
    """

    op: str
    function: Callable[..., Any]
    small: Mapping[str, InputFactory]
    timed: Mapping[str, InputFactory]
    grad_inputs: tuple[str, ...]
    tolerance: Mapping[torch.dtype, Tolerance]
    float32_inputs: tuple[str, ...] = ()
    cost: Callable[[Inputs], Cost] | None = None
    suite: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


def cast_inputs(
    inputs: Inputs,
    dtype: torch.dtype,
    device: torch.device | str,
    *,
    float32_inputs: tuple[str, ...] = (),
) -> Inputs:
    """Return ``inputs`` with float tensors in ``dtype`` and everything on ``device``."""

    def cast(name: str, value: Any) -> Any:
        if hasattr(value, "to") and not isinstance(value, Tensor):
            return value.to(device)
        if not isinstance(value, Tensor):
            return value
        if not value.is_floating_point():
            return value.to(device)
        half = dtype in (torch.float16, torch.bfloat16)
        return value.to(device, torch.float32 if half and name in float32_inputs else dtype)

    return {name: cast(name, value) for name, value in inputs.items()}


def _tensors(result: Any) -> list[Tensor]:
    if isinstance(result, Tensor):
        return [result]
    return [each for each in result if isinstance(each, Tensor)]


def outputs_and_gradients(
    spec: OpSpec, inputs: Inputs, *, seed: int = 0
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Run ``spec.function`` forward and backward on ``inputs``.

    The backward pass starts from fixed random gradients of the differentiable outputs, drawn in
    float64, so that two runs on the same case in different precisions agree.

    Returns:
        The output tensors, and the gradient of each of ``spec.grad_inputs`` that is present.
    """
    leaves = {
        name: inputs[name].detach().clone().requires_grad_()
        for name in spec.grad_inputs
        if isinstance(inputs.get(name), Tensor)
    }
    outputs = _tensors(spec.function(**{**inputs, **leaves}))
    generator = torch.Generator().manual_seed(seed)
    pairs = [
        (each, torch.randn(each.shape, generator=generator, dtype=torch.float64).to(each))
        for each in outputs
        if each.requires_grad
    ]
    gradients = torch.autograd.grad(
        [output for output, _ in pairs],
        list(leaves.values()),
        [grad for _, grad in pairs],
        allow_unused=True,
    )
    found = {name: grad for name, grad in zip(leaves, gradients, strict=True) if grad is not None}
    return [each.detach() for each in outputs], found


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """Return ``|actual - expected| / |expected|`` in float64; infinite where they differ in
    shape, in where they are not finite, or in any integer."""
    if actual.shape != expected.shape:
        return float("inf")
    if not actual.is_floating_point():
        return 0.0 if torch.equal(actual.cpu().long(), expected.cpu().long()) else float("inf")
    a, b = actual.detach().cpu().double(), expected.detach().cpu().double()
    finite = b.isfinite()
    if not torch.equal(a.isfinite(), finite) or not torch.equal(
        a[~finite].nan_to_num(nan=2.0, posinf=1.0, neginf=-1.0),
        b[~finite].nan_to_num(nan=2.0, posinf=1.0, neginf=-1.0),
    ):
        return float("inf")
    a, b = a[finite], b[finite]
    if b.numel() == 0:
        return 0.0
    norm = b.norm().item()
    return (a - b).norm().item() / norm if norm > 0 else (a - b).norm().item()
