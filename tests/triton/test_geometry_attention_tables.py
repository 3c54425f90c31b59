"""Tables of the bias in the Triton kernels, beyond what the small cases of every op know."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

pytest.importorskip("triton", reason="triton is not installed")

from g2vlm_fast.ops import (
    AxisTable,
    BiasSpec,
    Distance,
    RadialTable,
    geometry_attention,
    use_backend,
)
from g2vlm_fast.ops.specs import relative_error
from g2vlm_fast.ops.specs.compare import widen_inputs
from g2vlm_fast.ops.specs.geometry_attention import SPEC

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BIAS = BiasSpec(RadialTable(9, 2.5, 0.05), Distance(0.05), AxisTable(4, 0.3))


def draw(bias: BiasSpec, queries: int, keys: int, **given: Any) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(DEVICE)

    return {
        "q": normal(queries, 4, 16),
        "k": normal(keys, 2, 16),
        "v": normal(keys, 2, 16),
        "bias": bias,
        "bias_parameters": normal(4, bias.num_parameters),
        "q_position": normal(queries, 3),
        "k_position": normal(keys, 3),
        **given,
    }


def attend(inputs: dict[str, Any], backend: str) -> list[Tensor]:
    with use_backend(backend, "geometry_attention"):
        return pytree.tree_leaves(geometry_attention(**inputs))


def gradient_of_tables(inputs: dict[str, Any], backend: str) -> Tensor:
    parameters = inputs["bias_parameters"].detach().requires_grad_()
    out = attend({**inputs, "bias_parameters": parameters}, backend)[0]
    pull = torch.linspace(-1, 1, out.numel(), dtype=out.dtype, device=out.device)
    return torch.autograd.grad((out * pull.view_as(out)).sum(), parameters)[0]


@pytest.mark.parametrize("queries", [3, 60])
def test_few_and_many_queries_look_up_the_same_tables(queries: int) -> None:
    inputs = draw(BIAS, queries, 300, return_lse=True, return_position_mean=True)
    for actual, expected in zip(
        attend(inputs, "triton"), attend(widen_inputs(inputs), "reference"), strict=True
    ):
        assert relative_error(actual, expected) <= SPEC.tolerance[torch.float32].forward


def test_the_largest_tables_use_every_cell_of_their_histograms() -> None:
    bias = BiasSpec(AxisTable(63, 0.02), RadialTable(64, 2.0, 0.05))
    inputs = draw(bias, 90, 110)
    actual = gradient_of_tables(inputs, "triton")
    expected = gradient_of_tables(widen_inputs(inputs), "reference")
    assert relative_error(actual, expected) <= SPEC.tolerance[torch.float32].gradient
    assert (actual[:, :381] != 0).any(0).sum() > 200
    assert (actual[:, 381:] != 0).any(0).sum() > 60


def test_points_of_a_grid_far_from_the_origin_take_the_entries_of_their_steps() -> None:
    cells = torch.randint(-9, 9, (50, 3), generator=torch.Generator().manual_seed(2)).to(DEVICE)
    bias = BiasSpec(AxisTable(5, 0.05))
    near = draw(bias, 50, 50, q_position=cells * 0.05, k_position=cells * 0.05)
    # 4096 m away a float32 still tells cells of 5 cm apart.
    far = {**near, "q_position": cells * 0.05 + 4096, "k_position": cells * 0.05 + 4096}
    for first, second in zip(attend(near, "triton"), attend(far, "triton"), strict=True):
        torch.testing.assert_close(first, second)


def test_a_table_that_is_not_a_number_makes_its_head_none_and_no_other() -> None:
    inputs = draw(BIAS, 20, 30)
    inputs["bias_parameters"][1] = torch.nan
    out = attend(inputs, "triton")[0]
    assert out[:, 1].isnan().all()
    assert out[:, [0, 2, 3]].isfinite().all()


def test_what_stands_nowhere_has_no_bias_that_is_a_number() -> None:
    inputs = draw(BiasSpec(AxisTable(4, 0.3)), 20, 30)
    inputs["q_position"][7] = torch.nan
    inputs["q_position"][9, 1] = torch.inf
    out = attend(inputs, "triton")[0]
    expected = attend(widen_inputs(inputs), "reference")[0]
    assert torch.equal(out.isnan(), expected.isnan())


def test_gradients_of_tables_are_bitwise_the_same_again() -> None:
    inputs = draw(BIAS, 50, 60)
    first, second = (gradient_of_tables(inputs, "triton") for _ in range(2))
    assert torch.equal(first, second)
