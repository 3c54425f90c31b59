"""FLOP formulas, as torch's counter sees them."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from g2vlm_fast.ops import nearest, register_flop_formulas


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
