"""Statistics and normalisations over groups: see :mod:`g2vlm_fast.compat.torch_scatter`."""

from __future__ import annotations

import torch
from torch import Tensor

from g2vlm_fast.compat._scatter_groups import Groups
from g2vlm_fast.compat._scatter_layout import INTEGERS
from g2vlm_fast.compat._scatter_plan import plan_scatter
from g2vlm_fast.compat._scatter_reduce import widened
from g2vlm_fast.compat._scriptable import kept_in_python, scriptable
from g2vlm_fast.ops._checks import check_flag, check_number
from g2vlm_fast.ops._dispatch import FLOATS


@scriptable
def scatter_std(
    src: Tensor,
    index: Tensor,
    dim: int = -1,
    out: Tensor | None = None,
    dim_size: int | None = None,
    unbiased: bool = True,
) -> Tensor:
    """Return the standard deviation of what bears the same index; arguments as :func:`scatter`.

    ``sqrt(sum (x - mean)^2 / (max(count - 1, 1) + 1e-6))``, with the original's 1e-6; with
    ``unbiased=False`` the count alone. ``out`` receives the sums of squares, added to what it
    holds, and the root of that is returned, as in the original. The gradient where all values are
    equal is 0. Integers are taken as the default float dtype.
    """
    return _scatter_std(src, index, dim, out, dim_size, unbiased)


@scriptable
def scatter_logsumexp(
    src: Tensor,
    index: Tensor,
    dim: int = -1,
    out: Tensor | None = None,
    dim_size: int | None = None,
    eps: float = 1e-12,
) -> Tensor:
    """Return ``log(sum exp(x) + eps exp(max))`` of what bears the same index.

    Arguments as :func:`scatter`, floating-point. 0 where nothing bears the index; with ``out``
    ``log(exp(out) + exp(result))``, and ``out`` itself where nothing does.
    """
    return _scatter_logsumexp(src, index, dim, out, dim_size, eps)


@scriptable
def scatter_softmax(
    src: Tensor, index: Tensor, dim: int = -1, dim_size: int | None = None
) -> Tensor:
    """Return the softmax of ``src`` over what bears the same index, in the shape of ``src``.

    Arguments as :func:`scatter`, floating-point.
    """
    return _scatter_softmax(src, index, dim, dim_size)


@scriptable
def scatter_log_softmax(
    src: Tensor, index: Tensor, dim: int = -1, eps: float = 1e-12, dim_size: int | None = None
) -> Tensor:
    """Return ``x - max - log(sum exp(x - max) + eps)`` over what bears the same index.

    In the shape of ``src``; arguments as :func:`scatter`, floating-point.
    """
    return _scatter_log_softmax(src, index, dim, eps, dim_size)


@kept_in_python
def _scatter_std(
    src: Tensor,
    index: Tensor,
    dim: int,
    out: Tensor | None,
    dim_size: int | None,
    unbiased: bool,
) -> Tensor:
    check_flag("scatter_std", "unbiased", unbiased)
    if isinstance(src, Tensor) and src.dtype in INTEGERS:
        src = src.to(torch.get_default_dtype())
    plan = plan_scatter("scatter_std", src, index, dim, out, dim_size)
    groups = plan.groups
    x = plan.rows(widened(src, always=True))
    squares = groups.sum((x - groups.gather(groups.mean(x))).square())
    if out is not None:
        squares = squares + plan.rows(out.clone()).to(x.dtype)
        out.copy_(plan.unrows(squares))
    count = groups.sizes().clamp_min(1)[:, None]
    divisor = (count - 1).clamp_min(1) if unbiased else count
    variance = squares / (divisor + 1e-6)
    level = variance == 0  # where the root has no finite derivative
    root = variance.masked_fill(level, 1).sqrt().masked_fill(level, 0)
    return plan.unrows(root).to(src.dtype)


@kept_in_python
def _scatter_logsumexp(
    src: Tensor,
    index: Tensor,
    dim: int,
    out: Tensor | None,
    dim_size: int | None,
    eps: float,
) -> Tensor:
    caller = "scatter_logsumexp"
    eps = check_number(caller, "eps", eps)
    _check_floating(caller, src)
    plan = plan_scatter(caller, src, index, dim, out, dim_size, FLOATS)
    greatest, shifted = _shifted(plan.groups, plan.rows(widened(src, always=True)))
    nothing = greatest == -torch.inf
    total = plan.groups.sum(shifted.exp())
    shift = greatest.masked_fill(greatest.isinf(), 0)
    found = (total.masked_fill(nothing, 1) + eps).log() + shift
    found = found.masked_fill(nothing, -torch.inf)
    absent = (plan.groups.sizes() == 0)[:, None]
    if out is None:
        return plan.unrows(found.masked_fill(absent, 0)).to(src.dtype)
    before = plan.rows(out.clone()).to(found.dtype)
    keeps = absent | nothing
    merged = torch.where(keeps, before, torch.logaddexp(before, found.masked_fill(keeps, 0)))
    return out.copy_(plan.unrows(merged))


@kept_in_python
def _scatter_softmax(src: Tensor, index: Tensor, dim: int, dim_size: int | None) -> Tensor:
    caller = "scatter_softmax"
    _check_floating(caller, src)
    plan = plan_scatter(caller, src, index, dim, None, dim_size, FLOATS)
    _, shifted = _shifted(plan.groups, plan.rows(widened(src, always=True)))
    weight = shifted.exp()
    share = weight / plan.groups.gather(plan.groups.sum(weight))
    return plan.unrows_gathered(share).to(src.dtype)


@kept_in_python
def _scatter_log_softmax(
    src: Tensor, index: Tensor, dim: int, eps: float, dim_size: int | None
) -> Tensor:
    caller = "scatter_log_softmax"
    eps = check_number(caller, "eps", eps)
    _check_floating(caller, src)
    plan = plan_scatter(caller, src, index, dim, None, dim_size, FLOATS)
    _, shifted = _shifted(plan.groups, plan.rows(widened(src, always=True)))
    total = plan.groups.sum(shifted.exp())
    return plan.unrows_gathered(shifted - plan.groups.gather((total + eps).log())).to(src.dtype)


def _shifted(groups: Groups, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the greatest of each group, -inf without rows, and rows less the greatest of theirs.

    The shift changes no result, so no gradient passes through it; where it is infinite there is
    none.
    """
    greatest = groups.extreme_values(x.detach(), "max")
    greatest = greatest.masked_fill((groups.sizes() == 0)[:, None], -torch.inf)
    shift = greatest.masked_fill(greatest.isinf(), 0)
    return greatest, x - groups.gather(shift)


def _check_floating(caller: str, src: Tensor) -> None:
    if isinstance(src, Tensor) and not src.is_floating_point():
        raise ValueError(
            f"{caller}: src must have a floating-point dtype, got "
            f"{str(src.dtype).removeprefix('torch.')}"
        )
