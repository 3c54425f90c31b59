from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch

from g2vlm_fast.ops.specs import Cost
from g2vlm_fast.profiling.cases import Case
from g2vlm_fast.profiling.hardware import Ceilings, device_name
from g2vlm_fast.profiling.timing import (
    Plan,
    build_round,
    kernel_launches,
    peak_mebibytes,
    seconds_a_call,
    time_limit,
)


def test_a_round_rotates_through_the_input_sets() -> None:
    seen: list[int] = []
    timed = build_round([lambda i=i: seen.append(i) for i in range(3)], "cpu", Plan())
    seen.clear()
    timed()
    assert len(seen) == timed.calls
    assert seen[:6] == [0, 1, 2, 0, 1, 2]


def test_input_sets_hold_other_numbers_of_the_same_sizes(square_case: Callable[[], Case]) -> None:
    first, second, *_ = square_case().input_sets()
    assert first["x"].shape == second["x"].shape
    assert not torch.equal(first["x"], second["x"])


def test_a_long_call_is_a_round_of_its_own() -> None:
    plan = Plan(seconds=0.01)
    timed = build_round([lambda: time.sleep(0.03)] * 2, "cpu", plan)
    assert timed.calls == 1
    assert plan.rounds(0.03) == 3
    assert plan.rounds(60.0) == 1


def test_time_of_a_call_is_what_it_sleeps() -> None:
    plan = Plan(seconds=0.1)
    timed = build_round([lambda: time.sleep(0.004)] * 2, "cpu", plan)
    assert 0.004 <= seconds_a_call(timed, "cpu", plan, min) < 0.008


def test_peak_memory_sees_what_a_call_allocates_and_frees() -> None:
    peak = peak_mebibytes(lambda: torch.ones(16 << 20), "cpu")
    if peak is None:
        pytest.skip("this system does not report the high-water mark of memory")
    assert 60 <= peak <= 80


def test_time_limit_stops_a_block_and_restores_the_signal() -> None:
    with pytest.raises(TimeoutError), time_limit(0.02):
        time.sleep(5)
    with time_limit(0.02):
        pass
    time.sleep(0.04)


def test_floor_is_the_larger_of_bytes_and_operations() -> None:
    ceilings = Ceilings(bandwidth=1e9, flops=1e12)
    assert ceilings.floor_ms(Cost(bytes=10**6, flops=10**6)) == pytest.approx(1.0)
    assert ceilings.floor_ms(Cost(bytes=1, flops=3 * 10**9)) == pytest.approx(3.0)


def test_processor_has_a_name() -> None:
    assert "cores" in device_name("cpu")


@pytest.mark.gpu
def test_small_gpu_work_is_replayed_as_a_graph() -> None:
    sets = [torch.randn(1 << 16, device="cuda") for _ in range(3)]
    timed = build_round([lambda x=x: x.sin_().add_(1) for x in sets], "cuda", Plan())
    assert timed.method == "graph"
    assert timed.calls % 3 == 0
    assert seconds_a_call(timed, "cuda", Plan(seconds=0.1), min) < 50e-6


@pytest.mark.gpu
def test_gpu_work_that_cannot_be_captured_is_timed_on_the_stream() -> None:
    x = torch.randn(1 << 10, device="cuda")
    assert build_round([lambda: x.sum().item()], "cuda", Plan()).method == "stream"


@pytest.mark.gpu
def test_kernel_launches_are_counted() -> None:
    x = torch.randn(1 << 10, device="cuda")
    assert kernel_launches(lambda: (x + 1).mul_(2).exp_()) == 3


@pytest.mark.gpu
def test_peak_memory_on_the_gpu_is_above_the_inputs() -> None:
    x = torch.randn(1 << 20, device="cuda")
    assert peak_mebibytes(lambda: x + x, "cuda") == 4.0
