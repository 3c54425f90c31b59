"""A folder of predictions: one folder for each scene, with a prediction or why there is none."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

from g2vlm_fast.data.interchange import (
    JSON_FILE,
    ScenePrediction,
    read_prediction,
    write_prediction,
)
from g2vlm_fast.data.readers.errors import ScanError
from g2vlm_fast.data.readers.safe_files import Fields, read_text
from g2vlm_fast.eval.protocol.systems import TASKS, PredictionFailed, System, Task
from g2vlm_fast.export.files import publish
from g2vlm_fast.files import write_text

FAILURE_FILE = "failure.txt"
"""Stands in the place of a prediction, and says in a sentence why there is none."""

SYSTEM_FILE = "system.json"
"""Says whose predictions these are. Without it that is read off the predictions."""

_FORMAT, _VERSION = "g2vlm-fast system", 1


def write_system(folder: Path, system: System) -> None:
    """Write down whose predictions a folder holds."""
    values = {
        "format": _FORMAT,
        "version": _VERSION,
        "name": system.name,
        "tasks": [task for task in TASKS if task in system.tasks],
        "looks_at_truth": system.looks_at_truth,
    }
    write_text(folder / SYSTEM_FILE, json.dumps(values, indent=1, ensure_ascii=False) + "\n")


def read_system(folder: Path) -> tuple[str, frozenset[Task], bool] | None:
    """Read whose predictions a folder holds: name, tasks, whether it looks at the truth.

    Returns:
        None where the folder does not say.

    Raises:
        ScanError: the file is damaged or names an unknown task.
    """
    path = folder / SYSTEM_FILE
    if not path.exists():
        return None
    whole = Fields.read(path)
    if whole.text("format") != _FORMAT or whole.integer("version") != _VERSION:
        raise ScanError(path, f"is no {_FORMAT} of version {_VERSION}", "See docs/evaluation.md")
    tasks = whole.list("tasks")
    if not tasks or not all(task in get_args(Task) for task in tasks):
        raise ScanError(path, "tasks must be some of those known", f"Known are {', '.join(TASKS)}")
    return whole.text("name"), frozenset(tasks), whole.values.get("looks_at_truth") is True


def is_kept(folder: Path, scene: str) -> bool:
    """Whether a folder holds a prediction of a scene, or why there is none."""
    return any((folder / scene / name).is_file() for name in (JSON_FILE, FAILURE_FILE))


def keep(folder: Path, prediction: ScenePrediction) -> None:
    """Write a prediction; whole or not at all.

    Where another process was quicker, its files stay: it is the same prediction.
    """
    try:
        write_prediction(prediction, folder / prediction.scene)
    except OSError:
        if not is_kept(folder, prediction.scene):
            raise


def keep_failure(folder: Path, scene: str, reason: str) -> None:
    """Write down why there is no prediction of a scene."""
    try:
        with publish(folder / scene, overwrite=False, mark=FAILURE_FILE) as draft:
            write_text(draft / FAILURE_FILE, reason + "\n")
    except OSError:
        if not is_kept(folder, scene):
            raise


def kept(folder: Path, scene: str) -> ScenePrediction:
    """Read the prediction of a scene.

    Raises:
        PredictionFailed: there is none, and why.
        ScanError: it is damaged.
    """
    if (folder / scene / FAILURE_FILE).is_file():
        raise PredictionFailed(read_text(folder / scene / FAILURE_FILE).strip())
    if not (folder / scene / JSON_FILE).is_file():
        raise PredictionFailed("there is no prediction of this scene")
    prediction = read_prediction(folder / scene)
    check_scene(prediction, scene)
    return prediction


def check_scene(prediction: ScenePrediction, scene: str) -> None:
    """Refuse the prediction of another scene.

    Raises:
        PredictionFailed: names both.
    """
    if prediction.scene != scene:
        raise PredictionFailed(f"the prediction is of another scene, {prediction.scene!r}")


def predicted_tasks(predictions: Iterable[ScenePrediction]) -> frozenset[Task]:
    """What somebody attempts who predicted this, and nothing else."""
    found: set[Task] = set()
    for said in predictions:
        attempts: dict[Task, bool] = {
            "surface": said.points is not None or said.vertices is not None,
            "depth": said.depth is not None,
            "objects": bool(said.objects),
            "relations": bool(said.relations),
            "answers": bool(said.answers),
            "grounding": bool(said.groundings),
            "captions": bool(said.captions),
            "retrieval": said.text_embeddings is not None,
        }
        found |= {task for task, attempted in attempts.items() if attempted}
    return frozenset(found)
