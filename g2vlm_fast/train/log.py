"""What a run tells: a line of JSON a step, and a progress bar for people."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from g2vlm_fast.files import write_text


class StepLog:
    """Appends one JSON object a line to a file.

    A run that resumes from a save first drops the lines of the steps that it will repeat, so
    that the file holds every step once.
    """

    def __init__(self, path: Path, *, resume_step: int) -> None:
        kept = [line for line in _complete_lines(path) if json.loads(line)["step"] < resume_step]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, "".join(line + "\n" for line in kept))
        self._file = open(path, "a", buffering=1)  # noqa: SIM115 (closed by close)

    def write(self, entry: Mapping[str, Any]) -> None:
        """Append an entry; numbers that are not finite become null, as JSON has none."""
        plain = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in entry.items()
        }
        self._file.write(json.dumps(plain, allow_nan=False) + "\n")

    def close(self) -> None:
        self._file.close()


class ProgressBar:
    """A rich progress bar over the budget; silent where ``enabled`` is False."""

    def __init__(self, *, enabled: bool, title: str) -> None:
        self._bar: Any = None
        if enabled:
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            self._bar = Progress(
                TextColumn("[bold]{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}%"),
                TimeElapsedColumn(),
                TextColumn("{task.fields[status]}"),
            )
            self._task = self._bar.add_task(title, total=1.0, status="")

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, used: float, *, title: str, status: str) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=used, description=title, status=status)


def _complete_lines(path: Path) -> list[str]:
    """Return the whole lines of a log; the torn last line of a killed run is dropped."""
    if not path.exists():
        return []
    text = path.read_text()
    return text[: text.rfind("\n") + 1].splitlines()
