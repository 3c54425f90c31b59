"""Positions that float32 cannot hold: far from their origin, or in fixed point.

Attention depends on differences alone. So they are taken from an origin of their segment, in the
precision they came in, before float32 rounds what is left.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from g2vlm_fast.ops._geometry_attention_arguments import wide
from g2vlm_fast.ops._segments import Segments

_OP = "geometry_attention"


class Relative(NamedTuple):
    """Positions in metres from an origin of their segment, in the dtype of the arithmetic."""

    q_position: Tensor | None
    k_position: Tensor
    q_origin: Tensor  # [Lq, 3] float64 metres


def are_exact(q: Tensor, *positions: Tensor | None) -> bool:
    """Return whether a position holds what the arithmetic for q may not."""
    return any(each is not None and each.dtype != wide(q.dtype) for each in positions)


def relative_positions(
    q_position: Tensor | None,
    k_position: Tensor,
    k_mask: Tensor | None,
    q_offsets: Tensor | None,
    k_offsets: Tensor | None,
    q: Tensor,
    unit: float,
) -> Relative:
    """Return positions from the first key of their segment that is seen and stands somewhere.

    Shapes are those of :func:`g2vlm_fast.ops.geometry_attention`; ``unit`` is metres of integers.
    The origin is a constant to autograd: attention does not depend on it.
    """
    kinds = {each.dtype for each in (q_position, k_position) if each is not None}
    if torch.int32 in kinds and len(kinds) > 1:
        raise TypeError(
            f"{_OP}: q_position and k_position must both be int32 or both floating, got "
            f"{' and '.join(sorted(map(str, kinds)))}; convert one of them"
        )
    keys = _metres(k_position, unit)
    if keys.shape[0] == 0:
        return Relative(
            None if q_position is None else _metres(q_position, unit).to(wide(q.dtype)),
            keys.to(wide(q.dtype)),
            keys.new_zeros((q.shape[0], 3)),
        )
    standing = keys.detach().isfinite().all(-1)
    if k_mask is not None:
        standing = standing & k_mask
    origins = torch.where(standing[:, None], keys.detach(), 0)[_next_of(standing)]
    first = 0 if k_offsets is None else k_offsets[:-1].clamp(0, keys.shape[0] - 1).long()
    origins = origins[first].view(-1, 3)
    k_origin = Segments(k_offsets, keys.shape[0], keys.device).rows(origins)
    q_origin = Segments(q_offsets, q.shape[0], q.device).rows(origins)
    if q_position is not None:
        queries = _metres(q_position, unit)
        shift = q_origin if queries.dim() == 2 else q_origin[:, None]
        q_position = (queries - shift).to(wide(q.dtype))
    return Relative(q_position, (keys - k_origin).to(wide(q.dtype)), q_origin)


def _metres(position: Tensor, unit: float) -> Tensor:
    return position.double() * unit if position.dtype == torch.int32 else position.double()


def _next_of(wanted: Tensor) -> Tensor:
    """Return of each row the first one from it on that is wanted, or the last row."""
    rows = torch.arange(wanted.shape[0], device=wanted.device)
    candidates = torch.where(wanted, rows, wanted.shape[0] - 1)
    return candidates.flip(0).cummin(0).values.flip(0)
