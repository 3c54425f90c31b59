"""FLOP formulas, as torch's counter sees them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from g2vlm_fast.ops import nearest, register_flop_formulas, use_backend
from g2vlm_fast.ops._chamfer_loss import chamfer_loss

WITHOUT_FLOPS = {
    "graph_transpose": "sorts integers",
    "index_members": "numbers groups: integers",
    "nearest_index_build": "sorts points and bounds boxes: comparisons",
    "nearest_index_refit": "bounds boxes: comparisons",
    "segment_offsets": "checks and moves integers",
    "sorted_positions": "sorts integers",
}
"""Ops that have no formula, and why."""


def test_every_op_has_a_formula_or_a_reason_for_none() -> None:
    register_flop_formulas()
    names = {
        name.removeprefix("g2vlm::")
        for name in torch._C._dispatch_get_all_op_names()
        if name.startswith("g2vlm::")
    }
    counted = {name for name in names if getattr(torch.ops.g2vlm, name) in flop_registry}
    assert counted | WITHOUT_FLOPS.keys() == names
    assert not counted & WITHOUT_FLOPS.keys()


def test_nearest_counts_all_pairs_and_both_gradients() -> None:
    register_flop_formulas()
    register_flop_formulas()
    query, target = torch.rand(10, 3, requires_grad=True), torch.rand(20, 3)
    with FlopCounterMode(display=False) as counter:
        distance, _ = nearest(query, target, k=2)
        forward = counter.get_total_flops()
        distance.sum().backward()
    assert forward == 3 * 3 * 10 * 20
    assert counter.get_total_flops() - forward == 4 * 10 * 2 * 3


def test_nearest_counts_pairs_within_segments() -> None:
    register_flop_formulas()
    ends = torch.tensor([0, 5, 10], dtype=torch.int32)
    query = torch.rand(10, 3)
    with FlopCounterMode(display=False) as counter:
        nearest(query, query, query_offsets=ends, target_offsets=ends)
    assert counter.get_total_flops() == 3 * 3 * 10 * 5


def _count_chamfer_loss(*weights: Tensor | None, **options: Any) -> dict[Any, int]:
    register_flop_formulas()
    distances = [torch.rand(10, requires_grad=True), torch.rand(20)][: len(weights)]
    options = {"squared": True, "robust": None, "scale": None, "mean": True, **options}
    both = (weights[0], weights[1] if len(weights) == 2 else None)
    with use_backend("reference"), FlopCounterMode(display=False) as counter:
        chamfer_loss(distances, both, (None, None), 20, **options).backward()
    return counter.get_flop_counts()["Global"]


def test_the_chamfer_loss_counts_penalties_weights_and_sums() -> None:
    counts = _count_chamfer_loss(torch.rand(10), None, squared=False)
    assert counts[torch.ops.g2vlm.chamfer_loss] == 10 * (1 + 1 + 2) + 20 * (1 + 1)
    gradients = 10 * (2 + 1 + 1 + 1 + 2) + 20 * (2 + 1)
    assert counts[torch.ops.g2vlm.chamfer_loss_backward] == gradients


def test_a_robust_one_sided_chamfer_loss_counts_its_penalty() -> None:
    counts = _count_chamfer_loss(None, robust="huber", scale=0.5, mean=False)
    assert counts[torch.ops.g2vlm.chamfer_loss] == 10 * (4 + 1)
    assert counts[torch.ops.g2vlm.chamfer_loss_backward] == 10 * (3 + 1)
