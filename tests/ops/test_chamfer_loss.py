"""The op that sums what points pay: its explicit backward against autograd, and the rules of ops.

The CPU runs the reference here; tests/ops/test_chamfer_cuda.py holds the kernels against it.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from g2vlm_fast.ops import _chamfer_loss as chamfer_loss
from g2vlm_fast.ops import use_backend
from g2vlm_fast.ops._chamfer_terms import ROBUST

OPTIONS = [
    (robust, squared, mean)
    for robust in range(len(ROBUST))
    for squared in (True, False)
    for mean in (True, False)
]


def _arguments(
    robust: int, squared: bool, mean: bool, *, ragged: bool = True, one_sided: bool = False
) -> list[Any]:
    generator = torch.Generator().manual_seed(robust)

    def draw(n: int) -> Tensor:
        return torch.rand(n, generator=generator, dtype=torch.float64).requires_grad_()

    x, y, x_weights, y_weights = draw(30), draw(40), draw(30), draw(40)
    with torch.no_grad():
        x[::7] = 0
    offsets = [
        torch.tensor(each, dtype=torch.int32) if ragged else None
        for each in ([0, 8, 8, 13, 30], [0, 10, 13, 13, 40])
    ]
    back = (None, None) if one_sided else (y, y_weights)
    return [x, back[0], x_weights, back[1], *offsets, 40, robust, 0.6, squared, mean]


@pytest.mark.parametrize("one_sided", [False, True])
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize(("robust", "squared", "mean"), OPTIONS)
def test_reference_backward_is_the_derivative(
    robust: int, squared: bool, mean: bool, ragged: bool, one_sided: bool
) -> None:
    arguments = _arguments(robust, squared, mean, ragged=ragged, one_sided=one_sided)
    inputs = [each for each in arguments[:4] if each is not None]
    loss = chamfer_loss.composite(tuple(arguments[:6]), tuple(arguments[6:]))  # type: ignore[arg-type]
    expected = torch.autograd.grad(loss, inputs, torch.tensor(1.7, dtype=torch.float64))
    with use_backend("reference", "chamfer_loss"), torch.no_grad():
        found_loss, share = chamfer_loss._forward(*arguments)
        found = chamfer_loss._backward(torch.tensor(1.7, dtype=torch.float64), share, *arguments)
    torch.testing.assert_close(found_loss, loss.detach(), rtol=1e-12, atol=1e-14)
    present = [
        gradient for gradient, each in zip(found, arguments[:4], strict=True) if each is not None
    ]
    for one, two in zip(present, expected, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("one_sided", [False, True])
def test_op_and_its_backward_pass_opcheck(one_sided: bool) -> None:
    arguments = _arguments(1, True, True, one_sided=one_sided)
    plain = [each.detach() if isinstance(each, Tensor) else each for each in arguments]
    with use_backend("reference", "chamfer_loss"):
        torch.library.opcheck(torch.ops.g2vlm.chamfer_loss.default, tuple(plain))
        _, share = chamfer_loss._forward(*plain)
        grad = torch.tensor(1.0, dtype=torch.float64)
        torch.library.opcheck(torch.ops.g2vlm.chamfer_loss_backward.default, (grad, share, *plain))


@pytest.mark.parametrize("ragged", [False, True])
def test_gradients_through_autograd(ragged: bool) -> None:
    arguments = _arguments(2, False, True, ragged=ragged)

    def loss(*inputs: Tensor) -> Tensor:
        return chamfer_loss._ChamferLoss.apply(*inputs, *arguments[4:])[0]

    with torch.no_grad():
        arguments[0] += 0.1  # the square root has no second derivative at 0
    with use_backend("reference", "chamfer_loss"):
        assert torch.autograd.gradcheck(loss, arguments[:4])
        assert torch.autograd.gradgradcheck(loss, arguments[:4])
