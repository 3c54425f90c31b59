"""A benchmark of a few boxes that takes no time to make, and a system that errs by the scene."""

from __future__ import annotations

import os
import signal
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from g2vlm_fast.data import Query
from g2vlm_fast.data.interchange import (
    PredictedAnswer,
    PredictedCaption,
    PredictedGrounding,
    PredictedObject,
    PredictedRelation,
    ScenePrediction,
)
from g2vlm_fast.eval.metrics.boxes import Boxes
from g2vlm_fast.eval.protocol.cases import Case, GraphTruth, SurfaceTruth
from g2vlm_fast.eval.protocol.evaluation import evaluate_system
from g2vlm_fast.eval.protocol.systems import TASKS, PredictionFailed, Task
from g2vlm_fast.ontology import RELATIONS
from g2vlm_fast.records import Task as TextTask

FEW_TASKS: frozenset[Task] = frozenset({"answers", "retrieval"})
"""Enough for every file of a run."""

_CLASSES = ("chair", "table", "lamp", "bed")


def _generator(*parts: object) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(repr(parts).encode()))


@dataclass
class ToyBenchmark:
    """Rooms of three to five boxes with a surface, relations and texts."""

    count: int = 6
    name: str = "toy rooms"
    fingerprint: str = "toy-1"

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"toy-{index}" for index in range(self.count))

    def case(self, index: int) -> Case:
        draws = _generator("toy", index)
        count = 3 + index % 3
        class_names = tuple(_CLASSES[n] for n in draws.integers(0, len(_CLASSES), count))
        boxes = Boxes(
            draws.uniform(-2, 2, (count, 3)), draws.uniform(0.3, 1, (count, 3)),
            np.tile(np.eye(3), (count, 1, 1)),
        )  # fmt: skip
        relations = draws.integers(0, 2, (count, count, len(RELATIONS))).astype(np.int8)
        relations[range(count), range(count)] = 0
        questions = tuple(
            Query(
                text=f"how many {name}s are there?", task=TextTask.QUESTION, kind="count",
                answer="<number>", value=float(class_names.count(name)),
            )
            for name in _CLASSES
        ) + tuple(
            Query(
                text=f"is there a {name}?", task=TextTask.QUESTION, kind="existence",
                answer="yes" if name in class_names else "no",
            )
            for name in _CLASSES
        )  # fmt: skip
        told = " and ".join(sorted(class_names))
        texts = (
            Query(text=f"a room with {told}.", task=TextTask.CAPTION, kind="statement"),
            Query(
                text="describe the room.", task=TextTask.CAPTION, kind="caption",
                answer=f"a room with {told}.",
            ),
            Query(text=f"the first {told}", task=TextTask.REFERRING, kind="phrase", referred=0),
        )  # fmt: skip
        points = torch.from_numpy(draws.uniform(-2, 2, (300, 3))).float()
        return Case(
            name=self.names[index],
            given=None,
            queries=(*questions, *texts),
            surface=SurfaceTruth(
                points=points,
                normals=torch.nn.functional.normalize(points, dim=-1),
                hidden=torch.arange(300) % 3 == 0,
            ),
            graph=GraphTruth(boxes=boxes, class_names=class_names, relations=relations),
        )


@dataclass
class ToySystem:
    """Says what is true, with errors that depend on the scene alone."""

    error: float = 0.1
    fails_on: tuple[str, ...] = ()
    name: str = "toy"
    tasks: frozenset[Task] = frozenset(TASKS) - {"depth"}
    looks_at_truth: bool = True
    asked: list[str] = field(default_factory=list)  # of which cases, in which order

    @property
    def fingerprint(self) -> str:
        return f"{self.name} {self.error} {self.fails_on}"

    def predict(self, case: Case) -> ScenePrediction:
        self.asked.append(case.name)
        if case.name in self.fails_on:
            raise PredictionFailed(f"{case.name} is too hard")
        assert case.graph is not None
        assert case.surface is not None
        draws = _generator("said", case.name, self.error)

        def errs() -> bool:
            return bool(draws.random() < self.error)

        count = len(case.graph.class_names)
        centers = case.graph.boxes.center + self.error * draws.normal(size=(count, 3))
        points = case.surface.points.numpy() + self.error * draws.normal(size=(300, 3))
        ids = range(count)
        return ScenePrediction(
            scene=case.name,
            system=self.name,
            points=points.astype(np.float32),
            objects=tuple(
                PredictedObject(
                    id=i,
                    class_name=case.graph.class_names[i],
                    center=tuple(centers[i].tolist()),
                    size=tuple(case.graph.boxes.size[i].tolist()),
                )
                for i in ids
            ),
            relations=tuple(
                PredictedRelation(subject=s, object=o, name=name)
                for s in ids
                for o in ids
                for column, name in enumerate(RELATIONS)
                if s != o and (case.graph.relations[s, o, column] == 1) != errs()
            ),
            answers=tuple(
                PredictedAnswer(
                    question=query.text,
                    text="" if errs() else str(query.answer),
                    value=None if query.value is None else query.value + errs(),
                )
                for query in case.queries
                if query.task == TextTask.QUESTION
            ),
            groundings=tuple(
                PredictedGrounding(text=query.text, objects=(0,), scores=(1.0,))
                for query in case.queries
                if query.task == TextTask.REFERRING
            ),
            captions=(PredictedCaption(text="a room with a chair."),),
            scene_embedding=_embedding(case.name, 0.0),
            object_embeddings=np.stack([_embedding((case.name, i), 0.0) for i in ids]),
            texts=tuple(query.text for query in case.queries),
            text_embeddings=np.stack([_embedding(case.name, self.error) for _ in case.queries]),
        )


def _embedding(of: object, error: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    vector = _generator("embedding", of).normal(size=8)
    return (vector + error * _generator("error", of).normal(size=8)).astype(np.float32)


def evaluate_until_killed(out: Path, count: int, moves: int) -> None:
    """Evaluate in a process that ends by SIGKILL just before it moves a file into place.

    Args:
        out: of the run.
        count: scenes of the benchmark.
        moves: how many files and folders are moved before.
    """
    left = moves

    def deadly(move: Callable[..., None]) -> Callable[..., None]:
        def moved(*arguments: Any, **options: Any) -> None:
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            move(*arguments, **options)

        return moved

    os.replace, os.rename = deadly(os.replace), deadly(os.rename)
    evaluate_system(ToySystem(tasks=FEW_TASKS), ToyBenchmark(count), out)


def evaluate_shard(out: Path, count: int, index: int, shards: int) -> None:
    """Evaluate one shard, in a process of its own."""
    evaluate_system(ToySystem(tasks=FEW_TASKS), ToyBenchmark(count), out, shard=(index, shards))
