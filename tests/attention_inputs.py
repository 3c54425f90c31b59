"""Small inputs of biased attention, and plain attention to hold it against."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from g2vlm_fast.ops import BiasSpec, geometry_attention

QUERIES, KEYS, HEADS, DIM = 9, 12, 2, 8
OnBackend = Callable[[], AbstractContextManager[None]]


def draw(
    spec: BiasSpec, dtype: torch.dtype = torch.float64, generator: torch.Generator | None = None
) -> dict[str, Any]:
    """Draw one scene of a few tokens, with parameters that all queries share."""
    generator = generator or torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    return {
        "q": normal(QUERIES, HEADS, DIM),
        "k": normal(KEYS, HEADS, DIM),
        "v": normal(KEYS, HEADS, DIM),
        "bias": spec,
        "bias_parameters": normal(HEADS, spec.num_parameters),
        "q_position": normal(QUERIES, 3),
        "k_position": normal(KEYS, 3),
    }


def attend(x: dict[str, Any], bias: Tensor) -> Tensor:
    """Plain softmax attention with a bias ``[H, Lq, Lk]``."""
    scores = torch.einsum("ihd,jhd->hij", x["q"], x["k"]) / DIM**0.5 + bias
    return torch.einsum("hij,jhd->ihd", scores.softmax(-1), x["v"])


def assert_shut_gates_keep_nan_in(x: dict[str, Any], broken: str, on_backend: OnBackend) -> None:
    """Break one input of rows whose gates are shut: nothing else may change, gradients included.

    Rows 3 and 4 are shut in every head, row 6 in head 1.
    """
    x["bias_parameters"] = x["bias_parameters"].repeat(QUERIES, 1, 1)
    x["q_gate"] = torch.full((QUERIES, HEADS), 0.7, dtype=x["q"].dtype)
    x["q_gate"][3:5] = x["q_gate"][6, 1] = 0
    whole = {**x, broken: x[broken].clone()}
    x[broken][3] = torch.nan
    if broken == "bias_parameters":
        x[broken][6, 1] = torch.nan
    runs = []
    for inputs in (x, whole):
        leaves = {n: v.requires_grad_() for n, v in inputs.items() if isinstance(v, Tensor)}
        with on_backend():
            out = geometry_attention(**inputs)
        grads = torch.autograd.grad(out.square().sum(), list(leaves.values()))
        runs.append((out, dict(zip(leaves, grads, strict=True))))
    (out, grads), (expected_out, expected_grads) = runs
    torch.testing.assert_close(out, expected_out, rtol=0, atol=0)
    assert (grads["q_gate"][3] == 0).all()
    for name, grad in grads.items():
        if name == "q_gate":
            grad, expected_grads[name] = grad[4:6], expected_grads[name][4:6]
            assert (grad != 0).all()  # what stands somewhere can still open
        torch.testing.assert_close(grad, expected_grads[name], rtol=0, atol=0, msg=name)
