"""Gradients of positions are as exact as those of features, however few rows share their errors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton", reason="triton is not installed")

from g2vlm_fast.kernels.triton import geometry_attention_launch as launch
from g2vlm_fast.ops import BiasSpec, Distance, SquaredDistance
from g2vlm_fast.ops.specs import expected, relative_error, run_on
from g2vlm_fast.ops.specs.geometry_attention import SPEC

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


TERMS = pytest.mark.parametrize("term", [Distance(), SquaredDistance()])


def draw(queries: int, term: Distance | SquaredDistance) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(queries)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(DEVICE)

    return {
        "q": normal(queries, 2, 16).half(),
        "k": normal(500, 2, 16).half(),
        "v": normal(500, 2, 16).half(),
        "bias": BiasSpec(term),
        "bias_parameters": 0.1 * normal(2, 1),
        "q_position": normal(queries, 3),
        "k_position": normal(500, 3),
    }


@TERMS
@pytest.mark.parametrize("queries", [3, 40])
def test_float16_rounds_gradients_of_positions_less_than_its_own_numbers(
    queries: int, term: Distance | SquaredDistance
) -> None:
    inputs = draw(queries, term)
    _, gradients = run_on(SPEC, "triton", inputs)
    _, true_gradients = expected(SPEC, inputs)
    for name in ("q_position", "k_position"):
        assert relative_error(gradients[name], true_gradients[name]) < 2**-10, name


@TERMS
def test_gradients_of_positions_do_not_depend_on_how_the_output_was_rounded(
    term: Distance | SquaredDistance, monkeypatch: pytest.MonkeyPatch
) -> None:
    backward = launch.backward

    def with_rough_output(grads: Any, tokens: Any, results: Any, *rest: Any) -> None:
        noise = torch.randn(results.out.shape, generator=torch.Generator().manual_seed(0))
        out = results.out * (1 + 0.05 * noise.to(results.out))
        backward(grads, tokens, results._replace(out=out), *rest)

    inputs = draw(40, term)
    monkeypatch.setattr(launch, "backward", with_rough_output)
    _, gradients = run_on(SPEC, "triton", inputs)
    _, true_gradients = expected(SPEC, inputs)
    for name in ("q_position", "k_position", "bias_parameters"):
        assert relative_error(gradients[name], true_gradients[name]) < 2e-3, name
    assert relative_error(gradients["q"], true_gradients["q"]) > 2e-3, "nothing was rough"
