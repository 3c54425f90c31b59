"""From the parameters of a bias to the columns that the kernels of ``geometry_attention`` take.

Tables are looked up where they lie, one entry of many a pair, so kernels take them by themselves.
Kernels know one vector a row and head for ``Direction`` and for ``NormalDot``, which they multiply
with the difference and with the normal of the key. Here it is made of weights and of what each
query brings, its frame or its normal, by differentiable torch, so that these get their gradients.
"""

from __future__ import annotations

import torch
from torch import Tensor

from g2vlm_fast.ops.bias import TABLE_CODES, BiasSpec, Direction, NormalDot, Term


def separate_tables(spec: BiasSpec, bias_parameters: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return the columns of the terms that are formulas, and of those that are tables, if any.

    Both keep the order of the terms and all axes but the last.
    """
    if not spec.has_tables:
        return bias_parameters, None
    groups = bias_parameters.split([term.num_parameters for term in spec.terms], -1)
    tables = [group for code, group in zip(spec.codes, groups, strict=True) if code in TABLE_CODES]
    formulas = [
        group for code, group in zip(spec.codes, groups, strict=True) if code not in TABLE_CODES
    ]
    return torch.cat(formulas or [bias_parameters[..., :0]], -1), torch.cat(tables, -1)


def formulas_of(spec: BiasSpec) -> list[Term]:
    """Return the terms that are no tables."""
    return [term for term in spec.terms if term.code not in TABLE_CODES]


def kernel_parameters(
    spec: BiasSpec,
    bias_parameters: Tensor,
    rows: int,
    q_normal: Tensor | None,
    k_normal: Tensor | None,
    q_frame: Tensor | None,
    q_gate: Tensor | None,
) -> Tensor:
    """Return ``[rows, H, P]``, the parameters of formulas that the queries have of their own.

    Shapes are those of :func:`g2vlm_fast.ops.geometry_attention`, of ``rows`` queries;
    ``bias_parameters`` are the columns of formulas, which :func:`separate_tables` returns.

    Raises:
        ValueError: ``NormalDot`` lacks a normal.
    """
    if NormalDot.code in spec.codes and (q_normal is None or k_normal is None):
        absent = "q_normal" if q_normal is None else "k_normal"
        raise ValueError(f"geometry_attention: NormalDot needs {absent}; pass it")
    closed = None if q_gate is None else q_gate == 0
    pieces: list[Tensor] = []
    terms = formulas_of(spec)
    sizes = [term.num_parameters for term in terms]
    for term, weights in zip(terms, bias_parameters.split(sizes, -1), strict=True):
        if isinstance(term, NormalDot):
            assert q_normal is not None
            pieces.append(_combine(weights, q_normal[:, None], closed))
        elif isinstance(term, Direction) and q_frame is not None:
            pieces.append(_combine(weights, q_frame, closed))
        else:
            pieces.append(weights)
    return torch.cat([piece.expand(rows, -1, -1) for piece in pieces], -1)


def _combine(weights: Tensor, axes: Tensor, closed: Tensor | None) -> Tensor:
    """Return ``[Lq, H, 3]``, the sum of a row's axes ``[Lq, C, 3]`` by weights ``[.., H, C]``.

    Rows whose gate is shut and whose numbers are not finite come out as NaN, which kernels do not
    look at, and pass no gradient on.
    """
    axes = axes[:, None]
    if closed is None:
        return (weights[..., None] * axes).sum(-2)
    finite = weights.isfinite().all(-1) & axes.isfinite().flatten(-2).all(-1)
    nowhere = (closed & ~finite)[..., None]
    weights = torch.where(nowhere, 0, weights)
    axes = torch.where(nowhere[..., None], 0, axes)
    return (weights[..., None] * axes).sum(-2).masked_fill(nowhere, torch.nan)
