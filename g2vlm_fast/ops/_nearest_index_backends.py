"""The implementations of :class:`g2vlm_fast.ops.NearestIndex`, three functions per backend.

A tree is one uint8 tensor, opaque but to the backend that built it, whose size is a function of
shapes. Where there is no tree it has no elements, and a query compares all pairs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from g2vlm_fast import _C
from g2vlm_fast.ops import _dispatch
from g2vlm_fast.ops import _nearest_backends as one_way
from g2vlm_fast.ops._nearest_choice import MAX_TREE_DIM, has_tree
from g2vlm_fast.ops.reference import nearest as reference

_ALIGNMENT = 64


def tree_bytes(target: Tensor, offsets: Tensor | None) -> int:
    """Return the size of a tree; at least what any points of these shapes need."""
    if target.shape[1] > MAX_TREE_DIM:
        return 0
    segments = 1 if offsets is None else offsets.shape[0] - 1
    if target.device.type == "cuda":
        return _bytes_cuda(target.shape[0], segments) if has_tree(target, target[:0]) else 0
    return _bytes_cpu(target.shape[0], segments, target.element_size())


def _bytes_cuda(points: int, segments: int) -> int:
    """Return a bound of what ``nearest_index_bytes`` of the CUDA kernels counts.

    Offsets; leaves of 32 points of 16 bytes; boxes of 32 bytes, one to a leaf, and on each of at
    most 5 levels above, one to 32 of the level below; each segment may leave one of them unfilled.
    """
    leaves = points // 32 + segments
    boxes = leaves + points // 992 + 5 * segments
    return 3 * 256 + 4 * (segments + 1) + 512 * leaves + 32 * boxes


def _bytes_cpu(points: int, segments: int, element: int) -> int:
    """Return a bound of what ``nearest_index_bytes`` of the CPU kernel counts.

    A segment of n points has L = ceil(n / 16) leaves and at most 1 + (L - 1) / 8 nodes, as has
    each level of 16 nodes to one above it.
    """
    leaves = (points + 15 * segments) // 16
    nodes = segments + leaves // 8
    return _ALIGNMENT + leaves * (48 * element + 64) + nodes * (96 * element + 128)


def empty_tree(target: Tensor, offsets: Tensor | None) -> Tensor:
    return target.new_empty(tree_bytes(target, offsets), dtype=torch.uint8)


def _aligned(tree: Tensor) -> Tensor:
    """Return a tree where the CPU kernels can read it: some loaders place tensors anywhere."""
    return tree.clone() if tree.data_ptr() % _ALIGNMENT else tree.contiguous()


def build_cpu(target: Tensor, offsets: Tensor | None) -> Tensor:
    tree = empty_tree(target, offsets)
    if tree.numel():
        offsets = None if offsets is None else offsets.contiguous()
        _C.nearest_index_build_cpu(target.contiguous(), offsets, tree, torch.get_num_threads())
    return tree


def refit_cpu(target: Tensor, offsets: Tensor | None, tree: Tensor) -> Tensor:
    fitted = empty_tree(target, offsets)
    if fitted.numel():
        offsets = None if offsets is None else offsets.contiguous()
        _C.nearest_index_refit_cpu(
            target.contiguous(), offsets, _aligned(tree), fitted, torch.get_num_threads()
        )
    return fitted


def query_cpu(
    query: Tensor,
    target: Tensor,
    query_offsets: Tensor | None,
    target_offsets: Tensor | None,
    tree: Tensor,
    k: int,
    norm: int,
    max_distance: float,
) -> tuple[Tensor, Tensor]:
    if tree.numel() == 0:
        return one_way.forward_cpu(
            query, target, query_offsets, target_offsets, k, norm, max_distance
        )
    neighbours = one_way.empty_neighbours(query, k)
    clouds = one_way.dense(query, target, query_offsets, target_offsets)
    threads = torch.get_num_threads()
    _C.nearest_index_query_cpu(*clouds, _aligned(tree), *neighbours, norm, max_distance, threads)
    return neighbours


def build_cuda(target: Tensor, offsets: Tensor | None) -> Tensor:
    tree = empty_tree(target, offsets).zero_()  # some bytes belong to no leaf and no box
    if tree.numel():
        target, offsets = target.contiguous(), None if offsets is None else offsets.contiguous()
        _, space = _C.nearest_index_bytes_cuda(target, offsets)
        workspace = target.new_empty(space, dtype=torch.uint8)
        _C.nearest_index_build_cuda(target, offsets, tree, workspace)
    return tree


def refit_cuda(target: Tensor, offsets: Tensor | None, tree: Tensor) -> Tensor:
    fitted = tree.clone()
    if fitted.numel():
        offsets = None if offsets is None else offsets.contiguous()
        _C.nearest_index_refit_cuda(target.contiguous(), offsets, fitted)
    return fitted


def query_cuda(
    query: Tensor,
    target: Tensor,
    query_offsets: Tensor | None,
    target_offsets: Tensor | None,
    tree: Tensor,
    k: int,
    norm: int,
    max_distance: float,
) -> tuple[Tensor, Tensor]:
    if tree.numel() == 0:
        return one_way.forward_cuda(
            query, target, query_offsets, target_offsets, k, norm, max_distance
        )
    neighbours = one_way.empty_neighbours(query, k)
    clouds = one_way.dense(query, target, query_offsets, target_offsets)
    one_way.search_tree(clouds, neighbours, norm, max_distance, tree)
    return neighbours


def _build_reference(target: Tensor, offsets: Tensor | None) -> Tensor:
    """Return zeros: a tree that no other backend takes for one of its own."""
    return empty_tree(target, offsets).zero_()


def _refit_reference(target: Tensor, offsets: Tensor | None, tree: Tensor) -> Tensor:
    return tree.clone()


def _query_reference(
    query: Tensor,
    target: Tensor,
    query_offsets: Tensor | None,
    target_offsets: Tensor | None,
    tree: Tensor,
    k: int,
    norm: int,
    max_distance: float,
) -> tuple[Tensor, Tensor]:
    return reference.nearest(query, target, query_offsets, target_offsets, k, norm, max_distance)


for _backend, _devices, _build, _refit, _query in (
    ("cpu", ("cpu",), build_cpu, refit_cpu, query_cpu),
    ("cuda", ("cuda",), build_cuda, refit_cuda, query_cuda),
    ("reference", ("cpu", "cuda"), _build_reference, _refit_reference, _query_reference),
):
    for _part, _run in (("build", _build), ("refit", _refit), ("query", _query)):
        _dispatch.register_backend(
            f"nearest_index_{_part}",
            _backend,
            _run,
            devices=_devices,
            dtypes=_dispatch.FLOAT32_64,
        )
