"""The drop-ins for ``GraphConv``, ``gather_scatter`` and ``gather_scatter_python`` of PyTorch3D."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor, nn

from g2vlm_fast.compat._edge_graphs import EdgeGraph, EdgeGraphs, graph_of_edges
from g2vlm_fast.ops import Graph, graph_reduce
from g2vlm_fast.ops._dispatch import FLOATS
from g2vlm_fast.ops._flops import flop_formula
from g2vlm_fast.ops._graph_build_backends import INDICES
from g2vlm_fast.ops._registration import define_op

_HALVES = (torch.float16, torch.bfloat16)
_graphs = EdgeGraphs(logging.getLogger("g2vlm_fast.compat.pytorch3d"))


def gather_scatter(
    input: Tensor, edges: Tensor, directed: bool = False, backward: bool = False
) -> Tensor:
    """Sum the features of the neighbours of each vertex.

    For each edge ``(v0, v1)``, output v0 gets input v1; and output v1 gets input v0, where edges
    are undirected. An edge that is listed twice counts twice, an undirected loop too.

    Args:
        input: ``[V, D]`` float16, bfloat16, float32 or float64.
        edges: ``[E, 2]`` int64 or int32. The graph is kept as long as this tensor, so hand the same
            one to all layers.
        directed: whether messages go from v1 to v0 alone.
        backward: whether directed edges are taken the other way round.

    Returns:
        ``[V, D]`` in the dtype of ``input``, differentiable in it any number of times.

    Raises:
        ValueError: a wrong shape, dtype or device, or an edge to a vertex that is not there.
    """
    function = "gather_scatter"
    if input.dim() != 2:
        raise ValueError(
            f"{function}: input can only have 2 dimensions. Got shape {list(input.shape)}"
        )
    if edges.dim() != 2:
        raise ValueError(
            f"{function}: edges can only have 2 dimensions. Got shape {list(edges.shape)}"
        )
    if edges.shape[1] != 2:
        raise ValueError(
            f"{function}: edges must be of shape (num_edges, 2). Got {list(edges.shape)}"
        )
    if input.dtype not in FLOATS:
        raise ValueError(f"{function}: input has to be of a floating type, got {input.dtype}")
    if edges.dtype not in INDICES:
        raise ValueError(f"{function}: edges have to be int32 or int64, got {edges.dtype}")
    if input.device != edges.device:
        raise ValueError(
            f"{function}: input and edges tensors must be on the same device. Got {input.device} "
            f"and {edges.device}"
        )
    return _sum_over_edges(input, edges, bool(directed), bool(backward))


def gather_scatter_python(input: Tensor, edges: Tensor, directed: bool = False) -> Tensor:
    """Compute what :func:`gather_scatter` computes; PyTorch3D has two of it, this package one."""
    return gather_scatter(input, edges, directed)


class GraphConv(nn.Module):
    """``y_i = w0(x_i) + sum_j w1(x_j)`` over the neighbours j of vertex i, as in PyTorch3D.

    Args:
        input_dim: channels of the vertices.
        output_dim: channels of the result.
        init: ``"normal"`` (weights of standard deviation 0.01) or ``"zero"``; biases are 0 with
            ``"normal"``, and torch's own with ``"zero"``.
        directed: whether messages go from the second vertex of an edge to the first alone.
    """

    def __init__(
        self, input_dim: int, output_dim: int, init: str = "normal", directed: bool = False
    ) -> None:
        super().__init__()
        self.input_dim = input_dim
        self.output_dim = output_dim
        self.directed = directed
        self.w0 = nn.Linear(input_dim, output_dim)
        self.w1 = nn.Linear(input_dim, output_dim)
        if init not in ("normal", "zero"):
            raise ValueError(
                f'Invalid GraphConv initialization "{init}"; expected "normal" or "zero"'
            )
        for linear in (self.w0, self.w1):
            if init == "normal":
                nn.init.normal_(linear.weight, mean=0, std=0.01)
                nn.init.zeros_(linear.bias)
            else:
                nn.init.zeros_(linear.weight)

    def forward(self, verts: Tensor, edges: Tensor) -> Tensor:
        """Return ``[V, output_dim]`` of ``verts [V, input_dim]`` and ``edges [E, 2]``.

        Without vertices the result is empty, whatever the shape and the dtype of both.
        """
        if verts.device != edges.device:
            raise ValueError(
                "GraphConv: verts and edges tensors must be on the same device. Got "
                f"{verts.device} and {edges.device}"
            )
        if verts.shape[0] == 0:
            return verts.new_zeros((0, self.output_dim)) * verts.sum()
        out: Tensor = self.w0(verts) + gather_scatter(self.w1(verts), edges, self.directed)
        return out

    def __repr__(self) -> str:
        channels = f"{self.input_dim} -> {self.output_dim}"
        return f"GraphConv({channels}, directed={self.directed!r})"


def _sum_over_edges(x: Tensor, edges: Tensor, directed: bool, backward: bool) -> Tensor:
    if torch.is_grad_enabled() and x.requires_grad:
        out: Tensor = _Sum.apply(x, edges, directed, backward)
        return out
    return _sum(x, edges, directed, backward)


def _graph(edges: Tensor, count: int, directed: bool, backward: bool) -> Graph:
    def build(edges: Tensor) -> EdgeGraph:
        first, second = edges.unbind(1)
        if directed and backward:
            first, second = second, first
        rows = first if directed else torch.cat([first, second])
        sources = second if directed else torch.cat([second, first])
        try:
            return graph_of_edges(sources, rows, count, count)
        except ValueError as wrong:
            raise ValueError(
                f"gather_scatter: edges must be from 0 to {count - 1}, the rows of input: {wrong}"
            ) from None

    return _graphs.get(edges, (count, directed, directed and backward), build).graph


def _run_sum(x: Tensor, edges: Tensor, directed: bool, backward: bool) -> Tensor:
    """Sum over neighbours in a fixed order, in float32 for half precision."""
    graph = _graph(edges, x.shape[0], directed, backward)
    if x.is_cpu and x.dtype in _HALVES:
        return graph_reduce(x.float(), graph).to(x.dtype)
    if x.is_cuda and x.dtype == torch.float64:  # has no kernel
        rows, offsets = x.index_select(0, graph.columns), graph.row_offsets
        return torch.segment_reduce(rows, "sum", offsets=offsets, axis=0, initial=0, unsafe=True)
    return graph_reduce(x, graph)


_sum = define_op(  # compilers do not look into it: a graph is built by what its edges hold
    "sum_over_edges(Tensor x, Tensor edges, bool directed, bool backward) -> Tensor",
    implementation=_run_sum,
    fake=lambda x, edges, directed, backward: x.new_empty(x.shape),
)


def _flops(x, edges, directed, *rest, **out):  # type: ignore[no-untyped-def]
    return edges[0] * x[1] * (1 if directed else 2)


flop_formula("sum_over_edges", _flops)


class _Sum(torch.autograd.Function):
    """The sum over edges, whose derivative is that over the reversed ones, and so on."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, edges: Tensor, directed: bool, backward: bool) -> Tensor:
        ctx.save_for_backward(edges)
        ctx.options = (directed, not backward)
        return _sum(x, edges, directed, backward)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        (edges,) = ctx.saved_tensors
        return _sum_over_edges(grads[0], edges, *ctx.options), None, None, None
