"""What every op promises, held against every specification, backend and dtype."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from g2vlm_fast.ops import BackendError, use_backend
from g2vlm_fast.ops._dispatch import Implementation, table
from g2vlm_fast.ops.specs import (
    OpSpec,
    all_specs,
    draw_case,
    expected,
    ops_on,
    output_errors,
    outputs_and_gradients,
    relative_error,
    run_on,
)
from g2vlm_fast.ops.specs.compare import HALVES

SPECS = all_specs()

# Cases that the interpreter takes ten seconds or more for.
LONG_INTERPRETED = {
    "edge_attention_layer": {"skewed"},
    "geometry_attention": {"everything", "tables_and_everything", "skipping"},
}


def _supports(spec: OpSpec, backend: str, entry: Implementation, device: str, dtype: Any) -> bool:
    if backend == "triton" and device == "cpu" and dtype is torch.bfloat16:
        return False  # the interpreter rounds to bfloat16 by cutting off
    kernel_dtype = torch.float32 if spec.half_is_upcast and dtype in HALVES else dtype
    return device in entry.devices and kernel_dtype in entry.dtypes


def _runs(
    once: bool = False, traceable: bool = False, refused: bool = False, twice: bool = False
) -> list[Any]:
    """Every op x case x backend x device x dtype that is supported.

    Args:
        once: the first case in the first dtype that the backend takes.
        traceable: leave out ops that ``torch.compile`` cannot trace.
        refused: the cases that the specification says the backend refuses, instead of the others.
        twice: to see the same bits again, which are those of any type where one interpreter adds;
            there, types but the first are slow tests.
    """
    found = []
    for spec in SPECS.values():
        if traceable and not spec.traceable:
            continue
        for backend, entry in table()[spec.registered[0]].items():
            for device in ("cpu", "cuda"):
                dtypes = [
                    each for each in spec.tolerance if _supports(spec, backend, entry, device, each)
                ]
                for dtype in dtypes[:1] if once else dtypes:
                    name = f"{spec.op}-{backend}-{device}-{str(dtype).removeprefix('torch.')}"
                    interpreted = backend == "triton" and device == "cpu"
                    without_kernel = spec.refused.get(backend, ())
                    cases = [each for each in spec.small if (each in without_kernel) == refused]
                    for case in cases[:1] if once else cases:
                        marks = [pytest.mark.gpu] if device == "cuda" else []
                        again = twice and dtype != dtypes[0]
                        if interpreted and (again or case in LONG_INTERPRETED.get(spec.op, ())):
                            marks.append(pytest.mark.slow)
                        found.append(
                            pytest.param(
                                spec, case, backend, device, dtype, id=f"{name}-{case}", marks=marks
                            )
                        )
    return found


every_run = pytest.mark.parametrize(("spec", "case", "backend", "device", "dtype"), _runs())
every_run_twice = pytest.mark.parametrize(
    ("spec", "case", "backend", "device", "dtype"), _runs(twice=True)
)
one_run_a_backend = pytest.mark.parametrize(
    ("spec", "case", "backend", "device", "dtype"), _runs(once=True)
)
one_traceable_run_a_backend = pytest.mark.parametrize(
    ("spec", "case", "backend", "device", "dtype"), _runs(once=True, traceable=True)
)


@pytest.mark.parametrize(("spec", "case", "backend", "device", "dtype"), _runs(refused=True))
def test_a_case_without_a_kernel_is_refused(
    spec: OpSpec, case: str, backend: str, device: str, dtype: torch.dtype
) -> None:
    inputs = draw_case(spec, case, dtype, device)
    with pytest.raises(BackendError, match=rf"the {backend} backend has no kernel yet for "):
        run_on(spec, backend, inputs)


@every_run
def test_outputs_and_gradients_agree_with_the_float64_reference(
    spec: OpSpec, case: str, backend: str, device: str, dtype: torch.dtype
) -> None:
    inputs = draw_case(spec, case, dtype, device)
    outputs, gradients = run_on(spec, backend, inputs)
    true_outputs, true_gradients = expected(spec, inputs)
    errors = output_errors(spec, inputs, outputs, true_outputs)
    assert max(errors, default=0.0) <= spec.tolerance[dtype].forward, errors
    assert gradients.keys() == true_gradients.keys()
    for name, gradient in gradients.items():
        assert gradient.dtype == inputs[name].dtype
        error = relative_error(gradient, true_gradients[name])
        assert error <= spec.tolerance[dtype].gradient, (name, error)


def _skip_where_torch_adds_in_any_order(backend: str, device: str) -> None:
    if backend == "reference" and device == "cuda":
        pytest.skip("the reference is plain torch, whose index_add_ adds in any order on a GPU")


@every_run_twice
def test_two_runs_agree_bitwise_and_leave_the_inputs_alone(
    spec: OpSpec, case: str, backend: str, device: str, dtype: torch.dtype
) -> None:
    _skip_where_torch_adds_in_any_order(backend, device)
    inputs = draw_case(spec, case, dtype, device)
    before = pytree.tree_map_only(Tensor, torch.clone, inputs)
    first, second = run_on(spec, backend, inputs), run_on(spec, backend, inputs)
    for a, b in zip(pytree.tree_leaves(first), pytree.tree_leaves(second), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
    for name, value in inputs.items():
        if isinstance(value, Tensor):
            torch.testing.assert_close(value, before[name], rtol=0, atol=0, equal_nan=True)


@one_run_a_backend
def test_strided_inputs_give_the_same_bits(
    spec: OpSpec, case: str, backend: str, device: str, dtype: torch.dtype
) -> None:
    _skip_where_torch_adds_in_any_order(backend, device)

    def spread(value: Any) -> Any:
        if not isinstance(value, Tensor) or value.dim() == 0:
            return value
        if has_floats and not value.is_floating_point():
            return value
        room = value.new_zeros(*value.shape[:-1], 2 * value.shape[-1])
        room[..., ::2] = value
        return room[..., ::2]

    inputs = draw_case(spec, case, dtype, device)
    tensors = [value for value in inputs.values() if isinstance(value, Tensor)]
    has_floats = any(each.is_floating_point() for each in tensors)
    strided = {name: spread(value) for name, value in inputs.items()}
    assert any(isinstance(each, Tensor) and not each.is_contiguous() for each in strided.values())
    with use_backend(backend, *ops_on(spec, backend)):
        dense, sparse = spec.function(**inputs), spec.function(**strided)
    for a, b in zip(pytree.tree_leaves(dense), pytree.tree_leaves(sparse), strict=True):
        if isinstance(a, Tensor):
            torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    ("spec", "case"),
    [
        pytest.param(spec, case, id=f"{spec.op}-{case}")
        for spec in SPECS.values()
        for case in (spec.small if spec.smooth is None else spec.smooth)
        if spec.grad_inputs
    ],
)
def test_reference_backward_is_the_derivative_of_its_forward(spec: OpSpec, case: str) -> None:
    inputs = draw_case(spec, case, torch.float64)
    names = [name for name in spec.grad_inputs if isinstance(inputs.get(name), Tensor)]

    def differentiable(*values: Tensor) -> tuple[Tensor, ...]:
        with use_backend("reference"):
            result = spec.function(**{**inputs, **dict(zip(names, values, strict=True))})
        leaves = pytree.tree_leaves(result)
        return tuple(each for each in leaves if isinstance(each, Tensor) and each.requires_grad)

    leaves = [inputs[name].clone().requires_grad_() for name in names]
    assert torch.autograd.gradcheck(differentiable, leaves, fast_mode=True)


class _Calls(TorchDispatchMode):
    """Records the package's ops that run, with their arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        kwargs = kwargs or {}
        if func.namespace == "g2vlm":
            copies = pytree.tree_map_only(Tensor, lambda each: each.detach().clone(), args)
            self.calls.append((func, copies, kwargs))
        return func(*args, **kwargs)


@pytest.mark.parametrize(
    ("spec", "case"),
    [
        pytest.param(spec, case, id=f"{spec.op}-{case}")
        for spec in SPECS.values()
        if spec.traceable
        for case in (spec.small if spec.op in spec.registered else list(spec.small)[:1])
    ],
)
def test_the_ops_that_a_call_runs_pass_opcheck(spec: OpSpec, case: str) -> None:
    with _Calls() as recorder:
        outputs_and_gradients(spec, draw_case(spec, case, torch.float32))
    names = {func._opname for func, _, _ in recorder.calls}
    assert names <= set(spec.registered), "name every op that runs in the specification's kernels"
    assert names, "no registered op ran"
    for func, args, kwargs in recorder.calls:
        checks = ["test_schema", "test_autograd_registration", "test_faketensor"]
        if not any(each.isnan().any() for each in pytree.tree_leaves(func(*args, **kwargs))):
            checks.append("test_aot_dispatch_dynamic")  # compares values, and NaN is unequal to NaN
        torch.library.opcheck(func, args, kwargs, test_utils=checks)


@one_traceable_run_a_backend
def test_compiles_as_one_graph_forward_and_backward(
    spec: OpSpec, case: str, backend: str, device: str, dtype: torch.dtype
) -> None:
    torch._dynamo.reset()
    inputs = draw_case(spec, case, dtype, device)
    compiled = torch.compile(spec.function, fullgraph=True, backend="aot_eager")
    eager = run_on(spec, backend, inputs)
    with use_backend(backend, *ops_on(spec, backend)):
        traced = outputs_and_gradients(spec, inputs, function=compiled)
    for a, b in zip(pytree.tree_leaves(eager), pytree.tree_leaves(traced), strict=True):
        torch.testing.assert_close(a, b, equal_nan=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "spec", [pytest.param(spec, id=name) for name, spec in SPECS.items() if spec.traceable]
)
def test_compiles_with_the_default_compiler(spec: OpSpec) -> None:
    torch._dynamo.reset()
    inputs = draw_case(spec, next(iter(spec.small)), torch.float32)
    compiled = torch.compile(spec.function, fullgraph=True)
    eager = outputs_and_gradients(spec, inputs)
    traced = outputs_and_gradients(spec, inputs, function=compiled)
    for a, b in zip(pytree.tree_leaves(eager), pytree.tree_leaves(traced), strict=True):
        torch.testing.assert_close(a, b, equal_nan=True)


class _Call(torch.nn.Module):
    def __init__(self, spec: OpSpec, options: dict[str, Any]) -> None:
        super().__init__()
        self.spec, self.options = spec, options

    def forward(self, tensors: dict[str, Tensor]) -> Any:
        return self.spec.function(**tensors, **self.options)


@pytest.mark.parametrize(
    "spec", [pytest.param(spec, id=spec.op) for spec in SPECS.values() if spec.traceable]
)
def test_exports_to_a_program_with_the_same_answers(spec: OpSpec) -> None:
    inputs = draw_case(spec, next(iter(spec.small)), torch.float32)
    tensors = {name: value for name, value in inputs.items() if isinstance(value, Tensor)}
    options = {name: value for name, value in inputs.items() if name not in tensors}
    program = torch.export.export(_Call(spec, options), (tensors,))
    exported = pytree.tree_leaves(program.module()(tensors))
    for a, b in zip(exported, pytree.tree_leaves(spec.function(**inputs)), strict=True):
        if isinstance(b, Tensor):
            torch.testing.assert_close(a, b, equal_nan=True)


@pytest.mark.parametrize("spec", [each for each in SPECS.values() if each.grad_inputs])
def test_second_derivatives_are_right_or_refused(spec: OpSpec) -> None:
    case = next(iter(spec.small if spec.smooth is None else spec.smooth))
    inputs = draw_case(spec, case, torch.float64)
    name = next(name for name in spec.grad_inputs if isinstance(inputs.get(name), Tensor))

    def first_derivative(leaf: Tensor, create_graph: bool) -> Tensor:
        outputs = pytree.tree_leaves(spec.function(**{**inputs, name: leaf}))
        total = leaf.pow(3).sum()
        for x in outputs:
            if isinstance(x, Tensor) and x.requires_grad:
                total = total + x.square().sum()
        return torch.autograd.grad(total, leaf, create_graph=create_graph)[0].sum()

    leaf = inputs[name].clone().requires_grad_()
    try:
        (found,) = torch.autograd.grad(first_derivative(leaf, True), leaf)
    except NotImplementedError as refusal:
        if "second derivatives" not in str(refusal):
            raise
        return
    direction = torch.randn(leaf.shape, generator=torch.Generator().manual_seed(1)).double()
    step = 1e-6 * direction
    ahead, behind = (
        first_derivative((leaf.detach() + sign * step).requires_grad_(), False) for sign in (1, -1)
    )
    torch.testing.assert_close(
        (found * direction).sum(), (ahead - behind) / 2e-6, rtol=1e-5, atol=1e-5
    )
