"""One process at a time in the folder of a run."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from g2vlm_fast.train.checkpoint import CheckpointError

_NAME = "lock"


@contextmanager
def sole_process(folder: Path) -> Iterator[None]:
    """Keep other processes out of the folder of a run while the block runs.

    The lock belongs to the process and ends with it, however it ends; the file ``lock`` stays,
    and by itself locks nothing. Where the system has no ``fcntl``, nothing is locked.

    Args:
        folder: of the run; made if it does not exist.

    Raises:
        CheckpointError: another process holds the folder.

    Warns:
        RuntimeWarning: the file system knows no locks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / _NAME, "a+", encoding="utf-8") as file:
        _lock(file, folder)
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _lock(file: IO[str], folder: Path) -> None:
    try:
        import fcntl
    except ImportError:  # not on every system
        return
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        raise CheckpointError(
            f"{folder}: another process (id {holder}) is training in this folder; wait until it "
            "has ended and start again, or train in another folder"
        ) from error
    except OSError as error:
        warnings.warn(
            f"{folder}: cannot be locked ({error.strerror}); see to it that no other process "
            "trains there",
            RuntimeWarning,
            stacklevel=4,
        )
