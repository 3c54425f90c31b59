"""``segment_csr``, ``segment_coo``, ``gather_csr`` and ``gather_coo``, and their families: see
:mod:`g2vlm_fast.compat.torch_scatter`."""

from __future__ import annotations

import torch
from torch import Tensor

from g2vlm_fast.compat._scatter_layout import NUMBERS, check_any_shape, check_sizes
from g2vlm_fast.compat._scatter_plan import plan_sorted
from g2vlm_fast.compat._scatter_reduce import (
    extreme_into,
    reduce_groups,
    reduce_into,
    widened,
)
from g2vlm_fast.compat._scatter_runs import Runs
from g2vlm_fast.compat._scriptable import kept_in_python, scriptable
from g2vlm_fast.ops._checks import check_choice
from g2vlm_fast.ops._graph_build_backends import INDICES

_REDUCTIONS = ("sum", "add", "mean", "min", "max")


@scriptable
def segment_csr(
    src: Tensor, indptr: Tensor, out: Tensor | None = None, reduce: str = "sum"
) -> Tensor:
    """Reduce the runs ``indptr[n] <= e < indptr[n + 1]`` of ``src`` along the last axis of indptr.

    Args:
        src: values, of any shape.
        indptr: ``[..., N + 1]`` int64 (int32 is taken, too), never decreasing, from 0 to the size
            of ``src`` along that axis; its axes before the last are those of ``src``, or 1.
        out: destination, overwritten and returned.
        reduce: ``"sum"`` or ``"add"``, ``"mean"``, ``"min"`` or ``"max"``.

    Returns:
        The shape of ``src``, but N along the axis; 0 for empty runs.

    Raises:
        TypeError, ValueError: an argument has the wrong dtype, shape, device or value.
    """
    return _segment_csr("segment_csr", src, indptr, out, reduce)


@scriptable
def segment_sum_csr(src: Tensor, indptr: Tensor, out: Tensor | None = None) -> Tensor:
    """Sum runs; see :func:`segment_csr`."""
    return _segment_csr("segment_sum_csr", src, indptr, out, "sum")


@scriptable
def segment_add_csr(src: Tensor, indptr: Tensor, out: Tensor | None = None) -> Tensor:
    """Sum runs; see :func:`segment_csr`."""
    return _segment_csr("segment_add_csr", src, indptr, out, "sum")


@scriptable
def segment_mean_csr(src: Tensor, indptr: Tensor, out: Tensor | None = None) -> Tensor:
    """Average runs; see :func:`segment_csr`."""
    return _segment_csr("segment_mean_csr", src, indptr, out, "mean")


@scriptable
def segment_min_csr(
    src: Tensor, indptr: Tensor, out: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the least of each run and where it lies; see :func:`segment_max_csr`."""
    return _segment_extreme_csr("segment_min_csr", src, indptr, out, "min")


@scriptable
def segment_max_csr(
    src: Tensor, indptr: Tensor, out: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the greatest of each run and where it lies; see :func:`segment_csr`.

    Returns:
        The values, and int64 positions along the axis: the first of equal values; the size of
        ``src`` there for empty runs.
    """
    return _segment_extreme_csr("segment_max_csr", src, indptr, out, "max")


@scriptable
def gather_csr(src: Tensor, indptr: Tensor, out: Tensor | None = None) -> Tensor:
    """Repeat value n of ``src`` at ``indptr[n] <= e < indptr[n + 1]``.

    Args:
        src: values, N along the last axis of indptr.
        indptr: ``[..., N + 1]``, as :func:`segment_csr`.
        out: destination, overwritten and returned.

    Returns:
        The shape of ``src``, but the last pointer along the axis (that of ``out``, which spares a
        GPU the wait for it); 0 where no run lies.
    """
    return _gather_csr(src, indptr, out)


@scriptable
def segment_coo(
    src: Tensor,
    index: Tensor,
    out: Tensor | None = None,
    dim_size: int | None = None,
    reduce: str = "sum",
) -> Tensor:
    """Reduce all values of ``src`` that bear the same index, which is sorted along its last axis.

    Args:
        src: values, of any shape.
        index: ``[..., E]`` int64 (int32 is taken, too), aligned with the first axes of ``src``;
            axes of size 1 before the last are repeated. On a GPU one that is not sorted fails an
            assertion on the device where ``dim_size`` or ``out`` is given; elsewhere it is sorted.
        out: destination, merged into as by :func:`scatter`, and returned.
        dim_size: size of the result along the last axis of index; the largest index plus 1 when
            left out.
        reduce: ``"sum"`` or ``"add"``, ``"mean"``, ``"min"`` or ``"max"``.

    Returns:
        The shape of ``src``, but ``dim_size`` along the axis; 0 for what no index names.

    Raises:
        TypeError, ValueError: an argument has the wrong dtype, shape, device or value.
    """
    return _segment_coo("segment_coo", src, index, out, dim_size, reduce)


@scriptable
def segment_sum_coo(
    src: Tensor, index: Tensor, out: Tensor | None = None, dim_size: int | None = None
) -> Tensor:
    """Sum what bears the same sorted index; see :func:`segment_coo`."""
    return _segment_coo("segment_sum_coo", src, index, out, dim_size, "sum")


@scriptable
def segment_add_coo(
    src: Tensor, index: Tensor, out: Tensor | None = None, dim_size: int | None = None
) -> Tensor:
    """Sum what bears the same sorted index; see :func:`segment_coo`."""
    return _segment_coo("segment_add_coo", src, index, out, dim_size, "sum")


@scriptable
def segment_mean_coo(
    src: Tensor, index: Tensor, out: Tensor | None = None, dim_size: int | None = None
) -> Tensor:
    """Average what bears the same sorted index; see :func:`segment_coo`."""
    return _segment_coo("segment_mean_coo", src, index, out, dim_size, "mean")


@scriptable
def segment_min_coo(
    src: Tensor, index: Tensor, out: Tensor | None = None, dim_size: int | None = None
) -> tuple[Tensor, Tensor]:
    """Return the least of what bears the same sorted index, and where it lies, as
    :func:`scatter_min`; see :func:`segment_coo`."""
    return _segment_extreme_coo("segment_min_coo", src, index, out, dim_size, "min")


@scriptable
def segment_max_coo(
    src: Tensor, index: Tensor, out: Tensor | None = None, dim_size: int | None = None
) -> tuple[Tensor, Tensor]:
    """Return the greatest of what bears the same sorted index, and where it lies, as
    :func:`scatter_max`; see :func:`segment_coo`."""
    return _segment_extreme_coo("segment_max_coo", src, index, out, dim_size, "max")


@scriptable
def gather_coo(src: Tensor, index: Tensor, out: Tensor | None = None) -> Tensor:
    """Give each index ``[..., E]`` the value of ``src`` there, along the last axis of index.

    Args:
        src: values, of any shape.
        index: int64 (int32 is taken, too), aligned with the first axes of ``src``.
        out: destination, overwritten and returned.

    Returns:
        The shape of ``src``, but E along the axis.
    """
    return _gather_coo(src, index, out)


@kept_in_python
def _segment_csr(
    caller: str, src: Tensor, indptr: Tensor, out: Tensor | None, reduce: str
) -> Tensor:
    check_choice(caller, "reduce", reduce, _REDUCTIONS)
    runs = Runs(caller, src, indptr, out)
    x = runs.layout.rows(widened(src))
    rows = reduce_groups(runs.groups, x, "sum" if reduce == "add" else reduce)
    return runs.answer(rows, out, src.dtype)


@kept_in_python
def _segment_extreme_csr(
    caller: str, src: Tensor, indptr: Tensor, out: Tensor | None, reduce: str
) -> tuple[Tensor, Tensor]:
    runs = Runs(caller, src, indptr, out)
    values, position = runs.groups.extreme(runs.layout.rows(widened(src)), reduce)
    along = runs.layout.along(position)
    return runs.answer(values, out, src.dtype), runs.answer(along, None, torch.int64)


@kept_in_python
def _gather_csr(src: Tensor, indptr: Tensor, out: Tensor | None) -> Tensor:
    caller = "gather_csr"
    check_any_shape(caller, "src", src, NUMBERS)
    check_any_shape(caller, "indptr", indptr, INDICES, src.device)
    dim = indptr.dim() - 1
    if dim < src.dim() and src.shape[dim] != max(indptr.shape[dim] - 1, 0):
        raise ValueError(
            f"{caller}: src must have size {max(indptr.shape[dim] - 1, 0)} along axis {dim}, one "
            f"value for each run of indptr, got shape {list(src.shape)}"
        )
    if out is not None:
        length = check_sizes(caller, "out", out, tuple(src.shape), dim, src)
    else:
        length = int(indptr.flatten()[-1]) if indptr.numel() else 0
        if length < 0:
            raise ValueError(f"{caller}: indptr must end at 0 or more, got {length}")
    runs = Runs(caller, src, indptr, None, length)
    rows = runs.groups.gather(runs.with_gaps(src))
    found = runs.layout.unrows(rows, length)
    return found if out is None else out.copy_(found)


@kept_in_python
def _segment_coo(
    caller: str,
    src: Tensor,
    index: Tensor,
    out: Tensor | None,
    dim_size: int | None,
    reduce: str,
) -> Tensor:
    check_choice(caller, "reduce", reduce, _REDUCTIONS)
    plan = plan_sorted(caller, ("src", src), index, dim_size, out)
    return reduce_into(plan, src, out, "sum" if reduce == "add" else reduce)


@kept_in_python
def _segment_extreme_coo(
    caller: str,
    src: Tensor,
    index: Tensor,
    out: Tensor | None,
    dim_size: int | None,
    reduce: str,
) -> tuple[Tensor, Tensor]:
    plan = plan_sorted(caller, ("src", src), index, dim_size, out)
    return extreme_into(plan, src, out, reduce)


@kept_in_python
def _gather_coo(src: Tensor, index: Tensor, out: Tensor | None) -> Tensor:
    plan = plan_sorted("gather_coo", ("src", src), index, None, gathers=True)
    if out is not None:
        shape = plan.layout.shape
        check_sizes("gather_coo", "out", out, shape, -1, src)
    found = plan.unrows_gathered(plan.groups.gather(plan.rows(src)))
    return found if out is None else out.copy_(found)
