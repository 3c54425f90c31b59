"""Gradients of positions are as exact as those of features, however few rows share their errors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton", reason="triton is not installed")

from g2vlm_fast.ops import BiasSpec, Distance, SquaredDistance
from g2vlm_fast.ops.specs import expected, relative_error, run_on
from g2vlm_fast.ops.specs.geometry_attention import SPEC

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize("term", [Distance(), SquaredDistance()])
@pytest.mark.parametrize("queries", [3, 40])
def test_float16_rounds_gradients_of_positions_less_than_its_own_numbers(
    queries: int, term: Distance | SquaredDistance
) -> None:
    generator = torch.Generator().manual_seed(queries)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(DEVICE)

    inputs = {
        "q": normal(queries, 2, 16).half(),
        "k": normal(500, 2, 16).half(),
        "v": normal(500, 2, 16).half(),
        "bias": BiasSpec(term),
        "bias_parameters": 0.1 * normal(2, 1),
        "q_position": normal(queries, 3),
        "k_position": normal(500, 3),
    }
    _, gradients = run_on(SPEC, "triton", inputs)
    _, true_gradients = expected(SPEC, inputs)
    for name in ("q_position", "k_position"):
        assert relative_error(gradients[name], true_gradients[name]) < 2**-10, name
