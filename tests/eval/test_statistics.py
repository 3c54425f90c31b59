"""Intervals and tests over scenes, against scipy, closed forms and brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from g2vlm_fast.eval.statistics import (
    cluster_bootstrap,
    difference_of_ratios,
    holm,
    ratio_of_sums,
    sign_flip_test,
    swap_test,
    wilson_interval,
)


def means(values: np.ndarray) -> np.ndarray:
    return np.stack([values, np.ones_like(values)], axis=1)


@pytest.fixture
def skewed() -> np.ndarray:
    return np.random.default_rng(3).exponential(size=40)


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_interval_of_a_mean_agrees_with_scipy(skewed: np.ndarray, method: str) -> None:
    ours = cluster_bootstrap(means(skewed), method=method)
    oracle = stats.bootstrap((skewed,), np.mean, n_resamples=20_000, method=method, rng=0)
    width = oracle.confidence_interval.high - oracle.confidence_interval.low
    assert ours.method == method
    assert abs(ours.low - oracle.confidence_interval.low) < 0.03 * width
    assert abs(ours.high - oracle.confidence_interval.high) < 0.03 * width


def test_scenes_with_more_items_weigh_more_than_a_mean_of_scene_means() -> None:
    sums = np.array([[9.0, 10.0], [0.0, 1.0]])
    assert ratio_of_sums(sums.sum(0)) == pytest.approx(9 / 11)


def test_items_that_agree_within_a_scene_do_not_narrow_the_interval() -> None:
    generator = np.random.default_rng(0)
    scene_rate = generator.integers(0, 2, 30).astype(float)
    single = cluster_bootstrap(means(scene_rate), method="percentile")
    repeated = cluster_bootstrap(50 * means(scene_rate), method="percentile")
    assert single == repeated


def test_same_seed_same_interval_other_seed_another(skewed: np.ndarray) -> None:
    table = means(skewed)
    assert cluster_bootstrap(table, seed=1) == cluster_bootstrap(table, seed=1)
    assert cluster_bootstrap(table, seed=1) != cluster_bootstrap(table, seed=2)


def test_bca_of_constant_scenes_falls_back_by_name() -> None:
    interval = cluster_bootstrap(means(np.full(10, 0.5)))
    assert interval.method == "percentile (BCa undefined)"
    assert interval.low == interval.high == 0.5


def test_one_scene_has_no_interval() -> None:
    interval = cluster_bootstrap([[1.0, 2.0]])
    assert interval.method == "undefined"
    assert np.isnan(interval.low)


def test_scenes_without_items_do_not_count() -> None:
    table = means(np.random.default_rng(0).normal(size=20))
    padded = np.concatenate([table, np.zeros((20, 2))])
    interval = cluster_bootstrap(padded)
    assert interval.low < ratio_of_sums(padded.sum(0)) < interval.high
    assert ratio_of_sums(padded.sum(0)) == ratio_of_sums(table.sum(0))


def test_pairing_removes_what_scenes_share() -> None:
    generator = np.random.default_rng(0)
    difficulty = generator.normal(size=50) * 10
    ours = difficulty + 0.1 + 0.01 * generator.normal(size=50)
    paired = np.concatenate([means(ours), means(difficulty)], axis=1)
    interval = cluster_bootstrap(paired, difference_of_ratios)
    assert 0 < interval.low < 0.1 < interval.high < 0.2


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        interval = cluster_bootstrap(means(generator.exponential(size=50)), resamples=2000)
        covered += interval.low <= 1.0 <= interval.high
    assert 0.91 <= covered / 400 <= 0.98


def test_large_scene_counts_are_drawn_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    table = means(np.random.default_rng(0).normal(size=30))
    whole = cluster_bootstrap(table, resamples=500)
    monkeypatch.setattr("g2vlm_fast.eval.statistics_bootstrap.MAX_DRAWS", 64)
    blocked = cluster_bootstrap(table, resamples=500)
    assert (blocked.low, blocked.high) == pytest.approx((whole.low, whole.high), rel=1e-12)


def test_a_wilson_interval_holds_the_rate_to_its_last_bit() -> None:
    for trials in range(1, 400):
        assert wilson_interval(0, trials).low == 0.0
        assert wilson_interval(trials, trials).high == 1.0


@pytest.mark.parametrize(("successes", "trials"), [(0, 50), (50, 50), (7, 20)])
def test_wilson_agrees_with_scipy(successes: int, trials: int) -> None:
    oracle = stats.binomtest(successes, trials).proportion_ci(method="wilson")
    ours = wilson_interval(successes, trials)
    assert (ours.low, ours.high) == pytest.approx((oracle.low, oracle.high))


@pytest.mark.parametrize("alternative", ["greater", "less", "two-sided"])
def test_few_scenes_are_tested_over_every_sign_pattern(alternative: str) -> None:
    values = np.random.default_rng(1).normal(0.4, 1, size=8)
    sums = np.array([np.dot(signs, values) for signs in itertools.product([1, -1], repeat=8)])
    expected = {
        "greater": np.mean(sums >= values.sum() - 1e-9),
        "less": np.mean(sums <= values.sum() + 1e-9),
        "two-sided": np.mean(np.abs(sums) >= abs(values.sum()) - 1e-9),
    }[alternative]
    assert sign_flip_test(values, alternative=alternative) == pytest.approx(expected)


def test_many_scenes_agree_with_scipy() -> None:
    values = np.random.default_rng(1).normal(0.25, 1, size=40)
    oracle = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", alternative="greater", rng=0
    )
    assert sign_flip_test(values) == pytest.approx(oracle.pvalue, abs=0.01)


@pytest.mark.parametrize("scenes", [8, 40])
def test_swapping_scenes_that_weigh_alike_is_flipping_signs(scenes: int) -> None:
    generator = np.random.default_rng(2)
    pairs = np.stack([generator.normal(0.3, 1, (scenes, 2)), np.ones((scenes, 2))], axis=2)
    flips = sign_flip_test(pairs[:, 0, 0] - pairs[:, 1, 0], alternative="two-sided")
    assert swap_test(pairs, difference_of_ratios) == pytest.approx(flips, abs=1e-3)


def test_swapping_tests_what_is_shown_where_scenes_weigh_differently() -> None:
    """Thirty small scenes are won, five large ones are lost, and with them the pooled score."""
    small, large = [[[3.0, 5.0], [2.0, 5.0]]] * 30, [[[80.0, 200.0], [140.0, 200.0]]] * 5
    pairs = np.array(small + large)
    assert difference_of_ratios(pairs.reshape(35, 4).sum(0)) < -0.2
    by_scene = difference_of_ratios(pairs.reshape(35, 4))
    assert sign_flip_test(by_scene, alternative="two-sided") < 0.001
    assert swap_test(pairs, difference_of_ratios) > 0.02


def test_swapping_rejects_the_truth_at_its_level() -> None:
    generator = np.random.default_rng(3)
    rejected = 0
    for _ in range(200):
        tries = generator.integers(1, 30, (20, 1)).repeat(2, 1)
        hits = generator.binomial(tries, generator.uniform(0.2, 0.8, (20, 1)))
        pairs = np.stack([hits, tries], axis=2).astype(float)
        rejected += swap_test(pairs, difference_of_ratios, resamples=400) <= 0.05
    assert 2 <= rejected <= 20  # 10 expected; beyond, p < 0.005


def test_swapping_of_undefined_scores_has_no_answer() -> None:
    assert np.isnan(swap_test(np.zeros((5, 2, 2)), difference_of_ratios))
    assert swap_test(np.ones((5, 2, 2)), difference_of_ratios) == 1.0


def test_sign_flip_never_claims_certainty() -> None:
    assert sign_flip_test(np.ones(100)) == pytest.approx(1 / 10_001)
    assert sign_flip_test(np.zeros(100)) == 1.0


def test_holm_by_hand_and_past_undefined_tests() -> None:
    adjusted = holm([0.01, np.nan, 0.04, 0.03])
    assert adjusted[[0, 2, 3]] == pytest.approx([0.03, 0.06, 0.06])
    assert np.isnan(adjusted[1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cluster_bootstrap([[np.nan, 1.0], [1.0, 1.0]]), "finite"),
        (lambda: cluster_bootstrap([1.0, 2.0]), "shape"),
        (lambda: cluster_bootstrap([[1.0, 1.0]] * 3, method="magic"), "method"),
        (lambda: cluster_bootstrap([[1.0, 1.0]] * 3, confidence=95), "confidence"),
        (lambda: wilson_interval(3, 2), "successes"),
        (lambda: sign_flip_test([1.0], alternative="larger"), "alternative"),
    ],
)
def test_bad_arguments_are_named(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        call()
