"""An op that is simple enough to know: the square of a tensor."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from g2vlm_fast.ops.specs import Cost, Inputs, OpSpec, Tolerance
from g2vlm_fast.profiling.cases import Case


def square(x: Tensor) -> Tensor:
    return x * x


def draw(generator: torch.Generator) -> Inputs:
    return {"x": torch.randn(1000, generator=generator, dtype=torch.float64)}


@pytest.fixture
def square_case() -> Callable[..., Case]:
    """Return a maker of cases: ``function`` is what claims to be the square."""

    def make(function: Callable[..., Tensor] = square, passes: tuple[str, ...] = ("fwd",)) -> Case:
        spec = OpSpec(
            op="square",
            function=function,
            reference=square,
            small={},
            timed={},
            grad_inputs=("x",),
            tolerance={torch.float32: Tolerance(1e-6, 1e-6)},
            cost=lambda inputs: Cost(2 * inputs["x"].nbytes, inputs["x"].numel()),
            suite="nearest",
        )
        return Case("nearest", "square_N1000", spec, draw, "cpu", torch.float32, passes)

    return make
