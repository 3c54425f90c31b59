"""Referring expressions by hand, by brute force, and with answers missing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from g2vlm_fast.eval.metrics.boxes import Boxes, box_iou
from g2vlm_fast.eval.metrics.localisation import (
    localisation_accuracy,
    multi_reference_f1,
    several_boxes_f1,
)


def boxes(*centers: float, size: float = 1.0) -> Boxes:
    """Upright cubes along the x axis."""
    middle = np.zeros((len(centers), 3))
    middle[:, 0] = centers
    return Boxes(middle, np.full_like(middle, size), np.tile(np.eye(3), (len(centers), 1, 1)))


def test_an_overlap_equal_to_the_threshold_counts() -> None:
    found = localisation_accuracy([0.25, 0.2499999, 0.5, 1.0])
    assert found.accuracy == {0.25: 0.75, 0.5: 0.5}
    half = Boxes(np.zeros((1, 3)), np.array([[0.5, 1, 1]]), np.eye(3)[None])
    assert localisation_accuracy([box_iou(boxes(0.0), half)[0, 0]]).accuracy[0.5] == 1.0


def test_groups_are_scored_apart_and_keep_their_counts() -> None:
    found = localisation_accuracy([1.0, 0.0, 0.3], groups=["unique", "multiple", "multiple"])
    assert found.by_group == {"multiple": {0.25: 0.5, 0.5: 0.0}, "unique": {0.25: 1.0, 0.5: 1.0}}
    assert found.texts == {"multiple": 2, "unique": 1}


def test_a_text_without_a_box_fails_and_is_counted() -> None:
    found = localisation_accuracy([1.0, np.nan])
    assert found.accuracy[0.25] == 0.5
    assert found.texts == {"all": 2}


@pytest.mark.parametrize(
    ("iou", "groups", "message"),
    [
        ([], None, "at least one"),
        ([1.2], None, r"\[0, 1\]"),
        ([-0.1], None, r"\[0, 1\]"),
        ([0.1, 0.2], ["a"], "a group for each"),
        ([[0.1]], None, "shape"),
    ],
)
def test_bad_overlaps_are_refused(iou: list, groups: list | None, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(ValueError, match=message):
        localisation_accuracy(iou, groups=groups)


@pytest.mark.parametrize(
    ("predicted", "truth", "expected"),
    [
        (boxes(), boxes(), 1.0),
        (boxes(0.0), boxes(), 0.0),
        (boxes(), boxes(0.0), 0.0),
        (boxes(0.0), boxes(0.0), 1.0),
        (boxes(0.0, 5.0), boxes(0.0), 2 / 3),
        (boxes(0.0, 0.0), boxes(0.0), 2 / 3),
        (boxes(0.0), boxes(0.0, 5.0), 2 / 3),
    ],
)
def test_f1_of_several_boxes_by_hand(predicted: Boxes, truth: Boxes, expected: float) -> None:
    assert several_boxes_f1(predicted, truth) == pytest.approx(expected)


def test_the_most_pairs_are_matched() -> None:
    generator = np.random.default_rng(0)
    for _ in range(40):
        ours, theirs = boxes(*generator.uniform(0, 3, 4)), boxes(*generator.uniform(0, 3, 4))
        close = box_iou(ours, theirs) >= 0.25
        most = max(
            sum(close[i, j] for i, j in enumerate(order))
            for order in itertools.permutations(range(4))
        )
        assert several_boxes_f1(ours, theirs, threshold=0.25) == pytest.approx(2 * most / 8)


def test_missing_extra_and_repeated_texts_are_refused() -> None:
    one = {"a": boxes(0.0)}
    assert multi_reference_f1(one, one).tolist() == [1.0]
    with pytest.raises(ValueError, match=r"1 of 2 ids have no prediction.*'b'"):
        multi_reference_f1(one, {**one, "b": boxes()})
    with pytest.raises(ValueError, match=r"unknown ids.*'b'"):
        multi_reference_f1({**one, "b": boxes()}, one)
