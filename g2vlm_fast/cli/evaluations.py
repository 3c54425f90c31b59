"""Commands that judge systems and compare them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from g2vlm_fast.pipeline.evaluation_config import CompareConfig, EvaluateConfig


@dataclass(frozen=True, kw_only=True)
class Evaluate(EvaluateConfig):
    """Judge a model, anybody's predictions or a rule, every number with its 95 % interval."""

    system: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="[SYSTEM]")] = None
    """Folder of a checkpoint or of predictions, or a system without training; else the demo model.
    Such systems are tsdf, chance, question-only, rules, ...; ./tsdf would be a folder."""
    headlines: bool = False
    """Show the scores that are looked at first instead of all."""


@dataclass(frozen=True, kw_only=True)
class Compare(CompareConfig):
    """Say which of two systems is better on the same scenes, by how much, and if that is luck."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN [RUN ...]")]
    """Folders that evaluate wrote; the first is compared with each of the others."""
    headlines: bool = False
    """Show the scores that are looked at first instead of all."""


def evaluate(command: Evaluate) -> None:
    """Carry out ``g2vlm-fast evaluate``."""
    from rich.console import Console
    from rich.markup import escape

    from g2vlm_fast.pipeline.evaluation import evaluate as judge
    from g2vlm_fast.pipeline.evaluation_tables import describe
    from g2vlm_fast.train.log import ProgressBar

    if command.heads:
        _judge_heads(command)
        return
    with ProgressBar(enabled=True, title="scenes") as bar:
        found = judge(command, lambda share: bar.update(share, title="scenes", status="judging"))
    console, out = Console(), escape(str(command.out))
    if found.summary is None:
        console.print(f"This part is done; other scenes of [bold]{out}[/bold] are not yet.")
        return
    for part in describe(found.summary, headlines_only=command.headlines):
        console.print(part)
    if found.page is None:
        console.print(
            f"All parts of [bold]{out}[/bold] are done; the same command without a shard writes "
            "the page."
        )
    else:
        console.print(f"report: [bold]{escape(str(found.page))}[/bold]")


def _judge_heads(command: Evaluate) -> None:
    from rich.console import Console

    from g2vlm_fast import recipes
    from g2vlm_fast.eval import to_table
    from g2vlm_fast.pipeline import default_checkpoint, load_model

    command.check()
    trained = load_model(default_checkpoint() if command.system is None else Path(command.system))
    metrics = recipes.judge_on_rooms(
        trained.model,
        trained.train_config(),
        recipes.HELD_OUT_ROOMS if command.scenes is None else command.scenes,
        show_progress=True,
    )
    Console().print(to_table(metrics, headlines_only=command.headlines))


def compare(command: Compare) -> None:
    """Carry out ``g2vlm-fast compare``."""
    from rich.console import Console
    from rich.markup import escape

    from g2vlm_fast.pipeline.evaluation import compare_runs
    from g2vlm_fast.pipeline.evaluation_tables import comparison_table

    console = Console()
    for first, second, differences in compare_runs(command):
        console.print(
            comparison_table(first, second, differences, headlines_only=command.headlines)
        )
    if command.out is not None:
        console.print(f"report: [bold]{escape(str(command.out))}[/bold]")
