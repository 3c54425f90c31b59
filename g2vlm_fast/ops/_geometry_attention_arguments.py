"""The records that the op ``geometry_attention`` and all of its backends take and return.

They need torch alone: the reference, the native and the Triton kernels share them. Shapes and
meanings are those of :func:`g2vlm_fast.ops.geometry_attention`; every field that may be absent says
so by its type.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Tokens(NamedTuple):
    """Queries and keys, where they stand and face, and which segments they form.

    The bias parameters are the columns that :class:`Options` counts, ``[H, P]``, or ``[Lq, H, P]``
    where every row has its own. Those of tables come by themselves, ``[H, C]`` or ``[Lq, H, C]``.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    bias_parameters: Tensor | None
    bias_tables: Tensor | None
    q_position: Tensor | None
    k_position: Tensor | None
    k_normal: Tensor | None
    q_gate: Tensor | None
    k_mask: Tensor | None
    q_offsets: Tensor | None
    k_offsets: Tensor | None
    dropout_seed: Tensor | None


class Options(NamedTuple):
    """What is no tensor."""

    terms: Sequence[int]  # codes of the terms of the bias
    counts: Sequence[int]  # columns of each term in the bias parameters, or in the tables
    eps: float  # metres, of the terms that use the length of the difference
    causal: bool
    scale: float
    dropout: float  # probability
    maximum: float = 0.0  # metres, where the last knot of a table over distance stands
    cell: float = 0.0  # metres, of tables over axes
    skip_eps: float | None = None  # probability of a row that may be left out; None visits all

    @property
    def of_dense(
        self,
    ) -> tuple[Sequence[int], Sequence[int], float, bool, float, float, float, float]:
        """The fields for kernels that leave nothing out."""
        terms, counts, eps, causal, scale, dropout, maximum, cell, _ = self
        return terms, counts, eps, causal, scale, dropout, maximum, cell


class Results(NamedTuple):
    """What the forward pass returns; mean and variance have no rows where not asked for."""

    out: Tensor
    lse: Tensor
    mean: Tensor
    variance: Tensor


class ResultGradients(NamedTuple):
    """The gradients of :class:`Results` that arrived."""

    out: Tensor | None
    lse: Tensor | None
    mean: Tensor | None
    variance: Tensor | None


class TokenGradients(NamedTuple):
    """The gradients of the floating fields of :class:`Tokens`; None where there is none."""

    q: Tensor
    k: Tensor
    v: Tensor
    bias_parameters: Tensor | None
    bias_tables: Tensor | None
    q_position: Tensor | None
    k_position: Tensor | None
    k_normal: Tensor | None
    q_gate: Tensor | None


def wide(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of the arithmetic: float64 for float64, float32 for the rest."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def empty_results(q: Tensor, position_mean: bool) -> Results:
    """Return storage for the results; mean and variance have no rows unless asked for."""
    rows, heads, _ = q.shape
    statistics_rows = rows if position_mean else 0
    dtype = wide(q.dtype)
    return Results(
        out=q.new_empty(*q.shape),
        lse=q.new_empty(rows, heads, dtype=dtype),
        mean=q.new_empty(statistics_rows, heads, 3, dtype=dtype),
        variance=q.new_empty(statistics_rows, heads, dtype=dtype),
    )


def empty_gradients(tokens: Tokens, position_gradients: bool) -> TokenGradients:
    """Return storage for gradients; positions and normals get None where theirs are not wanted."""

    def room(value: Tensor | None, wanted: bool = True) -> Tensor | None:
        return value.new_empty(*value.shape) if wanted and value is not None else None

    return TokenGradients(
        q=tokens.q.new_empty(*tokens.q.shape),
        k=tokens.k.new_empty(*tokens.k.shape),
        v=tokens.v.new_empty(*tokens.v.shape),
        bias_parameters=room(tokens.bias_parameters),
        bias_tables=room(tokens.bias_tables),
        q_position=room(tokens.q_position, position_gradients),
        k_position=room(tokens.k_position, position_gradients),
        k_normal=room(tokens.k_normal, position_gradients),
        q_gate=room(tokens.q_gate),
    )
