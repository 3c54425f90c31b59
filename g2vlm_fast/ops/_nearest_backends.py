"""The implementations of :func:`g2vlm_fast.ops.nearest`, one function per backend."""

from __future__ import annotations

import torch
from torch import Tensor

from g2vlm_fast import _C
from g2vlm_fast.ops import _dispatch
from g2vlm_fast.ops.reference import nearest as reference


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


def forward_cpu(
    query: Tensor,
    target: Tensor,
    query_offsets: Tensor | None,
    target_offsets: Tensor | None,
    k: int,
    norm: int,
    max_distance: float,
) -> tuple[Tensor, Tensor]:
    distance, index = empty_neighbours(query, k)
    _C.nearest_cpu(
        query.contiguous(),
        target.contiguous(),
        None if query_offsets is None else query_offsets.contiguous(),
        None if target_offsets is None else target_offsets.contiguous(),
        distance,
        index,
        norm,
        max_distance,
        torch.get_num_threads(),
    )
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


def forward_cuda(
    query: Tensor,
    target: Tensor,
    query_offsets: Tensor | None,
    target_offsets: Tensor | None,
    k: int,
    norm: int,
    max_distance: float,
) -> tuple[Tensor, Tensor]:
    distance, index = empty_neighbours(query, k)
    _C.nearest_cuda(
        query.contiguous(),
        target.contiguous(),
        None if query_offsets is None else query_offsets.contiguous(),
        None if target_offsets is None else target_offsets.contiguous(),
        distance,
        index,
        norm,
        max_distance,
        query.new_empty(query.shape[0], dtype=torch.int64) if k == 1 else None,
    )
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


for _op, _backend, _devices, _run in (
    ("nearest", "cpu", ("cpu",), forward_cpu),
    ("nearest", "cuda", ("cuda",), forward_cuda),
    ("nearest", "reference", ("cpu", "cuda"), reference.nearest),
    ("nearest_backward", "cpu", ("cpu",), backward_cpu),
    ("nearest_backward", "cuda", ("cuda",), backward_cuda),
    ("nearest_backward", "reference", ("cpu", "cuda"), reference.nearest_backward),
):
    _dispatch.register_backend(_op, _backend, _run, devices=_devices, dtypes=_dispatch.FLOAT32_64)
