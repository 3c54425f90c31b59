"""From tensors of any shape, indexed along one axis, to rows by group and back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from g2vlm_fast.ops._checks import MAX_EDGES, check_integer, check_tensor
from g2vlm_fast.ops._dispatch import FLOATS

INTEGERS = frozenset({torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64})
NUMBERS = FLOATS | INTEGERS


@dataclass(frozen=True)
class Layout:
    """How a tensor becomes rows ``[B * L, C]``: B over the axes along which the index varies, L
    over the axis ``dim`` that it indexes, C over all others."""

    shape: tuple[int, ...]
    dim: int
    batch: tuple[int, ...]
    channels: tuple[int, ...]

    @property
    def length(self) -> int:
        return self.shape[self.dim]

    @property
    def blocks(self) -> int:
        return math.prod([self.shape[axis] for axis in self.batch])

    @property
    def axes(self) -> tuple[int, ...]:
        return (*self.batch, self.dim, *self.channels)

    def resized(self, length: int) -> tuple[int, ...]:
        """Return the shape with ``length`` along ``dim``."""
        return (*self.shape[: self.dim], length, *self.shape[self.dim + 1 :])

    def rows(self, x: Tensor) -> Tensor:
        """Return ``x``, whose size along ``dim`` may be any, as rows."""
        channels = math.prod([self.shape[axis] for axis in self.channels])
        return x.permute(self.axes).reshape(self.blocks * x.shape[self.dim], channels)

    def along(self, position: Tensor) -> Tensor:
        """Return where along ``dim`` rows lie; its size for the row past the end."""
        past = position == self.blocks * self.length
        return torch.where(past, self.length, position % max(self.length, 1))

    def unrows(self, rows: Tensor, length: int) -> Tensor:
        """Return rows as a contiguous tensor with ``length`` along ``dim``."""
        shape = self.resized(length)
        back = sorted(range(len(shape)), key=self.axes.__getitem__)
        return rows.reshape([shape[axis] for axis in self.axes]).permute(back).contiguous()


def check_any_shape(
    op: str, argument: str, value: Any, dtypes: frozenset[torch.dtype], device: Any = None
) -> None:
    """Check all of a tensor but its shape; it has at least one axis."""
    rank = value.dim() if isinstance(value, Tensor) else 1
    check_tensor(op, argument, value, tuple(map(str, range(rank))), dtypes, {}, device)
    if rank == 0:
        raise ValueError(f"{op}: {argument} must have at least one axis, got a scalar")


def check_axis(op: str, dim: Any, rank: int) -> int:
    """Return ``dim`` counted from the front."""
    check_integer(op, "dim", dim, -rank, rank - 1)
    return int(dim) % rank


def check_sizes(
    op: str, argument: str, value: Any, shape: tuple[int, ...], dim: int, like: Tensor
) -> int:
    """Check a tensor that may differ from ``shape`` along ``dim`` alone; return its size there."""
    check_any_shape(op, argument, value, frozenset({like.dtype}), like.device)
    fits = value.dim() == len(shape) and all(
        size == wanted
        for axis, (size, wanted) in enumerate(zip(value.shape, shape, strict=True))
        if axis != dim
    )
    if not fits:
        wanted = [*shape[:dim], "any size", *shape[dim + 1 :]]
        raise ValueError(f"{op}: {argument} must have shape {wanted}, got {list(value.shape)}")
    return int(value.shape[dim])


def aligned_layout(
    op: str, argument: str, index: Tensor, shape: tuple[int, ...], dim: int, spare: int = 0
) -> tuple[Layout, Tensor]:
    """Align an index of as many axes as ``shape``, whose sizes are those of ``shape`` or 1.

    Args:
        op: name of the public function.
        argument: name of the index.
        index: its size along ``dim`` may be any if ``spare`` says so.
        shape: of the values.
        dim: the axis that the index indexes.
        spare: 1 for pointers, of which there are any number.

    Returns:
        The layout of the values and the index as ``[B, L]``.
    """
    for axis, (size, wanted) in enumerate(zip(index.shape, shape, strict=True)):
        if size not in (1, wanted) and not (spare and axis == dim):
            raise ValueError(
                f"{op}: axis {axis} of {argument} must have size {wanted}, as src, or 1, got shape "
                f"{list(index.shape)}"
            )
    # What `expand` made, or a size of 1, is one index for all channels of a row.
    varies = [
        size != 1 and (index.stride(axis) != 0 or size == 0)
        for axis, size in enumerate(index.shape)
    ]
    others = [axis for axis in range(len(shape)) if axis != dim]
    layout = Layout(
        tuple(shape),
        dim,
        tuple(axis for axis in others if varies[axis]),
        tuple(axis for axis in others if not varies[axis]),
    )
    for axis in layout.channels:
        index = index.narrow(axis, 0, 1)
    length = index.shape[dim] if spare else layout.length
    sizes = list(index.shape)
    sizes[dim] = length
    index = index.expand(sizes).permute(layout.axes).reshape(layout.blocks, length)
    if max(layout.blocks * layout.length, index.numel()) > MAX_EDGES:
        raise ValueError(
            f"{op}: {argument} must index at most {MAX_EDGES} rows, got {layout.blocks} x "
            f"{layout.length}"
        )
    return layout, index
