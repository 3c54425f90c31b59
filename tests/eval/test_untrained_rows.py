"""The program that judges systems without training, its summaries, and the page about them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from g2vlm_fast.data import RoomConfig
from g2vlm_fast.eval import untrained
from g2vlm_fast.eval.benchmarks import RoomBenchmark
from g2vlm_fast.eval.protocol.records import Estimate, Summary
from g2vlm_fast.eval.systems import SYSTEMS
from g2vlm_fast.eval.systems.rules_on_boxes import RulesOnTrueBoxes
from g2vlm_fast.eval.systems.training_rooms import TrainingRooms
from g2vlm_fast.eval.untrained import KeptCases, Rows, all_rows, run_rows
from g2vlm_fast.eval.untrained_tables import (
    PAGE,
    RESULTS,
    kinds_table,
    read_results,
    scores_table,
    with_tables,
)

SMALL = RoomConfig(
    programs=("bathroom",), image_size=(48, 64), views=(2, 2), depth_probability=1.0,
    mesh_probability=0.0,
)  # fmt: skip


def estimate(name: str, value: float) -> Estimate:
    return Estimate(
        name=name, value=value, low=value - 0.1, high=value + 0.1, interval="bca", scenes=9,
        count=40, chance=float("nan"),
    )  # fmt: skip


def summary(system: str, **scores: float) -> Summary:
    return Summary(
        system=system, benchmark="b", fingerprint="f", looks_at_truth=False, tasks=("surface",),
        scenes=9, failures={}, by_kind={"count": estimate("count", 0.5)},
        estimates=tuple(estimate(name, value) for name, value in scores.items()),
    )  # fmt: skip


def test_cases_are_made_once() -> None:
    benchmark = RoomBenchmark(count=1, base=SMALL, surface_points=0)
    kept = KeptCases(benchmark)
    assert kept.case(0) is kept.case(0)
    assert (kept.name, kept.fingerprint, kept.names) == (
        benchmark.name, benchmark.fingerprint, benchmark.names,
    )  # fmt: skip


def test_every_system_is_judged_at_every_level_of_noise() -> None:
    rows = list(all_rows([], None))
    judged = {row.key: row.systems for row in rows}
    for noise in ("none", "standard", "strong"):
        assert {*judged[f"rooms-{noise}"], *judged[f"language-{noise}"]} == set(SYSTEMS)
        names = [row.benchmark.name for row in rows if row.key.endswith(noise)]
        assert all(f"noise {noise}" in name for name in names)


def test_rows_are_kept_with_intervals_and_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {"tsdf": SYSTEMS["tsdf"], "rules": lambda: RulesOnTrueBoxes(TrainingRooms(2))}
    monkeypatch.setattr(untrained, "SYSTEMS", few)
    benchmark = RoomBenchmark(count=2, base=SMALL, surface_points=500)
    run_rows(Rows("small", benchmark, ("tsdf", "rules")), tmp_path / "runs", tmp_path / "results")
    tsdf, rules = read_results(tmp_path / "results" / "small")[::-1]
    assert (tsdf.system, rules.system) == ("tsdf", "rules")
    assert rules.looks_at_truth
    assert tsdf.fingerprint == benchmark.fingerprint
    assert tsdf.versions["torch"]
    assert {"chamfer_l1", "depth_delta_1"} <= {e.name for e in tsdf.estimates}
    assert all(e.low <= e.value <= e.high for e in tsdf.estimates if e.name == "chamfer_l1")


def test_unknown_rows_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(untrained, "run_rows", pytest.fail)
    for wrong in (["--only", "rooms-loud", "--runs", str(tmp_path)], []):
        with pytest.raises(SystemExit) as stopped:
            untrained.main(wrong)
        assert stopped.value.code == 2
    assert "rooms-standard" in capsys.readouterr().err


def test_the_best_system_comes_first() -> None:
    rows = [summary("near", chamfer_l1=0.1), summary("far", chamfer_l1=0.4), summary("mute")]
    lines = scores_table(rows[::-1], ["accuracy", "chamfer_l1"]).splitlines()
    assert lines[0] == "| system | chamfer l1, m |"
    assert lines[2:] == ["| near | 0.100 [0.000, 0.200] |", "| far | 0.400 [0.300, 0.500] |"]
    better = [summary("low", spq=0.1), summary("high", spq=0.4, triplet_f1=0.5)]
    lines = scores_table(better, ["spq", "triplet_f1"]).splitlines()
    assert lines[2].startswith("| high | 0.400 [0.300, 0.500] | 0.500")
    assert lines[3] == "| low | 0.100 [0.000, 0.200] |  |"


def test_what_nothing_was_measured_on_is_left_empty() -> None:
    complete = summary("tsdf", chamfer_l1=0.1, depth_abs_rel_missing=float("nan"))
    lines = scores_table([complete], ["chamfer_l1", "depth_abs_rel_missing"]).splitlines()
    assert lines[2] == "| tsdf | 0.100 [0.000, 0.200] |  |"


def test_kinds_that_were_hardly_asked_are_left_out() -> None:
    rare = dataclasses.replace(estimate("route", 0.1), count=3)
    both = dataclasses.replace(summary("one"), by_kind={"count": estimate("count", 0.5), "r": rare})
    assert kinds_table([both]).splitlines()[2:] == ["| count | 40 | 0.50 |"]


def test_marks_without_results_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no summary"):
        with_tables("<!-- table graph nothing -->\n<!-- end -->", tmp_path)
    (tmp_path / "one").mkdir()
    committed = next(iter(sorted(RESULTS.glob("*/*.json"))))
    (tmp_path / "one" / "some.json").write_text(committed.read_text())
    with pytest.raises(ValueError, match="'hats'"):
        with_tables("<!-- table hats one -->\n<!-- end -->", tmp_path)


def test_the_page_shows_the_committed_rows() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for folder in RESULTS.iterdir():
        assert f" {folder.name} -->" in page
    assert with_tables(page, RESULTS) == page


def test_every_committed_row_has_intervals_and_says_where_it_was_measured() -> None:
    files = sorted(RESULTS.glob("*/*.json"))
    assert files
    for file in files:
        kept = json.loads(file.read_text(encoding="utf-8"))
        assert kept["system"] == file.stem in SYSTEMS
        assert {"date", "torch", "processor"} <= kept["versions"].keys()
        for entry in kept["estimates"]:
            assert entry["low"] <= entry["value"] <= entry["high"], (file, entry)
