"""Records of scenes and summaries as JSON, which keeps every bit of their numbers.

Numbers that are not finite are written as the texts "nan", "inf" and "-inf": JSON has no others.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from g2vlm_fast.data.readers.errors import ScanError
from g2vlm_fast.data.readers.safe_files import Fields
from g2vlm_fast.eval.protocol.records import Estimate, Item, Row, SceneRecord, Summary

_UNASKED = "unasked"  # older runs have none
_REMEDY = "Evaluate the scene again: delete the file, and give the run the same --out"


def read_fields(path: Path) -> Fields:
    """Read a file of a run.

    Raises:
        ScanError: missing, cut off, or no JSON; names the file, and says how it is made again.
    """
    try:
        return Fields.read(path)
    except ScanError as error:
        problem = str(error).removeprefix(f"{path}: ").removesuffix(".")
        remedy = "Or delete it and evaluate with the same --out to have it made again"
        raise ScanError(path, problem, remedy) from error


def rows_to_json(name: str, rows: Mapping[str, Row]) -> dict[str, list[float]]:
    """The rows of a scene.

    Raises:
        ValueError: a sum is not finite, so that no total of scenes would be.
    """
    for score, row in rows.items():
        if not all(map(math.isfinite, row)):
            raise ValueError(f"scene {name!r}: the sums of {score!r} must be finite, got {row}")
    return {score: [float(value) for value in row] for score, row in rows.items()}


def rows_from_json(entry: Fields) -> dict[str, Row]:
    """The rows that :func:`rows_to_json` wrote into the object ``entry``.

    Raises:
        ScanError: something else stands there.
    """
    return {score: _row(entry, score) for score in entry.values}


def _row(entry: Fields, score: str) -> Row:
    row = entry.list(score)
    for value in row:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (number and math.isfinite(value)):
            raise ScanError(
                entry.path, f"the sums of {score!r} must be finite numbers, got {value!r}", _REMEDY
            )
    return tuple(float(value) for value in row)


def record_to_json(record: SceneRecord) -> str:
    """A record as text."""
    values = asdict(record) | {
        "rows": rows_to_json(record.name, record.rows),
        "seconds": _number_to_json(record.seconds),
    }
    return _text(values)


def read_record(path: Path) -> SceneRecord:
    """Read the record of one scene.

    Raises:
        ScanError: missing, cut off, or no record.
    """
    whole = read_fields(path)
    return SceneRecord(
        name=whole.text("name"),
        rows=rows_from_json(_object(whole, "rows")),
        failure=whole.text("failure"),
        items=tuple(_item(entry) for entry in whole.objects("items")),
        seconds=_number(whole, "seconds"),
        unasked=_texts(whole, _UNASKED) if _UNASKED in whole.values else (),
    )


def summary_to_json(summary: Summary) -> str:
    """A summary as text, less its versions, which are no part of the numbers."""
    values = asdict(summary)
    del values["versions"]
    values["estimates"] = [_estimate_to_json(each) for each in summary.estimates]
    values["by_kind"] = {kind: _estimate_to_json(e) for kind, e in summary.by_kind.items()}
    return _text(values)


def read_summary(path: Path, versions: Mapping[str, Any]) -> Summary:
    """Read a summary.

    Args:
        path: the file.
        versions: of packages and hardware, which are kept elsewhere.

    Raises:
        ScanError: missing, cut off, or no summary.
    """
    whole = read_fields(path)
    failures, by_kind = _object(whole, "failures"), _object(whole, "by_kind")
    beside = _object(whole, _UNASKED) if _UNASKED in whole.values else None
    return Summary(
        system=whole.text("system"),
        benchmark=whole.text("benchmark"),
        fingerprint=whole.text("fingerprint"),
        looks_at_truth=whole.values.get("looks_at_truth") is True,
        tasks=_texts(whole, "tasks"),
        scenes=whole.integer("scenes"),
        failures={name: failures.text(name) for name in failures.values},
        estimates=tuple(_estimate(entry) for entry in whole.objects("estimates")),
        by_kind={kind: _estimate(_object(by_kind, kind)) for kind in by_kind.values},
        versions=dict(versions),
        unasked={} if beside is None else {name: _texts(beside, name) for name in beside.values},
    )


def _text(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def _object(entry: Fields, name: str) -> Fields:
    return Fields.of(entry.path, entry.values.get(name), name)


def _texts(entry: Fields, name: str) -> tuple[str, ...]:
    texts = entry.list(name)
    if not all(isinstance(text, str) for text in texts):
        raise ScanError(entry.path, f"{name} must be texts", _REMEDY)
    return tuple(texts)


def _number_to_json(value: float) -> float | str:
    return float(value) if math.isfinite(value) else str(float(value))


def _number(entry: Fields, name: str) -> float:
    value = entry.values.get(name)
    return float(value) if value in ("nan", "inf", "-inf") else entry.number(name)


def _item(entry: Fields) -> Item:
    texts = {name: entry.text(name) for name in ("task", "kind", "asked", "said", "truth")}
    return Item(**texts, score=entry.number("score"))


def _estimate_to_json(estimate: Estimate) -> dict[str, Any]:
    return {
        name: _number_to_json(value) if isinstance(value, float) else value
        for name, value in asdict(estimate).items()
    }


def _estimate(entry: Fields) -> Estimate:
    numbers = {
        each.name: _number(entry, each.name) for each in fields(Estimate) if each.type == "float"
    }
    return Estimate(
        name=entry.text("name"),
        interval=entry.text("interval"),
        scenes=entry.integer("scenes"),
        **numbers,
    )
