"""The command line: ``g2vlm-fast run | check | preprocess | view | data | info | train | ...``.

What a command needs is imported when it runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import tyro

from g2vlm_fast.pipeline.config import RunConfig
from g2vlm_fast.pipeline.scan_config import CheckConfig, PreprocessConfig

BAD_INPUT = 2
"""Exit status where what was given cannot be used; nothing is written then."""

TERMINATED = 128 + signal.SIGTERM
"""Exit status after SIGTERM, as a shell reports it; what was half done is cleared away first."""


@dataclass(frozen=True, kw_only=True)
class Run(RunConfig):
    """Reconstruct a scan in 3D, describe it, and answer questions about it."""

    scan: Annotated[Path | None, tyro.conf.Positional] = None
    """Folder of a scan; without one, a room is generated."""
    ask: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A question, in quotes; may be given several times."""


@dataclass(frozen=True, kw_only=True)
class Check(CheckConfig):
    """Find out what the numbers of a scan mean: poses, axes, depth, camera matrix, clock."""

    scan: Annotated[Path, tyro.conf.Positional]
    """Folder of a scan."""


@dataclass(frozen=True, kw_only=True)
class Preprocess(PreprocessConfig):
    """Write scans of any layout as standard ones: metric, upright, calibrated, checked."""

    scans: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of scans."""


@dataclass(frozen=True, kw_only=True)
class Show:
    """Draw a contact sheet: views, depth, boxes, scene graph and sentences on one picture."""

    scene: Annotated[str, tyro.conf.Positional]
    """Seed of a generated room, or folder of a scan."""
    out: Path = Path("sheet.png")
    """Picture to write; an existing one is replaced."""
    image_size: tuple[int, int] = (240, 320)
    """Height and width of a room's views in pixels."""


@dataclass(frozen=True, kw_only=True)
class View:
    """Open a scene in the browser: cloud, boxes, cameras, and what is said about it."""

    scene: Annotated[str, tyro.conf.Positional]
    """Seed of a generated room, or folder of a scan."""
    host: str = "127.0.0.1"
    """Address to listen on; others than this machine's own let others look."""
    port: int = 8080
    """Port to listen on; where it is taken, the next free one."""
    open_browser: bool = True
    """Ask the system to open its browser there."""


@dataclass(frozen=True)
class Data:
    """Look at generated rooms and at scans; see data --help."""


@dataclass(frozen=True)
class Info:
    """Say what was built, what can run here and why not, and how large the models are."""


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a recipe, judge it on held-out rooms, and write its checkpoint."""

    recipe: Annotated[str, tyro.conf.Positional]
    """Name of a recipe."""
    out: Path
    """Folder of the run; the checkpoint ends in checkpoint/. An interrupted run is resumed."""
    held_out_rooms: int = 50
    """Rooms that the metrics are measured on."""


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Judge a checkpoint on generated rooms that it has not seen, each head beside chance."""

    checkpoint: Path | None = None
    """Folder of a trained model; without one, the demo model."""
    rooms: int = 50
    """How many rooms."""
    headlines: bool = False
    """Show one metric for each head instead of all."""


@dataclass(frozen=True)
class Profile:
    """Time the kernels, on the suites of the project or on your own shapes; see profile --help."""


def run(command: Run) -> None:
    """Carry out ``g2vlm-fast run``."""
    from rich.console import Console

    from g2vlm_fast.pipeline import job, progress

    with progress.stages(Console(stderr=True)) as on_stage:
        result = job.run(command, on_stage=on_stage, train=_train_demo_model)
    Console().print(progress.summary(result))


def _train_demo_model(checkpoint: Path) -> None:
    """Train the demo recipe; its run is kept in the folder above its checkpoint."""
    from g2vlm_fast import recipes
    from g2vlm_fast.pipeline.checkpoint import VARIABLE, ModelError

    if checkpoint.name != "checkpoint":
        raise ModelError(
            f"{checkpoint}: holds no checkpoint. To have one trained there, let {VARIABLE} end in "
            "/checkpoint; the state of the run is kept in the folder above it"
        )
    recipes.run_recipe(recipes.demo(), checkpoint.parent, show_progress=True)


def check(command: Check) -> int:
    """Carry out ``g2vlm-fast check``."""
    from g2vlm_fast.pipeline import scans

    return scans.check(command, print)


def preprocess(command: Preprocess) -> int:
    """Carry out ``g2vlm-fast preprocess``."""
    from g2vlm_fast.pipeline import scans

    return scans.preprocess(command, print)


def show(command: Show) -> None:
    """Carry out ``g2vlm-fast data show``."""
    from rich.console import Console

    from g2vlm_fast.pipeline.show import ShowConfig, show

    Console().print(f"drawn: [bold]{show(ShowConfig(**vars(command)))}[/bold]")


def view(command: View) -> None:
    """Carry out ``g2vlm-fast view``: serve until interrupted."""
    import webbrowser

    from g2vlm_fast.pipeline.show import load_scene
    from g2vlm_fast.pipeline.view import serve_scene

    scene, texts = load_scene(command.scene)
    server = serve_scene(scene, texts, host=command.host, port=command.port)
    if command.open_browser:
        webbrowser.open(f"http://{command.host}:{server.get_port()}")
    try:
        server.sleep_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.stop()


def info(command: Info) -> None:
    """Carry out ``g2vlm-fast info``."""
    from rich.console import Console

    from g2vlm_fast.pipeline.information import information

    for part in information():
        Console().print(part)


def train(command: Train) -> None:
    """Carry out ``g2vlm-fast train``."""
    from rich.console import Console

    from g2vlm_fast import recipes
    from g2vlm_fast.eval import to_table
    from g2vlm_fast.pipeline.checkpoint import ModelError
    from g2vlm_fast.pipeline.config import ConfigError

    if command.recipe not in recipes.RECIPES:
        raise ModelError(
            f"{command.recipe}: no such recipe; there are {', '.join(sorted(recipes.RECIPES))}"
        )
    if command.held_out_rooms < 0:
        raise ConfigError(f"--held-out-rooms must not be negative, got {command.held_out_rooms}")
    trained = recipes.run_recipe(
        recipes.RECIPES[command.recipe](),
        command.out,
        held_out_rooms=command.held_out_rooms,
        show_progress=True,
    )
    if trained.metrics:
        Console().print(to_table(trained.metrics, headlines_only=True))
    Console().print(f"checkpoint: [bold]{trained.checkpoint}[/bold]")


def evaluate(command: Evaluate) -> None:
    """Carry out ``g2vlm-fast evaluate``."""
    from rich.console import Console

    from g2vlm_fast import recipes
    from g2vlm_fast.eval import to_table
    from g2vlm_fast.pipeline import default_checkpoint, load_model
    from g2vlm_fast.pipeline.config import ConfigError

    if command.rooms < 1:
        raise ConfigError(f"--rooms must be at least 1, got {command.rooms}")
    trained = load_model(command.checkpoint or default_checkpoint())
    metrics = recipes.judge_on_rooms(
        trained.model, trained.train_config(), command.rooms, show_progress=True
    )
    Console().print(to_table(metrics, headlines_only=command.headlines))


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
            status: int | None = _CARRY_OUT[type(command)](command)
    except Exception as error:
        if not _is_bad_input(error):
            raise
        print(f"g2vlm-fast: {error}", file=sys.stderr)
        return BAD_INPUT
    return status or 0


def _parse(arguments: list[str]) -> Any:
    if arguments[:1] == ["data"]:
        return tyro.extras.subcommand_cli_from_dict(
            _DATA_COMMANDS, prog="g2vlm-fast data", args=arguments[1:], description=Data.__doc__
        )
    return tyro.extras.subcommand_cli_from_dict(
        _COMMANDS, prog="g2vlm-fast", args=arguments,
        description="Geometry-grounded vision and language. --version says which release this is.",
    )  # fmt: skip


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
    from g2vlm_fast.geometry.conventions import ConventionError
    from g2vlm_fast.pipeline.checkpoint import ModelError
    from g2vlm_fast.pipeline.config import ConfigError
    from g2vlm_fast.train import CheckpointError

    known = (ScanError, ConventionError, ModelError, ConfigError, CheckpointError, OSError)
    return isinstance(error, known)


_COMMANDS: dict[str, Any] = {
    "run": Run, "check": Check, "preprocess": Preprocess, "view": View, "data": Data, "info": Info,
    "train": Train, "evaluate": Evaluate, "profile": Profile,
}  # fmt: skip
_DATA_COMMANDS: dict[str, Any] = {"show": Show}
_CARRY_OUT: dict[type, Callable[[Any], int | None]] = {
    Run: run, Check: check, Preprocess: preprocess, View: view, Show: show, Info: info,
    Train: train, Evaluate: evaluate,
}  # fmt: skip
