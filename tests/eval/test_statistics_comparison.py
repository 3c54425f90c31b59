"""Tests, effect sizes, seeds and power against scipy, brute force and published values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from g2vlm_fast.eval.statistics import (
    benjamini_hochberg,
    cliffs_delta,
    cluster_bootstrap,
    hierarchical_bootstrap,
    interquartile_mean,
    mcnemar_test,
    paired_d,
    paired_power,
    scenes_needed,
    sign_flip_test,
    smallest_effect,
    weighted_bootstrap,
    wilcoxon_test,
)
from g2vlm_fast.eval.statistics_simulation import NULLS, POPULATIONS, coverage, false_alarms

GENERATOR_SEED = 5


@pytest.fixture
def sample() -> np.ndarray:
    return np.random.default_rng(GENERATOR_SEED).normal(0.3, 1, size=30)


def means(values: np.ndarray) -> np.ndarray:
    return np.stack([values, np.ones_like(values)], axis=-1)


@pytest.mark.parametrize("alternative", ["greater", "less", "two-sided"])
def test_signed_ranks_agree_with_scipy_and_fall_short_of_certainty(
    sample: np.ndarray, alternative: str
) -> None:
    expected = stats.wilcoxon(sample, alternative=alternative).pvalue
    assert wilcoxon_test(sample, alternative=alternative) == pytest.approx(expected)
    assert wilcoxon_test([1.0, 2, 3], alternative="two-sided") == 0.25
    assert wilcoxon_test(np.zeros(4)) == 1.0
    assert math.isnan(wilcoxon_test([np.nan]))


def test_mcnemar_by_hand_and_against_scipy() -> None:
    first = np.array([True] * 8 + [False] * 2 + [True] * 5)
    second = np.array([False] * 8 + [True] * 2 + [True] * 5)
    expected = stats.binomtest(8, 10, 0.5).pvalue
    assert mcnemar_test(first, second) == pytest.approx(expected)
    one_sided = sum(math.comb(10, k) for k in (8, 9, 10)) / 2**10
    assert mcnemar_test(first, second, alternative="greater") == pytest.approx(one_sided)
    assert mcnemar_test(first, first) == 1.0


def test_false_discovery_rate_agrees_with_scipy() -> None:
    p_values = np.random.default_rng(0).random(20) ** 2
    expected = stats.false_discovery_control(p_values)
    assert benjamini_hochberg(p_values) == pytest.approx(expected)
    padded = benjamini_hochberg(np.insert(p_values, 3, np.nan))
    assert math.isnan(padded[3])
    assert np.delete(padded, 3) == pytest.approx(expected)


def test_cliffs_delta_agrees_with_mann_whitney() -> None:
    generator = np.random.default_rng(1)
    first, second = generator.integers(0, 8, 25), generator.integers(1, 9, 31)
    u = stats.mannwhitneyu(first, second).statistic
    assert cliffs_delta(first, second) == pytest.approx(2 * u / (25 * 31) - 1)
    assert cliffs_delta([1.0], [0.0]) == 1.0
    assert cliffs_delta(first, first) == 0.0


def test_paired_d_is_the_t_statistic_per_root_scene(sample: np.ndarray) -> None:
    expected = stats.ttest_1samp(sample, 0).statistic / math.sqrt(len(sample))
    assert paired_d(sample) == pytest.approx(expected)
    assert paired_d([0.0, 0.0]) == 0.0
    assert math.isinf(paired_d([0.1, 0.1, 0.1]))


def test_one_seed_gives_the_interval_of_its_scenes_and_says_so(sample: np.ndarray) -> None:
    table = means(sample)
    ours = hierarchical_bootstrap(table[None])
    expected = cluster_bootstrap(table, method="percentile", seed=3)
    assert ours.method == "percentile (one seed: scenes alone)"
    assert (ours.low, ours.high) == pytest.approx((expected.low, expected.high), abs=0.03)


def test_seeds_that_differ_widen_the_interval(sample: np.ndarray) -> None:
    equal = np.stack([means(sample)] * 5)
    shifted = np.stack([means(sample + shift) for shift in (-1.0, -0.5, 0, 0.5, 1)])
    narrow, wide = hierarchical_bootstrap(equal), hierarchical_bootstrap(shifted)
    alone = cluster_bootstrap(means(sample), method="percentile")
    assert narrow.high - narrow.low == pytest.approx(alone.high - alone.low, rel=0.05)
    spread = math.sqrt(np.var(sample) / 30 + np.var([-1.0, -0.5, 0, 0.5, 1]) / 5)
    assert wide.high - wide.low == pytest.approx(2 * 1.96 * spread, rel=0.05)


def test_sums_by_scene_and_copies_of_scenes_give_one_interval(sample: np.ndarray) -> None:
    by_sums = cluster_bootstrap(means(sample), resamples=1000, seed=4)
    by_copies = weighted_bootstrap(
        lambda copies: float(copies @ sample / copies.sum()), 30, resamples=1000, seed=4
    )
    assert (by_copies.low, by_copies.high) == pytest.approx((by_sums.low, by_sums.high))
    assert by_copies.method == by_sums.method == "bca"


def test_a_wider_interval_for_few_scenes_is_named(sample: np.ndarray) -> None:
    few = means(sample[:8])
    plain, wider = (cluster_bootstrap(few, method=each) for each in ("bca", "expanded bca"))
    assert wider.method == "expanded bca"
    assert wider.low < plain.low < plain.high < wider.high


def test_interquartile_mean_drops_both_quarters() -> None:
    assert interquartile_mean([0.0, 1, 2, 100]) == 1.5


def test_power_agrees_with_published_tables() -> None:
    # Cohen's d of 0.5 and 0.2 at 80 % power and 5 %, two-sided, paired: 34 and 199 pairs.
    assert scenes_needed(0.5) == 34
    assert scenes_needed(0.2) == 199
    assert paired_power(0.5, 34) == pytest.approx(0.8078, abs=1e-4)
    assert paired_power(0.0, 20) == pytest.approx(0.05)
    assert paired_power(smallest_effect(34), 34) == pytest.approx(0.8)
    assert 0.49 < smallest_effect(34) < 0.5
    assert paired_power(smallest_effect(50, alternative="less"), 50, alternative="less") == (
        pytest.approx(0.8)
    )


def test_power_foretells_how_often_the_sign_flip_test_finds_an_effect() -> None:
    generator = np.random.default_rng(0)
    found = [
        sign_flip_test(generator.normal(0.5, 1, 30), resamples=499, seed=trial) <= 0.05
        for trial in range(400)
    ]
    assert np.mean(found) == pytest.approx(paired_power(0.5, 30, alternative="greater"), abs=0.05)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: wilcoxon_test([1.0], alternative="more"), "alternative"),
        (lambda: mcnemar_test([0.5], [1.0]), "must be bool"),
        (lambda: mcnemar_test([True], [True, False]), "one shape"),
        (lambda: cliffs_delta([], [1.0]), "at least 1 finite"),
        (lambda: paired_d([1.0]), "at least 2 finite"),
        (lambda: paired_d([1.0, np.nan]), "NaN"),
        (lambda: hierarchical_bootstrap(np.zeros((0, 3, 2))), "at least one seed"),
        (lambda: hierarchical_bootstrap(np.full((1, 3, 2), np.nan)), "finite"),
        (lambda: paired_power(0.5, 1), "at least 2 scenes"),
        (lambda: scenes_needed(0.0), "not shown"),
        (lambda: scenes_needed(-0.5, alternative="greater"), "not shown"),
        (lambda: scenes_needed(0.5, power=1.0), "power"),
        (lambda: smallest_effect(10, power=0.01), "power"),
        (lambda: weighted_bootstrap(lambda w: 0.0, 5, method="magic"), "method"),
    ],
)
def test_bad_arguments_are_named(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        call()


def test_the_simulation_is_of_the_interval_itself() -> None:
    population, truth = POPULATIONS["normal"]
    share = coverage(population, truth, 20, trials=50, seed=9)
    generator = np.random.default_rng(9)
    held = 0
    for _ in range(50):
        interval = cluster_bootstrap(population(generator, 20), resamples=2000, seed=9)
        held += interval.low <= truth <= interval.high
    assert share == held / 50


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in POPULATIONS if not name.startswith("heavy")])
@pytest.mark.parametrize("scenes", [50, 100])
def test_intervals_cover_the_truth_from_50_scenes_on(name: str, scenes: int) -> None:
    population, truth = POPULATIONS[name]
    assert 0.93 <= coverage(population, truth, scenes, trials=4000, seed=1) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("name", NULLS)
@pytest.mark.parametrize("scenes", [10, 50])
def test_tests_keep_their_level(name: str, scenes: int) -> None:
    assert false_alarms(NULLS[name], scenes, trials=2000, seed=1) <= 0.05 + 3 * 0.005
