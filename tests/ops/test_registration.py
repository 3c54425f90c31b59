"""Calls of ops go around torch's dispatcher where nothing would see them, and through it else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from g2vlm_fast.ops import nearest
from g2vlm_fast.ops._registration import define_op

QUERY, TARGET = torch.rand(5, 3), torch.rand(7, 3)
LIBRARY = torch.library.Library("g2vlm_tests", "DEF")
received: list[tuple[Any, ...]] = []


def _keep(*arguments: Any) -> Tensor:
    received.append(arguments)
    return arguments[1].clone()


_keep_op = define_op(
    "keep(Tensor? weight, Tensor x, int[] sizes, float scale, bool flag) -> Tensor",
    implementation=_keep,
    fake=lambda weight, x, sizes, scale, flag: torch.empty_like(x),
    library=LIBRARY,
)


class Kept(TorchDispatchMode):
    """Keeps the names of the ops that pass."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


class KeptFunctions(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def test_a_plain_call_hands_its_very_arguments_to_the_implementation() -> None:
    given = (None, QUERY, (1, 2), 0.5, True)  # the dispatcher would make a list of the sizes
    _keep_op(*given)
    assert all(came is gave for came, gave in zip(received[-1], given, strict=True))


@pytest.mark.parametrize(
    ("place", "given", "came"),
    [(3, 2, 2.0), (3, np.float64(0.5), 0.5), (2, torch.Size([4, 5]), [4, 5])],
    ids=["an integer for a float", "a float of numpy", "a size for integers"],
)
def test_the_dispatcher_makes_what_the_schema_says_of_other_types(
    place: int, given: Any, came: Any
) -> None:
    arguments: list[Any] = [None, QUERY, [1, 2], 0.5, True]
    arguments[place] = given
    _keep_op(*arguments)
    assert received[-1][place] == came
    assert type(received[-1][place]) is type(came)


def test_an_argument_of_no_use_is_refused_by_the_dispatcher() -> None:
    with pytest.raises(RuntimeError, match="g2vlm_tests::keep"):
        _keep_op(None, QUERY, [1], "wide", True)
    with pytest.raises(RuntimeError, match="g2vlm_tests::keep"):
        _keep_op(None, QUERY, [1], 0.5)


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("mode", [Kept, KeptFunctions])
def test_a_mode_sees_the_op(mode: type[Kept | KeptFunctions], requires_grad: bool) -> None:
    query = QUERY.clone().requires_grad_(requires_grad)
    with mode() as kept:
        nearest(query, TARGET)
    assert "g2vlm.nearest.default" in kept.names


def test_a_mode_sees_the_backward_pass() -> None:
    distance, _ = nearest(QUERY.clone().requires_grad_(), TARGET)
    with Kept() as kept:
        distance.sum().backward()
    assert "g2vlm.nearest_backward.default" in kept.names


def test_a_profiler_sees_forward_and_backward() -> None:
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        nearest(QUERY.clone().requires_grad_(), TARGET)[0].sum().backward()
    names = {event.key for event in seen.key_averages()}
    assert {"g2vlm::nearest", "g2vlm::nearest_backward"} <= names


@pytest.mark.parametrize(
    "options",
    [{}, {"tracing_mode": "fake"}, {"tracing_mode": "symbolic"}, {"pre_dispatch": True}],
    ids=["real", "fake", "symbolic", "before dispatch"],
)
def test_a_tracer_writes_the_op_down(options: dict[str, Any]) -> None:
    graph = make_fx(lambda x, y: nearest(x, y)[0], **options)(QUERY, TARGET)
    assert torch.ops.g2vlm.nearest.default in [node.target for node in graph.graph.nodes]
    other = torch.rand(5, 3)
    assert torch.equal(graph(other, TARGET), nearest(other, TARGET)[0])


def test_a_trace_of_torch_jit_holds_the_op() -> None:
    traced = torch.jit.trace(lambda x: _keep_op(None, x, [1], 0.5, True), (QUERY,))
    assert "g2vlm_tests::keep" in str(traced.graph)
    assert torch.equal(traced(TARGET), TARGET)


def test_an_exported_program_holds_the_op() -> None:
    class Distance(torch.nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return nearest(x, y)[0]

    for strict in (True, False):
        program = torch.export.export(Distance(), (QUERY, TARGET), strict=strict)
        targets = [node.target for node in program.graph.nodes]
        assert torch.ops.g2vlm.nearest.default in targets


def _fake(x: Tensor) -> Tensor:
    return FakeTensorMode().from_tensor(x)


@pytest.mark.parametrize("make", [_fake, lambda x: x.to("meta")], ids=["fake", "meta"])
def test_tensors_without_values_get_results_without_values(
    make: Callable[[Tensor], Tensor],
) -> None:
    before = len(received)
    out = _keep_op(None, make(QUERY), [1], 0.5, True)
    assert len(received) == before
    assert out.shape == QUERY.shape
    assert out.is_meta or type(out) is not Tensor


def test_a_subclass_of_tensors_sees_the_op() -> None:
    names: list[str] = []

    class Logged(Tensor):
        @classmethod
        def __torch_function__(
            cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            names.append(str(func))
            return super().__torch_function__(func, types, args, kwargs or {})

    _keep_op(None, QUERY.as_subclass(Logged), [1], 0.5, True)
    assert "g2vlm_tests.keep.default" in names


def test_a_parameter_is_plain() -> None:
    sizes = (1, 2)
    _keep_op(torch.nn.Parameter(QUERY), QUERY, sizes, 0.5, False)
    assert received[-1][2] is sizes
