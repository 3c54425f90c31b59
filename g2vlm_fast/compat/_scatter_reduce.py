"""Reductions of a plan's groups, with or without a destination that they are merged into."""

from __future__ import annotations

import torch
from torch import Tensor

from g2vlm_fast.compat._scatter_groups import Groups
from g2vlm_fast.compat._scatter_plan import Plan

_HALVES = (torch.float16, torch.bfloat16)


def widened(x: Tensor, always: bool = False) -> Tensor:
    """Return half precision as float32 where no kernel takes it, to be rounded once at the end."""
    return x.float() if x.dtype in _HALVES and (always or x.is_cpu) else x


def reduce_groups(groups: Groups, x: Tensor, reduce: str) -> Tensor:
    """Return one row a group."""
    if reduce in ("min", "max"):
        return groups.extreme_values(x, reduce)
    reductions = {"sum": groups.sum, "mean": groups.mean, "mul": groups.product}
    return reductions[reduce](x)


def reduce_into(plan: Plan, src: Tensor, out: Tensor | None, reduce: str) -> Tensor:
    """Return the groups' reductions, merged into ``out`` where it is given."""
    x = plan.rows(widened(src, always=out is not None or reduce == "mul"))
    if out is None:
        return plan.unrows(reduce_groups(plan.groups, x, reduce)).to(src.dtype)
    if reduce in ("min", "max"):
        return extreme_into(plan, src, out, reduce)[0]
    before = plan.rows(out.clone()).to(x.dtype)
    if reduce == "mul":
        return out.copy_(plan.unrows(before * plan.groups.product(x)))
    merged = before + plan.groups.sum(x)
    if reduce == "mean":
        sizes = plan.groups.sizes().clamp_min(1)[:, None]
        rounding = None if x.is_floating_point() else "floor"
        merged = merged.div(sizes, rounding_mode=rounding)
    return out.copy_(plan.unrows(merged))


def extreme_into(plan: Plan, src: Tensor, out: Tensor | None, reduce: str) -> tuple[Tensor, Tensor]:
    """Return extremes of the groups and where along the axis they lie, merged into ``out``."""
    values, position = plan.groups.extreme(plan.rows(widened(src)), reduce)
    if out is None:
        return plan.unrows(values).to(src.dtype), plan.places(position)
    before = plan.rows(out.clone()).to(values.dtype)
    leads = values > before if reduce == "max" else values < before
    leads = leads | (values.isnan() & ~before.isnan())
    past = plan.groups.positions
    leads = leads & (position != past)
    merged = torch.where(leads, values, before)
    places = plan.places(torch.where(leads, position, past))
    return out.copy_(plan.unrows(merged)), places
