"""Poses by hand, against scipy's rotations, and with views that failed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from g2vlm_fast.eval.metrics.pose import (
    auc_by_histogram,
    auc_by_trapezoid,
    fit_similarity,
    relative_pose_errors,
    trajectory_errors,
)


def poses(count: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    table = np.tile(np.eye(4), (count, 1, 1))
    table[:, :3, :3] = Rotation.random(count, rng=generator).as_matrix()
    table[:, :3, 3] = generator.normal(size=(count, 3))
    return table


def moved(table: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """The same trajectory in another world."""
    world = poses(1, seed=9)[0]
    other = world @ table
    other[:, :3, 3] = scale * other[:, :3, 3]
    return other


def test_relative_errors_do_not_see_the_world_or_its_scale() -> None:
    truth = poses(5)
    assert relative_pose_errors(moved(truth, 3.0), truth) == pytest.approx(
        np.zeros((10, 2)), abs=1e-5
    )


def test_rotation_errors_agree_with_scipy() -> None:
    truth, said = poses(6), poses(6, seed=1)
    first, second = np.triu_indices(6, 1)
    rotation = [Rotation.from_matrix(each[:, :3, :3]) for each in (said, truth)]
    ours, theirs = ((each[first].inv() * each[second]) for each in rotation)
    expected = np.degrees((ours.inv() * theirs).magnitude())
    assert relative_pose_errors(said, truth)[:, 0] == pytest.approx(expected, abs=1e-6)


def test_the_sign_of_translation_is_folded() -> None:
    truth = np.tile(np.eye(4), (2, 1, 1))
    truth[1, :3, 3] = [1, 0, 0]
    for x, y, expected in ((-1.0, 0.0, 0.0), (0.0, 1.0, 90.0), (-1.0, 1.0, 45.0)):
        said = truth.copy()
        said[1, :3, 3] = [x, y, 0]
        assert relative_pose_errors(said, truth)[0, 1] == pytest.approx(expected, abs=1e-6)


def test_both_conventions_of_auc_by_hand() -> None:
    errors = np.array([[0.5, 0.2], [1.5, 0.1], [0.0, 4.0], [180.0, 180.0]])
    # Whole degrees 1, 2, 3: shares of 1/4, 2/4, 2/4.
    assert auc_by_histogram(errors, 3) == pytest.approx((1 + 2 + 2) / 12)
    # Recall runs from (0, 0) over (0.5, 1/4) to (1.5, 2/4) and stays to 3.
    area = 0.5 * 0.125 + 1.0 * 0.375 + 1.5 * 0.5
    assert auc_by_trapezoid(errors, 3) == pytest.approx(area / 3)


def test_perfect_poses_score_1_by_histogram_and_less_differ_by_convention() -> None:
    perfect = np.zeros((4, 2))
    assert auc_by_histogram(perfect, 30) == 1.0
    assert auc_by_trapezoid(perfect, 30) == pytest.approx(1.0)
    assert auc_by_histogram(np.full((1, 2), 5.0), 5) == 0.0
    generator = np.random.default_rng(0)
    errors = generator.uniform(0, 40, (500, 2))
    both = auc_by_histogram(errors, 30), auc_by_trapezoid(errors, 30)
    assert both[0] > both[1]
    exact = np.clip(30 - errors.max(1), 0, None).mean() / 30
    assert both[1] == pytest.approx(exact, abs=0.003)


def test_a_view_that_failed_fails_all_of_its_pairs_and_is_counted() -> None:
    truth = poses(4)
    said = truth.copy()
    said[2] = np.nan
    errors = relative_pose_errors(said, truth)
    assert (errors == 180).all(1).sum() == 3
    assert len(errors) == 6
    assert auc_by_histogram(errors, 30) == pytest.approx(0.5)


def test_trajectories_after_each_alignment() -> None:
    truth = poses(12)
    for alignment, scale in (("rigid", 1.0), ("similarity", 2.5)):
        errors = trajectory_errors(moved(truth, scale), truth, alignment=alignment)
        assert errors.ate == pytest.approx(0, abs=1e-9)
        assert errors.rpe_translation == pytest.approx(0, abs=1e-9)
        assert errors.rpe_rotation == pytest.approx(0, abs=1e-5)
        assert errors.scale == pytest.approx(1 / scale)
    assert trajectory_errors(moved(truth), truth, alignment="none").ate > 0.5
    assert trajectory_errors(moved(truth, 2.5), truth).ate > 0.5


def test_trajectory_errors_by_hand() -> None:
    truth = np.tile(np.eye(4), (3, 1, 1))
    truth[:, 0, 3] = [0, 1, 2]
    said = truth.copy()
    said[2, 0, 3] = 2.3
    errors = trajectory_errors(said, truth, alignment="none")
    assert errors.ate == pytest.approx(math.sqrt(0.09 / 3))
    assert errors.rpe_translation == pytest.approx(math.sqrt(0.09 / 2))
    assert errors.rpe_rotation == 0.0


def test_rigid_fits_agree_with_scipy_and_never_mirror() -> None:
    generator = np.random.default_rng(2)
    source, target = generator.normal(size=(2, 30, 3))
    scale, rotation, shift = fit_similarity(source, target, with_scale=False)
    expected, _ = Rotation.align_vectors(target - target.mean(0), source - source.mean(0))
    assert rotation == pytest.approx(expected.as_matrix(), abs=1e-6)
    assert scale == 1.0
    assert shift == pytest.approx(target.mean(0) - rotation @ source.mean(0))
    assert np.linalg.det(fit_similarity(source, source * [1, 1, -1])[1]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: relative_pose_errors(poses(2), poses(3)), "predicted must have shape"),
        (lambda: relative_pose_errors(poses(1), poses(1)), "at least two"),
        (lambda: relative_pose_errors(poses(2), poses(2) * np.nan), "truth must be finite"),
        (lambda: trajectory_errors(poses(3) * np.nan, poses(3)), "predicted must be finite"),
        (lambda: trajectory_errors(poses(3), poses(3), alignment="affine"), "alignment"),
        (lambda: trajectory_errors(poses(3), poses(3), step=3), "step"),
        (lambda: auc_by_histogram(np.zeros((0, 2)), 5), "at least one pair"),
        (lambda: auc_by_histogram(np.zeros((1, 2)), 2.5), "whole degrees"),
        (lambda: auc_by_trapezoid(np.zeros((1, 2)), -1), "thresholds"),
        (lambda: fit_similarity(np.zeros((0, 3)), np.zeros((0, 3))), "at least one"),
    ],
)
def test_bad_poses_are_refused(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        call()
