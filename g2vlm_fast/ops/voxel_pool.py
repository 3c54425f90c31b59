"""Pooling of packed points over voxels, and the way back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from g2vlm_fast.ops import _dispatch
from g2vlm_fast.ops._checks import (
    MAX_EDGES,
    check_choice,
    check_instance,
    check_number,
    check_offset_values,
    check_offsets,
    check_readable,
    check_rows,
    check_tensor,
)
from g2vlm_fast.ops._dispatch import FLOATS
from g2vlm_fast.ops._graph_reduce_backends import REDUCTIONS
from g2vlm_fast.ops._nearest_arguments import check_neighbours
from g2vlm_fast.ops._voxel_pool_backends import Groups
from g2vlm_fast.ops.graph_build import SHORT_ROW, Graph, Transpose
from g2vlm_fast.ops.graph_reduce import graph_reduce
from g2vlm_fast.ops.nearest import nearest
from g2vlm_fast.records import _Record, record

_POSITIONS = frozenset({torch.float32, torch.float64})


@record
class Clusters(_Record):
    """M groups of N packed points, ordered by segment and then by voxel (x, y, z)."""

    graph: Graph  # M rows over N sources: the points of each cluster, by rising index
    members: Graph  # N rows over M sources: the cluster of each point
    assignment: Tensor  # [N] int32, the cluster of each point
    position: Tensor  # [M, 3] metres, mean of the points
    offsets: Tensor  # [B + 1] int32, the clusters of each segment

    @property
    def num_clusters(self) -> int:
        return self.graph.num_rows

    def coarsen(self, graph: Graph) -> Graph:
        """Return the graph of the clusters: joined where an edge of ``graph`` joins two points.

        Sorted rows, every neighbour once, no loops. Reads two small tensors back to the host.

        Raises:
            TypeError, ValueError: ``graph`` is no graph of these points, or on another device.
        """
        op, points = "Clusters.coarsen", self.assignment.shape[0]
        check_instance(op, "graph", graph, Graph)
        if graph.num_rows != points or graph.num_sources != points:
            raise ValueError(
                f"{op}: graph must have the {points} points as rows and sources, got "
                f"{graph.num_rows} rows and {graph.num_sources} sources"
            )
        if graph.device != self.assignment.device:
            raise ValueError(f"{op}: graph must be on {self.assignment.device}, got {graph.device}")
        row = self.assignment[graph.edge_rows()]
        source = self.assignment[graph.columns]
        apart = row != source
        return Graph.from_edges(source[apart], row[apart], self.num_clusters)


def voxel_clusters(position: Tensor, size: float, offsets: Tensor | None = None) -> Clusters:
    """Group packed points by the voxels of a grid.

    Voxel (i, j, k) holds the points with ``floor(position / size) == (i, j, k)``, computed in
    float64: the grid is anchored at the origin of the world, whatever the points, so that equal
    places fall into equal voxels in every scene; shift the points to shift the grid. Points of
    different segments never share a cluster.

    Args:
        position: ``[N, 3]`` float32 or float64 (float32 on a GPU), metres.
        size: edge of a voxel, metres.
        offsets: ``[B + 1]`` int32, the segments of the points; None for one segment.

    The mean positions are differentiable in ``position``. Waits for a GPU twice: for the bounds of
    the grid, and for the number of clusters.

    Raises:
        TypeError, ValueError: an argument has the wrong dtype, shape, device or value; a position
            is not finite; or the grid has more than 2^62 voxels, or one farther than 2^52 from
            the origin, so that ``size`` must grow.
    """
    op, sizes = "voxel_clusters", {}  # type: ignore[var-annotated]
    check_tensor(op, "position", position, ("N", 3), _POSITIONS, {})
    check_readable(op, "position", position)
    check_rows(op, "position", position, MAX_EDGES)
    size = _check_voxel_size(op, size)
    check_offsets(op, "offsets", offsets, sizes, position.device)
    if offsets is not None:
        check_readable(op, "offsets", offsets)
    check_offset_values(op, "offsets", offsets, position.shape[0])
    group = _dispatch.implementation(op, position)
    groups: Groups = group(position.detach(), size, offsets)
    return _clusters(position, groups)


def _check_voxel_size(op: str, size: Any) -> float:
    size = check_number(op, "size", size)
    if not 0 < size < torch.inf:
        raise ValueError(f"{op}: size must be positive and finite, got {size}")
    return size


def _clusters(position: Tensor, groups: Groups) -> Clusters:
    order, order_again, slot, assignment, numbers, row_offsets, segment_offsets = groups
    graph = Graph(
        row_offsets=row_offsets,
        columns=order,
        num_sources=position.shape[0],
        cached_transpose=Transpose(numbers, assignment, slot),
    )
    # Point i has edge i alone.
    members = Graph(
        row_offsets=numbers,
        columns=assignment,
        num_sources=row_offsets.shape[0] - 1,
        short_rows=SHORT_ROW >= 1,
        cached_transpose=Transpose(row_offsets, order, order_again),
    )
    return Clusters(
        graph=graph,
        members=members,
        assignment=assignment,
        position=graph_reduce(position, graph, "mean"),
        offsets=segment_offsets,
    )


def pool(x: Tensor, clusters: Clusters, reduce: str = "mean") -> Tensor:
    """Reduce the features ``[N, C]`` of the points of each cluster to ``[M, C]``.

    ``reduce`` and everything else as :func:`graph_reduce`. Differentiable in ``x``.
    """
    _check_clusters("pool", x, clusters, "graph")
    check_choice("pool", "reduce", reduce, REDUCTIONS)
    return graph_reduce(x, clusters.graph, reduce)


def unpool(x: Tensor, clusters: Clusters) -> Tensor:
    """Give each point the features of its cluster: ``[M, C]`` to ``[N, C]``, differentiable."""
    _check_clusters("unpool", x, clusters, "members")
    return graph_reduce(x, clusters.members, "sum")


def _check_clusters(op: str, x: Any, clusters: Any, direction: str) -> None:
    check_instance(op, "clusters", clusters, Clusters)
    graph: Graph = getattr(clusters, direction)
    check_tensor(op, "x", x, (graph.num_sources, "C"), FLOATS, {}, graph.device)


def interpolate(
    x: Tensor,
    position_coarse: Tensor,
    position_fine: Tensor,
    *,
    offsets_coarse: Tensor | None = None,
    offsets_fine: Tensor | None = None,
    k: int = 3,
    eps: float = 1e-8,
) -> Tensor:
    """Interpolate features of coarse points at fine points by inverse squared distance.

    ``out_i = sum_j w_ij x_j / sum_j w_ij`` over the k nearest coarse points j of the same segment
    with ``w_ij = 1 / max(|p_i - p_j|^2, eps)`` (Qi et al., PointNet++, 2017). With neighbours
    ``index [N, k]`` and weights ``[N, k]`` of your own, and no -1 among them, the same sum is
    ``graph_reduce(x, Graph.from_knn(index, M), "sum", weight.flatten())``.

    Args:
        x: ``[M, C]`` float, features of the coarse points.
        position_coarse: ``[M, 3]`` float32 or float64, metres.
        position_fine: ``[N, 3]``, same dtype.
        offsets_coarse: ``[B + 1]`` int32, the segments of the coarse points; None for one.
        offsets_fine: ``[B + 1]`` int32, the segments of the fine points.
        k: neighbours a point, at least 1.
        eps: smallest squared distance, square metres; at least k times the smallest normal
            number of the positions' dtype.

    Returns:
        ``[N, C]``; 0 where a segment has no coarse points, NaN where a coordinate of the fine point
        is NaN. Differentiable in x and the positions.
    """
    op, sizes = "interpolate", {}  # type: ignore[var-annotated]
    check_tensor(op, "x", x, ("M", "C"), FLOATS, sizes)
    device = x.device
    check_tensor(op, "position_coarse", position_coarse, ("M", 3), _POSITIONS, sizes, device)
    dtype = position_coarse.dtype
    check_tensor(op, "position_fine", position_fine, ("N", 3), (dtype,), sizes, device)
    coarse, fine = position_coarse.shape[0], position_fine.shape[0]
    check_offsets(op, "offsets_coarse", offsets_coarse, sizes, device)
    check_offsets(op, "offsets_fine", offsets_fine, sizes, device)
    if not torch.compiler.is_compiling():  # then inside `nearest`, under its names
        check_offset_values(op, "offsets_coarse", offsets_coarse, coarse)
        check_offset_values(op, "offsets_fine", offsets_fine, fine)
    check_neighbours(op, k, fine)
    eps = check_number(op, "eps", eps)
    least = k * torch.finfo(dtype).tiny  # below, the sum of weights may overflow
    if not least <= eps <= torch.finfo(dtype).max:
        raise ValueError(
            f"{op}: eps must be from {least:.1e} to {torch.finfo(dtype).max:.1e}, got {eps}"
        )
    distance, index = nearest(
        position_fine,
        position_coarse,
        k=k,
        query_offsets=offsets_fine,
        target_offsets=offsets_coarse,
    )
    weight = 1 / distance.clamp_min(eps)  # 0 where there is no neighbour, at distance inf
    weight = weight / weight.sum(1, keepdim=True).clamp_min(torch.finfo(dtype).tiny)
    if coarse == 0:
        return x.new_zeros(fine, x.shape[1])
    graph = Graph(
        row_offsets=torch.arange(fine + 1, dtype=torch.int32, device=device) * k,
        columns=index.clamp_min(0).flatten(),
        num_sources=coarse,
        short_rows=k <= SHORT_ROW,
    )
    return graph_reduce(x, graph, "sum", weight.flatten())
