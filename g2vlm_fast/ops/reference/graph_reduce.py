"""Plain-torch truth of :func:`g2vlm_fast.ops.graph_reduce`."""

from __future__ import annotations

import torch
from torch import Tensor

from g2vlm_fast.ops.reference.graph_build import edge_rows


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of sums over ``dtype``."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def reduce_edges(
    message: Tensor, row_offsets: Tensor, reduce: str, winner_dtype: torch.dtype | None
) -> tuple[Tensor, Tensor]:
    """Reduce messages ``[E, C]`` by row.

    Returns:
        ``out [V, C]`` and the slot within the row of the winner of each maximum or minimum
        ``[V, C]``, the largest value of its dtype where the row is empty; ``[0, 0]`` where it was
        not asked for (``winner_dtype`` None) or there is none.
    """
    num_rows, channels = row_offsets.shape[0] - 1, message.shape[1]
    degree = row_offsets.diff()
    rows = edge_rows(row_offsets, message.shape[0]).long()
    no_winner = torch.empty((0, 0), dtype=winner_dtype or torch.int32, device=message.device)
    if reduce in ("sum", "mean"):
        out = message.new_zeros(num_rows, channels).index_add_(0, rows, message)
        if reduce == "mean":
            out = out / degree.clamp_min(1).unsqueeze(1)
        return out, no_winner
    index = rows.unsqueeze(1).expand_as(message)
    out = message.new_zeros(num_rows, channels)
    out.scatter_reduce_(
        0, index, message, "amax" if reduce == "max" else "amin", include_self=False
    )
    if winner_dtype is None:
        return out, no_winner
    best = out[rows]
    wins = (message == best) | (message.isnan() & best.isnan())
    slots = torch.arange(message.shape[0], device=message.device) - row_offsets[rows]
    none = torch.iinfo(winner_dtype).max
    slots = torch.where(wins, slots.unsqueeze(1), none)
    winner = torch.full((num_rows, channels), none, dtype=slots.dtype, device=message.device)
    winner.scatter_reduce_(0, index, slots, "amin")
    return out, winner.to(winner_dtype)


def won(winner: Tensor, row_offsets: Tensor, num_edges: int) -> Tensor:
    """Return where each edge is the winner of its row, ``[E, C]`` bool."""
    rows = edge_rows(row_offsets, num_edges).long()
    slots = torch.arange(num_edges, device=winner.device) - row_offsets[rows]
    return winner[rows] == slots.unsqueeze(1)


def edge_gradient(
    grad: Tensor, row_offsets: Tensor, winner: Tensor, num_edges: int, reduce: str
) -> Tensor:
    """Return the gradient of each message ``[E, C]`` from that of the reduced rows ``[V, C]``."""
    rows = edge_rows(row_offsets, num_edges).long()
    if reduce == "mean":
        grad = grad / row_offsets.diff().clamp_min(1).unsqueeze(1)
    if reduce in ("sum", "mean"):
        return grad[rows]
    return torch.where(won(winner, row_offsets, num_edges), grad[rows], 0)


def graph_reduce(
    x: Tensor,
    row_offsets: Tensor,
    columns: Tensor,
    weight: Tensor | None,
    reduce: str,
    winner_dtype: torch.dtype | None,
) -> tuple[Tensor, Tensor]:
    """Return the reduced rows and the winners, as :func:`reduce_edges`."""
    message = x.to(accumulation_dtype(x.dtype))[columns.long()]
    if weight is not None:
        message = message * weight.unsqueeze(1)
    out, winner = reduce_edges(message, row_offsets, reduce, winner_dtype)
    return out.to(x.dtype), winner


def graph_reduce_backward(
    grad: Tensor,
    x: Tensor | None,
    row_offsets: Tensor,
    columns: Tensor,
    weight: Tensor | None,
    transpose: tuple[Tensor | None, Tensor | None, Tensor | None],
    winner: Tensor,
    reduce: str,
    want_x: bool,
    want_weight: bool,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of ``x`` and ``weight``; ``[0]`` where one is not needed."""
    wide = accumulation_dtype(grad.dtype)
    message = edge_gradient(grad.to(wide), row_offsets, winner, columns.shape[0], reduce)
    source = columns.long()
    grad_x, grad_weight = grad.new_empty(0), grad.new_empty(0, dtype=wide)
    if want_x and transpose[0] is not None:
        pulled = message if weight is None else message * weight.unsqueeze(1)
        grad_x = grad.new_zeros(transpose[0].shape[0] - 1, grad.shape[1], dtype=wide)
        grad_x = grad_x.index_add_(0, source, pulled).to(grad.dtype)
    if want_weight:
        assert x is not None
        product = message * x.to(wide)[source]
        if reduce in ("max", "min"):  # where an edge lost, 0 times infinity is no gradient
            product = torch.where(won(winner, row_offsets, columns.shape[0]), product, 0)
        grad_weight = product.sum(1)
    return grad_x, grad_weight
