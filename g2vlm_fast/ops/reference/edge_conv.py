"""Plain-torch truth of :func:`g2vlm_fast.ops.edge_conv`."""

from __future__ import annotations

import torch
from torch import Tensor

from g2vlm_fast.ops.reference.graph_build import edge_rows
from g2vlm_fast.ops.reference.graph_reduce import (
    accumulation_dtype,
    edge_gradient,
    reduce_edges,
)

LEAKY_SLOPE = 0.2


def activate(z: Tensor, activation: str) -> Tensor:
    """Return the activation of ``z``."""
    if activation == "relu":
        return z.relu()
    if activation == "leaky_relu":
        return torch.where(z > 0, z, LEAKY_SLOPE * z)
    return z * z.sigmoid() if activation == "silu" else z


def slope(z: Tensor, activation: str) -> Tensor:
    """Return the derivative of the activation at ``z``; that of the left side at a kink."""
    if activation == "relu":
        return (z > 0).to(z.dtype)
    if activation == "leaky_relu":
        return torch.where(z > 0, torch.ones_like(z), LEAKY_SLOPE)
    if activation == "silu":
        sigmoid = z.sigmoid()
        return sigmoid * (1 + z * (1 - sigmoid))
    return torch.ones_like(z)


def preactivation(
    a: Tensor,
    b: Tensor,
    rows: Tensor,
    columns: Tensor,
    geometry: Tensor | None,
    weight: Tensor | None,
) -> Tensor:
    """Return what the activation of each edge is taken of, ``[E, C]``."""
    wide = accumulation_dtype(a.dtype)
    z = a.to(wide)[rows] + b.to(wide)[columns.long()]
    return z if geometry is None or weight is None else z + geometry @ weight


def edge_conv(
    a: Tensor,
    b: Tensor,
    row_offsets: Tensor,
    columns: Tensor,
    geometry: Tensor | None,
    weight: Tensor | None,
    activation: str,
    reduce: str,
    winner_dtype: torch.dtype | None,
) -> tuple[Tensor, Tensor]:
    """Return the reduced rows ``[V, C]`` and the slots of the winners."""
    rows = edge_rows(row_offsets, columns.shape[0]).long()
    message = activate(preactivation(a, b, rows, columns, geometry, weight), activation)
    out, winner = reduce_edges(message, row_offsets, reduce, winner_dtype)
    return out.to(a.dtype), winner


def edge_conv_backward(
    grad: Tensor,
    a: Tensor,
    b: Tensor,
    row_offsets: Tensor,
    columns: Tensor,
    geometry: Tensor | None,
    weight: Tensor | None,
    transpose: tuple[Tensor | None, Tensor | None, Tensor | None],
    winner: Tensor,
    out: Tensor,
    activation: str,
    reduce: str,
    want_b: bool,
    want_geometry: bool,
    want_weight: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of a, b, geometry and weight; ``[0]`` where one is not needed."""
    wide = accumulation_dtype(a.dtype)
    rows = edge_rows(row_offsets, columns.shape[0]).long()
    z = preactivation(a, b, rows, columns, geometry, weight)
    pulled = edge_gradient(grad.to(wide), row_offsets, winner, columns.shape[0], reduce)
    pulled = pulled * slope(z, activation)
    grad_a = torch.zeros_like(a, dtype=wide).index_add_(0, rows, pulled).to(a.dtype)
    grad_b = b.new_empty(0)
    grad_geometry, grad_weight = (a.new_empty(0, dtype=wide) for _ in range(2))
    if want_b:
        grad_b = torch.zeros_like(b, dtype=wide).index_add_(0, columns.long(), pulled).to(b.dtype)
    if want_geometry and weight is not None:
        grad_geometry = pulled @ weight.T
    if want_weight and geometry is not None:
        grad_weight = geometry.T @ pulled
    return grad_a, grad_b, grad_geometry, grad_weight
