"""Evaluations and comparisons in the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from g2vlm_fast.eval.protocol.records import Difference, Summary
from g2vlm_fast.eval.protocol.runs import Run
from g2vlm_fast.eval.scoring import Score, score_named
from g2vlm_fast.pipeline.evaluation_report.material import TASK_TITLES, title_of
from g2vlm_fast.report.numbers import counted, shown, shown_p, shown_range, signed

_ENOUGH_SCENES = 50
_SHOWN_FAILURES = 5
_LEVEL = 0.05


def describe(summary: Summary, *, headlines_only: bool = False) -> Iterator[Any]:
    """Yield rich renderables: the scores, then what has to be known to read them."""
    from rich.markup import escape

    yield scores_table(summary, headlines_only=headlines_only)
    if not summary.estimates:
        yield "[yellow]Nothing that this system attempts is asked here.[/yellow]"
    if summary.looks_at_truth:
        yield "This system looks at what is true: an upper bound, no result."
    if summary.scenes < _ENOUGH_SCENES:
        yield (
            f"With {counted(summary.scenes, 'scene')} intervals are too narrow: docs/statistics.md "
            "says what they are worth."
        )
    if summary.failures:
        failed = counted(len(summary.failures), "scene")
        yield (
            f"[yellow]{failed} of {summary.scenes} failed[/yellow] and count as if nothing had "
            "been said:"
        )
        for name, reason in list(summary.failures.items())[:_SHOWN_FAILURES]:
            yield f"  {escape(name)}: {escape(reason)}"
        if len(summary.failures) > _SHOWN_FAILURES:
            yield "  ..."
    if summary.unasked:
        yield f"[yellow]{escape(told_of_unasked(summary))}[/yellow]"


def told_of_unasked(summary: Summary) -> str:
    """Say how many texts were answered that nobody asked, with an example."""
    texts = counted(sum(map(len, summary.unasked.values())), "text")
    scene, (example, *_) = next(iter(summary.unasked.items()))
    return (
        f"What is said to {texts} of {counted(len(summary.unasked), 'scene')} is not scored, as "
        f"nobody asked it in these words: {example!r} of {scene}, for one."
    )


def scores_table(summary: Summary, *, headlines_only: bool = False) -> Any:
    """Return a rich table: every score with its 95 % interval and what chance gives.

    An arrow points to the better side: up where higher is better.
    """
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(f"{summary.system} on {summary.benchmark}"), title_justify="left")
    table.add_column("task")
    table.add_column("score")
    for column in ("value", "95 % interval", "chance", "scenes"):
        table.add_column(column, justify="right", no_wrap=True)
    task = ""
    for estimate in summary.estimates:
        score = score_named(estimate.name)
        if headlines_only and not score.headline:
            continue
        if score.task != task:
            table.add_section()
        table.add_row(
            TASK_TITLES[score.task] if score.task != task else "",
            _name(score),
            shown(estimate.value, score.unit),
            shown_range(estimate.low, estimate.high),
            shown(estimate.chance),
            str(estimate.scenes),
        )
        task = score.task
    return table


def _name(score: Score) -> str:
    """The name with an arrow to the better side; headlines are bold."""
    arrow = "↑" if score.higher_is_better else "↓"
    name = f"{title_of(score)}\N{NO-BREAK SPACE}{arrow}"
    return f"[bold]{name}[/bold]" if score.headline else name


def comparison_table(
    first: Run, second: Run, differences: Sequence[Difference], *, headlines_only: bool = False
) -> Any:
    """Return a rich table: how much better the first system is, and whether that is luck."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    ours, theirs = first.summary, second.summary
    table = Table(
        title=escape(f"{ours.system} against {theirs.system} on {ours.benchmark}"),
        caption=f"Positive: {escape(ours.system)} is better. p: two-sided sign flips by scene, "
        f"adjusted after Holm for {counted(len(differences), 'score')}; d: Cohen's, of the paired "
        "differences.",
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("score")
    for column in ("first", "second", "better by", "95 % interval", "p", "Holm", "d"):
        table.add_column(column, justify="right", no_wrap=True)
    values = [{each.name: each.value for each in summary.estimates} for summary in (ours, theirs)]
    for each in differences:
        score = score_named(each.name)
        if headlines_only and not score.headline:
            continue
        style = "default"
        if each.p_holm <= _LEVEL:
            style = "green" if each.value > 0 else "red"
        table.add_row(
            _name(score),
            *(shown(value[each.name], score.unit) for value in values),
            f"[{style}]{signed(each.value, score.unit)}[/{style}]",
            shown_range(each.low, each.high),
            shown_p(each.p_value),
            shown_p(each.p_holm),
            shown(each.effect),
        )
    return table
