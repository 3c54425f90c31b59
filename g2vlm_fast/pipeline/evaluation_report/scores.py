"""Scores with their intervals: headlines as panels, all of them as tables by task."""

from __future__ import annotations

from g2vlm_fast.eval.protocol.records import Estimate
from g2vlm_fast.eval.protocol.systems import Task
from g2vlm_fast.eval.scoring.score import Score
from g2vlm_fast.pipeline.evaluation_report.charts import kind_chart, score_chart
from g2vlm_fast.pipeline.evaluation_report.material import TASK_TITLES, Material, title_of
from g2vlm_fast.report.charts import DotChart, DotRow
from g2vlm_fast.report.markup import Chapter, Markup, chapter, tag
from g2vlm_fast.report.numbers import shown, shown_range
from g2vlm_fast.report.whiskers import axis_ends, mark, whisker

_UP, _DOWN = "↑", "↓"


def headlines(material: Material) -> Chapter:
    """Return the section of the scores that are looked at first."""
    return chapter(
        "glance",
        "At a glance",
        tag(
            "p",
            "A mark is the score over all scenes, its line the 95 % interval; each faint dot is "
            "one scene and leads to it; a dashed line across is what chance gives. ↑ means that "
            "higher is better, ↓ that lower is. Scenes beyond an axis stand at its end.",
            class_="note",
        ),
        legend(material),
        tag("div", *(_panel(score, material) for score in material.headlines), class_="panels"),
    )


def legend(material: Material) -> Markup | None:
    """Return which mark is which system, where there are several."""
    if material.alone:
        return None
    entries = (tag("li", mark(each.number), each.label) for each in material.judged)
    return tag("ul", *entries, class_="legend")


def by_task(material: Material) -> Chapter:
    """Return the section with all scores, a table for each task."""
    tables = [_task(task, material) for task in material.tasks if material.of_task(task)]
    return chapter("scores", "All scores", *tables)


def by_kind(material: Material) -> Chapter | None:
    """Return the section of answers by kind of question."""
    kinds = sorted({kind for each in material.judged for kind in each.summary.by_kind})
    if not kinds:
        return None
    bodies = []
    for kind in kinds:
        estimates = _by_system({e.label: e.summary.by_kind.get(kind) for e in material.judged})
        bodies.append(
            _body(tag("b", kind.replace("_", " ")), kind_chart(kind, material), estimates, material)
        )
    return chapter(
        "kinds",
        "Answers by kind of question",
        _score_table("Kind", bodies, material),
    )


def direction(score: Score) -> Markup:
    """Return the arrow that says which way is better."""
    told = "higher is better" if score.higher_is_better else "lower is better"
    return tag("abbr", _UP if score.higher_is_better else _DOWN, title=told, class_="direction")


def _panel(score: Score, material: Material) -> Markup:
    chart = score_chart(score, material, with_scenes=True)
    rows = []
    for row in chart.rows:
        links = [
            (f"#{material.scene_id(scene)}", f"{scene}: {shown(value, score.unit)}")
            for scene, value in zip(material.scenes, row.dots, strict=True)
        ]
        rows.append(
            tag(
                "div",
                None if material.alone else tag("span", mark(row.series), row.label, class_="who"),
                tag("span", tag("b", shown(row.value, score.unit)), class_="value"),
                tag("span", shown_range(row.low, row.high), class_="range"),
                whisker(row, chart.axis, links=links),
                class_="panel-row",
            )
        )
    return tag(
        "article",
        tag("h3", title_of(score), " ", direction(score)),
        tag("p", score.formula, class_="formula"),
        *rows,
        axis_ends(chart.axis, lambda value: shown(value, score.unit)),
        class_="panel",
    )


def _task(task: Task, material: Material) -> Markup:
    bodies = []
    for score in material.of_task(task):
        name = [tag("b", title_of(score)), " ", direction(score), tag("small", score.formula)]
        estimates = _by_system({e.label: e.estimates.get(score.name) for e in material.judged})
        bodies.append(_body(tag("span", *name), score_chart(score, material), estimates, material))
    return tag(
        "div",
        tag("h3", TASK_TITLES[task]),
        _score_table("Score", bodies, material),
        id=f"task-{task}",
    )


def _by_system(estimates: dict[str, Estimate | None]) -> dict[str, Estimate]:
    return {label: each for label, each in estimates.items() if each is not None}


def _score_table(first: str, bodies: list[Markup], material: Material) -> Markup:
    heads = [tag("th", first, scope="col")]
    if not material.alone:
        heads.append(tag("th", "System", scope="col"))
    heads += [
        tag("th", "Value", scope="col", class_="number"),
        tag("th", "95 % interval", scope="col", class_="number"),
        tag("th", scope="col", aria_label="drawn", class_="drawn"),
        tag("th", "Scenes", scope="col", class_="number"),
        tag("th", "Measured on", scope="col", class_="number"),
    ]
    table = tag("table", tag("thead", tag("tr", *heads)), *bodies, class_="scores")
    return tag("div", table, class_="scroll")


def _body(
    name: Markup, chart: DotChart, estimates: dict[str, Estimate], material: Material
) -> Markup:
    lines = []
    for number, row in enumerate(chart.rows):
        title = tag("th", name, scope="rowgroup", rowspan=len(chart.rows)) if not number else None
        who = tag("td", mark(row.series), f" {row.label}", class_="who")
        lines.append(
            tag(
                "tr",
                title,
                None if material.alone else who,
                *_estimate_cells(row, chart, estimates[row.label]),
            )
        )
    return tag("tbody", *lines)


def _estimate_cells(row: DotRow, chart: DotChart, estimate: Estimate) -> list[Markup]:
    interval = shown_range(row.low, row.high)
    drawn = tag(
        "div",
        whisker(row, chart.axis),
        tag("span", shown(chart.axis.high, chart.unit), class_="end", title="end of the axis"),
        class_="with-end",
    )
    return [
        tag("td", shown(row.value, chart.unit), class_="number value"),
        tag("td", interval, class_="number range", title=f"method: {estimate.interval}"),
        tag("td", drawn, class_="drawn"),
        tag("td", f"{estimate.scenes:,}", class_="number count"),
        tag("td", f"{estimate.count:,.0f}", class_="number count"),
    ]
