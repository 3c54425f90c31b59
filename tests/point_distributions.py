"""Distributions of points that searches go wrong on, as changes of normal ones ``[N, 3]``."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

DISTRIBUTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "plain": lambda x: x,
    "grid": lambda x: (4 * x).round() / 4,
    "all_identical": torch.zeros_like,
    "a_million_away": lambda x: x + 1e6,
    "denormal": lambda x: x * 1e-39,
    "overflowing": lambda x: x * 1e38,
    "many_huge_outliers": lambda x: torch.where(x[:, :1] > 2, x * 1e25, x),
    "mixed_scales": lambda x: x * torch.exp2((40 * x[:, :1].sin()).round()),
    "half_unknown": lambda x: torch.where(x[:, :1] > 0, torch.nan, x),
    "one_axis_unknown": lambda x: torch.stack([x[:, 0], x[:, 1], x[:, 2] * torch.nan], 1),
    "infinite": lambda x: torch.where(x > 1, torch.inf, x),
}
