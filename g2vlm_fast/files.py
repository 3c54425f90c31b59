"""Single files that are there whole or not at all, after a crash of the machine too."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Fill a file out of sight, then let it appear at once.

    Yields a path beside ``path`` that ends alike; the block must write it. When the block ends
    the file is flushed to the disk and renamed to ``path``; when it raises, the file is deleted
    and what was at ``path`` stays as it was.

    Raises:
        OSError: the file cannot be written or renamed.
    """
    draft = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        yield draft
        _flush(draft, os.O_RDWR)
        os.replace(draft, path)
        if os.name == "posix":  # elsewhere a folder cannot be opened, and the rename is enough
            _flush(path.parent, os.O_RDONLY)
    finally:
        draft.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file.

    Raises:
        OSError: the file cannot be written.
    """
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")


def _flush(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
