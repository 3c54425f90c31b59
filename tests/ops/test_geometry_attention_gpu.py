"""What geometry_attention promises on a GPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from cuda_graphs import capture
from torch import Tensor

from g2vlm_fast.ops import BiasSpec, Direction, Distance, geometry_attention, use_backend
from g2vlm_fast.ops.specs import cast_inputs, expected, relative_error, run_on
from g2vlm_fast.ops.specs.geometry_attention import SPEC

pytestmark = pytest.mark.gpu


def packed(*lengths: int) -> Tensor:
    return torch.tensor([0, *lengths], device="cuda").cumsum(0).int()


def draw(
    lengths: tuple[int, ...], heads: int, kv_heads: int, dim: int, dtype: torch.dtype
) -> dict[str, Any]:
    generator = torch.Generator("cuda").manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, device="cuda")

    rows = sum(lengths)
    spec = BiasSpec(Distance(), Direction())
    return {
        "q": normal(rows, heads, dim).to(dtype),
        "k": normal(rows, kv_heads, dim).to(dtype),
        "v": normal(rows, kv_heads, dim).to(dtype),
        "bias": spec,
        "bias_parameters": normal(heads, spec.num_parameters),
        "q_position": 3 * normal(rows, 3),
        "k_position": 3 * normal(rows, 3),
        "q_offsets": packed(*lengths),
        "k_offsets": packed(*lengths),
    }


@pytest.mark.parametrize("dim", [16, 32, 64, 80, 96, 128])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_long_scenes_agree_with_the_float64_reference(dim: int, dtype: torch.dtype) -> None:
    inputs = draw((700, 0, 1, 333), 4, 2, dim, dtype)
    outputs, gradients = run_on(SPEC, "triton", inputs)
    true_outputs, true_gradients = expected(SPEC, inputs)
    tolerance = SPEC.tolerance[dtype]
    assert relative_error(outputs[0], true_outputs[0]) <= tolerance.forward
    for name, gradient in gradients.items():
        assert relative_error(gradient, true_gradients[name]) <= tolerance.gradient, name


def draw_few(dim: int, dtype: torch.dtype, heads: int = 8) -> dict[str, Any]:
    """A few queries over many keys: what kernels of their own take."""
    many = draw((5000, 70, 0, 1030), heads, 2, dim, dtype)
    rows = torch.tensor([0, 5000, 5001, 5002, *range(5020, 5040)], device="cuda")
    for name in ("q", "q_position"):
        many[name] = many[name][rows].contiguous()
    return {**many, "q_offsets": packed(1, 3, 0, 20)}


@pytest.mark.parametrize("dim", [16, 32, 64, 80, 96, 128])
@pytest.mark.parametrize("heads", [2, 8, 16])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_few_queries_agree_with_the_float64_reference(
    dim: int, heads: int, dtype: torch.dtype
) -> None:
    inputs = draw_few(dim, dtype, heads)
    outputs, gradients = run_on(SPEC, "triton", inputs)
    true_outputs, true_gradients = expected(SPEC, inputs)
    tolerance = SPEC.tolerance[dtype]
    assert relative_error(outputs[0], true_outputs[0]) <= tolerance.forward
    for name, gradient in gradients.items():
        assert relative_error(gradient, true_gradients[name]) <= tolerance.gradient, name


def test_runs_of_few_queries_are_bitwise_equal() -> None:
    inputs = draw_few(128, torch.bfloat16)
    with torch.no_grad():
        first = geometry_attention(**inputs)
        for _ in range(20):
            assert torch.equal(geometry_attention(**inputs), first)


def test_few_queries_can_be_captured_in_a_cuda_graph(waiting_raises: Any) -> None:
    inputs = draw_few(64, torch.bfloat16)
    with torch.no_grad():
        eager = geometry_attention(**inputs)
        graph = torch.cuda.CUDAGraph()
        with waiting_raises():
            geometry_attention(**inputs)
        with torch.cuda.graph(graph):
            captured = geometry_attention(**inputs)
        captured.zero_()
        graph.replay()
    assert torch.equal(captured, eager)


def test_runs_are_bitwise_equal() -> None:
    inputs = draw((1000, 500), 8, 4, 64, torch.bfloat16)
    first = run_on(SPEC, "triton", inputs)
    for _ in range(5):
        again = run_on(SPEC, "triton", inputs)
        assert torch.equal(first[0][0], again[0][0])
        for name, gradient in first[1].items():
            assert torch.equal(gradient, again[1][name]), name


@pytest.mark.filterwarnings("ignore:The AccumulateGrad node:UserWarning")
def test_forward_and_backward_can_be_captured_in_a_cuda_graph() -> None:
    inputs = draw((256, 128), 4, 4, 64, torch.bfloat16)
    names = ("q", "k", "v", "bias_parameters", "q_position", "k_position")
    leaves = [inputs[name].requires_grad_() for name in names]

    def step() -> list[Tensor]:
        out = geometry_attention(**inputs)
        gradients = torch.autograd.grad(out.float().sum(), leaves)
        return [out.detach(), *gradients]

    eager, captured, graph = capture(step)
    for each in captured:
        each.zero_()
    graph.replay()
    for one, two in zip(eager, captured, strict=True):
        assert torch.equal(one, two)


def test_memory_stays_linear_in_the_number_of_tokens() -> None:
    inputs = draw((16384,), 4, 4, 64, torch.bfloat16)
    for name in ("q", "k", "v", "bias_parameters", "q_position", "k_position"):
        inputs[name].requires_grad_()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    geometry_attention(**inputs).float().sum().backward()
    peak = torch.cuda.max_memory_allocated() - before
    scores = 4 * 16384 * 16384 * 2
    assert peak < scores / 20


def test_rows_that_broken_offsets_leave_out_are_not_a_number() -> None:
    inputs = draw((100, 60), 2, 2, 32, torch.float32)
    inputs["q_offsets"] = packed(100, 20)
    out = geometry_attention(**inputs)
    assert out[:120].isfinite().all()
    assert out[120:].isnan().all()


def test_few_queries_that_broken_offsets_leave_out_are_not_a_number() -> None:
    inputs = draw_few(32, torch.float16)
    inputs["q_offsets"] = packed(1, 3, 0, 10)
    out = geometry_attention(**inputs)
    assert out[:14].isfinite().all()
    assert out[14:].isnan().all()


def test_another_gpu_is_served_on_its_own_device() -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    inputs = draw((64,), 2, 2, 32, torch.float32)
    moved = {name: x.to("cuda:1") if isinstance(x, Tensor) else x for name, x in inputs.items()}
    torch.testing.assert_close(
        geometry_attention(**moved).cpu(), geometry_attention(**inputs).cpu()
    )


@pytest.mark.parametrize(
    "case", [name for name in SPEC.timed if name.startswith(("cross", "decode"))]
)
def test_timed_cases_agree_with_the_reference(case: str) -> None:
    drawn = SPEC.timed[case](torch.Generator().manual_seed(0))
    inputs = cast_inputs(drawn, torch.bfloat16, "cuda", float32_inputs=SPEC.float32_inputs)
    with torch.no_grad():
        out = geometry_attention(**inputs)
        with use_backend("reference"):
            truth = geometry_attention(**cast_inputs(inputs, torch.float32, "cuda"))
    assert relative_error(out, truth) <= SPEC.tolerance[torch.bfloat16].forward
