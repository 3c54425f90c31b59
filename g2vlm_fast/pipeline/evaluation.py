"""Evaluating and comparing, as the command line asks for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from g2vlm_fast.data import PROGRAMS, RoomConfig
from g2vlm_fast.eval.benchmarks import LayoutBenchmark, Noise, RoomBenchmark, ScanBenchmark
from g2vlm_fast.eval.benchmarks.rooms import IMAGE_SIZE
from g2vlm_fast.eval.protocol.cases import Benchmark
from g2vlm_fast.eval.protocol.comparison import compare
from g2vlm_fast.eval.protocol.evaluation import evaluate_system
from g2vlm_fast.eval.protocol.identity import check_names
from g2vlm_fast.eval.protocol.records import Difference, Summary
from g2vlm_fast.eval.protocol.runs import PREDICTIONS, Run, is_run, read_run
from g2vlm_fast.eval.protocol.systems import System
from g2vlm_fast.eval.scoring import SCORES
from g2vlm_fast.eval.systems import SYSTEMS
from g2vlm_fast.eval.systems.files import SavedPredictions
from g2vlm_fast.pipeline.checkpoint import default_checkpoint, load_model
from g2vlm_fast.pipeline.config import ConfigError
from g2vlm_fast.pipeline.evaluation_config import CompareConfig, EvaluateConfig
from g2vlm_fast.pipeline.evaluation_report import write_report
from g2vlm_fast.pipeline.model_system import ModelSystem

_ROOMS = 50
_STRETCHES = 8
_MODEL_FILES = ("config.json", "model.safetensors")
_CHECKPOINT = "checkpoint"  # in the folder of a training run
PAGE = "report.html"


@dataclass(frozen=True)
class Evaluated:
    """What became of an evaluation.

    Attributes:
        summary: its numbers; None where other processes are not done yet.
        page: the report; None where this process did not write it.
    """

    summary: Summary | None
    page: Path | None


def evaluate(config: EvaluateConfig, on_progress: Callable[[float], None] | None) -> Evaluated:
    """Judge a system, and write the page about it.

    A process that does a shard writes no page: the same command without a shard does, at once.

    Raises:
        ConfigError: an option is out of range, or there is no such system.
        ModelError: the checkpoint cannot be loaded.
        ScanError: the scan, the layouts or the predictions cannot be used.
        RunError: ``config.out`` holds another evaluation, or something else.
        OSError: it cannot be written.
    """
    config.check()
    shard = config.shard_of()
    benchmark = benchmark_of(config)
    system = system_of(config, benchmark)
    summary = evaluate_system(
        system,
        benchmark,
        config.out,
        shard=shard,
        overwrite=config.overwrite,
        on_progress=on_progress,
    )
    if summary is None or shard is not None:
        return Evaluated(summary, None)
    page = config.out / PAGE
    drawn = range(min(config.pictures, summary.scenes))
    write_report([read_run(config.out)], page, (benchmark.case(number) for number in drawn))
    return Evaluated(summary, page)


def benchmark_of(config: EvaluateConfig) -> Benchmark:
    """What is judged on.

    Raises:
        ConfigError: an unknown split or program, noise that contradicts the split, more scenes
            than there are, or scenes or layouts that cannot be read.
    """
    try:
        benchmark = _benchmark_of(config)
        check_names(benchmark.name, benchmark.names)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if config.scenes is not None and len(benchmark.names) < config.scenes:
        raise ConfigError(
            f"--scenes must be at most {len(benchmark.names)}, which is all that there are, got "
            f"{config.scenes}"
        )
    return benchmark


def _benchmark_of(config: EvaluateConfig) -> Benchmark:
    if config.scan is not None:
        return ScanBenchmark(path=config.scan.resolve(), stretches=config.scenes or _STRETCHES)
    if config.layouts is not None:
        return LayoutBenchmark(folder=config.layouts, count=config.scenes)
    return RoomBenchmark(
        split=config.split,
        count=config.scenes or _ROOMS,
        noise=_noise_of(config),
        base=_rooms_of(config.program),
    )


def _noise_of(config: EvaluateConfig) -> Noise:
    """The noise that is asked for; that of the split of stronger noise unless it is."""
    usual = config.noise == EvaluateConfig.noise
    return "strong" if usual and config.split == "stronger noise" else config.noise


def _rooms_of(program: str) -> RoomConfig | None:
    if program == "any":
        return None
    if program not in ("simple", *PROGRAMS):
        raise ConfigError(
            f"--program must be any, simple or one of {', '.join(PROGRAMS)}, got {program!r}"
        )
    return RoomConfig(
        programs=(program,), views=(4, 8), image_size=IMAGE_SIZE, depth_probability=1.0,
        mesh_probability=0.0,
    )  # fmt: skip


def system_of(config: EvaluateConfig, benchmark: Benchmark) -> System:
    """Who is judged: a checkpoint, a folder of predictions, or a system without training.

    Raises:
        ConfigError: there is nothing of this name, or --out and the predictions lie in each other.
        ModelError: the checkpoint cannot be loaded.
        ScanError: the predictions are not those of the benchmark.
    """
    known = config.system is not None and config.system in SYSTEMS
    folder = default_checkpoint() if config.system is None else Path(config.system)
    if not known and (config.system is None or _holds_a_model(folder)):
        return ModelSystem(load_model(folder), device=_device_of(config.device))
    if config.device is not None:
        raise ConfigError(
            "--device would not be looked at, because only models run on one: leave it out"
        )
    if known:
        return SYSTEMS[str(config.system)]()
    if not folder.is_dir():
        raise ConfigError(
            f"{config.system}: is no folder of a checkpoint or of predictions, and no system that "
            f"needs no training; those are {', '.join(SYSTEMS)}"
        )
    if _holds_a_model(folder / _CHECKPOINT):
        raise ConfigError(
            f"{folder}: is the folder of a training run; name its model, {folder / _CHECKPOINT}"
        )
    if is_run(folder):
        raise ConfigError(
            f"{folder}: is an evaluation; to score its predictions anew name {folder / PREDICTIONS}"
        )
    ours, theirs = config.out.resolve(), folder.resolve()
    if ours.is_relative_to(theirs) or theirs.is_relative_to(ours):
        raise ConfigError(f"--out {config.out} and the predictions {folder} must lie apart")
    return SavedPredictions(folder, benchmark.names)


def _holds_a_model(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _MODEL_FILES)


def _device_of(told: str | None) -> str:
    """Where a model runs: as told, else on the GPU that torchrun gives this process, else the CPU.

    Raises:
        ConfigError: there is no such device.
    """
    gpus = torch.cuda.device_count()
    if told is None:
        return f"cuda:{int(os.environ.get('LOCAL_RANK', 0)) % gpus}" if gpus else "cpu"
    allowed = ["cpu", *(["cuda"] if gpus else []), *(f"cuda:{number}" for number in range(gpus))]
    if told not in allowed:
        raise ConfigError(f"--device must be {' or '.join(allowed)} on this machine, got {told!r}")
    return told


def compare_runs(config: CompareConfig) -> list[tuple[Run, Run, list[Difference]]]:
    """Compare the first evaluation with each of the others, and write the page.

    Returns:
        Pairs, and how much better the first of each is.

    Raises:
        ConfigError: too few evaluations, or a page that cannot be written.
        RunError: a folder is no finished evaluation, or they are of different benchmarks.
    """
    config.check()
    runs = [read_run(folder) for folder in config.runs]
    pairs = [(runs[0], other, compare(runs[0], other, SCORES)) for other in runs[1:]]
    if config.out is not None:
        write_report(runs, config.out)
    return pairs
