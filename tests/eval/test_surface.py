"""Surface and pixel metrics against values by hand and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from g2vlm_fast.eval.metrics.pixels import absolute_relative_error, angle_degrees, within_ratio
from g2vlm_fast.eval.metrics.surface import (
    SurfaceDistances,
    normal_consistency,
    surface_distances,
)

LINE = torch.tensor([[0.0, 0, 0], [1, 0, 0]])


def test_every_chamfer_by_hand() -> None:
    distances = surface_distances(LINE, torch.tensor([[0.0, 0, 0], [1, 0, 0.2], [4, 0, 0]]))
    accuracy, completeness = 0.1, (0 + 0.2 + 3) / 3
    assert distances.accuracy == pytest.approx(accuracy)
    assert distances.completeness == pytest.approx(completeness)
    assert distances.chamfer_sum == pytest.approx(accuracy + completeness)
    assert distances.chamfer_l1 == pytest.approx((accuracy + completeness) / 2)
    assert distances.chamfer_squared == pytest.approx(0.04 / 2 + (0.04 + 9) / 3)


def test_f_score_by_hand() -> None:
    distances = surface_distances(LINE, torch.tensor([[0.0, 0, 0], [1, 0, 0.2], [4, 0, 0]]))
    precision, recall = 1 / 2, 1 / 3
    assert distances.f_score(0.05) == pytest.approx(2 * precision * recall / (precision + recall))
    assert distances.f_score(10.0) == 1.0
    assert surface_distances(LINE, LINE + 5).f_score(0.05) == 0.0


def test_distances_agree_with_scipy(generator: torch.Generator) -> None:
    left = torch.rand(500, 3, generator=generator)
    right = torch.rand(700, 3, generator=generator)
    distances = surface_distances(left, right)
    oracle = cKDTree(right.numpy()).query(left.numpy())[0]
    assert np.allclose(distances.to_truth.numpy(), oracle, atol=1e-6)
    oracle = cKDTree(left.numpy()).query(right.numpy())[0]
    assert np.allclose(distances.to_prediction.numpy(), oracle, atol=1e-6)


def test_predicting_nothing_is_infinitely_incomplete() -> None:
    distances = surface_distances(torch.zeros(0, 3), LINE)
    assert math.isinf(distances.completeness)
    assert math.isinf(distances.chamfer_l1)
    assert math.isinf(distances.chamfer_squared)
    assert distances.f_score() == 0.0


def test_means_are_the_same_to_the_last_bit_for_any_number_of_threads(
    generator: torch.Generator,
) -> None:
    before = torch.get_num_threads()
    found = set()
    try:
        values = torch.rand(200_000, generator=generator, dtype=torch.float64)
        nothing = torch.zeros(0, dtype=torch.int32)
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            distances = SurfaceDistances(values, values[:80_000], nothing, nothing)
            found.add((distances.accuracy, distances.completeness, distances.chamfer_squared))
    finally:
        torch.set_num_threads(before)
    assert len(found) == 1


def test_no_truth_is_an_error() -> None:
    with pytest.raises(ValueError, match="truth is empty"):
        surface_distances(LINE, torch.zeros(0, 3))


def test_coordinates_that_are_not_finite_are_an_error() -> None:
    with pytest.raises(ValueError, match="predicted"):
        surface_distances(torch.full((1, 3), torch.nan), LINE)


def test_normal_consistency_ignores_orientation() -> None:
    up = torch.tensor([[0.0, 0, 1], [0, 0, 1]])
    assert normal_consistency(LINE, up, LINE, -up) == 1.0
    slanted = torch.tensor([[0.0, 0, 1], [0, 1, 0]])
    assert normal_consistency(LINE, slanted, LINE, up) == pytest.approx(0.5)


def test_depth_errors_by_hand() -> None:
    predicted, truth = torch.tensor([1.1, 3.0, 0.0]), torch.tensor([1.0, 2.0, 1.0])
    assert absolute_relative_error(predicted, truth).tolist() == pytest.approx([0.1, 0.5, 1.0])
    assert within_ratio(predicted, truth).tolist() == [True, False, False]


def test_angles_by_hand_and_when_tiny() -> None:
    truth = torch.tensor([[0.0, 0, 1]]).expand(4, 3)
    tiny = 1e-6
    predicted = torch.tensor([[0.0, 0, 2], [1, 0, 1], [0, 0, 0], [tiny, 0, 1]])
    expected = [0.0, 45.0, 90.0, math.degrees(tiny)]
    assert angle_degrees(predicted, truth).tolist() == pytest.approx(expected, rel=1e-6)
