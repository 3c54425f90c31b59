"""Every scene: one line of a table that can be sorted, and what lies behind it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from g2vlm_fast.data.interchange import ScenePrediction, read_prediction
from g2vlm_fast.eval.protocol.cases import Case
from g2vlm_fast.eval.protocol.records import Item
from g2vlm_fast.eval.protocol.runs import PREDICTIONS, RunError
from g2vlm_fast.eval.scoring import contradiction
from g2vlm_fast.eval.scoring.score import Score
from g2vlm_fast.pipeline.evaluation_report.charts import score_chart
from g2vlm_fast.pipeline.evaluation_report.material import Judged, Material, title_of
from g2vlm_fast.pipeline.evaluation_report.pictures import (
    WORST_DISTANCE,
    Captioned,
    prediction_pictures,
    truth_pictures,
)
from g2vlm_fast.pipeline.evaluation_report.scores import direction, legend
from g2vlm_fast.report.charts import DotRow
from g2vlm_fast.report.markup import Chapter, Markup, chapter, figure, join, tag
from g2vlm_fast.report.numbers import counted, shown
from g2vlm_fast.report.pictures import Picture
from g2vlm_fast.report.splats import error_scale
from g2vlm_fast.report.whiskers import mark, marks

_RIGHT, _WRONG = 0.995, 0.005


def draw_scenes(material: Material, cases: Iterable[Case]) -> dict[str, Markup]:
    """Draw cases, one at a time.

    Returns:
        The pictures of each scene, by its name.

    Raises:
        RunError: a case is of no scene of the runs, or not the one that they were evaluated on.
        ScanError: a prediction that was scored cannot be read any more.
    """
    drawn = {}
    for case in cases:
        if case.name not in material.scenes:
            raise RunError(
                f"case {case.name!r}: is no scene of {material.benchmark}; give the cases of the "
                "benchmark that was evaluated"
            )
        blocks = [_gallery(None, truth_pictures(case))]
        for each in material.judged:
            prediction = _prediction(each, case)
            if prediction is not None:
                drawings = prediction_pictures(case, prediction)
                blocks.append(_gallery(None if material.alone else each, drawings))
        drawn[case.name] = join(blocks)
    return drawn


def scenes(material: Material, pictures: Mapping[str, Markup]) -> Chapter:
    """Return the section of all scenes."""
    return chapter(
        "scenes",
        "Scene by scene",
        tag(
            "p",
            "Each scene opens to what was asked and what was said. With a script the columns sort"
            f"{'' if material.alone else f' by {material.judged[0].label}'}, and ",
            tag("kbd", "j"), " ", tag("kbd", "k"), " go to the next and the previous scene.",
            class_="note",
        ),
        legend(material),
        _table(material),
        _error_legend() if pictures and material.of_task("surface") else None,
        *(_scene(scene, material, pictures.get(scene)) for scene in material.scenes),
    )  # fmt: skip


def _prediction(each: Judged, case: Case) -> ScenePrediction | None:
    if each.records[case.name].failure:
        return None
    prediction = read_prediction(each.run.folder / PREDICTIONS / case.name)
    problem = contradiction(case, prediction)
    if problem:  # it had none when it was scored
        raise RunError(
            f"case {case.name!r}: is not the one that {each.run.folder} was evaluated on "
            f"({problem}); give the cases of that benchmark, made by the same version"
        )
    return prediction


def _gallery(each: Judged | None, pictures: list[Captioned]) -> Markup | None:
    if not pictures:
        return None
    heading = None if each is None else tag("h4", mark(each.number), f" {each.label}")
    return join([heading, tag("div", *(_figure(*each) for each in pictures), class_="gallery")])


def _figure(picture: Picture, caption: str) -> Markup:
    """A sheet of several pictures side by side gets the place of two."""
    height, width = picture.shape[:2]
    return tag("div", figure(picture, caption), class_="wide" if width > 2 * height else None)


def _error_legend() -> Markup:
    return tag(
        "p",
        "Errors of the surface: 0 cm ",
        tag("span", class_="ramp", style=f"background:{error_scale()}"),
        f" {100 * WORST_DISTANCE:.0f} cm or more",
        class_="note",
    )


def _table(material: Material) -> Markup:
    heads = [tag("th", "Scene", scope="col")]
    heads += [
        tag("th", title_of(score), " ", direction(score), scope="col", class_="number")
        for score in material.headlines
    ]
    rows = (_row(scene, material) for scene in material.scenes)
    table = tag(
        "table", tag("thead", tag("tr", *heads)), tag("tbody", *rows), class_="sortable scene-table"
    )
    return tag("div", table, class_="scroll")


def _row(scene: str, material: Material) -> Markup:
    failed = [each for each in material.judged if each.records[scene].failure]
    name = tag(
        "th",
        tag("a", scene, href=f"#{material.scene_id(scene)}"),
        _failure_badge(failed, material),
        scope="row",
    )
    return tag("tr", name, *(_cell(score, scene, material) for score in material.headlines))


def _cell(score: Score, scene: str, material: Material) -> Markup:
    """A number; of several systems their marks on the axis of the score."""
    values = [each.scene_value(score, scene) for each in material.judged]
    first = values[0]
    sort = None if math.isnan(first) else f"{first:.9g}"
    if material.alone:
        return tag("td", shown(first, score.unit), class_="number", data_value=sort)
    rows = [
        DotRow(each.label, each.number, value, math.nan, math.nan)
        for each, value in zip(material.judged, values, strict=True)
    ]
    axis = score_chart(score, material, with_scenes=True).axis
    return tag("td", marks(rows, axis), class_="drawn", data_value=sort)


def _failure_badge(failed: list[Judged], material: Material) -> Markup | None:
    if not failed:
        return None
    told = "failed" if material.alone else f"{len(failed)} failed"
    return tag("span", told, class_="badge bad", title=", ".join(each.label for each in failed))


def _scene(scene: str, material: Material, pictures: Markup | None) -> Markup:
    # The id stands inside: a browser opens what is closed when a link leads into it.
    failures = (
        tag("p", tag("b", f"{each.label}: "), each.records[scene].failure, class_="warning")
        for each in material.judged
        if each.records[scene].failure
    )
    content = tag(
        "div", *failures, pictures, _items(scene, material), _all_scores(scene, material),
        id=material.scene_id(scene), class_="scene-content",
    )  # fmt: skip
    asked = max(len(each.records[scene].items) for each in material.judged)
    heading = tag(
        "summary",
        tag("b", scene),
        tag("span", counted(asked, "text") if asked else "", class_="soft"),
        _failure_badge([e for e in material.judged if e.records[scene].failure], material),
    )
    return tag("details", heading, content, class_="scene")


def _items(scene: str, material: Material) -> Markup | None:
    """What was asked, what is true, and what each system said."""
    keys = dict.fromkeys(
        (item.task, item.kind, item.asked, item.truth)
        for each in material.judged
        for item in each.records[scene].items
    )
    if not keys:
        return None
    said = {
        each.number: {
            (item.task, item.kind, item.asked, item.truth): item
            for item in each.records[scene].items
        }
        for each in material.judged
    }
    speaking = [each for each in material.judged if said[each.number]]
    rows = (
        tag(
            "tr",
            tag("td", (key[1] or key[0]).replace("_", " "), class_="soft"),
            tag("td", key[2]),
            tag("td", key[3]),
            *(_said(said[each.number].get(key)) for each in speaking),
        )
        for key in keys
    )
    heads = [tag("th", name, scope="col") for name in ("Kind", "Asked", "Truth")]
    heads += [
        tag("th", "Said", scope="col")
        if material.alone
        else tag("th", mark(each.number), f" {each.label}", scope="col")
        for each in speaking
    ]
    table = tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *rows), class_="items")
    return tag("div", table, class_="scroll")


def _said(item: Item | None) -> Markup:
    if item is None:
        return tag("td", "not attempted", class_="soft")
    grade = "right" if item.score >= _RIGHT else "wrong" if item.score <= _WRONG else "partly"
    told = {"right": "✓", "wrong": "✗", "partly": f"{item.score:.0%}"}[grade]
    return tag(
        "td",
        tag("span", told, class_=f"grade {grade}", title=f"{grade}: {item.score:.2f}"),
        " ",
        item.said or tag("i", "nothing"),
    )


def _all_scores(scene: str, material: Material) -> Markup:
    heads = [tag("th", "Score", scope="col")]
    heads += [
        tag("th", mark(each.number), f" {each.label}", scope="col", class_="number")
        for each in material.judged
    ]
    rows = []
    for score in material.scores:
        values = [each.scene_value(score, scene) for each in material.judged]
        if all(map(math.isnan, values)):
            continue
        cells = (tag("td", shown(value, score.unit), class_="number") for value in values)
        rows.append(tag("tr", tag("th", title_of(score), scope="row"), *cells))
    table = tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *rows))
    return tag(
        "details",
        tag("summary", f"{counted(len(rows), 'score')} of this scene"),
        tag("div", table, class_="scroll"),
    )
