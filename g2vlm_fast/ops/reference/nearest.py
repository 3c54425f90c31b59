"""Plain-torch truth of :func:`g2vlm_fast.ops.nearest`."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

_CHUNK_PAIRS = 1 << 22

Search = Callable[..., tuple[Tensor, Tensor]]


def pair_distance(query: Tensor, target: Tensor, norm: int) -> Tensor:
    """Return the distances of all pairs ``[n, m]``: squared L2, or L1."""
    difference = query[:, None, :] - target[None, :, :]
    return difference.square().sum(-1) if norm == 2 else difference.abs().sum(-1)


def segment_bounds(offsets: Tensor | None, length: int) -> list[tuple[int, int]]:
    """Return (begin, end) of every segment; one segment where there are no offsets."""
    ends = [0, length] if offsets is None else offsets.tolist()
    return list(pairwise(ends))


def nearest(
    query: Tensor,
    target: Tensor,
    query_offsets: Tensor | None,
    target_offsets: Tensor | None,
    k: int,
    norm: int,
    max_distance: float,
) -> tuple[Tensor, Tensor]:
    """Return the k nearest targets of each query: distance ``[n, k]`` and index ``[n, k]``."""
    distance = query.new_full((query.shape[0], k), torch.inf)
    index = torch.full((query.shape[0], k), -1, dtype=torch.int32, device=query.device)
    for (q0, q1), (t0, t1) in zip(
        segment_bounds(query_offsets, query.shape[0]),
        segment_bounds(target_offsets, target.shape[0]),
        strict=True,
    ):
        rows = max(1, _CHUNK_PAIRS // max(1, t1 - t0))
        found = min(k, t1 - t0)
        for begin in range(q0, q1, rows):
            end = min(begin + rows, q1)
            pairs = pair_distance(query[begin:end], target[t0:t1], norm)
            # A NaN with its sign bit set would sort first on a GPU.
            pairs = torch.where(pairs.isnan(), torch.nan, pairs)
            value, column = torch.sort(pairs, dim=1, stable=True)
            value, column = value[:, :found], column[:, :found].int() + t0
            missing = ~(value <= max_distance)
            distance[begin:end, :found] = value.masked_fill(missing, torch.inf)
            index[begin:end, :found] = column.masked_fill(missing, -1)
    unknown = query.isnan().any(-1, keepdim=True)
    return distance.masked_fill(unknown, torch.nan), index.masked_fill(unknown, -1)


def nearest_backward(
    grad_distance: Tensor,
    query: Tensor,
    target: Tensor,
    index: Tensor,
    norm: int,
    want_query: bool,
    want_target: bool,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of query and target; slots without a neighbour give none.

    A gradient that is not wanted comes back without elements.
    """
    valid = index >= 0
    found = index[valid].long()
    row = valid.nonzero()[:, 0]
    difference = query[row] - target[found]
    slope = 2 * difference if norm == 2 else difference.sign()
    grad = grad_distance[valid].unsqueeze(-1) * slope

    def scatter(points: Tensor, wanted: bool, rows: Tensor, values: Tensor) -> Tensor:
        if not wanted:
            return points.new_zeros(0)
        return torch.zeros_like(points).index_add_(0, rows, values)

    return scatter(query, want_query, row, grad), scatter(target, want_target, found, -grad)


def nearest_pair(
    x: Tensor,
    y: Tensor,
    x_offsets: Tensor | None,
    y_offsets: Tensor | None,
    *,
    search: Search = nearest,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the nearest of each point in the other cloud: distances and indices, both ways.

    ``search`` is what finds them one way, on any backend.
    """
    x_distance, x_index = search(x, y, x_offsets, y_offsets, 1, 2, torch.inf)
    y_distance, y_index = search(y, x, y_offsets, x_offsets, 1, 2, torch.inf)
    return x_distance[:, 0], x_index[:, 0], y_distance[:, 0], y_index[:, 0]


def nearest_pair_backward(
    x_grad_distance: Tensor,
    y_grad_distance: Tensor,
    x: Tensor,
    y: Tensor,
    x_index: Tensor,
    y_index: Tensor,
    want_x: bool,
    want_y: bool,
    *,
    backward: Search = nearest_backward,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of x and y; one that is not wanted comes back without elements.

    ``backward`` is what finds those of one way, on any backend.
    """
    x_forth, y_forth = backward(x_grad_distance[:, None], x, y, x_index[:, None], 2, want_x, want_y)
    y_back, x_back = backward(y_grad_distance[:, None], y, x, y_index[:, None], 2, want_y, want_x)
    return x_forth + x_back, y_forth + y_back
