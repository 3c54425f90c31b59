"""The errors that every reader raises."""

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


class FrameError(ScanError):
    """One frame cannot be used; a scan may lose some, and says how many and why.

    Attributes:
        reason: a few words that frames are counted by ("without a depth image").
    """

    def __init__(self, path: Path | str, problem: str, remedy: str, *, reason: str) -> None:
        self.reason = reason
        super().__init__(path, problem, remedy)
