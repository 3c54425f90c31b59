"""An order of tokens in which neighbours in memory are neighbours in space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from g2vlm_fast.ops._autograd import first_derivative_only
from g2vlm_fast.ops._checks import check_instance, check_offset_values, check_offsets, check_tensor

LEAF_SIZE = 64

_OP = "AnchorContext"
_POSITION_DTYPES = {torch.float32, torch.float64}


@dataclass(frozen=True)
class AnchorContext:
    """An order of the tokens of a scene, made once and shared by all layers.

    Tokens are sorted into the leaves of a k-d tree (Bentley, 1975) of each segment: halves of 64
    tokens times a whole number, split at the median of the longest axis, until a leaf has at most
    64. Leaves coincide with the tiles of :func:`~g2vlm_fast.ops.geometry_attention`, which skips
    the more of them with ``skip_eps`` the smaller they are in space. Results do not depend on the
    order, the time does.

    Attributes:
        order: ``[L]`` int64, the token that comes to each place.
        inverse: ``[L]`` int64, the place that each token comes to.
    """

    order: Tensor
    inverse: Tensor

    @classmethod
    def from_positions(cls, position: Tensor, offsets: Tensor | None = None) -> AnchorContext:
        """Sort tokens by where they stand, each segment by itself.

        Deterministic, on the device of the positions, without waiting for it; takes
        ``O(L log^2 L)``. No gradient flows into the order. Positions that are not finite come last
        in their leaf's branch.

        Args:
            position: ``[L, 3]`` float32 or float64, metres.
            offsets: ``[B + 1]`` int32, the segments; None for one.

        Raises:
            TypeError, ValueError: an argument has the wrong dtype, shape, device or value.
        """
        check_tensor(_OP, "position", position, ("L", 3), _POSITION_DTYPES, {})
        if offsets is not None:
            check_offsets(_OP, "offsets", offsets, {}, position.device)
            check_offset_values(_OP, "offsets", offsets, position.shape[0])
        order = _leaf_order(position.detach(), offsets)
        inverse = torch.empty_like(order)
        inverse[order] = torch.arange(order.shape[0], device=order.device)
        return cls(order, inverse)

    def permute(self, tokens: Tensor) -> Tensor:
        """Return ``[L, ...]`` tokens in this order; differentiable, without atomics."""
        return self._moved(tokens, self.order, self.inverse)

    def unpermute(self, tokens: Tensor) -> Tensor:
        """Return tokens in the order they had before :meth:`permute`."""
        return self._moved(tokens, self.inverse, self.order)

    def _moved(self, tokens: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        check_instance(_OP, "tokens", tokens, Tensor)
        if tokens.dim() == 0 or tokens.shape[0] != order.shape[0]:
            raise ValueError(
                f"{_OP}: tokens must have {order.shape[0]} rows, as the positions of the context, "
                f"got shape {list(tokens.shape)}"
            )
        if tokens.device != order.device:
            raise ValueError(f"{_OP}: tokens must be on {order.device}, got {tokens.device}")
        moved: Tensor = _Permutation.apply(tokens, order, inverse)
        return moved


class _Permutation(torch.autograd.Function):
    """Rows in another order, whose gradient is gathered by the inverse of it, not scattered."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        return tokens.index_select(0, order)

    @staticmethod
    @first_derivative_only(_OP)
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, None, None]:
        (inverse,) = ctx.saved_tensors
        return grads[0].index_select(0, inverse), None, None


def _leaf_order(position: Tensor, offsets: Tensor | None) -> Tensor:
    """Return the order; every level of the tree is one sort of all tokens."""
    count, device = position.shape[0], position.device
    order = torch.arange(count, device=device)
    if count == 0:
        return order
    places = torch.arange(count, device=device)
    if offsets is None:
        begin, end = torch.zeros_like(places), torch.full_like(places, count)
    else:
        wide = offsets.long()
        segment = torch.searchsorted(wide, places, right=True) - 1
        begin, end = wide[segment], wide[segment + 1]
    points = position.float().nan_to_num(nan=1e30).clamp(-1e30, 1e30)
    for _ in range(max(0, -(-count // LEAF_SIZE) - 1).bit_length()):
        low = points.scatter_reduce(0, _rows(begin), points, "amin", include_self=False)
        high = points.scatter_reduce(0, _rows(begin), points, "amax", include_self=False)
        axis = (high - low)[begin].argmax(1, keepdim=True)
        along = _sortable(points.gather(1, axis).squeeze(1))
        sorting = end - begin > LEAF_SIZE
        key = (begin << 32) + torch.where(sorting, along, places - begin)
        moved = key.argsort(stable=True)
        order, points = order[moved], points[moved]
        leaves = (end - begin + LEAF_SIZE - 1) // LEAF_SIZE
        middle = torch.where(sorting, begin + (leaves + 1) // 2 * LEAF_SIZE, end)
        begin = torch.where(places >= middle, middle, begin)
        end = torch.where(places < middle, middle, end)
    return order


def _rows(index: Tensor) -> Tensor:
    return index[:, None].expand(-1, 3)


def _sortable(values: Tensor) -> Tensor:
    """Return int64 from 0 to 2^32 in the order of float32 values, by their bits."""
    bits = values.view(torch.int32)
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).long() + 2**31
