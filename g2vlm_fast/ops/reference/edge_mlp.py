"""Plain-torch truth of :func:`g2vlm_fast.ops.edge_mlp`."""

from __future__ import annotations

import torch
from torch import Tensor

from g2vlm_fast.ops.reference.edge_conv import activate, preactivation, slope
from g2vlm_fast.ops.reference.graph_build import edge_rows
from g2vlm_fast.ops.reference.graph_reduce import accumulation_dtype, edge_gradient, reduce_edges


def edge_mlp(
    a: Tensor,
    b: Tensor,
    row_offsets: Tensor,
    columns: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Tensor | None,
    geometry_weight: Tensor | None,
    activation: str,
    winner_dtype: torch.dtype | None,
) -> tuple[Tensor, Tensor]:
    """Return the maxima ``[V, C]`` of each row's messages and the slots of the winners."""
    wide = accumulation_dtype(a.dtype)
    rows = edge_rows(row_offsets, columns.shape[0]).long()
    z = preactivation(a, b, rows, columns, geometry, geometry_weight)
    message = activate(z, activation) @ weight.to(wide)
    out, winner = reduce_edges(message, row_offsets, "max", winner_dtype)
    if bias is not None:
        out = torch.where(row_offsets.diff()[:, None] > 0, out + bias.to(wide), 0)
    return out.to(a.dtype), winner


def edge_mlp_backward(
    grad: Tensor,
    a: Tensor,
    b: Tensor,
    row_offsets: Tensor,
    columns: Tensor,
    weight: Tensor,
    geometry: Tensor | None,
    geometry_weight: Tensor | None,
    transpose: tuple[Tensor | None, Tensor | None, Tensor | None],
    winner: Tensor,
    activation: str,
    wanted: list[bool],
) -> tuple[Tensor, ...]:
    """Return the gradients of a, b, weight, bias, geometry and geometry_weight.

    Those that are not ``wanted`` are ``[0]``.
    """
    wide = accumulation_dtype(a.dtype)
    rows, sources = edge_rows(row_offsets, columns.shape[0]).long(), columns.long()
    z = preactivation(a, b, rows, columns, geometry, geometry_weight)
    pulled = edge_gradient(grad.to(wide), row_offsets, winner, columns.shape[0], "max")
    grad_weight = activate(z, activation).T @ pulled
    grad_z = (pulled @ weight.to(wide).T) * slope(z, activation)
    found = [
        torch.zeros_like(a, dtype=wide).index_add_(0, rows, grad_z).to(a.dtype),
        torch.zeros_like(b, dtype=wide).index_add_(0, sources, grad_z).to(b.dtype),
        grad_weight.to(weight.dtype),
        pulled.sum(0).to(weight.dtype),
        grad_z.new_empty(0) if geometry_weight is None else grad_z @ geometry_weight.T,
        grad_z.new_empty(0) if geometry is None else geometry.T @ grad_z,
    ]
    return tuple(
        each if want else each.new_empty(0) for each, want in zip(found, wanted, strict=True)
    )
