"""The page and its plots, written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from g2vlm_fast._info import __version__
from g2vlm_fast.eval.protocol.cases import Case
from g2vlm_fast.eval.protocol.runs import Run
from g2vlm_fast.files import write_text
from g2vlm_fast.pipeline.evaluation_report.charts import (
    difference_chart,
    kind_chart,
    score_chart,
)
from g2vlm_fast.pipeline.evaluation_report.comparisons import (
    Comparison,
    compare_all,
    comparisons,
)
from g2vlm_fast.pipeline.evaluation_report.material import Material, arrange
from g2vlm_fast.pipeline.evaluation_report.method import method
from g2vlm_fast.pipeline.evaluation_report.overview import header, systems, warnings
from g2vlm_fast.pipeline.evaluation_report.scenes import draw_scenes, scenes
from g2vlm_fast.pipeline.evaluation_report.scores import by_kind, by_task, headlines
from g2vlm_fast.report.markup import contents, document, join, script, tag
from g2vlm_fast.report.plots import write_plot

PLOTS = "plots"


def write_report(runs: Sequence[Run], out: Path, cases: Iterable[Case] | None = None) -> None:
    """Write evaluations as one HTML page that needs no network, and its charts as files.

    The charts are written to the folder ``plots`` beside the page, as PNG and SVG.

    Args:
        runs: of the same benchmark; the first is compared with each other one.
        out: the page, such as ``run/report.html``; its folder must exist.
        cases: scenes of the benchmark that are drawn with what was said of them, read from the
            folders of the runs; made one at a time. About 0.2 MB of the page each.

    Raises:
        RunError: the runs do not belong together, or a case is of no scene of theirs.
        ScanError: a prediction of a case cannot be read.
        OSError: a file cannot be written.
    """
    material = arrange(runs)
    found = compare_all(material)
    pictures = draw_scenes(material, cases or ())
    chapters = [
        headlines(material),
        systems(material),
        by_task(material),
        by_kind(material),
        comparisons(found, material),
        scenes(material, pictures),
        method(material),
    ]
    told = [chapter for chapter in chapters if chapter is not None]
    body = [
        header(material),
        warnings(material),
        contents(told),
        *(chapter.content for chapter in told),
        tag("footer", tag("p", f"g2vlm-fast {__version__}.")),
    ]
    page = document(
        f"Evaluation: {', '.join(each.label for each in material.judged)}",
        join(body, "\n"),
        styles=("evaluation.css",),
        scripts=(script("evaluation.js"),),
    )
    write_text(out, page)
    _write_plots(material, found, out.parent / PLOTS)


def _write_plots(material: Material, found: Sequence[Comparison], folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    if material.headlines:
        charts = [score_chart(score, material, with_scenes=True) for score in material.headlines]
        write_plot(charts, folder / "headlines", columns=2)
    for task in material.tasks:
        if charts := [score_chart(score, material) for score in material.of_task(task)]:
            write_plot(charts, folder / task, columns=2)
    kinds = sorted({kind for each in material.judged for kind in each.summary.by_kind})
    if kinds:
        write_plot([kind_chart(kind, material) for kind in kinds], folder / "kinds", columns=2)
    scores = {score.name: score for score in material.scores}
    for number, each in enumerate(found, 1):
        title = f"{each.first.label} against {each.second.label}"
        chart = difference_chart(each.differences, scores, title, each.first.number)
        write_plot([chart], folder / f"differences_{number}")
