"""A finished evaluation, read back from its folder.

::

    run.json             who was judged on what, by which version of the scores, when and where
    predictions/NAME/    what was said of a scene (see docs/datasets.md), or failure.txt
    scenes/NAME.json     its record: sums of every score, and what was said beside what is true
    retrieval.json       the sums of scores for which all scenes rank each other
    summary.json         every score over all scenes, with its interval
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from g2vlm_fast.data.readers.safe_files import Fields
from g2vlm_fast.eval.protocol.identity import RunIdentity
from g2vlm_fast.eval.protocol.record_files import (
    read_fields,
    read_record,
    read_summary,
    rows_from_json,
)
from g2vlm_fast.eval.protocol.records import Row, SceneRecord, Summary

FORMAT, VERSION = "g2vlm-fast evaluation", 1
RUN_FILE, SUMMARY_FILE, RETRIEVAL_FILE = "run.json", "summary.json", "retrieval.json"
PREDICTIONS, SCENES = "predictions", "scenes"


class RunError(ValueError):
    """The folder of an evaluation cannot be used; names it and says what to do."""


@dataclass(frozen=True)
class Run:
    """A finished evaluation.

    Attributes:
        summary: its numbers.
        records: of all scenes, in the order of the benchmark.
        folder: where it lies.
        identity: of which system, benchmark and scores it is.
    """

    summary: Summary
    records: tuple[SceneRecord, ...]
    folder: Path
    identity: RunIdentity


def read_run(folder: Path | str) -> Run:
    """Read a finished evaluation.

    Raises:
        RunError: the folder is no evaluation, or one that is not finished; a record is missing, is
            of no scene of the benchmark, or of another one than its file is named after.
        ScanError: a file is damaged; names it.
    """
    folder = Path(folder)
    identity, versions = read_identity(folder)
    missing = missing_scenes(folder, identity)
    if missing or not (folder / SUMMARY_FILE).is_file():
        done = len(identity.scenes) - len(missing)
        raise RunError(
            f"{folder}: the evaluation is not finished, {done} of {len(identity.scenes)} scenes "
            "are there; evaluate the same system on the same benchmark with this --out to go on"
        )
    return Run(
        read_summary(folder / SUMMARY_FILE, versions),
        read_records(folder, identity),
        folder,
        identity,
    )


def is_run(folder: Path) -> bool:
    """Whether a folder says that it is an evaluation."""
    try:
        read_identity(folder)
    except ValueError:
        return False
    return True


def read_identity(folder: Path) -> tuple[RunIdentity, dict[str, Any]]:
    """Read of what a run is, and its versions of packages and hardware.

    Raises:
        RunError: the folder is no evaluation.
        ScanError: its ``run.json`` is damaged.
    """
    path = folder / RUN_FILE
    if not path.is_file():
        raise RunError(
            f"{folder}: is no evaluation, it has no {RUN_FILE}; name the --out of g2vlm-fast "
            "evaluate"
        )
    whole = Fields.read(path)
    if whole.values.get("format") != FORMAT or whole.values.get("version") != VERSION:
        raise RunError(
            f"{path}: is of no {FORMAT} of version {VERSION}; name another --out, or delete the "
            "folder yourself and evaluate again"
        )
    versions = Fields.of(path, whole.values.get("versions"), "versions").values
    return RunIdentity.from_json(path, whole.values.get("identity")), dict(versions)


def missing_scenes(folder: Path, identity: RunIdentity) -> list[str]:
    """The names of the scenes that have no record yet, in the order of the benchmark."""
    return [name for name in identity.scenes if not record_path(folder, name).is_file()]


def record_path(folder: Path, name: str) -> Path:
    """Where the record of a scene lies."""
    return folder / SCENES / f"{name}.json"


def read_records(folder: Path, identity: RunIdentity) -> tuple[SceneRecord, ...]:
    """Read the records of all scenes, with the sums of retrieval where there are some.

    Raises:
        RunError: one is of no scene of the benchmark, or of another than its file says.
        ScanError: one is missing or damaged.
    """
    known = {record_path(folder, name) for name in identity.scenes}
    for path in sorted((folder / SCENES).glob("[!.]*.json")):
        if path not in known:
            raise RunError(
                f"{path}: is of no scene of {identity.benchmark}; take it out of the folder"
            )
    ranked = _read_retrieval(folder)
    records = []
    for name in identity.scenes:
        path = record_path(folder, name)
        record = read_record(path)
        if record.name != name:
            raise RunError(
                f"{path}: is the record of {record.name!r}; delete it and evaluate with this "
                "--out to have it made again"
            )
        records.append(replace(record, rows=record.rows | dict(ranked.get(name, {}))))
    return tuple(records)


def _read_retrieval(folder: Path) -> Mapping[str, Mapping[str, Row]]:
    path = folder / RETRIEVAL_FILE
    if not path.is_file():
        return {}
    whole = read_fields(path)
    return {
        name: rows_from_json(Fields.of(path, whole.values[name], name)) for name in whole.values
    }
