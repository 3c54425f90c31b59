"""Rows by index, with a gradient that is summed in a fixed order."""

from __future__ import annotations

import torch
from torch import Tensor

from g2vlm_fast.ops._checks import MAX_EDGES, check_rows, check_tensor
from g2vlm_fast.ops._dispatch import FLOATS
from g2vlm_fast.ops._graph_build_backends import INDICES
from g2vlm_fast.ops._index_groups import index_members
from g2vlm_fast.ops.graph_build import Graph
from g2vlm_fast.ops.graph_reduce import graph_reduce


def gather_rows(x: Tensor, index: Tensor) -> Tensor:
    """Return ``x[index]``.

    Args:
        x: ``[M, C]`` float.
        index: ``[N]`` int32 or int64, from 0 to M - 1.

    Returns:
        ``[N, C]`` in the dtype of ``x``.

    Differentiable in ``x``: the gradients of a row that is taken several times are added in the
    order in which it is taken, in float32 (float64 for float64). Nothing waits for a GPU; an index
    out of range fails an assertion on the device there.

    Raises:
        TypeError, ValueError: an argument has the wrong dtype, shape, device or value.
    """
    op = "gather_rows"
    check_tensor(op, "x", x, ("M", "C"), FLOATS, {})
    check_tensor(op, "index", index, ("N",), INDICES, {}, x.device)
    check_rows(op, "x", x)
    check_rows(op, "index", index, MAX_EDGES)
    count = index.shape[0]
    graph = Graph(
        row_offsets=torch.arange(count + 1, dtype=torch.int32, device=x.device),
        columns=index_members(index[None], x.shape[0], op),
        num_sources=x.shape[0],
        short_rows=True,
    )
    return graph_reduce(x, graph)
