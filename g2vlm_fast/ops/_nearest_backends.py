"""The implementations of :func:`g2vlm_fast.ops.nearest`, one function per backend."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from g2vlm_fast import _C
from g2vlm_fast.ops import _dispatch
from g2vlm_fast.ops.reference import nearest as reference

Clouds = tuple[Tensor, Tensor, Tensor | None, Tensor | None]

METHODS = ("auto", "brute", "tree")
MAX_TREE_DIM = 3
MAX_CUDA_NEIGHBOURS = 64


def refuse_tree(needs: str) -> None:
    raise _dispatch.BackendError(
        f"nearest: method='tree' needs {needs}; use method='auto', which compares all pairs where "
        "there is no tree"
    )


def empty_neighbours(query: Tensor, k: int) -> tuple[Tensor, Tensor]:
    shape = (query.shape[0], k)
    return query.new_empty(shape), query.new_empty(shape, dtype=torch.int32)


def empty_gradients(
    query: Tensor, target: Tensor, want_query: bool, want_target: bool
) -> tuple[Tensor, Tensor]:
    """Outputs of the backward op; a gradient that is not wanted has no elements."""
    return (
        query.new_empty(query.shape if want_query else (0,)),
        target.new_empty(target.shape if want_target else (0,)),
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


BRUTE_FORCE_UP_TO = 240_000_000, 700
"""Pairs, and pairs a point, up to which comparing them all beats trees (H100; the crossovers that
were measured stand in benchmarks/reports/nearest.md)."""


def has_pair_kernel(query: Tensor, target: Tensor) -> bool:
    """Whether the kernels for two clouds in three dimensions take these points."""
    rows = query.shape[0] + target.shape[0]
    return query.dtype is torch.float32 and query.shape[1] == 3 and rows < 2**31 - 1


def wants_tree(query: Tensor, target: Tensor, offsets: Tensor | None) -> bool:
    """Whether the points are so many that trees are faster, were all segments equally long."""
    segments = 1 if offsets is None else offsets.shape[0] - 1
    n, m = query.shape[0], target.shape[0]
    pairs, pairs_a_point = BRUTE_FORCE_UP_TO
    return n * m // segments > pairs + pairs_a_point * (n + m)


def has_tree(query: Tensor, target: Tensor) -> bool:
    """Whether CUDA has trees for these points."""
    rows = query.shape[0] + target.shape[0]
    return query.dtype is torch.float32 and query.shape[1] <= MAX_TREE_DIM and rows < 2**31 - 1


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
    if k > MAX_CUDA_NEIGHBOURS:
        raise _dispatch.BackendError(
            f"nearest: the cuda backend takes k up to {MAX_CUDA_NEIGHBOURS}, got {k}; search on "
            "the CPU or with use_backend('reference', 'nearest')"
        )
    exists = has_tree(query, target)
    if method == "tree" and not exists:
        refuse_tree("float32 points in at most three dimensions on the cuda backend")
    distance, index = empty_neighbours(query, k)
    clouds = dense(query, target, query_offsets, target_offsets)
    wanted = method == "auto" and wants_tree(query, target, query_offsets)
    if method == "tree" or (exists and wanted):
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
