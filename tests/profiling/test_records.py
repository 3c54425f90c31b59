from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from timing_record import RECORD

from g2vlm_fast.profiling.records import (
    DirtyTreeError,
    Record,
    RecordError,
    commit_of,
    load,
    newest,
    store,
)

KEYS = {
    "suite", "case", "provider", "pass", "ms", "floor_ms", "peak_mib", "error", "device", "torch",
    "commit", "date",
}  # fmt: skip


def test_record_has_the_keys_of_the_schema_and_reads_back() -> None:
    values = RECORD.to_json()
    assert set(values) == KEYS
    assert values["pass"] == "fwd_bwd"
    assert Record.from_json(json.loads(json.dumps(values))) == RECORD


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ms": 0.0}, "ms must be finite and positive"),
        ({"ms": float("nan")}, "ms must be finite and positive"),
        ({"ms": True}, "ms must be finite"),
        ({"error": float("inf")}, "error must be finite"),
        ({"peak_mib": -1.0}, "peak_mib must be finite"),
        ({"suite": "other"}, "suite must be one of"),
        ({"direction": "backward"}, "pass must be one of"),
        ({"device": ""}, "device must be a text"),
        ({"date": "yesterday"}, "date must be in ISO form"),
    ],
)
def test_record_that_says_nonsense_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(RecordError, match=message):
        replace(RECORD, **changes)


def test_record_with_other_keys_is_refused() -> None:
    with pytest.raises(RecordError, match="keys must be"):
        Record.from_json({**RECORD.to_json(), "launches": 3})
    with pytest.raises(RecordError, match="keys must be"):
        Record.from_json([1, 2])


def test_newest_record_of_a_key_counts() -> None:
    later = replace(RECORD, ms=0.04, date="2026-11-23T12:00:00+00:00")
    elsewhere = replace(RECORD, device="other")
    assert newest([later, RECORD, elsewhere]) == [later, elsewhere]


def test_store_replaces_by_key_and_drops_what_now_fails(tmp_path: Path) -> None:
    other = replace(RECORD, provider="reference")
    store(tmp_path, "nearest", [RECORD, other], [])
    faster = replace(RECORD, ms=0.04, date="2026-11-23T12:00:00+00:00")
    store(tmp_path, "nearest", [faster], [other.key])
    assert load(tmp_path / "nearest.json") == [faster]
    assert isinstance(json.loads((tmp_path / "nearest.json").read_text()), list)
    assert [path.name for path in tmp_path.iterdir()] == ["nearest.json"]


def test_broken_result_file_is_named_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "nearest.json"
    for text in ("{", "{}", '[{"ms": 1}]'):
        path.write_text(text)
        with pytest.raises(RecordError, match=r"nearest\.json"):
            store(tmp_path, "nearest", [RECORD], [])
        assert path.read_text() == text


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True)

    git("init", "-q")
    (tmp_path / "kernel.cu").write_text("one\n")
    git("add", "kernel.cu")
    git("commit", "-q", "-m", "One")
    return tmp_path


def test_clean_tree_gives_its_commit(tree: Path) -> None:
    assert len(commit_of(tree)) == 12


@pytest.mark.parametrize("name", ["kernel.cu", "new.cu"])
def test_changed_tree_is_refused(tree: Path, name: str) -> None:
    (tree / name).write_text("two\n")
    with pytest.raises(DirtyTreeError, match=name.replace(".", r"\.")):
        commit_of(tree)
    with pytest.raises(DirtyTreeError):
        commit_of(tree, given="0123456789ab")  # a work tree knows its commit better
    assert commit_of(tree, allow_dirty=True).endswith("-dirty")


def test_a_commit_that_the_tree_is_not_at_is_refused(tree: Path) -> None:
    head = commit_of(tree)
    assert commit_of(tree, given=head[:8]) == commit_of(tree, given=head + "f" * 28) == head
    with pytest.raises(DirtyTreeError, match="--commit 0123456789ab was given"):
        commit_of(tree, given="0123456789ab")


def test_figures_of_the_run_itself_do_not_make_the_tree_dirty(tree: Path) -> None:
    clean = commit_of(tree)
    (tree / "benchmarks/results").mkdir(parents=True)
    (tree / "benchmarks/results/nearest.json").write_text("[]\n")
    assert commit_of(tree) == clean


def test_tree_without_git_needs_a_commit(tmp_path: Path) -> None:
    with pytest.raises(DirtyTreeError, match="--commit"):
        commit_of(tmp_path)
    assert commit_of(tmp_path, given="0123456789ab") == "0123456789ab"
    assert commit_of(tmp_path, allow_dirty=True) == "unknown-dirty"
