"""Checks of op arguments. Every message names the op, the argument, the need and what came."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

INT32_MAX = 2**31 - 1


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def check_tensor(
    op: str,
    argument: str,
    value: Any,
    shape: tuple[str | int, ...],
    dtypes: Collection[torch.dtype],
    sizes: dict[str, int],
    device: torch.device | None = None,
) -> None:
    """Check type, rank, sizes, dtype and device of one tensor argument.

    Args:
        op: name of the public function.
        argument: name of the argument.
        value: what the caller passed.
        shape: one entry an axis: a number, or a symbol that must mean one size in all the
            arguments that share ``sizes``.
        dtypes: what is accepted.
        sizes: the symbols bound so far; filled in.
        device: where the tensor must live; None for anywhere.

    Raises:
        TypeError: not a tensor, or a dtype that is not accepted.
        ValueError: wrong rank, size or device.
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"{op}: {argument} must be a torch.Tensor, got {type(value).__name__}")
    actual = tuple(value.shape)
    if len(actual) != len(shape):
        wanted = "[" + ", ".join(map(str, shape)) + "]"
        raise ValueError(f"{op}: {argument} must have shape {wanted}, got {list(actual)}")
    for axis, (wanted_size, size) in enumerate(zip(shape, actual, strict=True)):
        if isinstance(wanted_size, str):
            wanted_size = sizes.setdefault(wanted_size, size)
        if size != wanted_size:
            raise ValueError(
                f"{op}: axis {axis} of {argument} must have size {wanted_size} "
                f"({shape[axis]}), got shape {list(actual)}"
            )
    if value.dtype not in dtypes:
        wanted = " or ".join(sorted(map(_name, dtypes)))
        raise TypeError(f"{op}: {argument} must be {wanted}, got {_name(value.dtype)}")
    if device is not None and value.device != device:
        raise ValueError(f"{op}: {argument} must be on {device}, got {value.device}")


def check_choice(op: str, argument: str, value: Any, choices: Collection[Any]) -> None:
    """Check that an option has one of its values."""
    if value not in choices:
        raise ValueError(f"{op}: {argument} must be one of {list(choices)}, got {value!r}")


def check_offsets(op: str, argument: str, offsets: Tensor, length: int) -> None:
    """Check that offsets on the CPU start at 0, never decrease and end at ``length``.

    Offsets on a GPU are not read back, as that would stop the stream: kernels clamp them,
    and rows that no segment covers come out as NaN or -1.
    """
    if offsets.device.type != "cpu":
        return
    values = offsets.tolist()
    if (
        values[0] != 0
        or values[-1] != length
        or any(later < earlier for earlier, later in zip(values, values[1:], strict=False))
    ):
        shown = values if len(values) <= 8 else [*values[:4], "...", *values[-3:]]
        raise ValueError(
            f"{op}: {argument} must start at 0, never decrease and end at {length}, got {shown}"
        )


def offsets_or_whole(
    op: str, argument: str, offsets: Tensor | None, length: int, device: torch.device
) -> Tensor:
    """Return ``offsets`` checked for dtype, rank and device, or those of one segment."""
    if length > INT32_MAX:
        raise ValueError(f"{op}: at most {INT32_MAX} rows are supported, got {length}")
    if offsets is None:
        return torch.arange(2, dtype=torch.int32, device=device) * length
    check_tensor(op, argument, offsets, ("B + 1",), (torch.int32,), {}, device)
    if offsets.shape[0] < 2:
        raise ValueError(f"{op}: {argument} must have at least two entries, got {offsets.shape[0]}")
    return offsets
