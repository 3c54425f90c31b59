"""What skipping in geometry_attention promises on a GPU, at sizes where it pays."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from cuda_graphs import capture
from torch import Tensor

from g2vlm_fast.ops import AnchorContext, geometry_attention
from g2vlm_fast.ops.specs import cast_inputs, relative_error, run_on
from g2vlm_fast.ops.specs.attention_rooms import room_attention
from g2vlm_fast.ops.specs.geometry_attention import SPEC

pytestmark = pytest.mark.gpu


def room(count: int, dtype: torch.dtype, dim: int = 64, **options: Any) -> dict[str, Any]:
    drawn = room_attention(count, heads=4, dim=dim, **options)(torch.Generator().manual_seed(0))
    return cast_inputs(drawn, dtype, "cuda", float32_inputs=SPEC.float32_inputs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("dim", [32, 64, 128])
def test_skipping_with_eps_0_changes_no_bit(dtype: torch.dtype, dim: int) -> None:
    inputs = room(3000, dtype, dim, slope=200.0, skip_eps=0.0)
    dense = run_on(SPEC, "triton", {**inputs, "skip_eps": None})
    skipped = run_on(SPEC, "triton", inputs)
    assert torch.equal(dense[0][0], skipped[0][0])
    for name, gradient in dense[1].items():
        assert torch.equal(gradient, skipped[1][name]), name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_skipping_moves_results_by_no_more_than_eps_allows(dtype: torch.dtype) -> None:
    inputs = room(5000, dtype)
    dense = run_on(SPEC, "triton", {**inputs, "skip_eps": None})
    skipped = run_on(SPEC, "triton", inputs)
    assert (dense[0][0] - skipped[0][0]).abs().max() <= 2e-4 * inputs["v"].abs().max() + 1e-3
    for name, gradient in dense[1].items():
        assert relative_error(skipped[1][name], gradient) < 1e-3, name


def test_runs_that_skip_are_bitwise_equal() -> None:
    inputs = room(5000, torch.bfloat16)
    first = run_on(SPEC, "triton", inputs)
    for _ in range(5):
        again = run_on(SPEC, "triton", inputs)
        assert torch.equal(first[0][0], again[0][0])
        for name, gradient in first[1].items():
            assert torch.equal(gradient, again[1][name]), name


@pytest.mark.filterwarnings("ignore:The AccumulateGrad node:UserWarning")
def test_skipping_can_be_captured_in_a_cuda_graph() -> None:
    inputs = room(2000, torch.bfloat16)
    leaves = [inputs[name].requires_grad_() for name in ("q", "k", "v", "bias_parameters")]

    def step() -> list[Tensor]:
        out = geometry_attention(**inputs)
        return [out.detach(), *torch.autograd.grad(out.float().sum(), leaves)]

    eager, captured, graph = capture(step)
    for each in captured:
        each.zero_()
    graph.replay()
    for one, two in zip(eager, captured, strict=True):
        assert torch.equal(one, two)


def test_the_order_of_a_scene_is_that_of_the_cpu() -> None:
    position = torch.rand(5000, 3)
    offsets = torch.tensor([0, 1000, 1000, 5000], dtype=torch.int32)
    here = AnchorContext.from_positions(position, offsets)
    there = AnchorContext.from_positions(position.cuda(), offsets.cuda())
    assert torch.equal(here.order, there.order.cpu())


def test_skipping_takes_less_time_than_visiting_every_pair() -> None:
    inputs = room(16384, torch.bfloat16)

    def fastest(**changes: Any) -> float:
        """Return the least time of many, which work beside this does not change."""
        times = []
        for _ in range(20):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            geometry_attention(**{**inputs, **changes})
            end.record()
            end.synchronize()
            times.append(begin.elapsed_time(end))
        return min(times)

    assert fastest() < 0.6 * fastest(skip_eps=None)
