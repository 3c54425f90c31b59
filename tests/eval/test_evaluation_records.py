"""Records and summaries keep every bit on their way through files, and damage is told."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_evaluation import FEW_TASKS, ToyBenchmark, ToySystem

from g2vlm_fast.data.readers.errors import ScanError
from g2vlm_fast.eval.protocol.evaluation import evaluate_system
from g2vlm_fast.eval.protocol.record_files import (
    read_record,
    read_summary,
    record_to_json,
    summary_to_json,
)
from g2vlm_fast.eval.protocol.records import Estimate, Item, SceneRecord, Summary
from g2vlm_fast.eval.protocol.runs import RunError, is_run, read_run

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
ANY_NUMBERS = st.floats()
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(deadline=None)  # disks take the time that they take
@given(
    rows=st.dictionaries(TEXTS, st.lists(NUMBERS, max_size=4).map(tuple), max_size=3),
    item=st.builds(Item, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS, NUMBERS),
    failure=TEXTS,
    seconds=ANY_NUMBERS,
    unasked=st.lists(TEXTS, max_size=3).map(tuple),
)
def test_record_keeps_every_bit(
    rows: dict[str, tuple[float, ...]],
    item: Item,
    failure: str,
    seconds: float,
    unasked: tuple[str, ...],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("record") / "record.json"
    record = SceneRecord("room", rows, failure, (item,), seconds, unasked)
    path.write_text(record_to_json(record), encoding="utf-8")
    assert repr(read_record(path)) == repr(record)


@settings(deadline=None)
@given(numbers=st.tuples(*[ANY_NUMBERS] * 5))
def test_summary_keeps_every_bit(
    numbers: tuple[float, ...], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("summary") / "summary.json"
    value, low, high, count, chance = numbers
    estimate = Estimate("spq", value, low, high, "bca", 7, count, chance)
    summary = Summary(
        "toy", "rooms", "abc", True, ("answers",), 7, {"room-1": "too dark"}, (estimate,),
        {"count": estimate}, {"torch": "2.11"}, {"room-2": ("how many chairs", "")},
    )  # fmt: skip
    path.write_text(summary_to_json(summary))
    assert repr(read_summary(path, summary.versions)) == repr(summary)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_sums_that_are_not_finite_are_never_written(value: float) -> None:
    with pytest.raises(ValueError, match="scene 'room': the sums of 'spq' must be finite"):
        record_to_json(SceneRecord("room", {"spq": (value, 1.0)}))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "run"
    evaluate_system(ToySystem(tasks=FEW_TASKS), ToyBenchmark(3), out)
    return out


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A finished run to be damaged."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def _change(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def test_record_of_another_scene_is_refused(run: Path) -> None:
    _change(run / "scenes" / "toy-1.json", lambda record: record.update(name="toy-2"))
    with pytest.raises(RunError, match=r"toy-1.json: is the record of 'toy-2'"):
        read_run(run)


def test_record_of_a_scene_that_nobody_asked_about_is_refused(run: Path) -> None:
    shutil.copy(run / "scenes" / "toy-1.json", run / "scenes" / "toy-9.json")
    with pytest.raises(RunError, match=r"toy-9.json: is of no scene of toy rooms"):
        read_run(run)


def test_missing_record_is_an_unfinished_run(run: Path) -> None:
    (run / "scenes" / "toy-1.json").unlink()
    with pytest.raises(RunError, match="not finished, 2 of 3 scenes"):
        read_run(run)
    (run / "summary.json").unlink()
    with pytest.raises(RunError, match="not finished"):
        read_run(run)


def test_folder_without_an_evaluation_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is no evaluation, it has no run.json"):
        read_run(tmp_path)
    (tmp_path / "run.json").write_text('{"format": "something else"}')
    assert not is_run(tmp_path)
    with pytest.raises(RunError, match="is of no g2vlm-fast evaluation of version 1"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    "name", ["run.json", "scenes/toy-1.json", "summary.json", "retrieval.json"]
)
def test_file_that_is_cut_off_is_named(name: str, run: Path) -> None:
    path = run / name
    path.write_text(path.read_text()[:-20])
    with pytest.raises(ScanError, match=f"{path.name}: is no JSON, or cut off"):
        read_run(run)


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        (
            "scenes/toy-1.json",
            lambda v: v["rows"].update(spq=["many", 1]),
            "finite numbers, got .many",
        ),
        (
            "scenes/toy-1.json",
            lambda v: v["rows"].update(spq=[float("nan")]),
            "finite numbers, got nan",
        ),
        ("scenes/toy-1.json", lambda v: v["rows"].update(spq=[True]), "finite numbers, got True"),
        ("scenes/toy-1.json", lambda v: v["rows"].update(spq=5), "spq of rows must be a list"),
        ("scenes/toy-1.json", lambda v: v.update(rows=[]), "rows is list, not an object"),
        ("scenes/toy-1.json", lambda v: v.update(seconds="long"), "seconds must be a number"),
        ("scenes/toy-1.json", lambda v: v["items"].append(5), "is int, not an object"),
        ("summary.json", lambda v: v["estimates"][0].pop("low"), "low of estimates 0 must be"),
        ("summary.json", lambda v: v.update(tasks=[1]), "tasks must be texts"),
        ("run.json", lambda v: v["identity"].update(tasks=["juggling"]), "juggling"),
        ("run.json", lambda v: v["identity"].update(tasks=[["answers"]]), "answers"),
        ("run.json", lambda v: v["identity"].update(scenes=[1]), "fit for a folder"),
        ("run.json", lambda v: v.pop("versions"), "versions is NoneType"),
        ("retrieval.json", lambda v: v.update({"toy-1": 5}), "toy-1 is int, not an object"),
    ],
)
def test_file_that_says_something_else_is_named(
    name: str, change: Callable[[dict[str, Any]], object], told: str, run: Path
) -> None:
    _change(run / name, change)
    with pytest.raises(ScanError, match=rf"{Path(name).name}: .*{told}"):
        read_run(run)


@pytest.mark.parametrize("name", ["run.json", "scenes/toy-1.json", "summary.json"])
def test_every_missing_field_is_told(name: str, finished: Path, tmp_path: Path) -> None:
    fields = json.loads((finished / name).read_text())
    for field in fields:
        run = Path(shutil.copytree(finished, tmp_path / f"without-{field}"))
        if (name, field) == ("summary.json", "looks_at_truth"):
            continue  # a yes that must be said
        if field == "unasked":
            continue  # older runs have none
        _change(run / name, lambda values, field=field: values.pop(field))
        with pytest.raises((ScanError, RunError), match=Path(name).name):
            read_run(run)
