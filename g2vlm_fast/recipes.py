"""Recipes: whole training runs as functions, and the one command that carries a run out.

A recipe returns a :class:`~g2vlm_fast.train.TrainConfig`; :func:`run_recipe` builds the model and
its data, trains, judges the result on held-out rooms and writes the checkpoint.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from g2vlm_fast.data import AnswerVocabulary, generate_room, seeds_of
from g2vlm_fast.data import queries as make_queries
from g2vlm_fast.eval import Metric, Priors, evaluate, room_facts
from g2vlm_fast.files import write_text
from g2vlm_fast.losses import LossReport, total_loss
from g2vlm_fast.model import G2VLM, G2VLMConfig
from g2vlm_fast.model.language import FrozenEncoder
from g2vlm_fast.ontology import SIMPLE
from g2vlm_fast.train import (
    CheckpointConfig,
    DataConfig,
    OptimConfig,
    ScheduleConfig,
    StageConfig,
    TrainConfig,
    Trainer,
    TrainReport,
)
from g2vlm_fast.train.lock import sole_process
from g2vlm_fast.train.log import ProgressBar
from g2vlm_fast.train.rooms import Example, GrowingRooms, prefetched, rendering_device
from g2vlm_fast.train.scans import MixedExamples, ScanExamples

HELD_OUT_ROOMS = 50
FIRST_HELD_OUT_SEED = 1_000_000
"""Rooms of the test split before this seed were looked at while the recipe was tuned."""
PRIOR_ROOMS = 64
_LANGUAGE_OFF = {"align": 0.0, "text": 0.0}
_NAMES_FIRST = {"spatial.seed_class": 3.0}  # language can only speak of what has a name
_LANGUAGE_FIRST = {"align": 1.0, "text": 3.0, "spatial.grounding": 2.0, "spatial.anchor": 1.0}


def demo() -> TrainConfig:
    """Two minutes on two CPU cores, making rooms included."""
    return TrainConfig(
        name="demo",
        model={
            "preset": "tiny",
            "classes": list(SIMPLE.classes),
            "relations": list(SIMPLE.relations),
        },
        data=DataConfig(
            rooms=512,
            scenes_per_step=4,
            fresh_per_step=1,
            texts_per_scene=12,
            surface_points=768,
            query_points=256,
        ),
        optim=OptimConfig(lr=3e-3, weight_decay=0.02),
        schedule=ScheduleConfig(warmup=0.04, final=0.02),
        stages=(
            StageConfig("geometry", 0.12, _LANGUAGE_OFF | _NAMES_FIRST),
            StageConfig("joint", 0.88, _LANGUAGE_FIRST | _NAMES_FIRST),
        ),
        checkpoint=CheckpointConfig(every_steps=100),
        max_seconds=120.0,
    )


def tiny_test() -> TrainConfig:
    """A few steps on a few rooms: whether everything runs, in seconds. It learns nothing."""
    return TrainConfig(
        name="tiny_test",
        model={"preset": "tiny"},
        data=DataConfig(
            rooms=4,
            scenes_per_step=2,
            texts_per_scene=4,
            views=(2, 2),
            image_size=(24, 32),
            workers=0,
        ),
        stages=(StageConfig("geometry", 0.5, _LANGUAGE_OFF), StageConfig("joint", 0.5)),
        max_steps=4,
    )


RECIPES: dict[str, Callable[[], TrainConfig]] = {"demo": demo, "tiny_test": tiny_test}


@dataclass(frozen=True)
class Trained:
    """A finished run."""

    checkpoint: Path
    report: TrainReport
    metrics: list[Metric]


def run_recipe(
    config: TrainConfig,
    folder: Path | str,
    *,
    held_out_rooms: int = HELD_OUT_ROOMS,
    show_progress: bool = False,
) -> Trained:
    """Train, judge on held-out rooms, and write the checkpoint.

    Args:
        config: the run.
        folder: gets the state of the run, which it resumes if it was interrupted, and
            ``checkpoint/`` with ``config.json``, ``model.safetensors`` and ``training.json``.
        held_out_rooms: rooms of the test split that the metrics are measured on; 0 for none.
        show_progress: whether to draw progress bars.

    Raises:
        CheckpointError: another process trains in the folder, or it holds another run.
    """
    with sole_process(Path(folder)):
        return _run(config, Path(folder), held_out_rooms, show_progress)


def _run(config: TrainConfig, folder: Path, held_out_rooms: int, show_progress: bool) -> Trained:
    began = time.perf_counter()
    torch.manual_seed(config.seed)
    model = build_model(config)
    device = rendering_device(config.data, config.device)
    rooms = GrowingRooms(
        config.data,
        seed=config.seed,
        tokenize=model.tokenizer(),
        answer_vocabulary=AnswerVocabulary(model.config.answer_vocabulary),
        ontology=model.config.ontology,
        encode_texts=frozen_encoder(model),
        device=device,
    )
    batches: Dataset[Example] = rooms
    if config.data.scans:
        scans = ScanExamples(config.data.scans, config.data, seed=config.seed)
        batches = MixedExamples(rooms, scans)
    workers = config.data.workers
    stream = functools.partial(prefetched, batches, workers=workers, device=device)
    trainer = Trainer(config, model, stream, compute_loss, folder, show_progress=show_progress)
    with _threads_beside(workers or int(device.type != "cpu")):
        report = trainer.run()
        metrics = (
            judge_on_rooms(model, config, held_out_rooms, show_progress=show_progress)
            if held_out_rooms
            else []
        )
    seconds = time.perf_counter() - began
    checkpoint = folder / "checkpoint"
    write_checkpoint(model, checkpoint, training_summary(config, report, metrics, seconds))
    return Trained(checkpoint, report, metrics)


@contextlib.contextmanager
def _threads_beside(workers: int) -> Iterator[None]:
    """Leave a core to each process or thread that makes batches.

    Threads of one operation wait for each other: with one thread too many on two cores, a step
    took eight times as long.
    """
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, min(before, cores - workers)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def build_model(config: TrainConfig) -> G2VLM:
    """Build the model of a run: a preset of :class:`G2VLMConfig` with changes.

    Raises:
        ValueError: the preset is unknown.
    """
    changes = dict(config.model)
    preset = changes.pop("preset", "tiny")
    presets = ("tiny", "small", "base", "large")
    if preset not in presets:
        raise ValueError(f"TrainConfig: model preset must be one of {presets}, got {preset!r}")
    changes.setdefault("answer_vocabulary", AnswerVocabulary().words)
    return G2VLM(getattr(G2VLMConfig, preset)(**changes))


def frozen_encoder(model: G2VLM) -> FrozenEncoder | None:
    """Return the frozen language encoder of a model without its memory; None if it is trained."""
    frozen = model.language_encoder.frozen
    return None if frozen is None else FrozenEncoder(frozen.name, capacity=0)


def compute_loss(model: nn.Module, example: Example, weights: Mapping[str, float]) -> LossReport:
    """Predict and compare; where the terms of language weigh nothing, texts are not read."""
    assert isinstance(model, G2VLM)
    scenes = example.batch.to(model.device, non_blocking=True)
    targets = example.targets.to(model.device, non_blocking=True)
    frozen = model.language_encoder.frozen
    if frozen is not None and example.text_features is not None:
        assert scenes.text_ids is not None
        assert scenes.text_offsets is not None
        frozen.remember(scenes.text_ids, scenes.text_offsets, example.text_features)
    if all(weights.get(term) == 0 for term in _LANGUAGE_OFF):
        scenes = dataclasses.replace(scenes, text_ids=None, text_offsets=None, text_scene=None)
    return total_loss(model(scenes, targets), scenes, targets, weights)


def judge_on_rooms(
    model: G2VLM, config: TrainConfig, count: int, *, show_progress: bool = False
) -> list[Metric]:
    """Evaluate on the first rooms of the test split; chance is fitted to training rooms."""
    room = config.data.room_config()
    ontology = model.config.ontology
    with ProgressBar(enabled=show_progress, title="held-out rooms") as bar:
        made = []
        for number, (split, seed) in enumerate(
            [("train", seed) for seed in seeds_of("train", PRIOR_ROOMS)]
            + [("test", seed) for seed in seeds_of("test", count, FIRST_HELD_OUT_SEED)]
        ):
            scene = generate_room(seed, room, device=rendering_device(config.data, config.device))
            made.append((split, scene, make_queries(scene, seed)))
            bar.update(number / (PRIOR_ROOMS + count) / 2, title="held-out rooms", status="making")
        truncation = float(model.config.truncation)
        priors = Priors.fit(
            (
                room_facts(scene, texts, truncation=truncation, ontology=ontology)
                for split, scene, texts in made
                if split == "train"
            ),
            num_classes=len(ontology.classes),
            num_relations=len(ontology.relations),
        )
        scenes = [scene for split, scene, _ in made if split == "test"]
        texts = [queries for split, _, queries in made if split == "test"]
        return evaluate(
            model,
            scenes,
            texts,
            priors=priors,
            on_progress=lambda done: bar.update(
                (1 + done) / 2, title="held-out rooms", status="judging"
            ),
        )


def training_summary(
    config: TrainConfig, report: TrainReport, metrics: Sequence[Metric], seconds: float
) -> dict[str, Any]:
    """Return what ``training.json`` says: how the checkpoint came to be, and how good it is."""
    headlines = [metric for metric in metrics if metric.headline]
    return {
        "recipe": config.name,
        "config": json.loads(config.to_json()),
        "steps": report.steps,
        "training_seconds": round(report.seconds, 2),
        "total_seconds": round(seconds, 2),
        "skipped_steps": report.skipped_steps,
        "rooms": GrowingRooms.known_after(config.data, report.steps * config.optim.accumulate),
        "last_losses": report.last_losses,
        "held_out_rooms": max((metric.scenes for metric in metrics), default=0),
        "better_than_chance": {metric.head: metric.better_than_chance for metric in headlines},
        "metrics": [metric.to_json() for metric in metrics],
        "torch": torch.__version__,
    }


def write_checkpoint(model: G2VLM, folder: Path, summary: Mapping[str, Any]) -> None:
    """Write a checkpoint folder whole or not at all; one that is there is replaced."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    write_text(partial / "training.json", json.dumps(summary, indent=2))
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(partial, folder)
    shutil.rmtree(old, ignore_errors=True)
