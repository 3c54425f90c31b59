"""An index of packed points: built once, searched many times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from g2vlm_fast.ops import _dispatch
from g2vlm_fast.ops._checks import (
    check_offset_values,
    check_offsets,
    check_rows,
    check_tensor,
)
from g2vlm_fast.ops._flops import flop_formula
from g2vlm_fast.ops._nearest_arguments import all_pairs_flops, check_neighbours, checked_bound
from g2vlm_fast.ops._nearest_backends import empty_neighbours
from g2vlm_fast.ops._nearest_gradient import gradients_of_pairs, remember_pairs
from g2vlm_fast.ops._nearest_index_backends import empty_tree
from g2vlm_fast.ops._registration import define_op

_OP = "NearestIndex"


class NearestIndex:
    """Points, and a tree of boxes over each of their segments, for many exact searches.

    Args:
        target: ``[m, D]`` float32 or float64 (float16 and bfloat16 are upcast exactly).
        offsets: ``[B + 1]`` int32, the segments of the targets; None for one segment.

    The tree takes about 20 bytes a point in float32, 36 in float64. There is none in more than
    three dimensions, nor in float64 on CUDA: there every query compares all pairs.

    The tensors are held, not copied: whoever changes them in place must :meth:`refit` the index,
    and until then a query raises RuntimeError. (Changes that torch does not count are not seen:
    through ``.data`` or NumPy, of inference tensors, and inside compiled graphs.)

    Raises:
        TypeError, ValueError: an argument has the wrong dtype, shape, device or value.
    """

    def __init__(self, target: Tensor, offsets: Tensor | None = None) -> None:
        sizes: dict[str, int] = {}
        check_tensor(_OP, "target", target, ("m", "D"), _dispatch.FLOATS, sizes)
        if sizes["D"] == 0:
            raise ValueError(f"{_OP}: target must have at least one coordinate, got shape [m, 0]")
        check_rows(_OP, "target", target)
        check_offsets(_OP, "offsets", offsets, sizes, target.device)
        self._keep(target, offsets, _build(_widened(target.detach()), offsets))

    def _keep(self, target: Tensor, offsets: Tensor | None, tree: Tensor) -> None:
        self._target, self._offsets, self._tree = target, offsets, tree
        self._backend = _backend(target)
        self._target_version, self._offsets_version = _version(target), _version(offsets)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._target, self._offsets)

    @property
    def target(self) -> Tensor:
        """The points ``[m, D]``, as they were given."""
        return self._target

    @property
    def offsets(self) -> Tensor | None:
        """Their segments ``[B + 1]``, or None for one segment."""
        return self._offsets

    def query(
        self,
        query: Tensor,
        *,
        k: int = 1,
        offsets: Tensor | None = None,
        norm: int = 2,
        max_distance: float | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Find the k nearest targets of every query, exactly, within each segment.

        Args:
            query: ``[n, D]``, dtype and device of the targets.
            k: neighbours a query, at least 1; n k is at most 2^31 - 1.
            offsets: ``[B + 1]`` int32, the segments of the queries, as many as of the targets.
            norm: 2 for squared Euclidean distance, 1 for the sum of absolute differences.
            max_distance: neighbours farther than this are left out.

        Returns:
            ``distance [n, k]`` and ``index [n, k]`` int32: to the bit what :func:`nearest` returns
            for these queries and targets, differentiable in both as there.

        Raises:
            TypeError, ValueError: an argument has the wrong dtype, shape, device or value.
            RuntimeError: the targets or their offsets have changed since the index was built.
            BackendError: another backend has built the index.
        """
        op, target = f"{_OP}.query", self._target
        sizes: dict[str, int] = {}
        check_tensor(op, "target", target, ("m", "D"), _dispatch.FLOATS, sizes)
        check_tensor(op, "query", query, ("n", "D"), (target.dtype,), sizes, target.device)
        check_rows(op, "query", query)
        if offsets is not None or self._offsets is not None:
            sizes["B + 1"] = 2 if self._offsets is None else self._offsets.shape[0]
            check_offsets(op, "offsets", offsets, sizes, target.device)
        check_neighbours(op, k, sizes["n"])
        bound = checked_bound(op, norm, max_distance)
        if _has_changed(target, self._target_version):
            raise RuntimeError(
                f"{op}: target has been changed in place since the index was built; call refit "
                "with the new positions, or build a new index"
            )
        self._check_held(op)
        query, target = _widened(query), _widened(target)
        arguments = (query, target, offsets, self._offsets, self._tree, k, norm, bound)
        if (query.requires_grad or target.requires_grad) and torch.is_grad_enabled():
            return _Query.apply(*arguments)
        return _query(*arguments)

    def refit(self, target: Tensor) -> NearestIndex:
        """Return an index of the same points at other positions, without sorting them anew.

        Answers stay exact however far the points have moved, NaN coordinates that come or go
        included, but the boxes grow with the distances that neighbours have moved apart, and
        queries slow down with them: build a new index once the points have moved far.

        Args:
            target: ``[m, D]``, shape, dtype and device of the targets so far; segments stay.

        Raises:
            TypeError, ValueError: the points have another dtype, shape or device.
            RuntimeError: the offsets have changed since the index was built.
            BackendError: another backend has built the index.
        """
        op, held = f"{_OP}.refit", self._target
        check_tensor(op, "target", target, tuple(held.shape), (held.dtype,), {}, held.device)
        self._check_held(op)
        index = object.__new__(type(self))
        tree = _refit(_widened(target.detach()), self._offsets, self._tree)
        index._keep(target, self._offsets, tree)
        return index

    def _check_held(self, op: str) -> None:
        """Check that the offsets are as they were, and the backend is that of the tree."""
        if _has_changed(self._offsets, self._offsets_version):
            raise RuntimeError(
                f"{op}: offsets of the targets have been changed in place since the index was "
                "built; build a new index"
            )
        backend = _backend(self._target)
        if self._backend is not None and backend is not None and backend != self._backend:
            raise _dispatch.BackendError(
                f"{op}: the index was built on the {self._backend} backend, and this call runs on "
                f"{backend}; build another index there"
            )


def _widened(points: Tensor) -> Tensor:
    half = points.dtype is torch.float16 or points.dtype is torch.bfloat16
    return points.float() if half else points


def _backend(target: Tensor) -> str | None:
    """Return what builds and queries now; None in compiled graphs and for tensors without data."""
    device = target.device.type
    if torch.compiler.is_compiling() or device not in ("cpu", "cuda"):
        return None
    dtype = torch.promote_types(target.dtype, torch.float32)
    return _dispatch.backend_of("nearest_index_query", device, dtype)


def _version(tensor: Tensor | None) -> int | None:
    """Return how often a tensor was changed in place; None where torch does not say."""
    if tensor is None or torch.compiler.is_compiling() or tensor.is_inference():
        return None
    return tensor._version


def _has_changed(tensor: Tensor | None, version: int | None) -> bool:
    now = _version(tensor)
    return now is not None and version is not None and now != version


class _Query(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor]:
        query, target, *_, norm, _ = arguments
        distance, index = _query(*arguments)
        remember_pairs(ctx, query, target, index, norm)
        return distance, index

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        return *gradients_of_pairs(ctx, grads[0]), *(None,) * 6


def _run_build(target: Tensor, offsets: Tensor | None) -> Tensor:
    check_offset_values(_OP, "offsets", offsets, target.shape[0])
    tree: Tensor = _dispatch.implementation("nearest_index_build", target)(target, offsets)
    return tree


def _run_refit(target: Tensor, offsets: Tensor | None, tree: Tensor) -> Tensor:
    check_offset_values(f"{_OP}.refit", "offsets", offsets, target.shape[0])
    run = _dispatch.implementation("nearest_index_refit", target)
    fitted: Tensor = run(target, offsets, tree)
    return fitted


def _run_query(
    query: Tensor,
    target: Tensor,
    query_offsets: Tensor | None,
    target_offsets: Tensor | None,
    *arguments: Any,
) -> tuple[Tensor, Tensor]:
    op = f"{_OP}.query"
    check_offset_values(op, "offsets", query_offsets, query.shape[0])
    check_offset_values(op, "offsets of the targets", target_offsets, target.shape[0])
    run = _dispatch.implementation("nearest_index_query", query)
    neighbours: tuple[Tensor, Tensor] = run(
        query, target, query_offsets, target_offsets, *arguments
    )
    return neighbours


def _query_flops(
    query: Sequence[int],
    target: Sequence[int],
    query_offsets: Sequence[int] | None,
    target_offsets: Sequence[int] | None,
    *_: Any,
    **__: Any,
) -> int:
    return all_pairs_flops(query, target, query_offsets, target_offsets)


_build = define_op(
    "nearest_index_build(Tensor target, Tensor? offsets) -> Tensor",
    implementation=_run_build,
    fake=empty_tree,
)
_refit = define_op(
    "nearest_index_refit(Tensor target, Tensor? offsets, Tensor tree) -> Tensor",
    implementation=_run_refit,
    fake=lambda target, offsets, tree: empty_tree(target, offsets),
)
_query = define_op(
    "nearest_index_query(Tensor query, Tensor target, Tensor? query_offsets, "
    "Tensor? target_offsets, Tensor tree, int k, int norm, float max_distance) -> (Tensor, Tensor)",
    implementation=_run_query,
    fake=lambda query, target, query_offsets, target_offsets, tree, k, norm, max_distance: (
        empty_neighbours(query, k)
    ),
)
flop_formula("nearest_index_query", _query_flops)
