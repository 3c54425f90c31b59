"""How the per-point terms of PyTorch3D's Chamfer distance become a loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from g2vlm_fast.compat._padded import gather_points

Terms = Tensor | tuple[Tensor, Tensor]


def misalignment(normals: Tensor, others: Tensor, index: Tensor, abs_cosine: bool) -> Tensor:
    """Return ``1 - cos [N, P]`` between normals and those of their neighbours, 0 without one."""
    missing = index < 0  # filled before the division as well, lest padding spread NaN gradients
    paired = gather_points(others, index.clamp_min(0))[:, :, 0].masked_fill(missing, 0)
    cosine = functional.cosine_similarity(normals.masked_fill(missing, 0), paired, dim=2, eps=1e-6)
    return (1 - (cosine.abs() if abs_cosine else cosine)).masked_fill(missing[..., 0], 0)


def reduce_points(
    terms: list[Tensor],
    lengths: tuple[Tensor | None, Tensor | None],
    weights: Tensor | None,
    reduction: str | None,
) -> Terms:
    """Reduce one or two directions of ``[N, P]`` terms, 0 at padding, over points and directions.

    Returns:
        ``[N]``, or without reduction the terms themselves.
    """
    if weights is not None:
        terms = [each * weights.to(each.dtype)[:, None] for each in terms]
    if reduction is None:
        return terms[0] if len(terms) == 1 else (terms[0], terms[1])
    if reduction == "max":
        largest = [each.max(1).values if each.shape[1] else each.sum(1) for each in terms]
        return largest[0] if len(largest) == 1 else torch.maximum(largest[0], largest[1])
    sums = [each.sum(1) for each in terms]
    if reduction == "mean":
        sums = [
            total / (max(each.shape[1], 1) if length is None else length.clamp_min(1))
            for total, each, length in zip(sums, terms, lengths, strict=False)
        ]
    return sums[0] if len(sums) == 1 else sums[0] + sums[1]


def reduce_batch(loss: Terms, weights: Tensor | None, reduction: str | None) -> Terms:
    """Reduce ``[N]`` losses over the clouds; without reduction return what came."""
    if reduction is None or isinstance(loss, tuple):
        return loss
    if reduction == "sum":
        return loss.sum()
    return loss.sum() / (max(loss.shape[0], 1) if weights is None else weights.sum().to(loss.dtype))


def weightless_loss(x: Tensor, y: Tensor, weights: Tensor, batch_reduction: str | None) -> Tensor:
    """Return the zeros, with gradient, that PyTorch3D returns where the weights sum to 0."""
    count = x.shape[0]
    dtype = torch.promote_types(x.dtype, torch.float32)
    zeros = torch.zeros((count, count) if batch_reduction is None else (), device=x.device)
    return zeros.to(dtype) + sum(each[:0].sum().to(dtype) for each in (x, y, weights))
