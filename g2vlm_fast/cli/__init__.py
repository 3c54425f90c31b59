"""The command line: ``g2vlm-fast run | check | preprocess | view | data | train | evaluate | ...``.

What a command needs is imported when it runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import tyro

from g2vlm_fast.cli import evaluations, models, scans, scenes

BAD_INPUT = 2
"""Exit status where what was given cannot be used; nothing is written then."""

TERMINATED = 128 + signal.SIGTERM
"""Exit status after SIGTERM, as a shell reports it; what was half done is cleared away first."""

_CarryOut = Callable[[Any], int | None]
_COMMANDS: dict[str, tuple[type, _CarryOut | None]] = {
    "run": (models.Run, models.run),
    "check": (scans.Check, scans.check),
    "preprocess": (scans.Preprocess, scans.preprocess),
    "view": (scenes.View, scenes.view),
    "data": (scenes.Data, None),  # has commands of its own
    "info": (models.Info, models.info),
    "train": (models.Train, models.train),
    "evaluate": (evaluations.Evaluate, evaluations.evaluate),
    "compare": (evaluations.Compare, evaluations.compare),
    "profile": (models.Profile, None),  # reads its own options
}
_DATA_COMMANDS: dict[str, tuple[type, _CarryOut | None]] = {
    "show": (scenes.Show, scenes.show),
    "statistics": (scenes.Statistics, scenes.statistics),
    "write": (scenes.Write, scenes.write),
}
_CARRY_OUT = {
    kind: carry_out
    for kind, carry_out in (*_COMMANDS.values(), *_DATA_COMMANDS.values())
    if carry_out is not None
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status, 2 for bad input.

    Args:
        arguments: without the name of the program; None for those of the process.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments[:1] == ["profile"]:
        from g2vlm_fast.profiling.command import main as profile

        return profile(arguments[1:])
    if arguments[:1] == ["--version"]:
        from g2vlm_fast import __version__

        print(f"g2vlm-fast {__version__}")
        return 0
    command = _parse(arguments)
    try:
        with _leaving_on_sigterm():
            status = _CARRY_OUT[type(command)](command)
    except Exception as error:
        if not _is_bad_input(error):
            raise
        print(f"g2vlm-fast: {error}", file=sys.stderr)
        return BAD_INPUT
    return status or 0


def _parse(arguments: list[str]) -> Any:
    if arguments[:1] == ["data"]:
        return tyro.extras.subcommand_cli_from_dict(
            _names(_DATA_COMMANDS),
            prog="g2vlm-fast data",
            args=arguments[1:],
            description=scenes.Data.__doc__,
        )
    return tyro.extras.subcommand_cli_from_dict(
        _names(_COMMANDS), prog="g2vlm-fast", args=arguments,
        description="Geometry-grounded vision and language. --version says which release this is.",
    )  # fmt: skip


def _names(commands: dict[str, tuple[type, _CarryOut | None]]) -> dict[str, Any]:
    return {name: kind for name, (kind, _) in commands.items()}


@contextmanager
def _leaving_on_sigterm() -> Iterator[None]:
    """Turn SIGTERM into :class:`SystemExit`, so that every block that is open is left in order.

    Only the main thread may, and only this process does: workers that were forked from it end at
    once, as they would without.

    Python looks for signals between its own instructions, so a call into native code (fusing
    depth, a pass of the model) ends first. Whoever cannot wait sends SIGKILL; that leaves a hidden
    ``.<out>.*.partial`` folder beside the results, which nothing reads and anyone may delete.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    process = os.getpid()

    def leave(number: int, frame: FrameType | None) -> None:
        if os.getpid() != process:
            os._exit(TERMINATED)
        # Neither a second SIGTERM nor torch, which raises when a worker ends (SIGCHLD: workers get
        # the signal too where it goes to the group), must disturb the clearing away.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if hasattr(signal, "SIGCHLD"):
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        raise SystemExit(TERMINATED)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _is_bad_input(error: Exception) -> bool:
    """Whether an error is about what was given, so that its message is all there is to say."""
    from g2vlm_fast.data.readers import ScanError
    from g2vlm_fast.eval.protocol.runs import RunError
    from g2vlm_fast.geometry.conventions import ConventionError
    from g2vlm_fast.pipeline.checkpoint import ModelError
    from g2vlm_fast.pipeline.config import ConfigError
    from g2vlm_fast.train import CheckpointError

    known = (
        ScanError, ConventionError, ModelError, ConfigError, CheckpointError, RunError, OSError,
    )  # fmt: skip
    return isinstance(error, known)
