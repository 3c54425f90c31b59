"""Plain-torch truth of :func:`g2vlm_fast.ops.nearest`."""

from __future__ import annotations

import torch
from torch import Tensor

_CHUNK_PAIRS = 1 << 22


def pair_distance(query: Tensor, target: Tensor, norm: int) -> Tensor:
    """Return the distances of all pairs ``[n, m]``: squared L2, or L1."""
    difference = query[:, None, :] - target[None, :, :]
    return difference.square().sum(-1) if norm == 2 else difference.abs().sum(-1)


def nearest(
    query: Tensor,
    target: Tensor,
    query_offsets: Tensor,
    target_offsets: Tensor,
    k: int,
    norm: int,
    max_distance: float,
) -> tuple[Tensor, Tensor]:
    """Return the k nearest targets of each query: distance ``[n, k]`` and index ``[n, k]``."""
    distance = query.new_full((query.shape[0], k), torch.inf)
    index = torch.full((query.shape[0], k), -1, dtype=torch.int32, device=query.device)
    starts = zip(query_offsets.tolist(), target_offsets.tolist(), strict=True)
    (q0, t0), *ends = starts
    for q1, t1 in ends:
        rows = max(1, _CHUNK_PAIRS // max(1, t1 - t0))
        found = min(k, t1 - t0)
        for begin in range(q0, q1, rows):
            end = min(begin + rows, q1)
            pairs = pair_distance(query[begin:end], target[t0:t1], norm)
            value, column = torch.sort(pairs, dim=1, stable=True)
            value, column = value[:, :found], column[:, :found].int() + t0
            missing = ~(value <= max_distance)
            distance[begin:end, :found] = value.masked_fill(missing, torch.inf)
            index[begin:end, :found] = column.masked_fill(missing, -1)
        q0, t0 = q1, t1
    unknown = query.isnan().any(-1, keepdim=True)
    return distance.masked_fill(unknown, torch.nan), index.masked_fill(unknown, -1)


def nearest_backward(
    grad_distance: Tensor, query: Tensor, target: Tensor, index: Tensor, norm: int
) -> tuple[Tensor, Tensor]:
    """Return the gradients of query and target; slots without a neighbour give none."""
    valid = (index >= 0).unsqueeze(-1)
    slots = index.clamp_min(0).long()
    difference = query[:, None, :] - target[slots]
    slope = 2 * difference if norm == 2 else difference.sign()
    grad = torch.where(valid, grad_distance.unsqueeze(-1) * slope, 0)
    grad_target = torch.zeros_like(target).index_add_(0, slots.flatten(), -grad.flatten(0, 1))
    return grad.sum(1), grad_target
