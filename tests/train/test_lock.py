"""A run folder belongs to one process at a time, and to none that has died."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from g2vlm_fast import recipes
from g2vlm_fast.train import CheckpointError
from g2vlm_fast.train.lock import sole_process

fcntl = pytest.importorskip("fcntl")

_HOLD = """
import sys
from pathlib import Path
from g2vlm_fast.train.lock import sole_process
with sole_process(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def _held_by_another(folder: Path) -> Iterator[subprocess.Popen[str]]:
    other = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        yield other
        other.kill()


def test_folder_of_a_running_process_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with (
        _held_by_another(folder) as other,
        pytest.raises(CheckpointError, match=rf"run: .*\(id {other.pid}\).*another folder"),
    ):
        recipes.run_recipe(recipes.tiny_test(), folder)
    assert [path.name for path in folder.iterdir()] == ["lock"]


def test_lock_of_a_killed_process_does_not_hold(tmp_path: Path) -> None:
    with _held_by_another(tmp_path) as other:
        other.send_signal(signal.SIGKILL)
        other.wait()
        with sole_process(tmp_path):
            pass


def test_folder_is_free_again_after_the_block(tmp_path: Path) -> None:
    with sole_process(tmp_path):
        pass
    with _held_by_another(tmp_path):
        pass


def test_file_system_without_locks_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    with pytest.warns(RuntimeWarning, match="No locks available"), sole_process(tmp_path):
        pass
