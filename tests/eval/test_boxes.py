"""Exact overlap of upright boxes against closed forms and sampling."""

from __future__ import annotations

import numpy as np
import pytest

from g2vlm_fast.eval.metrics.boxes import Boxes, box_iou, match_boxes


def boxes(*rows: tuple[float, ...]) -> Boxes:
    """Rows of x, y, z, width, depth, height, yaw in degrees."""
    table = np.array(rows, dtype=float).reshape(-1, 7)
    angle = np.radians(table[:, 6])
    rotation = np.zeros((len(table), 3, 3))
    rotation[:, 0, 0], rotation[:, 0, 1] = np.cos(angle), -np.sin(angle)
    rotation[:, 1, 0], rotation[:, 1, 1] = np.sin(angle), np.cos(angle)
    rotation[:, 2, 2] = 1
    return Boxes(table[:, :3], table[:, 3:6], rotation)


UNIT = boxes((0, 0, 0, 1, 1, 1, 0))


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ((0, 0, 0, 1, 1, 1, 0), 1.0),
        ((0, 0, 0, 1, 1, 1, 90), 1.0),
        ((0.5, 0, 0, 1, 1, 1, 0), 1 / 3),
        ((0.5, 0.5, 0.5, 1, 1, 1, 0), 1 / 15),
        ((0, 0, 0, 0.5, 0.5, 0.5, 0), 1 / 8),
        ((0, 0, 0, 1, 1, 1, 45), (2 * np.sqrt(2) - 2) / (4 - 2 * np.sqrt(2))),
        ((1, 0, 0, 1, 1, 1, 0), 0.0),
        ((0, 0, 3, 1, 1, 1, 0), 0.0),
        ((0, 0, 0, 0, 1, 1, 0), 0.0),
    ],
)
def test_iou_with_the_unit_cube(other: tuple[float, ...], expected: float) -> None:
    assert box_iou(UNIT, boxes(other))[0, 0] == pytest.approx(expected, abs=1e-9)


def test_iou_of_turned_boxes_agrees_with_sampling() -> None:
    generator = np.random.default_rng(0)
    rows = np.concatenate(
        [
            generator.uniform(-0.4, 0.4, (6, 3)),
            generator.uniform(0.4, 1.5, (6, 3)),
            generator.uniform(0, 360, (6, 1)),
        ],
        axis=1,
    )
    all_boxes = boxes(*map(tuple, rows))
    samples = generator.uniform(-1.7, 1.7, (400_000, 3))
    local = np.einsum("knj,kji->kni", samples[None] - all_boxes.center[:, None], all_boxes.rotation)
    inside = (np.abs(local) <= all_boxes.size[:, None] / 2).all(-1).astype(float)
    both = inside @ inside.T
    volume = inside.sum(1)
    sampled = both / (volume[:, None] + volume[None] - both)
    assert np.abs(box_iou(all_boxes, all_boxes) - sampled).max() < 0.02


def test_iou_does_not_depend_on_place_or_order() -> None:
    pair = boxes((0, 0, 0, 1, 2, 1, 20), (0.3, 0.2, 0.1, 1, 1, 1, 70))
    far = Boxes(pair.center + np.array([1e4, -1e4, 50]), pair.size, pair.rotation)
    iou = box_iou(pair, pair)
    assert iou == pytest.approx(iou.T)
    assert box_iou(far, far) == pytest.approx(iou, abs=1e-9)


def test_no_boxes_give_an_empty_table() -> None:
    assert box_iou(boxes(), UNIT).shape == (0, 1)


def test_matching_is_one_to_one_and_best_in_sum() -> None:
    iou = np.array([[0.9, 0.8], [0.8, 0.1], [0.0, 0.2]])
    assert sorted(match_boxes(iou)) == [(0, 1), (1, 0)]
    assert match_boxes(iou[2:], threshold=0.25) == []


def test_tilted_boxes_are_refused() -> None:
    tilted = np.array([[[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]])
    with pytest.raises(ValueError, match="vertical"):
        Boxes(np.zeros((1, 3)), np.ones((1, 3)), tilted)


@pytest.mark.parametrize(
    ("center", "size", "message"),
    [
        (np.zeros((1, 2)), np.ones((1, 3)), "center"),
        (np.zeros((1, 3)), -np.ones((1, 3)), "size"),
        (np.full((1, 3), np.nan), np.ones((1, 3)), "center"),
    ],
)
def test_bad_boxes_are_refused(center: np.ndarray, size: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Boxes(center, size, np.eye(3)[None])
