"""Nothing is timed before it is right."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from g2vlm_fast.profiling.cases import Case
from g2vlm_fast.profiling.providers import OWN, REFERENCE, NotOffered, Provider
from g2vlm_fast.profiling.runner import Job, Refused, Workbench, measure
from g2vlm_fast.profiling.timing import Plan

Cases = Callable[..., Case]
QUICK = Plan(seconds=0.02, limit=5.0)


def timed(case: Case, provider: Provider = OWN, direction: str = "fwd") -> object:
    return measure(Job(case, provider, direction), Workbench(), QUICK, "abc")


def test_right_answer_gets_a_time_and_an_error(square_case: Cases) -> None:
    record = timed(square_case()).record  # type: ignore[attr-defined]
    assert 0 < record.ms < 100
    assert 0 < record.error < 1e-6
    assert record.floor_ms > 0
    assert (record.case, record.provider, record.direction) == ("square_N1000", "g2vlm_fast", "fwd")


def test_wrong_answer_gets_no_time(square_case: Cases) -> None:
    calls = 0

    def nearly(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return x * x * 1.0001

    case = square_case(nearly)
    with pytest.raises(Refused, match="its output is wrong"):
        timed(case)
    assert calls == len(case.input_sets())  # checked once on each set, never timed


def test_answer_that_is_wrong_on_one_input_set_gets_no_time(square_case: Cases) -> None:
    first = square_case().input_sets()[0]["x"]

    def stale(x: Tensor) -> Tensor:
        return first * first

    with pytest.raises(Refused, match="its output is wrong"):
        timed(square_case(stale))


def test_not_a_number_gets_no_time(square_case: Cases) -> None:
    with pytest.raises(Refused, match="its output is wrong: error inf"):
        timed(square_case(lambda x: x * torch.nan))


def test_wrong_gradient_gets_no_time_but_its_forward_pass_does(square_case: Cases) -> None:
    def detached_half(x: Tensor) -> Tensor:
        return x * x.detach()

    case = square_case(detached_half)
    assert timed(case).record.ms > 0  # type: ignore[attr-defined]
    with pytest.raises(Refused, match="its gradient is wrong"):
        timed(case, direction="fwd_bwd")


def test_missing_gradient_gets_no_time(square_case: Cases) -> None:
    def constant(x: Tensor) -> Tensor:
        return x.detach().square()

    with pytest.raises(Refused, match="no output carries a gradient"):
        timed(square_case(constant), direction="fwd_bwd")


def test_call_beyond_the_limit_gets_no_time(square_case: Cases) -> None:
    def endless(x: Tensor) -> Tensor:
        while True:
            x = x + 0

    plan = Plan(limit=0.05)
    with pytest.raises(Refused, match=r"longer than 0\.05 s"):
        measure(Job(square_case(endless), OWN, "fwd"), Workbench(), plan, "abc")


def test_reference_is_timed_like_any_provider(square_case: Cases) -> None:
    assert timed(square_case(), REFERENCE, "fwd_bwd").record.ms > 0  # type: ignore[attr-defined]


def test_peers_are_checked_too(square_case: Cases) -> None:
    def refuse(inputs: object) -> Callable[..., Tensor]:
        raise NotOffered("it squares nothing")

    wrong = Provider("wrong", {"square": lambda inputs: lambda x: x})
    right = Provider("right", {"square": lambda inputs: torch.square})
    other = Provider("other", {"square": refuse})
    forward_only = Provider(
        "forward only", {"square": lambda i: torch.square}, differentiable=False
    )
    case = square_case()
    with pytest.raises(Refused, match="wrong"):
        timed(case, wrong)
    with pytest.raises(Refused, match="it squares nothing"):
        timed(case, other)
    with pytest.raises(Refused, match="it has no gradient"):
        timed(case, forward_only, "fwd_bwd")
    assert timed(case, right).record.provider == "right"  # type: ignore[attr-defined]


def test_provider_that_is_not_installed_is_absent() -> None:
    missing = Provider("missing", {"square": lambda i: torch.square}, ("no_such_module.inside",))
    assert missing.absent() == "no_such_module.inside"
    assert Provider("here", {}, ("math",)).absent() is None


def test_eager_cost_is_that_of_the_bare_call(square_case: Cases) -> None:
    case = square_case(passes=("call",))
    measurement = timed(case, direction="call")
    record = measurement.record  # type: ignore[attr-defined]
    assert 1e-4 < record.ms < 1
    assert record.floor_ms is None
    assert record.peak_mib is None
