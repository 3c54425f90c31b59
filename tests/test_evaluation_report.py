"""The page of an evaluation stands alone, says what was measured, and opens in a browser."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from g2vlm_fast.eval.protocol.identity import RunIdentity
from g2vlm_fast.eval.protocol.records import Item, SceneRecord
from g2vlm_fast.eval.protocol.runs import Run, RunError
from g2vlm_fast.eval.protocol.summary import summarise
from g2vlm_fast.eval.scoring import score_named
from g2vlm_fast.pipeline.evaluation_report import write_report
from g2vlm_fast.pipeline.evaluation_report.worth import COVERAGE, worth_of_intervals

_SCENES = tuple(f"room-{number}" for number in range(12))
_SCORES = [score_named(name) for name in ("answer_score", "grounding_acc_25")]
_HOSTILE = "<script>alert('x')</script> & \"quotes\""


def _run(system: str, folder: Path, *, seed: int, right: float, failed: str = "") -> Run:
    """A run whose sums are drawn; the tasks are answers and grounding."""
    draws = np.random.default_rng(seed)
    identity = RunIdentity(
        system=system, system_fingerprint=system, looks_at_truth=False,
        tasks=("answers", "grounding"), benchmark="twelve rooms", benchmark_fingerprint="abc",
        scenes=_SCENES, scoring="1",
    )  # fmt: skip
    records = []
    for name in _SCENES:
        hits = float(draws.binomial(10, right)) if name != failed else 0.0
        rows = {"answer_score": (hits, 10.0), "grounding_acc_25": (hits, 10.0, 1.0)}
        items = (Item("answers", "count", _HOSTILE, "two", "three", 0.0),)
        reason = "out of memory" if name == failed else ""
        records.append(SceneRecord(name, rows, reason, items))
    return Run(summarise(records, _SCORES, identity), tuple(records), folder, identity)


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    return [
        _run("good", tmp_path / "a", seed=0, right=0.9),
        _run(f"bad {_HOSTILE}", tmp_path / "b", seed=1, right=0.2, failed="room-3"),
    ]


class _Outline(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img", "input", "br"):
            self.open.append(tag)
        self.scripts += tag == "script"
        for name, value in attributes:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src"):
                self.links.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_leads_only_into_itself(
    runs: list[Run], tmp_path: Path
) -> None:
    write_report(runs, tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    outline = _Outline()
    outline.feed(html)
    assert outline.open == []
    assert outline.scripts == 1
    assert len(set(outline.ids)) == len(outline.ids)
    assert {link[1:] for link in outline.links} <= set(outline.ids)
    assert not re.search(r"https?://|url\(|@import", html)
    assert "<script>alert" not in html


def test_failures_and_few_scenes_are_told_before_any_number(
    runs: list[Run], tmp_path: Path
) -> None:
    write_report(runs, tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    told = html[html.index('class="warning"') : html.index("At a glance</h2>")]
    assert worth_of_intervals(12).split(":")[0] in told
    assert "No usable prediction" in told
    assert "out of memory" in html


def test_charts_are_written_as_png_and_svg(runs: list[Run], tmp_path: Path) -> None:
    write_report(runs, tmp_path / "report.html")
    for stem in ("headlines", "answers", "grounding", "kinds", "differences_1"):
        assert (tmp_path / "plots" / f"{stem}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (tmp_path / "plots" / f"{stem}.svg").read_text(encoding="utf-8")


def test_the_same_runs_give_the_same_page(runs: list[Run], tmp_path: Path) -> None:
    write_report(runs, tmp_path / "first.html")
    write_report(runs, tmp_path / "second.html")
    assert (tmp_path / "first.html").read_bytes() == (tmp_path / "second.html").read_bytes()


def test_runs_that_do_not_belong_together_are_refused(runs: list[Run], tmp_path: Path) -> None:
    other = replace(runs[1], identity=replace(runs[1].identity, benchmark_fingerprint="xyz"))
    with pytest.raises(RunError, match="benchmark fingerprint"):
        write_report([runs[0], other], tmp_path / "report.html")
    with pytest.raises(RunError, match="at least one"):
        write_report([], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_coverage_is_that_of_the_published_simulation() -> None:
    page = Path(__file__).parents[1] / "docs" / "statistics.md"
    lines = page.read_text(encoding="utf-8").splitlines()
    for population, shares in COVERAGE.items():
        told = " | ".join(f"{share:.1f}" for share in shares)
        assert f"| {population} | bca | {told} |" in lines


def test_a_browser_opens_the_scene_that_is_linked_to_and_offers_to_sort(
    runs: list[Run], tmp_path: Path
) -> None:
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("needs Chromium")
    page = tmp_path / "report.html"
    write_report(runs, page)
    switches = (
        "headless=new", "no-sandbox", "disable-gpu", "no-first-run", "disable-sync",
        "disable-background-networking", "disable-component-update", "virtual-time-budget=3000",
        f"user-data-dir={tmp_path / 'profile'}", "dump-dom",
    )  # fmt: skip
    command = [program, *(f"--{switch}" for switch in switches), f"{page.as_uri()}#scene-4"]
    seen = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    opened = re.findall(r'<details class="scene" open="">.*?id="(scene-\d+)"', seen, re.DOTALL)
    assert opened == ["scene-4"]
    assert re.search(r'<table class="sortable[^>]*><thead><tr><th[^>]*><button>', seen)
