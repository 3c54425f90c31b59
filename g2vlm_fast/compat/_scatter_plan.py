"""The plan of one call: its values as rows, and the groups that they fall into."""

from __future__ import annotations

import contextlib
import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from g2vlm_fast.compat._scatter_groups import Groups
from g2vlm_fast.compat._scatter_layout import (
    NUMBERS,
    Layout,
    aligned_layout,
    check_any_shape,
    check_axis,
    check_sizes,
)
from g2vlm_fast.ops._checks import INT32_MAX, check_integer
from g2vlm_fast.ops._graph_build_backends import INDICES


@dataclass(frozen=True)
class Plan:
    """The rows of one call and their groups, ``size`` in each block."""

    layout: Layout
    groups: Groups
    size: int

    def rows(self, x: Tensor) -> Tensor:
        return self.layout.rows(x)

    def unrows(self, rows: Tensor) -> Tensor:
        """Return one row a group as a tensor of the shape that a reduction has."""
        return self.layout.unrows(rows, self.size)

    def unrows_gathered(self, rows: Tensor) -> Tensor:
        """Return one row a member as a tensor of the shape of the values."""
        return self.layout.unrows(rows, self.layout.length)

    def places(self, position: Tensor) -> Tensor:
        """Return where along ``dim`` rows lie; its size for the row past the end."""
        return self.unrows(self.layout.along(position))


def check_size(op: str, dim_size: Any) -> int:
    """Return ``dim_size`` as an int; integers of any kind are taken, as the original does."""
    if not isinstance(dim_size, (bool, int, float)):
        with contextlib.suppress(TypeError):
            dim_size = operator.index(dim_size)
    check_integer(op, "dim_size", dim_size, 0, INT32_MAX - 1)
    return int(dim_size)


def read_index(op: str, index: Tensor) -> tuple[int, bool]:
    """Return one more than the largest index, and whether those of every block are sorted.

    Reads one small tensor back to the host.
    """
    if index.numel() == 0:
        return 0, True
    rises = (index[:, 1:] >= index[:, :-1]).all()
    least, most, is_sorted = torch.stack([index.min(), index.max(), rises.to(index)]).tolist()
    if least < 0:
        raise ValueError(f"{op}: index must be at least 0, got {least}")
    check_integer(op, "index", most, 0, INT32_MAX - 2)
    return most + 1, bool(is_sorted)


def plan_index(
    op: str,
    index: Tensor,
    layout: Layout,
    dim_size: int | None,
    *,
    claims_sorted: bool = False,
) -> Plan:
    """Group rows by an index ``[B, L]``; without ``dim_size`` as many groups as it names."""
    is_sorted = claims_sorted
    if dim_size is None:
        dim_size, is_sorted = read_index(op, index)
    if layout.blocks * dim_size > INT32_MAX - 1:
        raise ValueError(
            f"{op}: at most {INT32_MAX - 1} groups are supported, got {layout.blocks} x {dim_size}"
        )
    groups = Groups.of_index(index, dim_size, op, is_sorted)
    return Plan(layout, groups, dim_size)


def plan_scatter(
    op: str, src: Any, index: Any, dim: Any, out: Any, dim_size: Any, numbers: Any = NUMBERS
) -> Plan:
    """Check the arguments of a scatter, and group the rows of ``src`` by ``index``."""
    check_any_shape(op, "src", src, numbers)
    check_any_shape(op, "index", index, INDICES, src.device)
    dim = check_axis(op, dim, src.dim())
    if index.dim() > src.dim():
        raise ValueError(
            f"{op}: index must have at most the {src.dim()} axes of src, got shape "
            f"{list(index.shape)}"
        )
    front = dim if index.dim() == 1 else 0
    shape = [1] * front + list(index.shape)
    shape += [1] * (src.dim() - len(shape))
    layout, flat = aligned_layout(op, "index", index.view(shape), tuple(src.shape), dim)
    if out is not None:
        dim_size = check_sizes(op, "out", out, tuple(src.shape), dim, src)
    elif dim_size is not None:
        dim_size = check_size(op, dim_size)
    return plan_index(op, flat, layout, dim_size)


def plan_sorted(
    op: str,
    values: tuple[str, Any],
    index: Any,
    dim_size: Any,
    out: Any = None,
    *,
    gathers: bool = False,
) -> Plan:
    """Check the arguments of a function that takes a sorted index along the last axis of it.

    Args:
        op: name of the public function.
        values: name and value of the tensor that is reduced, or gathered from.
        index: ``[..., E]``, aligned with the first axes of the values.
        dim_size: as the original's.
        out: as the original's; for reductions.
        gathers: whether the values are one row a group already.
    """
    name, src = values
    check_any_shape(op, name, src, NUMBERS)
    check_any_shape(op, "index", index, INDICES, src.device)
    if index.dim() > src.dim():
        raise ValueError(
            f"{op}: index must have at most the {src.dim()} axes of {name}, got shape "
            f"{list(index.shape)}"
        )
    dim = index.dim() - 1
    shape = list(src.shape)
    if gathers:
        dim_size, shape[dim] = shape[dim], index.shape[dim]
    layout, flat = aligned_layout(
        op, "index", index.view([*index.shape, *[1] * (src.dim() - dim - 1)]), tuple(shape), dim
    )
    if out is not None and not gathers:
        dim_size = check_sizes(op, "out", out, tuple(shape), dim, src)
    elif dim_size is not None and not gathers:
        dim_size = check_size(op, dim_size)
    return plan_index(op, flat, layout, dim_size, claims_sorted=not gathers)
