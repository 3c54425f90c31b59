"""Voxels by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

from g2vlm_fast.eval.metrics.occupancy import occupancy_counts, semantic_occupancy_counts


def test_unknown_voxels_are_never_scored() -> None:
    truth = np.array([1, 1, 0, 0, -1, -1])
    counts = occupancy_counts(np.array([True, False, True, False, True, False]), truth)
    assert counts.iou.tolist() == [1 / 3]
    other = occupancy_counts(np.array([True, False, True, False, False, True]), truth)
    assert other.iou.tolist() == counts.iou.tolist()


def test_iou_by_class_agrees_with_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the oracle")
    generator = np.random.default_rng(0)
    truth, said = generator.integers(0, 5, (2, 4, 5, 6))
    counts = semantic_occupancy_counts(said, truth, 4)
    expected = metrics.jaccard_score(truth.ravel(), said.ravel(), labels=[1, 2, 3, 4], average=None)
    assert counts.iou == pytest.approx(expected)
    assert counts.mean_iou == pytest.approx(expected.mean())


def test_counts_add_over_scenes_and_absent_classes_do_not_count() -> None:
    first = semantic_occupancy_counts(np.array([1, 0]), np.array([1, 1]), 3)
    second = semantic_occupancy_counts(np.array([2, 0]), np.array([0, 0]), 3)
    assert first.mean_iou == 0.5
    both = first + second
    assert both.iou[:2].tolist() == [0.5, 0.0]
    assert np.isnan(both.iou[2])
    assert both.mean_iou == 0.25


def test_predicting_nothing_scores_nothing_and_empty_grids_are_undefined() -> None:
    assert occupancy_counts(np.zeros(4, bool), np.array([1, 1, 0, -1])).iou[0] == 0.0
    assert np.isnan(occupancy_counts(np.zeros(0, bool), np.zeros(0, int)).mean_iou)


@pytest.mark.parametrize(
    ("predicted", "truth", "message"),
    [
        (np.array([0.2, np.nan]), np.array([0, 1]), "bool"),
        (np.array([True]), np.array([0, 1]), "one shape"),
        (np.array([True]), np.array([2]), "-1 to 1"),
        (np.array([True]), np.array([0.5]), "integers"),
    ],
)
def test_bad_voxels_are_refused(predicted: np.ndarray, truth: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        occupancy_counts(predicted, truth)


def test_a_prediction_must_name_a_class() -> None:
    with pytest.raises(ValueError, match="every voxel"):
        semantic_occupancy_counts(np.array([-1]), np.array([0]), 3)
