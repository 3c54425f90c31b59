"""The implementations of :func:`g2vlm_fast.ops.nearest_pair`, one function per backend."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from g2vlm_fast import _C
from g2vlm_fast.ops import _dispatch
from g2vlm_fast.ops import _nearest_backends as one_way
from g2vlm_fast.ops._nearest_backends import empty_gradients
from g2vlm_fast.ops._nearest_choice import has_pair_kernel, wants_tree
from g2vlm_fast.ops.reference import nearest as reference

Neighbours = tuple[Tensor, Tensor, Tensor, Tensor]


def empty_neighbours(x: Tensor, y: Tensor) -> Neighbours:
    return (
        x.new_empty(x.shape[0]),
        x.new_empty(x.shape[0], dtype=torch.int32),
        y.new_empty(y.shape[0]),
        y.new_empty(y.shape[0], dtype=torch.int32),
    )


def _reference(
    x: Tensor, y: Tensor, x_offsets: Tensor | None, y_offsets: Tensor | None, method: str
) -> Neighbours:
    if method == "tree":
        one_way.refuse_tree("another backend than reference")
    return reference.nearest_pair(x, y, x_offsets, y_offsets)


def forward_cpu(
    x: Tensor, y: Tensor, x_offsets: Tensor | None, y_offsets: Tensor | None, method: str
) -> Neighbours:
    search = functools.partial(one_way.forward_cpu, method=method)
    return reference.nearest_pair(x, y, x_offsets, y_offsets, search=search)


def forward_cuda(
    x: Tensor, y: Tensor, x_offsets: Tensor | None, y_offsets: Tensor | None, method: str
) -> Neighbours:
    if not has_pair_kernel(x, y):
        search = functools.partial(one_way.forward_cuda, method=method)
        return reference.nearest_pair(x, y, x_offsets, y_offsets, search=search)
    clouds = one_way.dense(x, y, x_offsets, y_offsets)
    tree = method == "tree" or (method == "auto" and wants_tree(x, y, x_offsets))
    neighbours = empty_neighbours(x, y)
    workspace = x.new_empty(_C.nearest_pair_workspace_cuda(*clouds, tree), dtype=torch.uint8)
    _C.nearest_pair_cuda(*clouds, *neighbours, tree, workspace)
    return neighbours


def backward_cuda(
    x_grad_distance: Tensor,
    y_grad_distance: Tensor,
    x: Tensor,
    y: Tensor,
    x_index: Tensor,
    y_index: Tensor,
    want_x: bool,
    want_y: bool,
) -> tuple[Tensor, Tensor]:
    if not has_pair_kernel(x, y):
        arguments = (x_grad_distance, y_grad_distance, x, y, x_index, y_index, want_x, want_y)
        return reference.nearest_pair_backward(*arguments, backward=one_way.backward_cuda)
    gradients = empty_gradients(x, y, want_x, want_y)
    x, y = x.contiguous(), y.contiguous()
    space = _C.nearest_pair_backward_workspace_cuda(x, y)
    _C.nearest_pair_backward_cuda(
        x_grad_distance.contiguous(),
        y_grad_distance.contiguous(),
        x,
        y,
        x_index.contiguous(),
        y_index.contiguous(),
        gradients[0] if want_x else None,
        gradients[1] if want_y else None,
        x.new_empty(space, dtype=torch.uint8),
    )
    return gradients


_backward_cpu = functools.partial(reference.nearest_pair_backward, backward=one_way.backward_cpu)

for _op, _backend, _devices, _run in (
    ("nearest_pair", "cpu", ("cpu",), forward_cpu),
    ("nearest_pair", "cuda", ("cuda",), forward_cuda),
    ("nearest_pair", "reference", ("cpu", "cuda"), _reference),
    ("nearest_pair_backward", "cpu", ("cpu",), _backward_cpu),
    ("nearest_pair_backward", "cuda", ("cuda",), backward_cuda),
    ("nearest_pair_backward", "reference", ("cpu", "cuda"), reference.nearest_pair_backward),
):
    _dispatch.register_backend(_op, _backend, _run, devices=_devices, dtypes=_dispatch.FLOAT32_64)
