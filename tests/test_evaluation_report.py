"""The page of an evaluation stands alone, says what was measured, and opens in a browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from g2vlm_fast.eval.protocol.identity import RunIdentity
from g2vlm_fast.eval.protocol.records import Item, SceneRecord
from g2vlm_fast.eval.protocol.runs import Run, RunError
from g2vlm_fast.eval.protocol.summary import summarise
from g2vlm_fast.eval.scoring import score_named
from g2vlm_fast.pipeline.evaluation_report import write_report
from g2vlm_fast.pipeline.evaluation_report.worth import COVERAGE, worth_of_intervals
from g2vlm_fast.pipeline.evaluation_tables import describe, told_of_unasked

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
        odd = "odd" if int(name[5:]) % 2 else "even"
        items = (
            Item("answers", "count", _HOSTILE, "two", "three", 0.0),
            Item("answers", "count", f"how many {odd} chairs?", "three", "three", 1.0),
        )
        reason = "out of memory" if name == failed else ""
        beside = (_HOSTILE,) if name == failed else ()
        records.append(SceneRecord(name, rows, reason, items, unasked=beside))
    return Run(summarise(records, _SCORES, identity), tuple(records), folder, identity)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    tmp_path = tmp_path_factory.mktemp("runs")
    return [
        _run("good", tmp_path / "a", seed=0, right=0.9),
        _run(f"bad $5^{{ 椅子 {_HOSTILE}", tmp_path / "b", seed=1, right=0.2, failed="room-3"),
    ]


@pytest.fixture(scope="module")
def page(runs: list[Run], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of both, written once."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(runs, path)
    return path


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


def test_the_page_is_well_formed_and_leads_only_into_itself(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    outline = _Outline()
    outline.feed(html)
    assert outline.open == []
    assert outline.scripts == 1
    assert len(set(outline.ids)) == len(outline.ids)
    assert {link[1:] for link in outline.links} <= set(outline.ids)
    assert not re.search(r"https?://|url\(|@import", html)
    assert "<script>alert" not in html


def test_failures_and_few_scenes_are_told_before_any_number(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    told = html[html.index('class="warning"') : html.index("At a glance</h2>")]
    assert worth_of_intervals(12).split(":")[0] in told
    assert "No usable prediction" in told
    assert "out of memory" in html


def test_texts_that_nobody_asked_are_told(runs: list[Run], page: Path) -> None:
    told = told_of_unasked(runs[1].summary)
    assert told.startswith("What is said to 1 text of 1 scene is not scored")
    assert told in unescape(page.read_text(encoding="utf-8"))
    assert "nobody asked" not in "\n".join(map(str, describe(runs[0].summary)))
    assert "nobody asked" in "\n".join(map(str, describe(runs[1].summary)))


def test_charts_are_written_as_png_and_svg(page: Path) -> None:
    for stem in ("headlines", "answers", "grounding", "kinds", "differences_1"):
        assert (page.parent / "plots" / f"{stem}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (page.parent / "plots" / f"{stem}.svg").read_text(encoding="utf-8")


def test_the_same_runs_give_the_same_page(runs: list[Run], page: Path, tmp_path: Path) -> None:
    write_report(runs, tmp_path / "second.html")
    assert (tmp_path / "second.html").read_bytes() == page.read_bytes()


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


# What a reader does on the page, done by a script that is put into it: it tells what it found in
# the attribute data-found of the body.
_WATCH = """<script>
const complaints = [];
addEventListener("error", (event) => complaints.push(event.message));
addEventListener("securitypolicyviolation", (event) => complaints.push(event.blockedURI));
for (const level of ["error", "warn"]) {
  console[level] = (...told) => complaints.push(told.join(" "));
}
</script>"""
_TELL = "document.body.dataset.found = JSON.stringify({ ...found, complaints });"
_READER = """<script>addEventListener("load", () => {
const all = (selector) => Array.from(document.querySelectorAll(selector));
const open = () => all("details.scene").filter((d) => d.open)
  .map((d) => d.querySelector("b").textContent);
const press = (key, target = document.activeElement) =>
  target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
const rows = () => all(".scene-table tbody tr").filter((row) => !row.hidden)
  .map((row) => row.querySelector("a").textContent);
const found = { linked: open() };
all(".tools button")[0].click();
found.closed = open();
const heads = all(".sortable thead button");
heads[1].click();
found.ascending = rows();
heads[1].click();
found.descending = rows();
found.sorted = heads[1].closest("th").getAttribute("aria-sort");
heads[0].click();
found.byName = rows();
found.keys = ["j", "j", "j", "k"].map((key) => { press(key); return open(); });
found.focus = document.activeElement.textContent;
const find = all(".tools input")[0];
find.focus();
press("j");
found.typed = open();
const search = (text) => {
  find.value = text;
  find.dispatchEvent(new Event("input"));
  return [rows(), all("details.scene").filter((d) => !d.hidden).length];
};
found.one = search("ROOM-7");
found.question = search("how many odd");
found.none = search("no such thing");
found.every = search("")[1];
dispatchEvent(new Event("beforeprint"));
found.print = all("details.print").every((part) => part.open);
TELL
});</script>""".replace("TELL", _TELL)
_READER_WITHOUT_SCRIPTS = """<script>addEventListener("load", () => {
const scenes = Array.from(document.querySelectorAll("details.scene"));
const found = { before: scenes.map((scene) => scene.querySelector("div").innerText.length) };
for (const scene of scenes) scene.querySelector("summary").click();
found.after = scenes.map((scene) => scene.querySelector("div").innerText);
found.buttons = document.querySelectorAll("button, input").length;
found.wide = document.documentElement.scrollWidth - innerWidth;
TELL
});</script>""".replace("TELL", _TELL)


def _in_browser(
    html: str, driver: str, folder: Path, *, width: int = 1280, fragment: str = ""
) -> Any:
    """Open a page with a driver in it, and return what that found."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("needs Chromium")
    driven = folder / "driven.html"
    html = html.replace("<title>", f"{_WATCH}<title>", 1).replace("</body>", f"{driver}</body>")
    driven.write_text(html, encoding="utf-8")
    switches = (
        "headless=new", "no-sandbox", "disable-gpu", "no-first-run", "disable-sync",
        "disable-background-networking", "disable-component-update", "virtual-time-budget=3000",
        f"window-size={width},900", f"user-data-dir={folder / 'profile'}", "dump-dom",
    )  # fmt: skip
    command = [program, *(f"--{switch}" for switch in switches), f"{driven.as_uri()}{fragment}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'data-found="([^"]*)"', done.stdout)
    assert found is not None, "the driver did not come to its end"
    return json.loads(unescape(found[1]))


def test_a_reader_sorts_searches_and_walks_through_scenes(
    runs: list[Run], page: Path, tmp_path: Path
) -> None:
    html = page.read_text(encoding="utf-8")
    found = _in_browser(html, _READER, tmp_path, fragment="#scene-4")
    assert found["complaints"] == []
    assert found["linked"] == ["room-3"]
    assert found["closed"] == []
    hits = {record.name: record.rows["answer_score"][0] for record in runs[0].records}
    assert [hits[name] for name in found["ascending"]] == sorted(hits.values())
    assert [hits[name] for name in found["descending"]] == sorted(hits.values(), reverse=True)
    assert found["sorted"] == "descending"
    assert found["byName"] == list(_SCENES)
    assert found["keys"] == [["room-0"], ["room-1"], ["room-2"], ["room-1"]]
    assert found["focus"].startswith("room-1")
    assert found["typed"] == ["room-1"]
    assert found["one"] == [["room-7"], 1]
    assert found["question"] == [[name for name in _SCENES if int(name[5:]) % 2], 6]
    assert found["none"] == [[], 0]
    assert found["every"] == len(_SCENES)
    assert found["print"]


@pytest.mark.parametrize("width", [1280, 420])
def test_the_page_is_read_without_its_script(width: int, page: Path, tmp_path: Path) -> None:
    html = page.read_text(encoding="utf-8")
    html = re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)
    found = _in_browser(html, _READER_WITHOUT_SCRIPTS, tmp_path, width=width)
    assert found["complaints"] == []
    assert found["buttons"] == 0
    assert found["before"] == [0] * len(_SCENES)
    assert all("how many" in told and "three" in told for told in found["after"])
    assert "out of memory" in found["after"][3]
    assert found["wide"] <= 0


def test_the_page_may_load_nothing_from_elsewhere(page: Path, tmp_path: Path) -> None:
    spy = '<img src="https://example.org/spy.png"><script>fetch("http://127.0.0.1:9/")</script>'
    html = page.read_text(encoding="utf-8").replace("<main>", f"<main>{spy}")
    driver = f"<script>addEventListener('load', () => {{ const found = {{}}; {_TELL} }})</script>"
    complaints = " ".join(_in_browser(html, driver, tmp_path)["complaints"])
    assert "example.org" in complaints
    assert "127.0.0.1" in complaints
