"""The one error that every reader raises."""

from __future__ import annotations

from pathlib import Path


class ScanError(ValueError):
    """A scan cannot be read: which file, what is wrong with it, and what to do.

    Attributes:
        path: the file or folder at fault.
    """

    def __init__(self, path: Path | str, problem: str, remedy: str) -> None:
        self.path = Path(path)
        super().__init__(f"{self.path}: {problem}. {remedy}.")
