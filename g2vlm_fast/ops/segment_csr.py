"""Reductions over runs of packed rows."""

from __future__ import annotations

import torch
from torch import Tensor

from g2vlm_fast.ops._checks import (
    MAX_EDGES,
    check_choice,
    check_offset_values,
    check_offsets,
    check_rows,
    check_tensor,
)
from g2vlm_fast.ops._dispatch import FLOATS
from g2vlm_fast.ops._graph_reduce_backends import REDUCTIONS
from g2vlm_fast.ops.graph_build import Graph, Transpose
from g2vlm_fast.ops.graph_reduce import graph_reduce


def segment_csr(x: Tensor, offsets: Tensor, reduce: str = "sum") -> Tensor:
    """Reduce the rows ``offsets[i] <= e < offsets[i + 1]`` of ``x`` for each segment i.

    Args:
        x: ``[E, C]`` float.
        offsets: ``[B + 1]`` int32, from 0 to E, never decreasing. On a GPU they are taken as they
            are found, within the bounds of ``x``.
        reduce: ``"sum"``, ``"mean"``, ``"max"`` or ``"min"``.

    Returns:
        ``[B, C]`` in the dtype of ``x``; all else as :func:`graph_reduce`, of which this is the
        graph whose row i lists the rows of segment i. Differentiable in ``x``.

    Raises:
        TypeError, ValueError: an argument has the wrong dtype, shape, device or value.
    """
    op = "segment_csr"
    check_tensor(op, "x", x, ("E", "C"), FLOATS, {})
    check_rows(op, "x", x, MAX_EDGES)
    check_tensor(op, "offsets", offsets, ("B + 1",), (torch.int32,), {}, x.device)
    check_offsets(op, "offsets", offsets, {}, x.device)
    check_choice(op, "reduce", reduce, REDUCTIONS)
    count = x.shape[0]
    if not torch.compiler.is_compiling():  # then the kernel looks
        check_offset_values(op, "offsets", offsets, count)
    each = torch.arange(count + 1, dtype=torch.int32, device=x.device)
    row = torch.searchsorted(offsets[1:-1].contiguous(), each[:-1], right=True, out_int32=True)
    graph = Graph(
        row_offsets=offsets.contiguous(),
        columns=each[:-1],
        num_sources=count,
        cached_transpose=Transpose(each, row, each[:-1].clone()),
    )
    return graph_reduce(x, graph, reduce)
