"""What the sections of the report are made of: runs side by side, checked and arranged."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from g2vlm_fast.eval.protocol.records import Estimate, SceneRecord, Summary
from g2vlm_fast.eval.protocol.runs import Run, RunError
from g2vlm_fast.eval.protocol.systems import TASKS, Task
from g2vlm_fast.eval.scoring import SCORES
from g2vlm_fast.eval.scoring.score import Score

TASK_TITLES: dict[Task, str] = {
    "surface": "Surface", "depth": "Depth", "objects": "Objects", "relations": "Relations",
    "predicate_classification": "Relations of given objects", "answers": "Answers",
    "grounding": "Grounding", "captions": "Captions", "retrieval": "Retrieval",
}  # fmt: skip
_ACRONYMS = {
    "abs": "Abs", "rel": "Rel", "bleu": "BLEU", "cider": "CIDEr", "d": "D", "f": "F", "f1": "F1",
    "iou": "IoU", "l": "L", "l1": "L1", "map": "mAP", "mra": "MRA", "rmse": "RMSE",
    "rouge": "ROUGE", "silog": "SILog", "spq": "SPQ",
}  # fmt: skip


def title_of(score: Score) -> str:
    """Return the name of a score as people write it."""
    words = " ".join(_ACRONYMS.get(word, word) for word in score.name.split("_"))
    words = re.sub(r"(\d)cm\b", r"\1 cm", words)
    words = re.sub(r"recall (\d+)$", r"recall@\1", words)
    words = re.sub(r" (25|50)(?= |$)", r" @0.\1", words)
    return words if words.startswith("mAP") else words[0].upper() + words[1:]


@dataclass(frozen=True, eq=False)
class Judged:
    """A system with what was found out about it.

    ``number`` gives its colour and mark everywhere, ``label`` its name, unique on the page.
    """

    number: int
    label: str
    run: Run
    records: dict[str, SceneRecord]

    @property
    def summary(self) -> Summary:
        return self.run.summary

    @cached_property
    def estimates(self) -> dict[str, Estimate]:
        """By name of the score."""
        return {estimate.name: estimate for estimate in self.summary.estimates}

    def scene_value(self, score: Score, scene: str) -> float:
        """A score of one scene alone; NaN where the scene does not have it."""
        row = self.records[scene].rows.get(score.name)
        if row is None:
            return float("nan")
        return float(score.statistic(np.asarray(row, dtype=np.float64)))

    def chance(self, score: Score) -> float:
        """What a blind guess would get over all scenes; NaN where that is not defined."""
        rows = [
            record.rows[score.name] for record in self.records.values() if score.name in record.rows
        ]
        if score.chance is None or not rows:
            return float("nan")
        return float(score.chance(np.asarray(rows, dtype=np.float64).sum(0)))


@dataclass(frozen=True, eq=False)
class Material:
    """Runs of one benchmark, side by side."""

    judged: tuple[Judged, ...]
    scenes: tuple[str, ...]  # names, in the order of the benchmark

    @property
    def benchmark(self) -> str:
        return self.judged[0].summary.benchmark

    @property
    def alone(self) -> bool:
        """Whether there is a single system."""
        return len(self.judged) == 1

    @cached_property
    def scores(self) -> tuple[Score, ...]:
        """Those that any of the systems has."""
        named = {name for each in self.judged for name in each.estimates}
        return tuple(score for score in SCORES if score.name in named)

    @cached_property
    def headlines(self) -> tuple[Score, ...]:
        """Those that are shown first."""
        return tuple(score for score in self.scores if score.headline)

    def of_task(self, task: Task) -> tuple[Score, ...]:
        return tuple(score for score in self.scores if score.task == task)

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        """Those that any of the systems attempts."""
        attempted = {task for each in self.judged for task in each.summary.tasks}
        return tuple(task for task in TASKS if task in attempted)

    def scene_id(self, scene: str) -> str:
        """Where on the page a scene is."""
        return f"scene-{self.scenes.index(scene) + 1}"


def arrange(runs: Sequence[Run]) -> Material:
    """Check that runs can stand side by side and put them there.

    Raises:
        RunError: there is no run; runs of different benchmarks, scenes or versions of the scores;
            a score that this version does not know.
    """
    if not runs:
        raise RunError("expected at least one evaluation to report, got none")
    known = {score.name for score in SCORES}
    first = runs[0]
    for run in runs:
        for name in ("benchmark_fingerprint", "scenes", "scoring"):
            if getattr(run.identity, name) != getattr(first.identity, name):
                raise RunError(
                    f"{run.folder}: is of another {name.replace('_', ' ')} than {first.folder}; "
                    "report evaluations on the same benchmark with the same version"
                )
        unknown = sorted({estimate.name for estimate in run.summary.estimates} - known)
        if unknown:
            raise RunError(
                f"{run.folder}: has the score {unknown[0]!r}, which this version does not know; "
                "evaluate its predictions again"
            )
    labels = _labels([run.summary.system for run in runs])
    judged = (
        Judged(number, label, run, {record.name: record for record in run.records})
        for number, (run, label) in enumerate(zip(runs, labels, strict=True))
    )
    return Material(tuple(judged), tuple(record.name for record in first.records))


def _labels(systems: Sequence[str]) -> list[str]:
    """Names, with a number behind those that come more than once."""
    often, seen, labels = Counter(systems), Counter[str](), []
    for system in systems:
        seen[system] += 1
        labels.append(f"{system} ({seen[system]})" if often[system] > 1 else system)
    return labels
