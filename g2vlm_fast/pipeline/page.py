"""What the report of a run says."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from g2vlm_fast._info import __version__
from g2vlm_fast.report.page import AnswerCard, Page, Section, Table
from g2vlm_fast.report.pictures import object_color
from g2vlm_fast.report.viewer import viewer_data

if TYPE_CHECKING:
    from g2vlm_fast.pipeline.job import RunResult
    from g2vlm_fast.pipeline.pictures import Pictures
    from g2vlm_fast.pipeline.reconstruction import Judged, Reconstruction

_LIMIT = 0.02
_TABLE_EDGES = 24


def build_page(result: RunResult, pictures: Pictures) -> Page:
    """Put a run into words, tables and pictures."""
    scene, reconstruction = result.scene, result.reconstruction
    cloud = reconstruction.cloud
    generated = scene.truth is not None
    sections = [
        _answers(result, pictures),
        _reconstruction(result, pictures),
        _scene_graph(result, pictures),
        _input(result, pictures),
        _model(result.model.training),
    ]
    return Page(
        kicker="Generated room" if generated else "Recorded scan",
        title=scene.name.replace("_", " "),
        lead=_lead(result),
        facts=_facts(result),
        viewer=viewer_data(
            cloud.points,
            cloud.colors,
            cloud.normals,
            cloud.predicted,
            result.understanding.objects,
            pictures.camera,
        ),
        still=pictures.objects,
        sections=[section for section in sections if section is not None],
        warnings=_warnings(result),
        footer=(
            f"g2vlm-fast {__version__}. "
            + ", ".join(
                f"{name.lower()} {seconds:.1f} s" for name, seconds in result.seconds.items()
            )
            + ".",
        ),
    )


def _lead(result: RunResult) -> str:
    added = "completed where no view has looked, " if result.reconstruction.added_faces else ""
    return (
        f"{result.scene.num_views} posed colour and depth views, fused into a surface, {added}"
        "and described by a geometry-grounded vision-language model."
    )


def _facts(result: RunResult) -> list[tuple[str, str]]:
    reconstruction = result.reconstruction
    height, width = result.scene.image_size
    agreement = reconstruction.completed.agreement
    return [
        (f"Views of {width} x {height}", f"{result.scene.num_views}"),
        ("Voxel", f"{1000 * reconstruction.voxel_size:g} mm"),
        ("Triangles", f"{len(reconstruction.completed.mesh.faces):,}"),
        ("Depth error", f"{agreement.absolute_relative:.2%}"),
        ("Objects", f"{len(result.understanding.objects)}"),
        ("Relations", f"{len(result.understanding.relations)}"),
    ]


def _warnings(result: RunResult) -> tuple[str, ...]:
    training = result.model.training
    warnings = []
    if result.scene.truth is None:
        warnings.append(
            "Trust the surface; doubt the words. The model was trained on generated box rooms "
            "alone and has never seen a real photograph, so on this scan its objects, relations "
            "and answers show that every part works, not that it understands."
        )
    elif training.get("training_seconds", math.inf) < 3600:
        warnings.append(
            f"The model was trained for {training['training_seconds']:.0f} seconds. The last "
            "section says which of its heads beat chance on rooms that it had not seen."
        )
    if result.conventions is not None and not result.conventions.consistent:
        warnings.append(result.conventions.describe())
    agreement = result.reconstruction.completed.agreement
    if agreement.absolute_relative > _LIMIT:
        warnings.append(
            f"Depth rendered from the reconstruction differs from the input by "
            f"{agreement.absolute_relative:.1%} in the mean, more than the {_LIMIT:.0%} aimed at."
        )
    return tuple(warnings)


def _answers(result: RunResult, pictures: Pictures) -> Section:
    seen = result.understanding
    links = [
        f"“{noun}”: " + (", ".join(f"object {i}" for i in ids) if ids else "no such object found")
        for noun, ids in seen.caption.phrases
    ]
    cards = []
    for answer, picture in zip(seen.answers, pictures.answers, strict=True):
        notes = []
        if answer.truth is not None:
            notes.append(f"Truth: {answer.truth}")
        if answer.grounding is not None:
            thing = seen.objects[answer.grounding.object_id]
            notes.append(
                f"Points at {thing.class_name} {thing.id}, {answer.grounding.score:.0%} sure"
            )
        cards.append(
            AnswerCard(answer.question, answer.text or "(no words)", tuple(notes), picture)
        )
    shown = ", ".join(map(str, seen.view_numbers))
    return Section(
        "What the model says",
        quote=seen.caption.text or "(no words)",
        points=tuple(links),
        cards=tuple(cards),
        note=f"The model looked at views {shown}. Left, right, in front of and behind are meant "
        "from view 0. Words come from a closed vocabulary of furniture and colours.",
    )


def _reconstruction(result: RunResult, pictures: Pictures) -> Section:
    reconstruction = result.reconstruction
    columns = ["", "triangles", "mean depth error", "median", "measured pixels covered"]
    rows = [
        ["TSDF fusion alone", *_measured(reconstruction.fused)],
        ["with the model's completion", *_measured(reconstruction.completed)],
    ]
    if reconstruction.fused.score is not None:
        columns += ["F-score at 5 cm", "recall of unseen surface"]
        for row, judged in zip(rows, (reconstruction.fused, reconstruction.completed), strict=True):
            assert judged.score is not None
            row += [f"{judged.score.f_score:.3f}", f"{judged.score.recall_hidden:.1%}"]
    completion = _completion_told(reconstruction)
    captions = ("TSDF fusion alone", "with the model's completion")
    pairs = [
        (picture, f"{caption}, {side}")
        for side, index in (("from the left", 0), ("from the right", 1))
        for picture, caption in (
            (pictures.fused[index], captions[0]),
            (pictures.completed[index], captions[1]),
        )
    ]
    if not reconstruction.added_faces:
        pairs = [(pictures.fused[0], "From the left"), (pictures.fused[1], "From the right")]
    return Section(
        "Reconstruction",
        paragraphs=(completion,),
        pictures=tuple(pairs),
        wide_pictures=(
            (
                pictures.agreement,
                "Self-check in one view: measured depth, depth rendered from the mesh, and their "
                "relative difference (white: none, dark red: 10 % or more).",
            ),
        ),
        table=Table(tuple(columns), [tuple(row) for row in rows], tuple(range(1, len(columns)))),
        note="Depth error: |rendered - measured| / measured, over pixels that were measured and "
        "behind which the mesh has a surface.",
    )


def _completion_told(reconstruction: Reconstruction) -> str:
    if reconstruction.added_faces:
        return (
            f"The model added {reconstruction.added_faces:,} triangles in space that every view is "
            "blocked from; what was measured is left as fused."
        )
    if reconstruction.refused_faces:
        return (
            f"The model offered {reconstruction.refused_faces:,} triangles that contradict "
            "measured depth, seen through gaps of the fused surface. They are left out, so both "
            "rows are the same mesh."
        )
    return (
        "The model added no surface here: its distance field has no zero crossing in the space "
        "that is hidden from the views, so both rows are the same mesh."
    )


def _measured(judged: Judged) -> list[str]:
    agreement = judged.agreement
    return [
        f"{len(judged.mesh.faces):,}",
        f"{agreement.absolute_relative:.2%}",
        f"{agreement.median_relative:.2%}",
        f"{agreement.coverage:.1%}",
    ]


def _scene_graph(result: RunResult, pictures: Pictures) -> Section:
    seen = result.understanding
    if not seen.objects:
        return Section(
            "Scene graph",
            paragraphs=("No object was found with a score above one half.",),
            wide_pictures=((pictures.scene_graph, "The scene from above."),),
        )
    rows = [
        (
            f"{thing.class_name} {thing.id}",
            f"{thing.score:.0%}",
            f"{thing.class_score:.0%}",
            " x ".join(f"{length:.2f}" for length in thing.size) + " m",
            ", ".join(f"{value:.2f}" for value in thing.center),
        )
        for thing in seen.objects
    ]
    names = {thing.id: f"{thing.class_name} {thing.id}" for thing in seen.objects}
    edges = sorted(seen.relations, key=lambda edge: -edge.score)
    spoken = [
        f"{names[e.subject]} is {e.name} {names[e.object]} ({e.score:.0%})"
        for e in edges[:_TABLE_EDGES]
    ]
    more = len(edges) - len(spoken)
    return Section(
        "Scene graph",
        points=tuple(spoken[:8]),
        wide_pictures=(
            (pictures.scene_graph, "From above: footprints, and the surest relation of each pair."),
            (pictures.objects, "The boxes in the reconstruction."),
        ),
        table=Table(
            ("object", "score", "class score", "size", "centre"),
            rows,
            (1, 2),
            [object_color(thing.id) for thing in seen.objects],
        ),
        note=f"All {len(edges)} relations are in scene_graph.json." if more or spoken[8:] else "",
    )


def _input(result: RunResult, pictures: Pictures) -> Section:
    paragraphs = []
    if result.conventions is not None:
        paragraphs.append("Convention check: " + result.conventions.describe())
    if result.scene.truth is not None:
        paragraphs.append(
            "This room was generated, so its truth is known; images and depth carry the noise of "
            "a sensor."
        )
    return Section(
        "Input",
        paragraphs=tuple(paragraphs),
        points=tuple(result.scene.assumptions),
        wide_pictures=(
            (pictures.views, "The views that the model was shown, and their depth (bright: near)."),
        ),
    )


def _model(training: dict[str, Any]) -> Section:
    title = "How good is this model?"
    metrics = [metric for metric in training.get("metrics", []) if metric.get("headline")]
    if not metrics:
        return Section(
            title,
            paragraphs=(
                "The checkpoint carries no held-out metrics, so nothing is known of how good it "
                "is. Train with g2vlm-fast train, which measures them.",
            ),
        )
    better = [metric["head"] for metric in metrics if metric["better_than_chance"]]
    not_better = [metric["head"] for metric in metrics if not metric["better_than_chance"]]
    verdict = (
        f"Better than chance (95 % interval over {training['held_out_rooms']} rooms that it had "
        f"not seen): {', '.join(better) or 'no head'}. "
        + (f"Not shown to be: {', '.join(not_better)}." if not_better else "All heads are.")
    )
    rows = [
        (
            metric["head"],
            metric["name"].replace("_", " "),
            _number(metric["value"], metric["unit"]),
            f"{_number(metric['low'])} to {_number(metric['high'])}",
            _number(metric["chance"]),
            "higher" if metric["higher_is_better"] else "lower",
            "yes" if metric["better_than_chance"] else "not shown",
        )
        for metric in metrics
    ]
    return Section(
        title,
        paragraphs=(
            f"Recipe “{training['recipe']}”: {training['steps']:,} steps in "
            f"{training['training_seconds']:.0f} seconds, on {training['rooms']:,} generated "
            "rooms.",
            verdict,
        ),
        table=Table(
            ("head", "metric", "value", "95 % interval", "chance", "better if", "beats chance"),
            rows,
            (2, 3, 4),
        ),
        note="Chance is the best guess that can be made without looking at the room: the usual "
        "answer, the usual size, the furniture of another room.",
    )


def _number(value: float | None, unit: str = "") -> str:
    return "-" if value is None else f"{value:.3g} {unit}".strip()
