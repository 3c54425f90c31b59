"""Tensors of every make, and options of every kind: the same answer, or a refusal by name."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from contextlib import nullcontext
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import _pytree as pytree

from g2vlm_fast import ops
from g2vlm_fast.ops.specs import Inputs, OpSpec, all_specs, draw_case
from g2vlm_fast.ops.specs.graphs import random_graph


def _most_tensors(spec: OpSpec) -> Inputs:
    cases = [draw_case(spec, name, torch.float64) for name in spec.small]
    return max(cases, key=lambda inputs: sum(isinstance(v, Tensor) for v in inputs.values()))


def _calls() -> dict[str, tuple[Callable[..., Any], Inputs]]:
    """Every public function that takes tensors, with inputs that it accepts."""
    calls = {
        spec.op: (spec.function, _most_tensors(spec))
        for spec in all_specs().values()
        if not spec.function.__module__.startswith("g2vlm_fast.ops.specs")
    }
    generator = torch.Generator().manual_seed(0)
    position = torch.rand(9, 3, generator=generator, dtype=torch.float64)
    graph = random_graph(generator, 9, 9, 20)
    ends = torch.tensor([0, 4, 9], dtype=torch.int32)
    clusters = ops.voxel_clusters(position, 0.5)
    index = ops.NearestIndex(position, ends)
    faces = torch.tensor([[0, 1, 2], [2, 1, 3], [6, 7, 8]], dtype=torch.int32)
    csr = {"row_offsets": graph.row_offsets, "columns": graph.columns, "num_sources": 9}
    return calls | {
        "NearestIndex": (ops.NearestIndex, {"target": position, "offsets": ends}),
        "NearestIndex.query": (index.query, {"query": position, "offsets": ends, "k": 2}),
        "NearestIndex.refit": (index.refit, {"target": position}),
        "voxel_clusters": (
            ops.voxel_clusters,
            {"position": position, "size": 0.5, "offsets": ends},
        ),
        "pool": (ops.pool, {"x": position, "clusters": clusters, "reduce": "max"}),
        "Clusters.coarsen": (clusters.coarsen, {"graph": graph}),
        "Graph.from_knn": (ops.Graph.from_knn, {"index": graph.columns[:18].view(9, 2)}),
        "Graph.from_csr": (ops.Graph.from_csr, csr),
        "Graph.edge_geometry": (graph.edge_geometry, {"position": position}),
        "reorder_graph": (
            ops.reorder_graph,
            {"graph": graph, "position": position, "offsets": ends},
        ),
        "MeshEdges.from_faces": (ops.MeshEdges.from_faces, {"faces": faces, "num_vertices": 9}),
        "MeshEdges.cotangent_weights": (
            ops.MeshEdges.from_faces(faces, 9).cotangent_weights,
            {"position": position},
        ),
    }


CALLS = _calls()
TENSORS = [
    pytest.param(name, argument, id=f"{name}-{argument}")
    for name, (_, inputs) in CALLS.items()
    for argument, value in inputs.items()
    if isinstance(value, Tensor)
]
OPTIONS = [
    pytest.param(name, argument, id=f"{name}-{argument}")
    for name, (call, inputs) in CALLS.items()
    for argument, parameter in inspect.signature(call).parameters.items()
    if not isinstance(inputs.get(argument), Tensor) and "Tensor" not in str(parameter.annotation)
]
WITHOUT_VALUES = "must hold its values"


class Plain(Tensor):
    """A subclass that changes nothing."""


class Wrapper(Tensor):
    """A subclass that stands for another tensor and has no storage of its own."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> Wrapper:
        wrapper = torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)
        wrapper.inner = inner
        return wrapper

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        args, kwargs = pytree.tree_map_only(Wrapper, lambda each: each.inner, (args, kwargs or {}))
        return func(*args, **kwargs)


def _strided(tensor: Tensor) -> Tensor:
    room = tensor.new_zeros(*tensor.shape, 2)
    room[..., 0] = tensor
    return room[..., 0]


def _negated_lazily(tensor: Tensor) -> Tensor:
    lazy = torch.complex(torch.zeros_like(tensor), -tensor).conj().imag
    assert lazy.is_neg()
    return lazy


def _misaligned(tensor: Tensor) -> Tensor:
    data = bytearray(b"\0" + tensor.contiguous().numpy().tobytes())
    return torch.frombuffer(data, dtype=tensor.dtype, offset=1).view(tensor.shape)


def _inference(tensor: Tensor) -> Tensor:
    with torch.inference_mode():
        return tensor.clone()


EQUALS: dict[str, Callable[[Tensor], Tensor]] = {
    "strided": _strided,
    "by columns": lambda tensor: tensor.mT.contiguous().mT if tensor.dim() > 1 else tensor,
    "behind others": lambda tensor: torch.cat([tensor, tensor])[tensor.shape[0] :],
    "negated lazily": _negated_lazily,
    "misaligned": _misaligned,
    "a parameter": lambda tensor: torch.nn.Parameter(tensor, tensor.is_floating_point()),
    "a subclass": lambda tensor: tensor.clone().as_subclass(Plain),
    "a wrapper": Wrapper,
    "of inference": _inference,
}


def _leaves(result: Any) -> list[Tensor]:
    if isinstance(result, ops.NearestIndex):
        result = result.query(result.target.detach(), offsets=result.offsets)
    found = [each for each in pytree.tree_leaves(result) if isinstance(each, Tensor)]
    return [each.inner if isinstance(each, Wrapper) else each.detach() for each in found]


def _answer_or_refusal(
    call: Callable[..., Any], inputs: Inputs
) -> tuple[list[Tensor], Exception | None]:
    try:
        return _leaves(call(**inputs)), None
    except (TypeError, ValueError, ops.BackendError) as refusal:
        return [], refusal


@pytest.mark.parametrize(("name", "argument"), TENSORS)
def test_an_equal_tensor_of_another_make_gets_the_same_answer(name: str, argument: str) -> None:
    call, inputs = CALLS[name]
    expected = _leaves(call(**inputs))
    for make, change in EQUALS.items():
        value = inputs[argument]
        if make == "negated lazily" and not value.is_floating_point():
            continue
        answer, refusal = _answer_or_refusal(call, {**inputs, argument: change(value)})
        if refusal is not None:
            assert make == "a wrapper", refusal
            assert f"{argument} {WITHOUT_VALUES}" in str(refusal)
            continue
        for ours, theirs in zip(answer, expected, strict=True):
            torch.testing.assert_close(
                ours.as_subclass(Tensor), theirs, rtol=1e-12, atol=1e-12, equal_nan=True, msg=make
            )


NOT_DENSE: dict[str, Callable[[Tensor], Tensor]] = {
    "sparse": lambda tensor: tensor.to_sparse(),
    "mkldnn": lambda tensor: tensor.float().to_mkldnn(),
    "jagged": lambda tensor: torch.nested.nested_tensor([tensor, tensor], layout=torch.jagged),
    "nested": lambda tensor: torch.nested.nested_tensor([tensor, tensor]),
}


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize(("name", "argument"), TENSORS)
def test_a_tensor_that_is_not_dense_is_refused_by_its_name(name: str, argument: str) -> None:
    call, inputs = CALLS[name]
    for change in NOT_DENSE.values():
        message = rf"^{re.escape(name)}\b.*: {argument} must be a dense tensor, got"
        with pytest.raises(TypeError, match=_of_any_op(message)):
            call(**{**inputs, argument: change(inputs[argument])})


def _of_any_op(message: str) -> str:
    """Messages begin with the public name, which differs from the specification's for some."""
    return message[message.index(":") :]


def _names_an_argument(call: Callable[..., Any], error: Exception) -> bool:
    message = str(error)
    return any(re.search(rf"\b{name}\b", message) for name in inspect.signature(call).parameters)


@pytest.mark.parametrize(("name", "argument"), TENSORS)
@pytest.mark.parametrize("rows", [2**31 + 5, 2**40])
def test_more_rows_than_int32_counts_are_refused_at_once(
    name: str, argument: str, rows: int
) -> None:
    call, inputs = CALLS[name]
    value = inputs[argument]
    huge = value[:1].expand(rows, *value.shape[1:])
    with pytest.raises((TypeError, ValueError)) as refusal:
        call(**{**inputs, argument: huge})
    assert _names_an_argument(call, refusal.value), refusal.value


@pytest.mark.parametrize("name", dict.fromkeys(each.values[0] for each in TENSORS))
def test_tensors_without_values_answer_without_values_or_are_refused(name: str) -> None:
    call, inputs = CALLS[name]
    mode = FakeTensorMode(allow_non_fake_inputs=True)  # of graphs and indices
    kinds = (
        ("meta", nullcontext(), lambda each: each.to("meta")),
        ("cpu", mode, mode.from_tensor),
    )
    for device, context, change in kinds:
        fakes = {
            argument: change(value) if isinstance(value, Tensor) else value
            for argument, value in inputs.items()
        }
        with context:
            answer, refusal = _answer_or_refusal(call, fakes)
        assert refusal is None or _names_an_argument(call, refusal), refusal
        assert all(each.device.type == device for each in answer)


VALUES = [
    float("nan"), float("inf"), -1, -0.0, 0, 1, 65, 1000, 0.5, 1e-320, 1e308, 2**31, 2**63, 10**400,
    "", "max", "\0", b"max", None, (), (0.0,), [float("nan")], {}, object(), len, True, 1j,
    Fraction(1, 3), Decimal("0.5"), np.float32(0.5), np.int64(2), np.bool_(True), np.ones(2),
    torch.tensor(2), torch.tensor([0.5, 1.0]), torch.float32, Ellipsis,
]  # fmt: skip


@pytest.mark.parametrize(("name", "argument"), OPTIONS)
def test_an_option_of_any_kind_answers_or_is_refused_by_name(name: str, argument: str) -> None:
    call, inputs = CALLS[name]
    for value in VALUES:
        answer, refusal = _answer_or_refusal(call, {**inputs, argument: value})
        if refusal is None:
            assert answer, value
        else:
            assert _names_an_argument(call, refusal), (value, refusal)


def test_compressed_rows_whose_differences_wrap_around_are_refused() -> None:
    offsets = torch.tensor([0, 2**31 - 1, -(2**31), -1, 15], dtype=torch.int32)
    assert (offsets.diff() >= 0).all()
    with pytest.raises(ValueError, match="row_offsets must start at 0, never decrease"):
        ops.Graph.from_csr(offsets, torch.zeros(15, dtype=torch.int32), 1)


def test_a_tensor_whose_storage_was_freed_is_refused() -> None:
    source = torch.zeros(5, dtype=torch.int64)
    freed = source.clone()
    freed.untyped_storage().resize_(0)
    with pytest.raises(ValueError, match=rf"destination {WITHOUT_VALUES}"):
        ops.Graph.from_edges(source, freed, 3)


def test_clusters_are_joined_by_a_graph_of_their_points_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    clusters = ops.voxel_clusters(torch.rand(9, 3, generator=generator), 0.5)
    with pytest.raises(ValueError, match="graph must have the 9 points as rows and sources, got 9"):
        clusters.coarsen(random_graph(generator, 9, 8, 20))


def test_an_inverse_distance_that_would_overflow_is_refused() -> None:
    x, points = torch.ones(2, 1), torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"eps must be from 2\.4e-38 to 3\.4e\+38, got 1e-320"):
        ops.interpolate(x, points, points, k=2, eps=1e-320)
    assert ops.interpolate(x, points, points, k=2, eps=2.4e-38).tolist() == [[1], [1]]


def test_a_length_whose_square_would_vanish_is_refused() -> None:
    x = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"scale must be positive and finite, at least 1\.1e-19"):
        ops.chamfer_distance(x, x, robust="geman_mcclure", scale=1e-20)
    with pytest.raises(ValueError, match=r"fscore_at must hold positive radii, at least 1\.1e-19"):
        ops.chamfer_distance(x, x, fscore_at=[1e-20])
    found = ops.chamfer_distance(x, x, robust="geman_mcclure", scale=1.1e-19, fscore_at=[1.1e-19])
    assert found.loss == 0
    assert found.fscore is not None
    assert found.fscore.item() == 1
