"""Sums of scenes become numbers with intervals, and two systems are compared by scene."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from g2vlm_fast.eval.protocol.comparison import compare
from g2vlm_fast.eval.protocol.identity import RunIdentity, scoring_version
from g2vlm_fast.eval.protocol.record_files import summary_to_json
from g2vlm_fast.eval.protocol.records import Item, Row, SceneRecord
from g2vlm_fast.eval.protocol.runs import Run, RunError
from g2vlm_fast.eval.protocol.summary import estimate, summarise
from g2vlm_fast.eval.scoring.score import Score, third_per_second_sum
from g2vlm_fast.eval.statistics import (
    cluster_bootstrap,
    holm,
    paired_d,
    sign_flip_test,
    wilson_interval,
)

RATE = Score("right", "answers", "share that is right", rate=True, chance=third_per_second_sum)
ERROR = Score("error", "depth", "mean error", unit="m", higher_is_better=False)
SCENES = tuple(f"room-{number}" for number in range(12))
IDENTITY = RunIdentity(
    system="toy", system_fingerprint="1", looks_at_truth=False, tasks=("depth", "answers"),
    benchmark="rooms", benchmark_fingerprint="2", scenes=SCENES, scoring="3",
)  # fmt: skip


def _records(seed: int, better: float = 0.0) -> list[SceneRecord]:
    draws = np.random.default_rng(seed)
    records = []
    for name in SCENES:
        asked = float(draws.integers(5, 15))
        right = float(draws.binomial(int(asked), 0.3 + better))
        error = float(draws.uniform(1, 2) - better)
        rows: dict[str, Row] = {"right": (right, asked, 0.25 * asked), "error": (error, 1.0)}
        records.append(SceneRecord(name, rows))
    return records


def _run(records: Sequence[SceneRecord], identity: RunIdentity = IDENTITY) -> Run:
    summary = summarise(records, (RATE, ERROR), identity)
    return Run(summary, tuple(records), Path("run"), identity)


def test_estimate_is_that_of_the_statistics() -> None:
    rows = [record.rows["right"] for record in _records(0)]
    found = estimate(RATE, rows)
    table = np.array(rows)
    interval = cluster_bootstrap(table, RATE.statistic)
    assert found.value == table[:, 0].sum() / table[:, 1].sum()
    assert (found.low, found.high, found.interval) == (interval.low, interval.high, "bca")
    assert (found.scenes, found.count) == (12, table[:, 1].sum())
    assert found.chance == 0.25


def test_scene_without_anything_to_measure_is_left_out() -> None:
    found = estimate(ERROR, [(1.0, 1.0), (0.0, 0.0), (3.0, 1.0)])
    assert (found.value, found.scenes, found.count) == (2.0, 2, 2.0)
    nothing = estimate(ERROR, [(0.0, 0.0)])
    assert math.isnan(nothing.value)
    assert (nothing.scenes, nothing.count, nothing.interval) == (0, 0.0, "undefined")


def test_scene_on_which_everything_is_wrong_is_not_left_out() -> None:
    assert estimate(RATE, [(0.0, 5.0, 1.0), (5.0, 5.0, 1.0)]).value == 0.5


def test_rate_on_which_all_scenes_agree_has_wilsons_interval() -> None:
    found = estimate(RATE, [(5.0, 5.0, 1.0)] * 8)
    wilson = wilson_interval(8, 8)
    assert (found.value, found.low, found.high) == (1.0, wilson.low, wilson.high)
    assert found.interval == "wilson"


def test_order_of_records_changes_no_bit() -> None:
    records = _records(1)
    forwards = summarise(records, (RATE, ERROR), IDENTITY)
    backwards = summarise(records[::-1], (RATE, ERROR), IDENTITY)
    assert summary_to_json(forwards) == summary_to_json(backwards)


def test_score_of_a_task_that_is_not_attempted_is_left_out() -> None:
    only = replace(IDENTITY, tasks=("depth",))
    assert [e.name for e in summarise(_records(0), (RATE, ERROR), only).estimates] == ["error"]


def test_score_that_the_benchmark_does_not_ask_for_is_left_out() -> None:
    unasked = Score("other", "depth", "nobody asks")
    names = [e.name for e in summarise(_records(0), (RATE, unasked, ERROR), IDENTITY).estimates]
    assert names == ["right", "error"]


def test_answers_are_counted_by_kind() -> None:
    records = _records(0)
    items = (
        Item("answers", "count", "how many?", "2", "2", 1.0),
        Item("answers", "count", "how many?", "3", "2", 0.0),
        Item("answers", "color", "which?", "red", "red", 1.0),
        Item("captions", "caption", "describe", "a room", "a room", 0.2),
    )
    records[3] = replace(records[3], items=items)
    records[5] = replace(records[5], items=items[:1])
    by_kind = summarise(records, (RATE,), IDENTITY).by_kind
    assert list(by_kind) == ["color", "count"]
    assert (by_kind["count"].value, by_kind["count"].count, by_kind["count"].scenes) == (
        2 / 3,
        3,
        2,
    )
    assert (by_kind["color"].value, by_kind["color"].scenes) == (1.0, 1)


@pytest.mark.parametrize(
    "records",
    [
        _records(0)[:-1],
        [*_records(0), _records(0)[0]],
        [*_records(0)[:-1], SceneRecord("elsewhere", {})],
    ],
    ids=["missing", "twice", "of another benchmark"],
)
def test_records_must_be_those_of_the_benchmark(records: list[SceneRecord]) -> None:
    with pytest.raises(ValueError, match="expected one record of each of the 12 scenes"):
        summarise(records, (RATE,), IDENTITY)


def test_rows_of_two_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'error': rows must be of one length, got \[1, 2\]"):
        estimate(ERROR, [(1.0, 1.0), (1.0,)])


def test_comparison_is_that_of_the_statistics() -> None:
    ours, theirs = _records(0, better=0.5), _records(1)
    found = {d.name: d for d in compare(_run(ours), _run(theirs), (RATE, ERROR))}
    a, b = (np.array([r.rows["error"] for r in records]) for records in (ours, theirs))
    differences = b[:, 0] - a[:, 0]  # less error is better
    assert found["error"].value == pytest.approx(differences.mean())
    assert found["error"].p_value == sign_flip_test(differences, alternative="two-sided")  # alike
    assert found["error"].effect == pytest.approx(paired_d(differences))
    assert found["error"].low < found["error"].value < found["error"].high
    both = [found[name].p_value for name in ("right", "error")]
    assert [found[name].p_holm for name in ("right", "error")] == holm(both).tolist()
    assert all(d.value > 0 and d.scenes == 12 for d in found.values())
    assert found["right"].p_holm < 0.01


@settings(max_examples=20)
@given(seeds=st.tuples(st.integers(0, 99), st.integers(0, 99)))
def test_other_way_round_the_difference_changes_its_sign_alone(seeds: tuple[int, int]) -> None:
    one, other = (_run(_records(seed)) for seed in seeds)
    there, back = compare(one, other, (RATE, ERROR)), compare(other, one, (RATE, ERROR))
    for forth, again in zip(there, back, strict=True):
        assert forth.value == pytest.approx(-again.value)
        assert forth.effect == pytest.approx(-again.effect)
        assert forth.p_value == pytest.approx(again.p_value, abs=0.01)
        assert forth.low == pytest.approx(-again.high, abs=0.02)


def test_system_does_not_differ_from_itself() -> None:
    run = _run(_records(0))
    for difference in compare(run, run, (RATE, ERROR)):
        assert (difference.value, difference.effect, difference.p_value) == (0.0, 0.0, 1.0)


def test_same_difference_everywhere_is_infinitely_large_and_shown() -> None:
    records = _records(0)
    better = [replace(r, rows=r.rows | {"error": (r.rows["error"][0] - 1, 1.0)}) for r in records]
    (found,) = compare(_run(better), _run(records), (ERROR,))
    assert found.effect == math.inf
    assert found.p_value == 2 / 2**12


def test_failure_counts_against_the_system_that_failed() -> None:
    records = _records(0)
    failed = [replace(r, rows={"right": (0.0, *r.rows["right"][1:])}) for r in records]
    (found,) = compare(_run(records), _run(failed), (RATE,))
    assert found.value == _run(records).summary.estimates[0].value


@pytest.mark.parametrize(
    "change",
    [
        {"benchmark": "other rooms"},
        {"benchmark_fingerprint": "other"},
        {"scoring": "2-other"},
    ],
)
def test_runs_that_cannot_be_compared_are_refused(change: dict[str, str]) -> None:
    other = _run(_records(1), replace(IDENTITY, **change))  # type: ignore[arg-type]
    with pytest.raises(RunError, match=f"their {next(iter(change)).replace('_', ' ')} differs"):
        compare(_run(_records(0)), other, (RATE, ERROR))


def test_runs_without_a_score_in_common_are_refused() -> None:
    answers = _run(_records(0), replace(IDENTITY, tasks=("answers",)))
    depth = _run(_records(0), replace(IDENTITY, tasks=("depth",)))
    with pytest.raises(RunError, match="the first attempts answers, the second depth"):
        compare(answers, depth, (RATE, ERROR))


def test_another_set_of_scores_is_another_version() -> None:
    assert scoring_version((RATE,)) != scoring_version((RATE, ERROR))
    assert scoring_version((RATE,)) == scoring_version((replace(RATE, formula="in other words"),))
