"""Checks of op arguments. Every message names the op, the argument, the need and what came.

They run before every call, so each one is a few comparisons; only a failure builds a message.
"""

from __future__ import annotations

from collections.abc import Collection
from numbers import Real
from types import NoneType
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

INT32_MAX = 2**31 - 1
MAX_EDGES = 2**31 - 1024  # kernels count edges in int32, and take many at once
_FEW_OFFSETS = 4096  # beyond, one torch call costs less than a list

_DENSE = torch.strided
_transforms_active = torch._C._are_functorch_transforms_active


def _name(value: torch.dtype | torch.layout) -> str:
    return str(value).removeprefix("torch.").lstrip("_")


def check_tensor(
    op: str,
    argument: str,
    value: Any,
    shape: tuple[str | int, ...],
    dtypes: Collection[torch.dtype],
    sizes: dict[str, int],
    device: torch.device | None = None,
) -> None:
    """Check type, rank, sizes, dtype and device of one tensor argument, and that it is plain.

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
        TypeError: not a tensor, not a dense one, or a dtype that is not accepted.
        ValueError: wrong rank, size or device.
        NotImplementedError: the tensor belongs to a ``torch.func`` transform, or has a tangent.
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"{op}: {argument} must be a torch.Tensor, got {type(value).__name__}")
    if _transforms_active() or forward_ad._current_level >= 0:
        _refuse_transform(op, argument, value)
    if value.layout is not _DENSE:
        raise _not_dense(op, argument, _name(value.layout))
    try:
        actual = value.shape
    except RuntimeError:
        raise _not_dense(op, argument, "a nested tensor") from None
    if len(actual) != len(shape):
        axes = "[" + ", ".join(map(str, shape)) + "]"
        raise ValueError(f"{op}: {argument} must have shape {axes}, got {list(actual)}")
    for wanted, size in zip(shape, actual):  # noqa: B905  (strict costs a fifth of the check)
        if size != (sizes.setdefault(wanted, size) if isinstance(wanted, str) else wanted):
            _refuse_size(op, argument, value, shape, sizes)
    if value.dtype not in dtypes:
        names = " or ".join(sorted(map(_name, dtypes)))
        raise TypeError(f"{op}: {argument} must be {names}, got {_name(value.dtype)}")
    if device is not None and value.device != device:
        raise ValueError(f"{op}: {argument} must be on {device}, got {value.device}")


def _not_dense(op: str, argument: str, came: str) -> TypeError:
    return TypeError(f"{op}: {argument} must be a dense tensor, got {came}; convert it first")


def _refuse_transform(op: str, argument: str, value: Tensor) -> None:
    """Refuse what would otherwise be a derivative of zero: ops have no forward-mode formula."""
    inside = torch._C._functorch.is_functorch_wrapped_tensor(value) or (
        _transforms_active() and value.requires_grad
    )
    if inside or forward_ad.unpack_dual(value).tangent is not None:
        raise NotImplementedError(
            f"{op}: torch.func transforms (vmap, grad, jvp, ...) and forward-mode derivatives are "
            f"not supported, got {argument} inside one; pack samples with offsets instead of vmap, "
            f"and differentiate with torch.autograd.grad or backward()"
        )


def _refuse_size(
    op: str, argument: str, value: Tensor, shape: tuple[str | int, ...], sizes: dict[str, int]
) -> None:
    for axis, (wanted, size) in enumerate(zip(shape, value.shape, strict=True)):
        number = sizes[wanted] if isinstance(wanted, str) else wanted
        if size != number:
            meaning = f" ({wanted})" if isinstance(wanted, str) else ""
            raise ValueError(
                f"{op}: axis {axis} of {argument} must have size {number}{meaning}, "
                f"got shape {list(value.shape)}"
            )


def check_choice(op: str, argument: str, value: Any, choices: Collection[str | int | None]) -> None:
    """Check that an option has one of its values; True and 1.0 are not 1."""
    alike = isinstance(value, (str, int, NoneType)) and not isinstance(value, bool)
    if not alike or value not in choices:
        raise ValueError(f"{op}: {argument} must be one of {list(choices)}, got {value!r}")


def check_flag(op: str, argument: str, value: Any) -> None:
    """Check that an option is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{op}: {argument} must be a bool, got {value!r}")


def check_integer(op: str, argument: str, value: Any, least: int, most: int) -> None:
    """Check that an option is an integer within bounds."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{op}: {argument} must be an int, got {value!r}")
    if not least <= value <= most:
        raise ValueError(f"{op}: {argument} must be from {least} to {most}, got {value}")


def check_number(op: str, argument: str, value: Any) -> float:
    """Check that an option is a real number that float64 can hold, not NaN, and return it."""
    if not isinstance(value, Real) or isinstance(value, bool) or value != value:
        raise TypeError(f"{op}: {argument} must be a number, got {value!r}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{op}: {argument} must fit into float64, got {value!r}") from None


def check_instance(op: str, argument: str, value: Any, kind: type) -> None:
    """Check that an argument is a ``kind``."""
    if not isinstance(value, kind):
        raise TypeError(f"{op}: {argument} must be a {kind.__name__}, got {type(value).__name__}")


def check_readable(op: str, argument: str, value: Tensor) -> None:
    """Check that a function that reads sizes back finds the values of a tensor."""
    if value.device.type not in ("cpu", "cuda"):
        raise ValueError(f"{op}: {argument} must be on a CPU or a CUDA device, got {value.device}")
    if _is_wrapper(value):
        raise TypeError(
            f"{op}: {argument} must hold its values, as sizes are read from them, got a "
            f"{type(value).__name__}"
        )
    if value.numel() and value.data_ptr() == 0:
        raise ValueError(f"{op}: {argument} must hold its values, got a tensor without storage")


def _is_wrapper(value: Tensor) -> bool:
    """Whether a tensor stands for another one (FakeTensor, DTensor), which only ops unwrap."""
    return type(value).__torch_dispatch__ is not Tensor.__torch_dispatch__


def check_rows(op: str, argument: str, value: Tensor, most: int = INT32_MAX) -> None:
    """Check that the rows of a tensor can be counted in int32."""
    rows = value.shape[0]
    if rows > most:
        raise ValueError(f"{op}: {argument} must have at most {most} rows, got {rows}")


def check_offsets(
    op: str, argument: str, offsets: Any, sizes: dict[str, int], device: torch.device
) -> None:
    """Check dtype, rank, length and device of ``[B + 1]`` offsets; None is one segment.

    ``sizes`` binds ``"B + 1"``, so that all offsets of a call describe as many segments. The
    values are for :func:`check_offset_values`, which runs inside the op.
    """
    if offsets is None:
        count = 2
    else:
        check_tensor(op, argument, offsets, ("entries",), (torch.int32,), {}, device)
        count = offsets.shape[0]
        if not 2 <= count <= INT32_MAX:
            most = "at least two" if count < 2 else f"at most {INT32_MAX}"
            raise ValueError(f"{op}: {argument} must have {most} entries, got {count}")
    wanted = sizes.setdefault("B + 1", count)
    if count != wanted:
        raise ValueError(
            f"{op}: {argument} must describe as many segments as the other offsets "
            f"({wanted - 1}), got {count - 1}"
        )


def check_offset_values(op: str, argument: str, offsets: Tensor | None, length: int) -> None:
    """Check that offsets on the CPU start at 0, never decrease and end at ``length``.

    Offsets on a GPU are not read back, as that would stop the stream: kernels clamp them,
    and rows that no segment covers come out as NaN or -1. Those of wrapped tensors cannot be read
    here, but in the op that they are handed to.
    """
    if offsets is None or not offsets.is_cpu or _is_wrapper(offsets):
        return
    if offsets.shape[0] <= _FEW_OFFSETS:
        values = offsets.tolist()
        right = values[0] == 0 and values[-1] == length and values == sorted(values)
    else:
        right = bool(offsets[0] == 0) and bool(offsets[-1] == length)
        right = right and not bool((offsets[1:] < offsets[:-1]).any())
    if not right:
        ends = [*offsets[:4].tolist(), "...", *offsets[-3:].tolist()]
        shown = offsets.tolist() if offsets.shape[0] <= 8 else ends
        raise ValueError(
            f"{op}: {argument} must start at 0, never decrease and end at {length}, got {shown}"
        )


def raise_out_of_range(op: str, argument: str, indices: Tensor, least: int, bound: int) -> None:
    """Raise ValueError that names the first index below ``least`` or not below ``bound``."""
    wrong = ((indices < least) | (indices >= bound)).nonzero()
    if wrong.shape[0] == 0:
        return
    at = wrong[0].tolist()
    raise ValueError(
        f"{op}: {argument} must be from {least} to {bound - 1}, got {int(indices[tuple(at)])} at "
        f"{at} ({wrong.shape[0]} wrong in all)"
    )
