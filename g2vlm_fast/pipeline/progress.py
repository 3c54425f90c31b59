"""What people see of a run in the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from g2vlm_fast.pipeline.job import OnStage, RunResult

TRAINING = "Training the demo model"


@contextmanager
def stages(console: Console) -> Iterator[OnStage]:
    """Draw a progress bar over the stages of a run; give the function that moves it.

    Training draws a bar of its own, so this one steps aside for it.
    """
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description:<24}"),
        BarColumn(bar_width=40),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        console=console,
    )
    task = bar.add_task("Starting", total=1.0)

    def on_stage(name: str, done: float) -> None:
        bar.update(task, description=name, completed=done)
        if name == TRAINING:
            bar.stop()
            console.print(
                "No trained model was found: the demo model is trained first, once. "
                "It takes about two minutes on two CPU cores."
            )
        elif not bar.live.is_started:
            bar.start()

    bar.start()
    try:
        yield on_stage
    finally:
        bar.stop()


def summary(result: RunResult) -> Any:
    """What a run found, as a rich table."""
    from rich.markup import escape
    from rich.table import Table

    seen, agreement = result.understanding, result.reconstruction.completed.agreement
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row("caption", escape(seen.caption.text or "(no words)"))
    for answer in seen.answers:
        spoken = escape(answer.text or "(no words)")
        table.add_row(escape(answer.question), f"[bold]{spoken}[/bold]")
    table.add_row("objects", ", ".join(f"{o.class_name} {o.id}" for o in seen.objects) or "none")
    table.add_row(
        "depth error",
        f"{agreement.absolute_relative:.2%} mean, {agreement.median_relative:.2%} median",
    )
    if result.conventions is not None:
        table.add_row("conventions", result.conventions.describe())
    for assumption in result.scene.assumptions:
        table.add_row("assumed", escape(assumption))
    table.add_row("report", f"[bold]{escape(str(result.out / 'report.html'))}[/bold]")
    return table
