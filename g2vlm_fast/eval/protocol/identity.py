"""What makes two runs the same: who was judged, on what, and by which scores."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from g2vlm_fast.data.readers.errors import ScanError
from g2vlm_fast.data.readers.safe_files import Fields
from g2vlm_fast.eval.protocol.cases import Benchmark
from g2vlm_fast.eval.protocol.systems import TASKS, System, Task
from g2vlm_fast.eval.scoring.score import VERSION, Score

_NAME = re.compile(r"[^\W_][\w .,+=@()-]*(?<![. ])")
_LONGEST = 200  # bytes of a name


@dataclass(frozen=True)
class RunIdentity:
    """Of which system, benchmark and scores a run is; runs that differ in it are different runs.

    Attributes:
        tasks: what the system attempts, in the order of :data:`TASKS`.
        scenes: names of all cases of the benchmark, in its order.
        scoring: version of the scores.

    Raises:
        ValueError: the benchmark is empty, a name comes twice or cannot name a folder, a task is
            unknown, or the system has no name.
    """

    system: str
    system_fingerprint: str
    looks_at_truth: bool
    tasks: tuple[Task, ...]
    benchmark: str
    benchmark_fingerprint: str
    scenes: tuple[str, ...]
    scoring: str

    def __post_init__(self) -> None:
        unknown = [task for task in self.tasks if task not in get_args(Task)]
        if unknown or not self.tasks:
            raise ValueError(
                f"system {self.system!r}: tasks must be some of {', '.join(TASKS)}, "
                f"got {unknown[0] if unknown else 'none'}"
            )
        check_names(self.benchmark, self.scenes)
        if not self.system.strip() or not self.system.isprintable():
            raise ValueError(
                f"the name of a system must be a line of text, got {self.system!r:.80}"
            )

    @staticmethod
    def of(system: System, benchmark: Benchmark, scores: Sequence[Score]) -> RunIdentity:
        """The identity of the run of a system on a benchmark."""
        unknown = sorted(set(system.tasks) - set(TASKS))
        return RunIdentity(
            system=system.name,
            system_fingerprint=system.fingerprint,
            looks_at_truth=system.looks_at_truth,
            tasks=(*(task for task in TASKS if task in system.tasks), *unknown),
            benchmark=benchmark.name,
            benchmark_fingerprint=benchmark.fingerprint,
            scenes=tuple(benchmark.names),
            scoring=scoring_version(scores),
        )

    @staticmethod
    def from_json(path: Path, values: Any) -> RunIdentity:
        """The identity that ``values`` hold, which :meth:`to_json` gave and ``path`` kept.

        Raises:
            ScanError: something else stands there.
        """
        entry = Fields.of(path, values, "identity")
        texts = {
            name: entry.text(name)
            for name in (
                "system", "system_fingerprint", "benchmark", "benchmark_fingerprint", "scoring",
            )
        }  # fmt: skip
        try:
            return RunIdentity(
                **texts,
                looks_at_truth=entry.values.get("looks_at_truth") is True,
                tasks=tuple(entry.list("tasks")),
                scenes=tuple(entry.list("scenes")),
            )
        except (TypeError, ValueError) as error:
            raise ScanError(path, str(error), "Restore the file, or evaluate again") from error

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def differences(self, other: RunIdentity) -> list[str]:
        """Say in which fields two identities differ, each with both values in short.

        Where a system or a benchmark has another name, the name says enough.
        """
        found = []
        for name, details in _DETAILS.items():
            fields = (name,) if getattr(self, name) != getattr(other, name) else details
            for field in fields:
                ours, theirs = getattr(self, field), getattr(other, field)
                if ours != theirs:
                    told = field.replace("_", " ")
                    found.append(f"{told} {_short(ours)}, not {_short(theirs)}")
        return found


_DETAILS = {
    "system": ("system_fingerprint", "looks_at_truth", "tasks"),
    "benchmark": ("benchmark_fingerprint", "scenes"),
    "scoring": (),
}


def scoring_version(scores: Sequence[Score]) -> str:
    """Name the version of scoring, which another set of scores changes as well."""
    named = "\n".join(f"{score.task} {score.name}" for score in scores)
    return f"{VERSION}-{hashlib.sha256(named.encode()).hexdigest()[:8]}"


def check_names(benchmark: str, scenes: Sequence[Any]) -> None:
    """Check that the names of cases can be told apart, and be those of folders anywhere.

    Raises:
        ValueError: says which cannot.
    """
    if not scenes:
        raise ValueError(f"benchmark {benchmark!r} has no cases")
    folded: set[str] = set()
    for name in scenes:
        if not isinstance(name, str) or not _NAME.fullmatch(name) or _bytes(name) > _LONGEST:
            raise ValueError(
                f"benchmark {benchmark!r}: the name of a case must be fit for a folder (a letter "
                "or digit first, then those and - _ . , + = @ ( ) and spaces, no more than "
                f"{_LONGEST} bytes), got {name!r:.250}"
            )
        alike = unicodedata.normalize("NFC", name).casefold()
        if alike in folded:  # file systems may not tell them apart
            raise ValueError(f"benchmark {benchmark!r}: the case {name!r} comes twice")
        folded.add(alike)


def _bytes(name: str) -> int:
    return len(name.encode("utf-8", errors="replace"))


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return f"{len(value)} ({', '.join(map(str, value[:3]))}{', ...' * (len(value) > 3)})"
    return str(value)[:80]
