"""Commands that run, train and describe models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from g2vlm_fast.pipeline.config import RunConfig


@dataclass(frozen=True, kw_only=True)
class Run(RunConfig):
    """Reconstruct a scan in 3D, describe it, and answer questions about it."""

    scan: Annotated[Path | None, tyro.conf.Positional] = None
    """Folder of a scan; without one, a room is generated."""
    ask: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A question, in quotes; may be given several times."""


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
