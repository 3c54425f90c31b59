"""Which way the CUDA kernels search for neighbours: all pairs or trees, by what was measured.

The numbers are of an H100; the crossovers that they come from stand in
``benchmarks/reports/nearest.md``. Segments count as equally long.
"""

from __future__ import annotations

import torch
from torch import Tensor

MAX_TREE_DIM = 3

BRUTE_FORCE_UP_TO = 240_000_000, 700
"""Pairs, and pairs a point, up to which the kernels for one neighbour in three dimensions are
faster than trees."""

LISTS_BY_BRUTE_FORCE = 0.1, 4.5e-7
LISTS_BY_TREE = 90.0, 0.004
"""Microseconds that other searches take: all pairs, a target of a query's segment while queries are
few and a pair when they are many; trees, a call and a query. For each 6 neighbours comparing all
pairs takes as long again."""


def has_pair_kernel(query: Tensor, target: Tensor) -> bool:
    """Whether the kernels for two clouds in three dimensions take these points."""
    return has_tree(query, target) and query.shape[1] == 3


def has_tree(query: Tensor, target: Tensor) -> bool:
    """Whether there are trees for these points."""
    rows = query.shape[0] + target.shape[0]
    return query.dtype is torch.float32 and query.shape[1] <= MAX_TREE_DIM and rows < 2**31 - 1


def wants_tree(query: Tensor, target: Tensor, offsets: Tensor | None) -> bool:
    """Whether trees find one nearest neighbour by squared distance faster."""
    n, m = query.shape[0], target.shape[0]
    pairs, pairs_a_point = BRUTE_FORCE_UP_TO
    return n * m // _segments(offsets) > pairs + pairs_a_point * (n + m)


def wants_tree_for_lists(query: Tensor, target: Tensor, offsets: Tensor | None, k: int) -> bool:
    """Whether trees find k neighbours, by either norm, faster."""
    few, many = LISTS_BY_BRUTE_FORCE
    call, each = LISTS_BY_TREE
    queries = query.shape[0]
    targets = target.shape[0] // _segments(offsets)
    by_brute_force = targets * max(few, many * queries) * (1 + k / 6)
    return by_brute_force > call + each * queries


def _segments(offsets: Tensor | None) -> int:
    return 1 if offsets is None else max(offsets.shape[0] - 1, 1)
