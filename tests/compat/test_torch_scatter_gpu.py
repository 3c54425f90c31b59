"""The drop-in for torch_scatter on a GPU, as on the CPU."""

from __future__ import annotations

import subprocess
import sys
from contextlib import nullcontext

import pytest
import torch
from cuda_graphs import capture
from torch import Tensor

from g2vlm_fast.compat import torch_scatter as ts

pytestmark = pytest.mark.gpu

TOLERANCE = {torch.bfloat16: 2e-2, torch.float16: 3e-3, torch.float32: 1e-5, torch.float64: 1e-12}


def every_result(x: Tensor, index: Tensor, pointers: Tensor, groups: int) -> list[Tensor]:
    """All functions, with their gradients where there are any; no size is read from values."""
    ordered = index.sort().values
    found = []
    for reduce in ("sum", "mean", "mul", "min", "max"):
        found.append(ts.scatter(x, index, 0, dim_size=groups, reduce=reduce))
        if reduce != "mul":
            found.append(ts.segment_coo(x, ordered, dim_size=groups, reduce=reduce))
            found.append(ts.segment_csr(x, pointers, reduce=reduce))
    found.append(ts.gather_coo(x, index % x.shape[0]))
    found.append(ts.gather_csr(x[: pointers.shape[0] - 1], pointers, torch.zeros_like(x)))
    if x.is_floating_point():
        found.append(ts.scatter_std(x, index, 0, dim_size=groups))
        found.append(ts.scatter_softmax(x, index, 0, dim_size=groups))
        found.append(ts.scatter_log_softmax(x, index, 0, dim_size=groups))
        found.append(ts.scatter_logsumexp(x, index, 0, dim_size=groups))
    if x.requires_grad:
        total = sum(each.float().square().sum() for each in found)
        found += torch.autograd.grad(total, x)
    return found


def inputs(generator: torch.Generator, dtype: torch.dtype, rows: int = 900) -> tuple[Tensor, ...]:
    x = torch.randn(rows, 5, generator=generator).to(dtype)
    if not dtype.is_floating_point:
        x = torch.randint(1, 3, (rows, 5), generator=generator).to(dtype)
    index = torch.randint(0, rows // 3, (rows,), generator=generator)
    cuts = torch.randint(0, rows + 1, (rows // 5,), generator=generator).sort().values
    return x, index, torch.cat([torch.tensor([0]), cuts, torch.tensor([rows])])


@pytest.mark.parametrize(
    "dtype",
    [*TOLERANCE, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8],
)
def test_on_a_gpu_as_on_the_cpu(dtype, generator) -> None:  # type: ignore[no-untyped-def]
    x, index, pointers = inputs(generator, dtype)
    floating = dtype.is_floating_point
    there = x.cuda().requires_grad_(floating)
    here = x.float() if dtype.itemsize == 2 and floating else x  # halves are for GPUs
    here = every_result(here.requires_grad_(floating), index, pointers, 300)
    there = every_result(there, index.cuda(), pointers.cuda(), 300)
    for one, two in zip(here, there, strict=True):
        assert two.dtype == dtype
        if floating:
            error = (two.cpu().double() - one.double()).norm() / one.double().norm()
            assert error <= TOLERANCE[dtype]
        else:
            assert torch.equal(two.cpu(), one)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_twenty_runs_give_the_same_bits(dtype, generator) -> None:  # type: ignore[no-untyped-def]
    x, index, pointers = (each.cuda() for each in inputs(generator, dtype, 30_000))
    index = index % 50  # long groups
    x.requires_grad_()
    first = every_result(x, index, pointers, 10_000)
    for _ in range(19):
        for one, two in zip(first, every_result(x, index, pointers, 10_000), strict=True):
            assert torch.equal(one, two)


def test_gradients_of_both_orders_are_derivatives(generator) -> None:  # type: ignore[no-untyped-def]
    x = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64).cuda().requires_grad_()
    index = torch.tensor([[3, 0, 3, 1, 0], [1, 1, 1, 0, 2]], device="cuda")
    for function in (ts.scatter_sum, ts.scatter_mean, ts.scatter_mul, ts.scatter_softmax):
        assert torch.autograd.gradcheck(lambda x, f=function: f(x, index, 1), (x,))
        assert torch.autograd.gradgradcheck(lambda x, f=function: f(x, index, 1), (x,))


def test_extremes_name_the_first_of_equal_values() -> None:
    src = torch.ones(10_000, 8, device="cuda")
    values, position = ts.scatter_max(src, torch.arange(10_000, device="cuda") % 7, 0)
    assert values.eq(1).all()
    assert position.cpu().tolist() == [[n] * 8 for n in range(7)]


def test_nothing_waits_where_sizes_are_given(generator, waiting_raises) -> None:  # type: ignore[no-untyped-def]
    x, index, pointers = (each.cuda() for each in inputs(generator, torch.float32))
    x.requires_grad_()
    for waiting in (nullcontext, waiting_raises):  # PyTorch itself may wait the first time
        with waiting():
            every_result(x, index, pointers, 300)


@pytest.mark.filterwarnings("ignore:The AccumulateGrad node:UserWarning")
def test_calls_can_be_captured_in_a_cuda_graph(generator) -> None:  # type: ignore[no-untyped-def]
    x, index, pointers = (each.cuda() for each in inputs(generator, torch.float32))
    x.requires_grad_()
    expected, found, captured = capture(lambda: every_result(x, index, pointers, 300))
    captured.replay()
    for one, two in zip(found, expected, strict=True):
        assert torch.equal(one, two)


def test_an_index_that_is_read_is_refused_by_name() -> None:
    src = torch.ones(3, device="cuda")
    with pytest.raises(ValueError, match="scatter_sum: index must be at least 0, got -1"):
        ts.scatter_sum(src, torch.tensor([0, -1, 1], device="cuda"))
    with pytest.raises(ValueError, match="scatter_sum: index must be on cuda:0, got cpu"):
        ts.scatter_sum(src, torch.tensor([0, 1, 1]))
    unsorted = torch.tensor([1, 0, 1], device="cuda")
    assert ts.segment_coo(src, unsorted).tolist() == [1, 2]


@pytest.mark.parametrize(
    "call",
    [
        "ts.scatter_sum(src, torch.tensor([0, 9, 1]).cuda(), dim_size=3)",
        "ts.segment_csr(src, torch.tensor([0, 9]).cuda())",
        "ts.segment_coo(src, torch.tensor([1, 0, 1]).cuda(), dim_size=3)",
    ],
)
def test_an_index_that_is_not_read_fails_an_assertion_on_the_device(call: str) -> None:
    program = f"""
import torch
from g2vlm_fast.compat import torch_scatter as ts
src = torch.ones(3, device="cuda")
{call}
torch.cuda.synchronize()
print("answered")
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.returncode != 0
    assert "answered" not in ended.stdout
    assert "device-side assert" in ended.stderr
