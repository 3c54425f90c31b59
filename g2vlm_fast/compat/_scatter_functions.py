"""``scatter`` and its family: see :mod:`g2vlm_fast.compat.torch_scatter`."""

from __future__ import annotations

from torch import Tensor

from g2vlm_fast.compat._scatter_plan import plan_scatter
from g2vlm_fast.compat._scatter_reduce import extreme_into, reduce_into
from g2vlm_fast.compat._scriptable import kept_in_python, scriptable
from g2vlm_fast.ops._checks import check_choice

_REDUCTIONS = ("sum", "add", "mul", "mean", "min", "max")


@scriptable
def scatter(
    src: Tensor,
    index: Tensor,
    dim: int = -1,
    out: Tensor | None = None,
    dim_size: int | None = None,
    reduce: str = "sum",
) -> Tensor:
    """Reduce all values of ``src`` that bear the same index along ``dim``.

    Args:
        src: values, of any shape.
        index: int64 (int32 is taken, too), sorted or not. Of one axis: along ``dim``. Of several:
            aligned with the first axes of ``src``; axes of size 1 or missing at the end are
            repeated.
        dim: the axis that is indexed.
        out: destination, of the shape of ``src`` but along ``dim``; merged into and returned.
        dim_size: size of the result along ``dim``; the largest index plus 1 when left out, which
            on a GPU waits for it.
        reduce: ``"sum"`` or ``"add"``, ``"mul"``, ``"mean"``, ``"min"`` or ``"max"``.

    Returns:
        The shape of ``src``, but ``dim_size`` along ``dim``, in the dtype of ``src``. What no index
        names is 0, for ``"mul"`` 1.

    With ``out`` the result is ``out + sum``, ``out * product``, ``(out + sum) / count`` or the
    extreme of both, as in the original.

    Raises:
        TypeError, ValueError: an argument has the wrong dtype, shape, device or value.
    """
    return _scatter("scatter", src, index, dim, out, dim_size, reduce)


@scriptable
def scatter_sum(
    src: Tensor,
    index: Tensor,
    dim: int = -1,
    out: Tensor | None = None,
    dim_size: int | None = None,
) -> Tensor:
    """Sum what bears the same index; see :func:`scatter`."""
    return _scatter("scatter_sum", src, index, dim, out, dim_size, "sum")


@scriptable
def scatter_add(
    src: Tensor,
    index: Tensor,
    dim: int = -1,
    out: Tensor | None = None,
    dim_size: int | None = None,
) -> Tensor:
    """Sum what bears the same index; see :func:`scatter`."""
    return _scatter("scatter_add", src, index, dim, out, dim_size, "sum")


@scriptable
def scatter_mul(
    src: Tensor,
    index: Tensor,
    dim: int = -1,
    out: Tensor | None = None,
    dim_size: int | None = None,
) -> Tensor:
    """Multiply what bears the same index; see :func:`scatter`. In plain torch: no kernel of ours
    multiplies."""
    return _scatter("scatter_mul", src, index, dim, out, dim_size, "mul")


@scriptable
def scatter_mean(
    src: Tensor,
    index: Tensor,
    dim: int = -1,
    out: Tensor | None = None,
    dim_size: int | None = None,
) -> Tensor:
    """Average what bears the same index, rounded down for integers; see :func:`scatter`."""
    return _scatter("scatter_mean", src, index, dim, out, dim_size, "mean")


@scriptable
def scatter_min(
    src: Tensor,
    index: Tensor,
    dim: int = -1,
    out: Tensor | None = None,
    dim_size: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the least of what bears the same index, and where it lies; see :func:`scatter_max`."""
    return _scatter_extreme("scatter_min", src, index, dim, out, dim_size, "min")


@scriptable
def scatter_max(
    src: Tensor,
    index: Tensor,
    dim: int = -1,
    out: Tensor | None = None,
    dim_size: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the greatest of what bears the same index, and where it lies; see :func:`scatter`.

    Returns:
        The values, and int64 positions along ``dim`` of ``src``: the first of equal values; the
        size of ``src`` along ``dim`` where nothing bears the index, or where ``out`` already held
        a value at least as great.
    """
    return _scatter_extreme("scatter_max", src, index, dim, out, dim_size, "max")


@kept_in_python
def _scatter(
    caller: str,
    src: Tensor,
    index: Tensor,
    dim: int,
    out: Tensor | None,
    dim_size: int | None,
    reduce: str,
) -> Tensor:
    check_choice(caller, "reduce", reduce, _REDUCTIONS)
    plan = plan_scatter(caller, src, index, dim, out, dim_size)
    return reduce_into(plan, src, out, "sum" if reduce == "add" else reduce)


@kept_in_python
def _scatter_extreme(
    caller: str,
    src: Tensor,
    index: Tensor,
    dim: int,
    out: Tensor | None,
    dim_size: int | None,
    reduce: str,
) -> tuple[Tensor, Tensor]:
    plan = plan_scatter(caller, src, index, dim, out, dim_size)
    return extreme_into(plan, src, out, reduce)
