"""Graphs whose rows follow a curve through space, so that neighbours lie near in memory."""

from __future__ import annotations

import torch
from torch import Tensor

from g2vlm_fast.ops._checks import (
    check_instance,
    check_offset_values,
    check_offsets,
    check_readable,
    check_tensor,
)
from g2vlm_fast.ops._graph_order import morton_order
from g2vlm_fast.ops.gather_rows import gather_rows
from g2vlm_fast.ops.graph_build import Graph
from g2vlm_fast.ops.reference.graph_build import edge_rows
from g2vlm_fast.records import _Record, record

_POSITIONS = frozenset({torch.float32, torch.float64})


@record
class ReorderedGraph(_Record):
    """A graph with its rows and sources in another order, and the ways there and back."""

    graph: Graph
    order: Tensor  # [V] int32: row i of `graph` is row order[i] of the original
    rank: Tensor  # [V] int32: row i of the original is row rank[i] of `graph`
    edges: Tensor  # [E] int32: edge e of `graph` is edge edges[e] of the original

    def apply(self, x: Tensor) -> Tensor:
        """Put rows ``[V, C]`` of the original into the order of ``graph``; differentiable."""
        return gather_rows(x, self.order)

    def undo(self, x: Tensor) -> Tensor:
        """Put rows ``[V, C]`` of ``graph`` back into the original order; differentiable."""
        return gather_rows(x, self.rank)

    def apply_to_edges(self, x: Tensor) -> Tensor:
        """Put edges ``[E, C]`` of the original into the order of ``graph``; differentiable."""
        return gather_rows(x, self.edges)


def reorder_graph(graph: Graph, position: Tensor, offsets: Tensor | None = None) -> ReorderedGraph:
    """Order the rows of a graph, and its sources with them, along a Morton curve.

    Random order costs an aggregation 2.5 times its time at degree 6 and 5 times at degree 16: do
    this once for a mesh, at its loading. Every row keeps its edges in their order, so a kernel on
    the reordered graph, undone, gives the same bits as on the original. Gradients of the sources
    are sums in another order and agree to rounding.

    Args:
        graph: with as many sources as rows.
        position: ``[V, 3]`` float32 or float64. Rows that are not finite come first.
        offsets: ``[B + 1]`` int32, scenes that stay together and in order; None for one.

    Nothing is read back to the host.

    Raises:
        TypeError, ValueError: an argument has the wrong dtype, shape, device or value.
    """
    op = "reorder_graph"
    check_instance(op, "graph", graph, Graph)
    rows = graph.num_rows
    if graph.num_sources != rows:
        raise ValueError(
            f"{op}: graph must have as many sources as rows, got {graph.num_sources} sources and "
            f"{rows} rows"
        )
    check_tensor(op, "position", position, (rows, 3), _POSITIONS, {}, graph.device)
    check_readable(op, "position", position)
    check_offsets(op, "offsets", offsets, {}, graph.device)
    check_offset_values(op, "offsets", offsets, rows)
    segment = None if offsets is None else edge_rows(offsets, rows)
    order = morton_order(position, segment)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(rows, device=order.device)
    return _relabelled(graph, order, rank)


def _relabelled(graph: Graph, order: Tensor, rank: Tensor) -> ReorderedGraph:
    row_offsets = torch.zeros_like(graph.row_offsets)
    torch.cumsum(graph.degree()[order], 0, dtype=torch.int32, out=row_offsets[1:])
    shift = graph.row_offsets[:-1][order] - row_offsets[:-1]
    place = torch.arange(graph.num_edges, dtype=torch.int32, device=order.device)
    edges = place + shift[edge_rows(row_offsets, graph.num_edges)]
    relabelled = Graph(
        row_offsets=row_offsets,
        columns=rank[graph.columns[edges]].int(),
        num_sources=graph.num_sources,
        short_rows=graph.short_rows,
        symmetric=graph.symmetric,
    )
    return ReorderedGraph(graph=relabelled, order=order.int(), rank=rank.int(), edges=edges)
