from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from timing_record import RECORD

from g2vlm_fast.profiling.cases import Case
from g2vlm_fast.profiling.providers import OWN, REFERENCE, Provider
from g2vlm_fast.profiling.records import load, store
from g2vlm_fast.profiling.report import Notes, write_report
from g2vlm_fast.profiling.results import Results, merge_runs
from g2vlm_fast.profiling.runner import Job, Workbench, measure
from g2vlm_fast.profiling.timing import Plan


def test_report_holds_hardware_date_floors_ratios_refusals_and_absentees(tmp_path: Path) -> None:
    peer = replace(RECORD, provider="Kaolin", ms=0.25)
    notes = Notes(
        ceilings={"copy": "3030 GB/s"},
        launches={"room_B32_N2048 fwd_bwd g2vlm_fast": 4},
        refused={"room_B32_N2048 fwd_bwd torch.cdist": "its output is wrong"},
        absent={"PyTorch3D": "pytorch3d"},
    )
    path = write_report("nearest", [RECORD, peer], {RECORD.device: notes}, tmp_path)
    text = path.read_text()
    assert "## NVIDIA H100 80GB HBM3" in text
    assert "measured 2026-11-22T12:00:00+00:00, torch 2.11.0+cu130, commit `0123456789ab`" in text
    assert "ceilings, copy: 3030 GB/s" in text
    assert "| **g2vlm_fast** | 0.05 |  | 0.01 | 5.0 | 1.5 | 4 | 3.0e-08 |" in text
    assert "| Kaolin | 0.25 | 5.00x |" in text
    assert "torch.cdist: its output is wrong" in text
    assert "PyTorch3D (no `pytorch3d`)" in text
    (chart,) = tmp_path.glob("*.svg")
    assert f"({chart.name})" in text
    drawing = chart.read_text()
    assert "room_B32_N2048" in drawing
    assert "Kaolin" in drawing


def test_log_written_by_hand_ends_the_report(tmp_path: Path) -> None:
    (tmp_path / "nearest.log.md").write_text("## Log\n\nA step.\n")
    assert write_report("nearest", [RECORD], {}, tmp_path).read_text().endswith("A step.\n")


def test_chart_is_the_same_for_the_same_records(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_report("nearest", [RECORD], {}, tmp_path / name)
    first, second = (next((tmp_path / name).glob("*.svg")).read_bytes() for name in ("a", "b"))
    assert first == second


@pytest.fixture
def run(square_case: Callable[..., Case]) -> Callable[[Path], None]:
    """Return a function that measures the square and writes what came of it."""

    def write(folder: Path) -> None:
        case, bench, results = square_case(), Workbench(), Results()
        plan = Plan(seconds=0.01)
        for provider in (OWN, REFERENCE):
            job = Job(case, provider, "fwd")
            results.add(job, measure(job, bench, plan, "abc"))
        wrong = Provider("wrong", {"square": lambda inputs: lambda x: x})
        results.refuse(Job(case, wrong, "fwd"), "its output is wrong")
        results.write(folder)

    return write


def test_run_is_written_and_a_run_elsewhere_is_merged(
    run: Callable[[Path], None], tmp_path: Path
) -> None:
    run(tmp_path / "elsewhere")
    (report,) = merge_runs([tmp_path / "elsewhere"], tmp_path / "here")
    records = load(tmp_path / "here/results/nearest.json")
    assert {each.provider for each in records} == {"g2vlm_fast", "reference"}
    assert "wrong: its output is wrong" in report.read_text()


def test_refusal_withdraws_the_older_figure(run: Callable[[Path], None], tmp_path: Path) -> None:
    run(tmp_path)
    path = tmp_path / "results"
    held = load(path / "nearest.json")
    store(path, "nearest", [replace(held[0], provider="wrong")], [])
    run(tmp_path)
    assert "wrong" not in {each.provider for each in load(path / "nearest.json")}


def test_nothing_is_merged_where_one_folder_holds_no_results(
    run: Callable[[Path], None], tmp_path: Path
) -> None:
    run(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="holds no results"):
        merge_runs([tmp_path / "elsewhere", tmp_path], tmp_path / "here")
    assert not (tmp_path / "here").exists()
