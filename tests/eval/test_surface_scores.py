"""Everything about a pair of surfaces: cross-checks with scipy, Open3D and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from g2vlm_fast.eval.metrics.surface import surface_distances, surface_scores

NOTHING = torch.zeros(0, 3)


def unit(points: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(points, dim=-1)


@pytest.fixture
def pair(generator: torch.Generator) -> tuple[torch.Tensor, ...]:
    draw = torch.randn(4, 900, 3, generator=generator, dtype=torch.float64)
    return draw[0, :700], draw[1], unit(draw[2, :700]), unit(draw[3])


def test_every_score_agrees_with_a_k_d_tree(pair: tuple[torch.Tensor, ...]) -> None:
    predicted, truth, predicted_normals, truth_normals = (each.numpy() for each in pair)
    there, forward = cKDTree(truth).query(predicted)
    back, backward = cKDTree(predicted).query(truth)
    scores = surface_scores(*pair, thresholds=(0.1, 0.3))
    assert scores.accuracy == pytest.approx(there.mean(), rel=1e-12)
    assert scores.completeness == pytest.approx(back.mean(), rel=1e-12)
    assert scores.accuracy_median == pytest.approx(np.median(there), rel=1e-12)
    assert scores.completeness_median == pytest.approx(np.median(back), rel=1e-12)
    assert scores.chamfer_sum == pytest.approx(there.mean() + back.mean(), rel=1e-12)
    assert scores.chamfer_l1 == pytest.approx((there.mean() + back.mean()) / 2, rel=1e-12)
    squares = (there**2).mean() + (back**2).mean()
    assert scores.chamfer_squared == pytest.approx(squares, rel=1e-12)
    for radius in (0.1, 0.3):
        precision, recall = (there < radius).mean(), (back < radius).mean()
        expected = 2 * precision * recall / (precision + recall)
        assert scores.f_score[radius] == pytest.approx(expected, rel=1e-12)
    dots = np.abs((predicted_normals * truth_normals[forward]).sum(1)).mean()
    dots_back = np.abs((truth_normals * predicted_normals[backward]).sum(1)).mean()
    assert scores.normal_consistency == pytest.approx((dots + dots_back) / 2, rel=1e-12)


def test_chamfer_and_f_score_agree_with_open3d(pair: tuple[torch.Tensor, ...]) -> None:
    open3d = pytest.importorskip("open3d", reason="Open3D is the oracle of these two scores")
    geometry = open3d.t.geometry
    clouds = [
        geometry.PointCloud(open3d.core.Tensor.from_numpy(each.float().numpy()))
        for each in pair[:2]
    ]
    wanted = [geometry.Metric.ChamferDistance, geometry.Metric.FScore]
    parameters = geometry.MetricParameters(fscore_radius=[0.1, 0.3])
    theirs = clouds[0].compute_metrics(clouds[1], wanted, parameters).numpy()
    ours = surface_scores(*pair, thresholds=(0.1, 0.3))
    assert ours.chamfer_sum == pytest.approx(theirs[0], rel=1e-5)
    assert [100 * ours.f_score[0.1], 100 * ours.f_score[0.3]] == pytest.approx(theirs[1:], rel=1e-5)


def test_the_three_chamfer_distances_differ_as_their_names_say() -> None:
    scores = surface_scores(torch.tensor([[0.0, 0, 0]]), torch.tensor([[0.0, 0, 3]]))
    assert (scores.chamfer_l1, scores.chamfer_sum, scores.chamfer_squared) == (3.0, 6.0, 18.0)


def test_the_median_of_an_even_number_is_the_middle_of_two() -> None:
    line = torch.tensor([[0.0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 0, 10]])
    assert surface_distances(line, line[:1]).accuracy_median == 1.5
    assert surface_distances(line[:3], line[:1]).accuracy_median == 1.0


def test_a_distance_equal_to_the_threshold_does_not_count() -> None:
    scores = surface_scores(torch.zeros(1, 3), torch.tensor([[0.5, 0, 0]]), thresholds=(0.5, 0.51))
    assert scores.f_score == {0.5: 0.0, 0.51: 1.0}


def test_predicting_nothing_fails_and_is_counted() -> None:
    truth = torch.rand(5, 3)
    scores = surface_scores(NOTHING, truth, NOTHING, unit(truth))
    assert math.isinf(scores.chamfer_l1)
    assert math.isinf(scores.completeness_median)
    assert set(scores.f_score.values()) == {0.0}
    assert scores.normal_consistency == 0.0
    capped = surface_distances(NOTHING, truth).capped(2.0)
    assert (capped.accuracy, capped.completeness, capped.chamfer_l1) == (2.0, 2.0, 2.0)
    assert capped.f_score(0.05) == 0.0


def test_capping_leaves_smaller_distances_alone() -> None:
    distances = surface_distances(torch.tensor([[0.0, 0, 0], [9, 0, 0]]), torch.zeros(1, 3))
    assert distances.capped(3.0).accuracy == 1.5
    assert distances.capped(10.0).accuracy == distances.accuracy == 4.5


def test_swapping_the_clouds_swaps_accuracy_and_completeness(
    pair: tuple[torch.Tensor, ...],
) -> None:
    there, back = surface_scores(*pair[:2]), surface_scores(pair[1], pair[0])
    assert there.accuracy == back.completeness
    assert there.f_score == pytest.approx(back.f_score)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((NOTHING, NOTHING), "truth is empty"),
        ((torch.full((2, 3), torch.nan), torch.rand(2, 3)), "predicted has coordinates"),
        ((torch.rand(2, 3), torch.full((2, 3), torch.inf)), "truth has coordinates"),
        ((torch.rand(2, 2), torch.rand(2, 3)), r"predicted must have shape"),
        ((torch.rand(2, 3), torch.rand(2, 3), torch.rand(2, 3)), "of both point sets"),
        ((torch.rand(2, 3),) * 2 + (torch.zeros(2, 3),) * 2, "unit length"),
        ((torch.rand(2, 3),) * 2 + (torch.full((2, 3), torch.nan),) * 2, "unit length"),
        ((torch.rand(2, 3),) * 2 + (torch.eye(3),) * 2, "must have shape"),
    ],
)
def test_bad_surfaces_are_refused(arguments: tuple[torch.Tensor, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        surface_scores(*arguments)


@pytest.mark.parametrize("threshold", [0.0, -1.0, math.nan, math.inf])
def test_bad_thresholds_are_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="thresholds"):
        surface_scores(torch.rand(2, 3), torch.rand(2, 3), thresholds=(threshold,))
