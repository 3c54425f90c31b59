"""The implementations of :func:`g2vlm_fast.ops.graph_reduce`, and what ops over rows share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from g2vlm_fast import _C
from g2vlm_fast.ops import _dispatch
from g2vlm_fast.ops.reference import graph_reduce as reference
from g2vlm_fast.ops.reference.graph_reduce import accumulation_dtype

REDUCTIONS = {"sum": 0, "mean": 1, "max": 2, "min": 3}  # values of Reduce in graph_reduce.h
NATIVE = (  # backend, device, dtypes of the native kernels over rows
    ("cpu", "cpu", _dispatch.FLOAT32_64),
    ("cuda", "cuda", frozenset({torch.float32, torch.bfloat16, torch.float16})),
)


def register_over_rows(
    op: str, native: Callable[[str], Callable[..., object]], truth: Callable[..., object]
) -> None:
    """Enter an op over the rows of a graph into the dispatch table.

    Args:
        op: name of the registered op.
        native: from the name of a native backend to what runs the op there.
        truth: the reference.
    """
    for backend, device, dtypes in NATIVE:
        _dispatch.register_backend(op, backend, native(backend), devices=(device,), dtypes=dtypes)
    _dispatch.register_backend(
        op, "reference", truth, devices=("cpu", "cuda"), dtypes=_dispatch.FLOATS
    )


def winner_dtype(winner_bytes: int) -> torch.dtype | None:
    """Return the dtype of a winner's slot, None for none."""
    return {0: None, 1: torch.uint8, 4: torch.int32}[winner_bytes]


def empty_winner(like: Tensor, rows: int, channels: int, dtype: torch.dtype | None) -> Tensor:
    """Return room for the winners' slots; ``[0, 0]`` where there are none."""
    shape = (0, 0) if dtype is None else (rows, channels)
    return like.new_empty(*shape, dtype=dtype or torch.int32)


def empty_outputs(
    x: Tensor, row_offsets: Tensor, dtype: torch.dtype | None
) -> tuple[Tensor, Tensor]:
    """Outputs of the forward op."""
    rows, channels = row_offsets.shape[0] - 1, x.shape[1]
    return x.new_empty(rows, channels), empty_winner(x, rows, channels, dtype)


def empty_gradients(
    grad: Tensor, columns: Tensor, transpose_offsets: Tensor | None, want_x: bool, want_weight: bool
) -> tuple[Tensor, Tensor]:
    """Outputs of the backward op; a gradient that is not wanted has no elements."""
    wide = accumulation_dtype(grad.dtype)
    shape: tuple[int, ...] = (0,)
    if want_x and transpose_offsets is not None:
        shape = (transpose_offsets.shape[0] - 1, grad.shape[1])
    edges = columns.shape[0] if want_weight else 0
    return grad.new_empty(*shape), grad.new_empty(edges, dtype=wide)


def _forward(backend: str) -> Callable[..., tuple[Tensor, Tensor]]:
    def run(
        x: Tensor,
        row_offsets: Tensor,
        columns: Tensor,
        weight: Tensor | None,
        reduce: str,
        dtype: torch.dtype | None,
    ) -> tuple[Tensor, Tensor]:
        out, winner = empty_outputs(x, row_offsets, dtype)
        getattr(_C, f"graph_reduce_{backend}")(
            x.contiguous(),
            row_offsets,
            columns,
            weight,
            REDUCTIONS[reduce],
            out,
            None if dtype is None else winner,
            torch.get_num_threads(),
        )
        return out, winner

    return run


def _backward(backend: str) -> Callable[..., tuple[Tensor, Tensor]]:
    def run(
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
        grad_x, grad_weight = empty_gradients(grad, columns, transpose[0], want_x, want_weight)
        getattr(_C, f"graph_reduce_backward_{backend}")(
            grad.contiguous(),
            x if want_weight else None,
            row_offsets,
            columns,
            weight,
            *transpose,
            winner,
            REDUCTIONS[reduce],
            grad_x if want_x else None,
            grad_weight if want_weight else None,
            torch.get_num_threads(),
        )
        return grad_x, grad_weight

    return run


register_over_rows("graph_reduce", _forward, reference.graph_reduce)
register_over_rows("graph_reduce_backward", _backward, reference.graph_reduce_backward)
