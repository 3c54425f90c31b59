"""Depth and normal errors by hand, against scikit-learn and torchmetrics, and when missing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from g2vlm_fast.eval.metrics.depth import ALIGNMENTS, depth_sums
from g2vlm_fast.eval.metrics.normals import normal_errors


def test_every_error_by_hand() -> None:
    sums = depth_sums([1.1, 3.0], [1.0, 2.0])
    assert sums.abs_rel == pytest.approx((0.1 + 0.5) / 2)
    assert sums.sq_rel == pytest.approx((0.01 + 0.5) / 2)
    assert sums.rmse == pytest.approx(math.sqrt((0.01 + 1) / 2))
    logs = [math.log(1.1), math.log(1.5)]
    assert sums.log_rmse == pytest.approx(math.sqrt((logs[0] ** 2 + logs[1] ** 2) / 2))
    assert sums.silog == pytest.approx(100 * abs(logs[0] - logs[1]) / 2)
    assert [sums.delta(k) for k in (1, 2, 3)] == [0.5, 1.0, 1.0]


def test_errors_agree_with_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the oracle")
    generator = np.random.default_rng(0)
    truth = generator.uniform(0.5, 6, 500)
    said = truth * generator.lognormal(0, 0.2, 500)
    sums = depth_sums(said, truth)
    assert sums.abs_rel == pytest.approx(metrics.mean_absolute_percentage_error(truth, said))
    assert sums.rmse == pytest.approx(metrics.root_mean_squared_error(truth, said))
    logs = (np.log(truth), np.log(said))
    assert sums.log_rmse == pytest.approx(metrics.root_mean_squared_error(*logs))
    assert sums.silog == pytest.approx(100 * np.std(logs[1] - logs[0]))


def test_alignments_undo_what_they_stand_for_and_nothing_else() -> None:
    truth = np.array([1.0, 2.0, 3.0, 5.0])
    for alignment, said, expected in (
        ("none", truth * 2, 1.0),
        ("median", truth * 2, 0.0),
        ("least squares", truth * 2 + 3, 0.0),
    ):
        sums = depth_sums(said, truth, alignment=alignment)
        assert sums.abs_rel == pytest.approx(expected, abs=1e-12)
        assert sums.alignment == alignment
    assert depth_sums(truth * 2 + 3, truth, alignment="median").abs_rel > 0.1


def test_scale_and_shift_agree_with_scipy() -> None:
    from scipy.stats import linregress

    generator = np.random.default_rng(1)
    truth = generator.uniform(1, 4, 60)
    said = 0.5 * truth + 2 + 0.1 * generator.normal(size=60)
    line = linregress(said, truth)
    expected = np.mean((line.slope * said + line.intercept - truth) ** 2)
    assert depth_sums(said, truth, alignment="least squares").rmse == pytest.approx(expected**0.5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0, 0.0])
@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_a_missing_prediction_is_a_failure_that_is_counted(bad: float, alignment: str) -> None:
    truth = np.array([1.0, 2.0, 4.0, 3.0])
    sums = depth_sums([1.0, 2.0, 4.0, bad], truth, alignment=alignment)
    assert (sums.pixels, sums.missing) == (4, 1)
    assert sums.abs_rel == pytest.approx(1 / 4)
    assert sums.delta(3) == 3 / 4
    assert math.isinf(sums.log_rmse)
    assert math.isinf(sums.silog)


def test_pixels_without_truth_do_not_count_and_sums_add_over_scenes() -> None:
    first = depth_sums([1.0, 9.0], [1.0, 0.0])
    second = depth_sums([2.0, 2.0, 5.0], [1.0, 1.0, np.nan])
    assert (first + second).pixels == 3
    assert (first + second).abs_rel == pytest.approx(2 / 3)
    assert math.isnan(depth_sums([1.0], [0.0]).rmse)


def test_errors_under_different_alignments_do_not_add() -> None:
    with pytest.raises(ValueError, match="report them apart"):
        depth_sums([1.0], [1.0]) + depth_sums([1.0], [1.0], alignment="median")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(([1.0], [1.0, 2.0], "none"), "one shape"), (([1.0], [1.0], "mean"), "alignment")],
)
def test_bad_depth_is_refused(arguments: tuple, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(ValueError, match=message):
        depth_sums(*arguments[:2], alignment=arguments[2])


def test_normal_errors_by_hand() -> None:
    truth = np.array([[0.0, 0, 1]] * 4 + [[0.0, 0, 0]])
    said = np.array([[0.0, 0, 3], [1, 0, 1], [np.nan, 0, 1], [0, 0, 0], [1, 0, 0]])
    errors = normal_errors(said, truth)
    assert (errors.pixels, errors.missing) == (4, 2)
    assert errors.mean == pytest.approx((0 + 45 + 90 + 90) / 4)
    assert errors.median == pytest.approx(67.5)
    assert errors.rmse == pytest.approx(math.sqrt((45**2 + 2 * 90**2) / 4))
    assert errors.within == (0.25, 0.25, 0.25)


def test_angles_agree_with_scipy_rotations() -> None:
    from scipy.spatial.transform import Rotation

    angles = np.array([0.001, 5.0, 12.0, 25.0, 60.0])
    truth = np.tile([0.0, 0.6, 0.8], (5, 1))
    said = Rotation.from_rotvec(np.outer(angles, [1.0, 0, 0]), degrees=True).apply(truth)
    errors = normal_errors(said, truth)
    assert errors.mean == pytest.approx(angles.mean())
    assert errors.within == (0.4, 0.6, 0.8)


def test_normals_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="predicted must have shape"):
        normal_errors(np.zeros((2, 3)), np.ones((3, 3)))
    with pytest.raises(ValueError, match="truth must be finite"):
        normal_errors(np.ones((1, 3)), np.full((1, 3), np.nan))
    assert math.isnan(normal_errors(np.zeros((0, 3)), np.zeros((0, 3))).mean)
