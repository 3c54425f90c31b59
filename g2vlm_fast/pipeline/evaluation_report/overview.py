"""Who was asked what: the head of the page, and the table of systems."""

from __future__ import annotations

from typing import Any

from g2vlm_fast.pipeline.evaluation_report.material import TASK_TITLES, Judged, Material
from g2vlm_fast.pipeline.evaluation_report.worth import worth_of_intervals
from g2vlm_fast.pipeline.evaluation_tables import told_of_unasked
from g2vlm_fast.report.markup import Chapter, Markup, chapter, facts, join, tag
from g2vlm_fast.report.numbers import counted
from g2vlm_fast.report.whiskers import mark

_FEW = 50


def header(material: Material) -> Markup:
    """Return the title of the page and its numbers at a glance."""
    first = material.judged[0]
    title = first.label if material.alone else counted(len(material.judged), "system")
    kept = sum(len(record.items) for record in first.records.values())
    failed = sum(len(each.summary.failures) for each in material.judged)
    glance = [
        ("Scenes", f"{len(material.scenes):,}"),
        ("Tasks", f"{len(material.tasks)}"),
        ("Scores", f"{len(material.scores)}"),
        ("Texts asked", f"{kept:,}"),
        ("Failed predictions", f"{failed:,}"),
        ("Benchmark", first.summary.fingerprint[:8]),
    ]
    return join(
        [
            tag(
                "header",
                tag("p", "Evaluation", class_="kicker"),
                tag("h1", title),
                tag("p", _lead(material), class_="lead"),
            ),
            facts(glance),
        ]
    )


def _lead(material: Material) -> str:
    scenes = counted(len(material.scenes), "scene")
    who = "What one system" if material.alone else f"What {len(material.judged)} systems"
    says = "says" if material.alone else "say"
    return (
        f"{who} {says} about {scenes} (“{material.benchmark}”), held against what is true there. "
        "Every number comes with its 95 % interval over scenes."
    )


def warnings(material: Material) -> Markup | None:
    """Return what must be known before any number is read."""
    told = []
    if len(material.scenes) < _FEW:
        told.append(worth_of_intervals(len(material.scenes)))
    for each in material.judged:
        if each.summary.looks_at_truth:
            told.append(
                f"“{each.label}” reads what is true of a scene: an upper bound, no competitor."
            )
    failing = [each for each in material.judged if each.summary.failures]
    if failing:
        told.append(
            "No usable prediction: "
            + "; ".join(
                f"{each.label} in {counted(len(each.summary.failures), 'scene')}"
                for each in failing
            )
            + ". These scenes count as if nothing had been said."
        )
    if not told:
        return None
    return tag("div", *(tag("p", sentence) for sentence in told), class_="warning")


def systems(material: Material) -> Chapter:
    """Return the section that says what was asked of whom."""
    columns = [
        tag("th", "System", scope="col"),
        *(tag("th", TASK_TITLES[task], scope="col", class_="middle") for task in material.tasks),
        tag("th", "Predicted", scope="col", class_="number"),
        tag("th", "Failed", scope="col", class_="number"),
    ]
    table = tag(
        "table",
        tag("thead", tag("tr", *columns)),
        tag("tbody", *(_system_row(each, material) for each in material.judged)),
    )
    return chapter(
        "systems",
        "What was asked of whom",
        tag(
            "p",
            "Within the tasks that a system attempts, a scene without a usable prediction counts "
            "as a failure; a task that it does not attempt is left out of its rows.",
        ),
        tag("div", table, class_="scroll"),
        *(_failures(each) for each in material.judged if each.summary.failures),
        *(_unasked(each) for each in material.judged if each.summary.unasked),
        *(_circumstances(each) for each in material.judged),
    )


def _system_row(each: Judged, material: Material) -> Markup:
    failed = len(each.summary.failures)
    asked = (_attempted(task in each.summary.tasks) for task in material.tasks)
    badge = tag("span", "reads the truth", class_="badge") if each.summary.looks_at_truth else None
    return tag(
        "tr",
        tag("th", mark(each.number), f" {each.label} ", badge, scope="row", class_="system"),
        *asked,
        tag("td", f"{each.summary.scenes - failed:,}", class_="number"),
        tag("td", f"{failed:,}", class_="number bad" if failed else "number"),
    )


def _attempted(attempted: bool) -> Markup:
    told, sign = ("attempted", "✓") if attempted else ("not attempted", "-")
    shown = tag("abbr", sign, title=told, class_="good" if attempted else "soft")
    return tag("td", shown, class_="middle")


def _failures(each: Judged) -> Markup:
    lines = (
        tag("li", tag("b", scene), f": {reason}") for scene, reason in each.summary.failures.items()
    )
    told = f"{each.label}: {counted(len(each.summary.failures), 'failure')}"
    return tag("details", tag("summary", told), tag("ul", *lines))


def _unasked(each: Judged) -> Markup:
    lines = (
        tag("li", tag("b", scene), ": ", "; ".join(texts))
        for scene, texts in each.summary.unasked.items()
    )
    told = f"{each.label}: {told_of_unasked(each.summary)}"
    return tag("details", tag("summary", told), tag("ul", *lines))


def _circumstances(each: Judged) -> Markup:
    """The versions, hardware and dates that a run wrote down."""
    pairs = [("benchmark", each.summary.fingerprint), *_flat(each.summary.versions)]
    rows = (tag("tr", tag("th", name, scope="row"), tag("td", value)) for name, value in pairs)
    return tag(
        "details",
        tag("summary", f"{each.label}: versions and circumstances"),
        tag("div", tag("table", tag("tbody", *rows), class_="pairs"), class_="scroll"),
    )


def _flat(values: dict[str, Any], above: str = "") -> list[tuple[str, str]]:
    pairs = []
    for name, value in values.items():
        if isinstance(value, dict):
            pairs += _flat(value, f"{above}{name} ")
        else:
            pairs.append((f"{above}{name}".replace("_", " "), str(value)))
    return pairs
