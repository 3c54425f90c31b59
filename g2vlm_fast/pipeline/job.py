"""The main job, from a folder of images to a folder of results."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from g2vlm_fast.data import Query, RoomConfig, Scene, generate_room
from g2vlm_fast.data import queries as make_queries
from g2vlm_fast.data.readers import ReadOptions, ScanError, read_scan
from g2vlm_fast.data.transform import move_scene
from g2vlm_fast.export.files import publish
from g2vlm_fast.geometry.conventions import (
    ConventionError,
    ConventionReport,
    check_conventions,
)
from g2vlm_fast.geometry.frames import Alignment, align_to_gravity
from g2vlm_fast.model import G2VLMConfig
from g2vlm_fast.pipeline.checkpoint import (
    TrainedModel,
    default_checkpoint,
    is_checkpoint,
    load_config,
    load_model,
)
from g2vlm_fast.pipeline.config import RunConfig
from g2vlm_fast.pipeline.progress import TRAINING
from g2vlm_fast.pipeline.questions import check_questions
from g2vlm_fast.pipeline.reconstruction import (
    Reconstruction,
    check_voxel_size,
    fuse_scene,
    reconstruct,
)
from g2vlm_fast.pipeline.results import write_results
from g2vlm_fast.pipeline.understanding import Understanding, pick_views, understand
from g2vlm_fast.records import Task

OnStage = Callable[[str, float], None]
"""Told the name of the stage that begins, and the share of the run that is done."""

Train = Callable[[Path], None]
"""Trains a model and leaves its checkpoint at the path given."""

_STAGES = {
    "Reading": 0.0, "Checking conventions": 0.15, TRAINING: 0.2, "Loading the model": 0.22,
    "Fusing depth": 0.3, "Looking and reasoning": 0.55, "Completing the surface": 0.65,
    "Drawing and writing": 0.78, "Done": 1.0,
}  # fmt: skip

DEMO_ROOM = RoomConfig(
    programs=("simple",), image_size=(240, 320), views=(24, 24), objects=(6, 7),
    depth_probability=1.0, mesh_probability=0.0,
)  # fmt: skip
"""The rooms of runs without a scan: seen better than training rooms, furnished the same."""

_OWN_QUESTIONS = 6


@dataclass
class Clock:
    """Seconds of each stage, and whom to tell."""

    on_stage: OnStage | None
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        if self.on_stage is not None:
            self.on_stage(name, _STAGES[name])
        began = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - began


@dataclass(frozen=True)
class RunResult:
    """What a run found, and where it lies."""

    out: Path
    scene: Scene  # upright
    conventions: ConventionReport | None  # None: generated
    alignment: Alignment | None  # None: generated
    reconstruction: Reconstruction
    understanding: Understanding
    model: TrainedModel
    seconds: dict[str, float]


def run(
    config: RunConfig, *, on_stage: OnStage | None = None, train: Train | None = None
) -> RunResult:
    """Read a scan, check it, put it upright, reconstruct it, reason about it, write everything.

    Args:
        config: what and where.
        on_stage: is told of progress.
        train: makes the default checkpoint where there is none; without it that is an error.

    Returns:
        What was found; the same lies in ``config.out``: ``cloud.ply`` (what was measured, about
        a point a voxel, then what the model adds where nothing was), ``mesh.ply``,
        ``scene_graph.json``, ``caption.json``, ``answer.json``, ``previews/*.png`` and
        ``report.html``.

    Raises:
        ConfigError: an option is out of range, for this scene or for this model.
        ScanError: the scan cannot be read, or has too little depth for a surface.
        ConventionError: its numbers mean something else than they were read as.
        ModelError: the checkpoint cannot be loaded.
        OutputError: the results cannot be put at ``config.out``.
    """
    config.check()
    clock = Clock(on_stage)
    checkpoint = config.checkpoint or default_checkpoint()
    with publish(config.out, overwrite=config.overwrite) as folder:
        with clock.stage("Reading"):
            check_questions(config.ask, _config_of_model(checkpoint))
            scene, questions = _scene_and_questions(config)
        conventions, alignment = None, None
        if config.scan is not None:
            with clock.stage("Checking conventions"), _blamed_on(config):
                scene, conventions, alignment = put_upright(scene, config.scan)
        check_voxel_size(config.voxel_size, scene)
        if config.checkpoint is None and not is_checkpoint(checkpoint) and train is not None:
            with clock.stage(TRAINING):
                train(checkpoint)
        with clock.stage("Loading the model"):
            model = load_model(checkpoint)
        with clock.stage("Fusing depth"), _blamed_on(config):
            fused = fuse_scene(scene, config.voxel_size)
        with clock.stage("Looking and reasoning"):
            views = pick_views(scene, config.model_views)
            seen = understand(model.model, scene, views, model.image_size, questions)
        with clock.stage("Completing the surface"):
            reconstruction = reconstruct(model.model, scene, fused, seen)
        result = RunResult(
            config.out, scene, conventions, alignment, reconstruction, seen, model, clock.seconds
        )
        with clock.stage("Drawing and writing"):
            write_results(result, folder)
    if on_stage is not None:
        on_stage("Done", 1.0)
    return result


def _config_of_model(checkpoint: Path) -> G2VLMConfig:
    """The configuration of the model, or the one that the demo model will have."""
    return load_config(checkpoint) if is_checkpoint(checkpoint) else G2VLMConfig.tiny()


def _scene_and_questions(config: RunConfig) -> tuple[Scene, list[Query]]:
    asked = [Query(text=text.strip(), task=Task.QUESTION) for text in config.ask]
    if config.scan is None:
        scene = generate_room(config.room_seed, DEMO_ROOM)
        own = [q for q in make_queries(scene, config.room_seed) if q.task == Task.QUESTION]
        kinds: dict[str, Query] = {}
        for query in own:
            kinds.setdefault(query.kind, query)
        return scene, asked + list(kinds.values())[:_OWN_QUESTIONS]
    options = ReadOptions(
        intrinsics=config.intrinsics,
        depth_scale=config.depth_scale,
        mesh=config.mesh,
        stride=config.stride,
        max_frames=config.max_frames,
        max_missing=config.max_missing,
    )
    scene = read_scan(config.scan, options)
    if scene.depth is None:
        raise ScanError(
            config.scan,
            "has no depth images, and nothing is reconstructed from colour alone",
            "Give a scan with depth",
        )
    return scene, asked


def put_upright(
    scene: Scene, scan: Path | None = None
) -> tuple[Scene, ConventionReport, Alignment]:
    """Check the conventions of a scan with depth, and turn its world upright.

    ``scan`` is the folder that the scene was read from, for errors to name.

    Raises:
        ConventionError: its numbers mean something else than they were read as.
    """
    assert scene.depth is not None
    geometry = (scene.depth, scene.intrinsics, scene.poses)
    try:
        conventions = check_conventions(*geometry)
    except ConventionError as error:
        raise ConventionError(error.report, scan) from None
    alignment = align_to_gravity(*geometry, scene.gravity)
    upright = move_scene(scene, alignment.transform)
    assumptions = (*scene.assumptions, alignment.describe())
    gravity = torch.tensor([0.0, 0.0, -1.0])
    upright = dataclasses.replace(upright, gravity=gravity, assumptions=assumptions)
    return upright, conventions, alignment


@contextmanager
def _blamed_on(config: RunConfig) -> Iterator[None]:
    """Let what is wrong with the scene be an error about the scan that it came from."""
    try:
        yield
    except (ScanError, ConventionError):
        raise
    except ValueError as error:
        where = config.scan if config.scan is not None else f"room {config.room_seed}"
        raise ScanError(where, str(error), "Give a scan with more depth that overlaps") from error
