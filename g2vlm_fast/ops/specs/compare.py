"""How an op is held against its reference."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from g2vlm_fast.ops._dispatch import stem, table, use_backend
from g2vlm_fast.ops.specs.base import Inputs, OpSpec

HALVES = (torch.float16, torch.bfloat16)


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
        keep = dtype in HALVES and name in float32_inputs
        return value.to(device, torch.float32 if keep else dtype)

    return {name: cast(name, value) for name, value in inputs.items()}


def draw_case(
    spec: OpSpec, case: str, dtype: torch.dtype, device: torch.device | str = "cpu"
) -> Inputs:
    """Return the inputs of a small case, the same at every call."""
    drawn = spec.small[case](torch.Generator().manual_seed(0))
    return cast_inputs(drawn, dtype, device, float32_inputs=spec.float32_inputs)


def widen_inputs(inputs: Inputs) -> Inputs:
    """Return the same numbers in float64, where they are."""
    return {
        name: value.double() if isinstance(value, Tensor) and value.is_floating_point() else value
        for name, value in inputs.items()
    }


def ops_on(spec: OpSpec, backend: str) -> tuple[str, ...]:
    """Return the ops of ``spec`` that have ``backend``, as ``use_backend`` names them."""
    ops = (op for op in spec.registered if backend in table().get(op, {}))
    return tuple(dict.fromkeys(map(stem, ops)))


def run_on(spec: OpSpec, backend: str, inputs: Inputs) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Run a case forward and backward on ``backend``, as :func:`outputs_and_gradients`.

    Registered ops that have no such backend run on their default.
    """
    with use_backend(backend, *ops_on(spec, backend)):
        return outputs_and_gradients(spec, inputs)


def expected(spec: OpSpec, inputs: Inputs) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Return the reference's outputs and gradients in float64 for the numbers in ``inputs``."""
    inputs = widen_inputs(inputs)
    if spec.reference is not None:
        return outputs_and_gradients(spec, inputs, function=spec.reference)
    return run_on(spec, "reference", inputs)


def output_errors(
    spec: OpSpec, inputs: Inputs, actual: list[Tensor], truth: list[Tensor]
) -> list[float]:
    """Return the error of each output; infinite where their number differs."""
    if len(actual) != len(truth):
        return [float("inf")]
    if spec.errors is not None:
        return spec.errors(widen_inputs(inputs), actual, truth)
    return [relative_error(*pair) for pair in zip(actual, truth, strict=True)]


def outputs_and_gradients(
    spec: OpSpec, inputs: Inputs, *, function: Any = None, seed: int = 0
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Run ``spec.function`` (or ``function``) forward and backward on ``inputs``.

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
    result = (function or spec.function)(**{**inputs, **leaves})
    outputs = [each for each in pytree.tree_leaves(result) if isinstance(each, Tensor)]
    generator = torch.Generator().manual_seed(seed)
    pairs = [
        (each, torch.randn(each.shape, generator=generator, dtype=torch.float64).to(each))
        for each in outputs
        if each.requires_grad
    ]
    if not pairs:
        return [each.detach() for each in outputs], {}
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
    b = expected.detach().double()
    a = actual.detach().to(b.device).double()
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
