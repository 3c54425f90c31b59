"""The implementations of :func:`g2vlm_fast.ops.nearest`, one function per backend."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from g2vlm_fast import _C
from g2vlm_fast.ops import _dispatch
from g2vlm_fast.ops._nearest_choice import (
    MAX_TREE_DIM,
    has_tree,
    wants_tree,
    wants_tree_for_lists,
)
from g2vlm_fast.ops.reference import nearest as reference

Clouds = tuple[Tensor, Tensor, Tensor | None, Tensor | None]

METHODS = ("auto", "brute", "tree")


def refuse_tree(needs: str) -> None:
    raise _dispatch.BackendError(
        f"nearest: method='tree' needs {needs}; use method='auto', which compares all pairs where "
        "there is no tree"
    )


def empty_neighbours(query: Tensor, k: int) -> tuple[Tensor, Tensor]:
    rows = query.shape[0]
    return query.new_empty(rows, k), query.new_empty(rows, k, dtype=torch.int32)


def empty_gradients(
    query: Tensor, target: Tensor, want_query: bool, want_target: bool
) -> tuple[Tensor, Tensor]:
    """Outputs of the backward op; a gradient that is not wanted has no elements."""
    return (
        query.new_empty(*query.shape if want_query else (0,)),
        target.new_empty(*target.shape if want_target else (0,)),
    )


def dense(
    query: Tensor, target: Tensor, query_offsets: Tensor | None, target_offsets: Tensor | None
) -> Clouds:
    return (
        query.contiguous(),
        target.contiguous(),
        None if query_offsets is None else query_offsets.contiguous(),
        None if target_offsets is None else target_offsets.contiguous(),
    )


def forward_cpu(
    query: Tensor,
    target: Tensor,
    query_offsets: Tensor | None,
    target_offsets: Tensor | None,
    k: int,
    norm: int,
    max_distance: float,
    method: str = "auto",
) -> tuple[Tensor, Tensor]:
    if method == "tree" and query.shape[1] > MAX_TREE_DIM:
        refuse_tree(f"at most {MAX_TREE_DIM} dimensions, got {query.shape[1]}")
    distance, index = empty_neighbours(query, k)
    clouds = dense(query, target, query_offsets, target_offsets)
    way = METHODS.index(method)
    _C.nearest_cpu(*clouds, distance, index, norm, max_distance, way, torch.get_num_threads())
    return distance, index


def backward_cpu(
    grad_distance: Tensor,
    query: Tensor,
    target: Tensor,
    index: Tensor,
    norm: int,
    want_query: bool,
    want_target: bool,
) -> tuple[Tensor, Tensor]:
    gradients = empty_gradients(query, target, want_query, want_target)
    _C.nearest_backward_cpu(
        grad_distance.contiguous(),
        query.contiguous(),
        target.contiguous(),
        index.contiguous(),
        gradients[0] if want_query else None,
        gradients[1] if want_target else None,
        norm,
        torch.get_num_threads(),
    )
    return gradients


def search_tree(
    clouds: Clouds,
    neighbours: tuple[Tensor, Tensor],
    norm: int,
    max_distance: float,
    index: Tensor | None = None,
) -> None:
    """Fill distances and indices by a tree over the targets: that of an index, or a new one."""
    space = _C.nearest_tree_workspace_cuda(*clouds, *neighbours, index is not None)
    workspace = clouds[0].new_empty(space, dtype=torch.uint8)
    _C.nearest_tree_cuda(*clouds, *neighbours, norm, max_distance, index, workspace)


def forward_cuda(
    query: Tensor,
    target: Tensor,
    query_offsets: Tensor | None,
    target_offsets: Tensor | None,
    k: int,
    norm: int,
    max_distance: float,
    method: str = "auto",
) -> tuple[Tensor, Tensor]:
    exists = has_tree(query, target)
    if method == "tree" and not exists:
        refuse_tree("float32 points in at most three dimensions on the cuda backend")
    distance, index = empty_neighbours(query, k)
    clouds = dense(query, target, query_offsets, target_offsets)
    one = k == 1 and norm == 2 and query.shape[1] == 3
    wanted = (
        wants_tree(query, target, query_offsets)
        if one
        else wants_tree_for_lists(query, target, query_offsets, k)
    )
    if method == "tree" or (method == "auto" and exists and wanted):
        search_tree(clouds, (distance, index), norm, max_distance)
        return distance, index
    keys = query.new_empty(query.shape[0], dtype=torch.int64) if k == 1 else None
    _C.nearest_cuda(*clouds, distance, index, norm, max_distance, keys)
    return distance, index


def backward_cuda(
    grad_distance: Tensor,
    query: Tensor,
    target: Tensor,
    index: Tensor,
    norm: int,
    want_query: bool,
    want_target: bool,
) -> tuple[Tensor, Tensor]:
    gradients = empty_gradients(query, target, want_query, want_target)
    hits, order = torch.sort(index.flatten(), stable=True) if want_target else (None, None)
    _C.nearest_backward_cuda(
        grad_distance.contiguous(),
        query.contiguous(),
        target.contiguous(),
        index.contiguous(),
        hits,
        order,
        gradients[0] if want_query else None,
        gradients[1] if want_target else None,
        norm,
    )
    return gradients


def _reference(*arguments: Any) -> tuple[Tensor, Tensor]:
    *search, method = arguments
    if method == "tree":
        refuse_tree("another backend than reference, which compares all pairs")
    return reference.nearest(*search)


for _op, _backend, _devices, _run in (
    ("nearest", "cpu", ("cpu",), forward_cpu),
    ("nearest", "cuda", ("cuda",), forward_cuda),
    ("nearest", "reference", ("cpu", "cuda"), _reference),
    ("nearest_backward", "cpu", ("cpu",), backward_cpu),
    ("nearest_backward", "cuda", ("cuda",), backward_cuda),
    ("nearest_backward", "reference", ("cpu", "cuda"), reference.nearest_backward),
):
    _dispatch.register_backend(_op, _backend, _run, devices=_devices, dtypes=_dispatch.FLOAT32_64)
