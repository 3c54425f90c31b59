"""Index arithmetic of packed sequences."""

from __future__ import annotations

import torch

from g2vlm_fast.model.packing import (
    gather_segments,
    interleave,
    lengths,
    offsets_of,
    offsets_of_ids,
    ordered_pairs,
    segment_ids,
    segment_mean,
)

OFFSETS = torch.tensor([0, 2, 2, 5], dtype=torch.int32)


def test_ids_and_offsets_are_inverse() -> None:
    ids = segment_ids(OFFSETS)
    assert ids.tolist() == [0, 0, 2, 2, 2]
    assert offsets_of_ids(ids, 3).tolist() == OFFSETS.tolist()
    assert offsets_of(lengths(OFFSETS)).tolist() == OFFSETS.tolist()
    assert offsets_of(lengths(OFFSETS)).dtype == torch.int32


def test_segments_are_gathered_in_the_order_and_as_often_as_asked() -> None:
    index, offsets = gather_segments(OFFSETS, torch.tensor([2, 0, 1, 2]))
    assert index.tolist() == [2, 3, 4, 0, 1, 2, 3, 4]
    assert offsets.tolist() == [0, 3, 5, 5, 8]


def test_interleaving_keeps_the_first_sequence_first_in_each_segment() -> None:
    second = torch.tensor([0, 1, 3, 3], dtype=torch.int32)
    order, offsets = interleave(OFFSETS, second)
    assert order.tolist() == [0, 1, 5, 6, 7, 2, 3, 4]
    assert offsets.tolist() == [0, 3, 5, 8]


def test_mean_of_an_empty_segment_is_zero() -> None:
    x = torch.arange(5.0)[:, None]
    assert segment_mean(x, OFFSETS)[:, 0].tolist() == [0.5, 0, 3]


def test_ordered_pairs_are_all_pairs_of_different_elements_of_a_segment() -> None:
    pairs, offsets = ordered_pairs(OFFSETS)
    wanted = [[0, 1], [1, 0], [2, 3], [2, 4], [3, 2], [3, 4], [4, 2], [4, 3]]
    assert pairs.tolist() == wanted
    assert offsets.tolist() == [0, 2, 2, 8]


def test_nothing_is_packed_as_nothing() -> None:
    none = torch.zeros(1, dtype=torch.int32)
    assert segment_ids(none).tolist() == []
    assert gather_segments(OFFSETS, torch.zeros(0, dtype=torch.long))[1].tolist() == [0]
