"""The files of a run."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from g2vlm_fast.export.files import RESULTS_MARK, write_cloud, write_json, write_mesh
from g2vlm_fast.export.scene_graph import build_graph, graph_to_json
from g2vlm_fast.files import write_text
from g2vlm_fast.pipeline.page import build_page
from g2vlm_fast.pipeline.pictures import Pictures, draw_pictures
from g2vlm_fast.pipeline.understanding import Answer
from g2vlm_fast.report.page import to_html
from g2vlm_fast.report.pictures import save_png

if TYPE_CHECKING:
    from g2vlm_fast.pipeline.job import RunResult
    from g2vlm_fast.pipeline.reconstruction import Judged


def write_results(result: RunResult, folder: Path) -> None:
    """Write everything that a run found into ``folder``, which must exist."""
    reconstruction, seen = result.reconstruction, result.understanding
    cloud = reconstruction.cloud
    write_cloud(folder / "cloud.ply", cloud.points, cloud.colors, cloud.normals)
    write_mesh(folder / "mesh.ply", reconstruction.completed.mesh)
    graph = build_graph(seen.objects, seen.relations)
    write_json(folder / "scene_graph.json", graph_to_json(graph))
    write_json(
        folder / "caption.json",
        {
            "caption": seen.caption.text,
            "phrases": [{"noun": noun, "objects": ids} for noun, ids in seen.caption.phrases],
            "views": seen.view_numbers,
        },
    )
    write_json(folder / "answer.json", {"answers": [_answer(a) for a in seen.answers]})
    write_json(folder / RESULTS_MARK, _run(result))
    pictures = draw_pictures(result)
    _save_previews(pictures, folder / "previews")
    write_text(folder / "report.html", to_html(build_page(result, pictures)))


def _answer(answer: Answer) -> dict[str, Any]:
    return {
        "question": answer.question,
        "answer": answer.text,
        "value": answer.value,
        "truth": answer.truth,
        "grounding": None if answer.grounding is None else answer.grounding.to_json(),
        "boxes": answer.views,
    }


def _run(result: RunResult) -> dict[str, Any]:
    """What was measured and assumed on the way, for programs."""
    reconstruction = result.reconstruction
    conventions = result.conventions
    return {
        "scene": result.scene.name,
        "views": result.scene.num_views,
        "assumptions": list(result.scene.assumptions),
        "conventions": None if conventions is None else conventions.describe(),
        "voxel_size": reconstruction.voxel_size,
        "fusion": _judged(reconstruction.fused),
        "completed": _judged(reconstruction.completed),
        "added_faces": reconstruction.added_faces,
        "refused_faces": reconstruction.refused_faces,
        "cloud_points": len(reconstruction.cloud.points),
        "predicted_points": reconstruction.cloud.predicted,
        "world_from_scan": (
            None if result.alignment is None else result.alignment.transform.tolist()
        ),
        "checkpoint": result.model.training.get("recipe"),
        "seconds": {name: round(value, 2) for name, value in result.seconds.items()},
    }


def _judged(judged: Judged) -> dict[str, Any]:
    score = None
    if judged.score is not None:
        score = {k: v if math.isfinite(v) else None for k, v in asdict(judged.score).items()}
    return {
        "faces": len(judged.mesh.faces),
        "depth_agreement": asdict(judged.agreement),
        "score_5cm": score,
    }


def _save_previews(pictures: Pictures, folder: Path) -> None:
    folder.mkdir()
    for name, picture in pictures.files().items():
        save_png(folder / f"{name}.png", picture)
