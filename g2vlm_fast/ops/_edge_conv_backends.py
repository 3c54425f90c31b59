"""The implementations of :func:`g2vlm_fast.ops.edge_conv`, one function per backend."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from g2vlm_fast import _C
from g2vlm_fast.ops._graph_reduce_backends import REDUCTIONS, empty_winner, register_over_rows
from g2vlm_fast.ops.reference import edge_conv as reference
from g2vlm_fast.ops.reference.graph_reduce import accumulation_dtype

ACTIVATIONS = {"none": 0, "relu": 1, "leaky_relu": 2, "silu": 3}  # Activation in edge_conv.h


def empty_gradients(
    a: Tensor,
    b: Tensor,
    geometry: Tensor | None,
    weight: Tensor | None,
    want_b: bool,
    want_geometry: bool,
    want_weight: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Outputs of the backward op; a gradient that is not wanted has no elements."""

    def room(like: Tensor | None, wanted: bool) -> Tensor:
        if like is None or not wanted:
            return a.new_empty(0, dtype=accumulation_dtype(a.dtype))
        return torch.empty_like(like)

    return (
        torch.empty_like(a),
        torch.empty_like(b) if want_b else b.new_empty(0),
        room(geometry, want_geometry),
        room(weight, want_weight),
    )


def _forward(backend: str) -> Callable[..., tuple[Tensor, Tensor]]:
    def run(
        a: Tensor,
        b: Tensor,
        row_offsets: Tensor,
        columns: Tensor,
        geometry: Tensor | None,
        weight: Tensor | None,
        activation: str,
        reduce: str,
        dtype: torch.dtype | None,
    ) -> tuple[Tensor, Tensor]:
        out, winner = torch.empty_like(a), empty_winner(a, a.shape[0], a.shape[1], dtype)
        getattr(_C, f"edge_conv_{backend}")(
            *(a, b, row_offsets, columns, geometry, weight),
            ACTIVATIONS[activation],
            REDUCTIONS[reduce],
            out,
            None if dtype is None else winner,
            torch.get_num_threads(),
        )
        return out, winner

    return run


def _backward(backend: str) -> Callable[..., tuple[Tensor, Tensor, Tensor, Tensor]]:
    def run(
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
        gradients = empty_gradients(a, b, geometry, weight, want_b, want_geometry, want_weight)
        partial = None
        if want_weight and weight is not None:
            partial = weight.new_empty(_C.edge_conv_blocks(a.shape[0]), *weight.shape)
        getattr(_C, f"edge_conv_backward_{backend}")(
            grad.contiguous(),
            *(a, b, row_offsets, columns, geometry, weight, *transpose, winner, out),
            ACTIVATIONS[activation],
            REDUCTIONS[reduce],
            gradients[0],
            gradients[1] if want_b else None,
            gradients[2] if want_geometry else None,
            gradients[3] if want_weight else None,
            partial,
            torch.get_num_threads(),
        )
        return gradients

    return run


register_over_rows("edge_conv", _forward, reference.edge_conv)
register_over_rows("edge_conv_backward", _backward, reference.edge_conv_backward)
