"""What every op refuses, and that it says so: by the op, by the argument, by what it got."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, get_args, get_origin, get_type_hints

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils import _pytree as pytree

from g2vlm_fast import ops
from g2vlm_fast.ops.specs import Inputs, OpSpec, all_specs, draw_case
from g2vlm_fast.ops.specs.graphs import random_graph

SPECS = all_specs()
REFUSALS = (TypeError, ValueError, ops.BackendError)


@pytest.mark.parametrize(
    ("spec", "hostile"),
    [
        pytest.param(spec, hostile, id=f"{spec.op}-{hostile.name.replace(' ', '_')}")
        for spec in SPECS.values()
        for hostile in spec.hostile
    ],
)
def test_a_bad_call_is_refused_by_the_name_of_its_argument(spec: OpSpec, hostile: Any) -> None:
    inputs = draw_case(spec, next(iter(spec.small)), torch.float64)
    with pytest.raises(hostile.error, match=rf"\b{re.escape(hostile.argument)}\b"):
        spec.function(**hostile.change(inputs))


def _tensor_arguments() -> list[Any]:
    found = []
    for spec in SPECS.values():
        inputs = draw_case(spec, next(iter(spec.small)), torch.float64)
        for name, value in inputs.items():
            if isinstance(value, Tensor):
                found.append(pytest.param(spec, name, id=f"{spec.op}-{name}"))
    return found


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda tensor: tensor.tolist(), id="a_list"),
        pytest.param(lambda tensor: tensor.numpy(), id="a_numpy_array"),
        pytest.param(lambda tensor: tensor.unsqueeze(0), id="one_axis_more"),
        pytest.param(lambda tensor: tensor.to("meta"), id="another_device"),
        pytest.param(lambda tensor: tensor.to(torch.complex64), id="complex"),
        pytest.param(lambda tensor: tensor.to(torch.bool), id="bool"),
    ],
)
@pytest.mark.parametrize(("spec", "argument"), _tensor_arguments())
def test_a_spoiled_tensor_is_refused_by_its_name(spec: OpSpec, argument: str, spoil: Any) -> None:
    inputs = draw_case(spec, next(iter(spec.small)), torch.float64)
    tensors = [name for name, value in inputs.items() if isinstance(value, Tensor)]
    with pytest.raises((TypeError, ValueError)) as refusal:
        spec.function(**{**inputs, argument: spoil(inputs[argument])})
    # A first tensor on another device makes the others the odd ones out.
    named = tensors if argument == tensors[0] else [argument]
    assert not _names_none(named, str(refusal.value)), refusal.value


def _names_none(arguments: Iterable[str], message: str) -> bool:
    return not any(re.search(rf"\b{name}\b", message) for name in arguments)


MUTATIONS = {
    "narrow": lambda tensor: tensor[: tensor.shape[0] // 2] if tensor.dim() else tensor,
    "empty": lambda tensor: tensor[:0] if tensor.dim() else tensor,
    "last axis": lambda tensor: tensor[..., :1] if tensor.dim() else tensor,
    "no last axis": lambda tensor: tensor[..., :0] if tensor.dim() else tensor,
    "flatten": lambda tensor: tensor.flatten(),
    "float32": lambda tensor: tensor.float(),
    "int32": lambda tensor: tensor.int(),
    "int64": lambda tensor: tensor.long(),
    "negate": lambda tensor: -tensor if tensor.dtype != torch.bool else tensor,
    "reverse": lambda tensor: tensor.flip(0) if tensor.dim() else tensor,
    "huge": lambda tensor: tensor * 2**30,
    "not a number": lambda tensor: tensor / 0 if tensor.is_floating_point() else tensor,
    "strided": lambda tensor: tensor[::2] if tensor.dim() else tensor,
    "absent": lambda tensor: None,
}


@pytest.mark.parametrize("spec", SPECS.values(), ids=list(SPECS))
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_any_mangled_call_answers_or_refuses_by_name(spec: OpSpec, data: st.DataObject) -> None:
    inputs = draw_case(spec, data.draw(st.sampled_from(list(spec.small))), torch.float64)
    tensors = [name for name, value in inputs.items() if isinstance(value, Tensor)]
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(st.sampled_from(tensors))
        if inputs[name] is not None:
            inputs[name] = MUTATIONS[data.draw(st.sampled_from(list(MUTATIONS)))](inputs[name])
    try:
        result = spec.function(**inputs)
    except REFUSALS as refusal:
        if _names_none(inspect.signature(spec.function).parameters, str(refusal)):
            raise
    else:
        assert any(isinstance(each, Tensor) for each in pytree.tree_leaves(result))


def _public_calls() -> dict[str, tuple[Callable[..., Any], Inputs]]:
    """Every public function that takes tensors, by the name in its messages, with good inputs."""
    calls = {
        spec.function.__qualname__: (
            spec.function,
            draw_case(spec, next(iter(spec.small)), torch.float64),
        )
        for spec in SPECS.values()
        if not spec.function.__module__.startswith("g2vlm_fast.ops.specs")
    }
    graph = random_graph(torch.Generator().manual_seed(0), 5, 5, 9)
    position = torch.rand(6, 3, dtype=torch.float64)
    clusters = ops.voxel_clusters(position, 0.5)
    index = ops.NearestIndex(position)
    faces = torch.tensor([[0, 1, 2], [2, 1, 3], [3, 4, 5]], dtype=torch.int32)
    more = (
        (ops.NearestIndex, {"target": position}),
        (index.query, {"query": position}),
        (index.refit, {"target": position}),
        (ops.voxel_clusters, {"position": position, "size": 0.5}),
        (ops.pool, {"x": position, "clusters": clusters}),
        (ops.Graph.from_knn, {"index": torch.zeros(4, 2, dtype=torch.int32)}),
        (
            ops.Graph.from_csr,
            {"row_offsets": graph.row_offsets, "columns": graph.columns, "num_sources": 5},
        ),
        (graph.edge_geometry, {"position": position[:5]}),
        (ops.reorder_graph, {"graph": graph, "position": position[:5]}),
        (ops.MeshEdges.from_faces, {"faces": faces, "num_vertices": 6}),
        (ops.MeshEdges.from_faces(faces, 6).cotangent_weights, {"position": position}),
        (ops.Distance, {"eps": 0.1}),
        (ops.GaussianPowers, {"count": 3}),
        (ops.RadialBasis, {"count": 3, "eps": 0.1}),
    )
    return calls | {call.__qualname__: (call, inputs) for call, inputs in more}


CALLS = _public_calls()
WRONG = {
    "an_object": object(),
    "a_text": "no",
    "a_fraction": 1.5,
    "an_integer": 3,
    "a_bool": True,
    "a_list": [[0.5]],
    "a_mapping": {"a": 1},
    "a_tensor": torch.rand(2),
    "nothing": None,
}


def _fits(value: Any, hint: Any) -> bool:
    """Say whether a value is of the annotated type; elements of sequences are not looked at."""
    kinds = {get_origin(each) or each for each in get_args(hint) or (hint,)}
    if get_origin(hint) in (tuple, Sequence):
        kinds = {list, tuple}
    if isinstance(value, bool):
        return bool in kinds
    if float in kinds:
        kinds.add(int)
    return isinstance(value, tuple(kinds))


def _wrong_arguments() -> list[Any]:
    found = []
    for name, (call, _) in CALLS.items():
        hints = get_type_hints(call.__init__ if inspect.isclass(call) else call)
        for argument in inspect.signature(call).parameters:
            found += [
                pytest.param(name, argument, value, id=f"{name}-{argument}-{label}")
                for label, value in WRONG.items()
                if not _fits(value, hints[argument])
            ]
    return found


@pytest.mark.parametrize(("op", "argument", "value"), _wrong_arguments())
def test_an_argument_of_the_wrong_type_is_refused_by_its_name(
    op: str, argument: str, value: Any
) -> None:
    call, inputs = CALLS[op]
    with pytest.raises((TypeError, ValueError), match=rf"^{op}: .*\b{argument}\b.* got "):
        call(**{**inputs, argument: value})


def test_the_public_calls_are_good_and_leave_out_no_public_function() -> None:
    for call, inputs in CALLS.values():
        call(**inputs)
    functions = {name for name in ops.__all__ if inspect.isfunction(getattr(ops, name))}
    assert functions - CALLS.keys() == {"use_backend", "register_flop_formulas"}


def _grad(call: Callable[[Tensor], Any], x: Tensor) -> Any:
    return torch.func.grad(lambda x: pytree.tree_leaves(call(x))[0].sum())(x)


def _dual(call: Callable[[Tensor], Any], x: Tensor) -> Any:
    with forward_ad.dual_level():
        return call(forward_ad.make_dual(x, torch.ones_like(x)))


TRANSFORMS = {
    "vmap": lambda call, x: torch.func.vmap(call)(x[None]),
    "grad": _grad,
    "jvp": lambda call, x: torch.func.jvp(call, (x,), (x,)),
    "jacfwd": lambda call, x: torch.func.jacfwd(call)(x),
    "dual": _dual,
}


@pytest.mark.parametrize(
    ("op", "argument", "transform"),
    [
        pytest.param(op, argument, transform, id=f"{op}-{argument}-{transform}")
        for op, (_, inputs) in CALLS.items()
        for argument, value in inputs.items()
        if isinstance(value, Tensor)
        for transform in (TRANSFORMS if value.is_floating_point() else ["vmap"])
    ],
)
def test_a_transform_of_a_tensor_is_refused_by_name(op: str, argument: str, transform: str) -> None:
    call, inputs = CALLS[op]
    message = rf"^{op}: torch\.func transforms .* not supported, got {argument} inside one"
    with pytest.raises(NotImplementedError, match=message):
        TRANSFORMS[transform](lambda x: call(**{**inputs, argument: x}), inputs[argument])


def test_a_transform_of_something_else_leaves_an_op_alone() -> None:
    query, target = torch.rand(5, 3), torch.rand(6, 3)
    distance = ops.nearest(query, target)[0].sum()
    factors = torch.tensor([1.0, 2.0])
    scaled = torch.func.vmap(lambda factor: factor * ops.nearest(query, target)[0].sum())(factors)
    torch.testing.assert_close(scaled, factors * distance)


def test_a_parameter_inside_a_transform_of_something_else_is_refused_by_name() -> None:
    query, target = torch.rand(5, 3, requires_grad=True), torch.rand(6, 3)
    with pytest.raises(NotImplementedError, match=r"^nearest: torch\.func .* got query inside one"):
        torch.func.grad(lambda x: x * ops.nearest(query, target)[0].sum())(torch.tensor(1.0))
