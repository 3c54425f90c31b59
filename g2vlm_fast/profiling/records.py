"""Records of measurements: their schema, their files and the commit they belong to."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PASSES = ("fwd", "fwd_bwd", "call")
SUITES = (
    "nearest",
    "geometry_attention",
    "graph",
    "call",
    "train_step",
    "render",
    "metrics",
    "binding",
)
# What a run itself writes does not make the tree another one than the commit.
_OUTPUTS = ("benchmarks/results", "benchmarks/reports")


# Suite, case, provider, pass, device: what a newer record of the same thing replaces.
Key = tuple[str, str, str, str, str]


class RecordError(ValueError):
    """A record or a result file is not what the schema says."""


class DirtyTreeError(RuntimeError):
    """The tree holds changes that no commit names, so figures from it would name the wrong code."""


@dataclass(frozen=True)
class Record:
    """One figure. In JSON, ``direction`` is called ``pass``.

    ``ms`` is the time of one call in milliseconds, ``floor_ms`` the least time that its bytes and
    operations allow on ``device``, ``peak_mib`` the memory above the inputs, ``error`` the largest
    relative L2 error against float64. ``floor_ms`` and ``peak_mib`` are None where unknown.
    """

    suite: str
    case: str
    provider: str
    direction: str
    ms: float
    floor_ms: float | None
    peak_mib: float | None
    error: float
    device: str
    torch: str
    commit: str
    date: str

    def __post_init__(self) -> None:
        for name in ("suite", "case", "provider", "device", "torch", "commit", "date"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value:
                raise RecordError(f"record: {name} must be a text that is not empty, got {value!r}")
        if self.suite not in SUITES:
            raise RecordError(f"record: suite must be one of {SUITES}, got {self.suite!r}")
        if self.direction not in PASSES:
            raise RecordError(f"record: pass must be one of {PASSES}, got {self.direction!r}")
        _check_number("ms", self.ms, positive=True)
        _check_number("error", self.error)
        for name in ("floor_ms", "peak_mib"):
            if getattr(self, name) is not None:
                _check_number(name, getattr(self, name))
        try:
            datetime.fromisoformat(self.date)
        except ValueError as error:
            raise RecordError(f"record: date must be in ISO form, got {self.date!r}") from error

    @property
    def key(self) -> Key:
        """What the record is about."""
        return self.suite, self.case, self.provider, self.direction, self.device

    def to_json(self) -> dict[str, Any]:
        values = asdict(self)
        return {"pass" if name == "direction" else name: value for name, value in values.items()}

    @classmethod
    def from_json(cls, values: Any) -> Record:
        """Read a record, refusing any that has another set of keys than the schema."""
        names = {"pass" if each.name == "direction" else each.name for each in fields(cls)}
        if not isinstance(values, dict) or set(values) != names:
            found = sorted(values) if isinstance(values, dict) else type(values).__name__
            raise RecordError(f"record: keys must be {sorted(names)}, got {found}")
        renamed = {"direction" if name == "pass" else name: value for name, value in values.items()}
        return cls(**renamed)


def _check_number(name: str, value: Any, *, positive: bool = False) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < 0 or (positive and value == 0):
        kind = "positive" if positive else "not negative"
        raise RecordError(f"record: {name} must be finite and {kind}, got {value!r}")


def now() -> str:
    """Return the date of a record made now: ISO form, UTC, whole seconds."""
    return datetime.now(UTC).replace(microsecond=0).isoformat()


def load(path: Path) -> list[Record]:
    """Read a result file; a file that does not exist holds no records.

    Raises:
        RecordError: the file is not a list of records.
    """
    if not path.is_file():
        return []
    try:
        values = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise RecordError(f"{path}: not JSON ({error})") from error
    if not isinstance(values, list):
        raise RecordError(f"{path}: must hold a list of records, got {type(values).__name__}")
    try:
        return [Record.from_json(each) for each in values]
    except RecordError as error:
        raise RecordError(f"{path}: {error}") from error


def newest(records: Iterable[Record]) -> list[Record]:
    """Return the newest record of every key, in order of the key."""
    kept: dict[Key, Record] = {}
    for record in records:
        held = kept.get(record.key)
        if held is None or _moment(record) >= _moment(held):
            kept[record.key] = record
    return [kept[key] for key in sorted(kept)]


def _moment(record: Record) -> datetime:
    moment = datetime.fromisoformat(record.date)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def store(folder: Path, suite: str, fresh: Iterable[Record], withdrawn: Iterable[Key]) -> None:
    """Merge records of one suite into ``<folder>/<suite>.json``.

    Args:
        folder: of the result files.
        suite: whose file it is.
        fresh: new records; they replace older ones of their key.
        withdrawn: keys whose older records are dropped, as the same call now fails its check.
    """
    path = folder / f"{suite}.json"
    gone = set(withdrawn)
    kept = [record for record in load(path) if record.key not in gone]
    text = ",\n".join(json.dumps(record.to_json()) for record in newest([*kept, *fresh]))
    write_whole(path, f"[\n{text}\n]\n" if text else "[]\n")


def write_whole(path: Path, text: str) -> None:
    """Write a file that is either the old one or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    partial.replace(path)


def commit_of(root: Path, *, allow_dirty: bool = False, given: str | None = None) -> str:
    """Return the commit that figures measured in ``root`` belong to.

    Args:
        root: a folder of the source tree.
        allow_dirty: accept a changed tree; the commit then ends in ``-dirty``, and such a figure
            counts for nothing but a look.
        given: the commit to use where ``root`` is no git work tree (a copied source tree).

    Raises:
        DirtyTreeError: the tree has changes, or is at another commit than ``given``, or there is
            neither a work tree nor ``given``.
    """
    head = _git(root, "rev-parse", "--short=12", "HEAD")
    if head is None:
        if given:
            return given
        if allow_dirty:
            return "unknown-dirty"
        raise DirtyTreeError(
            f"{root} is no git work tree, so the commit of these figures is unknown; "
            "name it with --commit, or pass --allow-dirty"
        )
    if given and not (head.startswith(given) or given.startswith(head)):
        raise DirtyTreeError(
            f"--commit {given} was given, but {root} is a work tree at {head}; leave --commit out"
        )
    excluded = [f":(exclude,top){folder}" for folder in _OUTPUTS]
    changes = _git(root, "status", "--porcelain", "--", ":/", *excluded) or ""
    if not changes:
        return head
    if allow_dirty:
        return f"{head}-dirty"
    raise DirtyTreeError(
        "the tree has changes that are not committed, so no figure of it is recorded; commit them "
        f"or pass --allow-dirty:\n{changes}"
    )


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
