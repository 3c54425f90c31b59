"""The loop: every case is predicted, kept, scored and recorded, then all are summed up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from g2vlm_fast.data.interchange import PredictionError, ScenePrediction
from g2vlm_fast.data.readers.errors import ScanError
from g2vlm_fast.eval.protocol.cases import Benchmark, Case
from g2vlm_fast.eval.protocol.identity import RunIdentity
from g2vlm_fast.eval.protocol.predictions import (
    check_scene,
    is_kept,
    keep,
    keep_failure,
    kept,
)
from g2vlm_fast.eval.protocol.records import SceneRecord, Summary
from g2vlm_fast.eval.protocol.run_folder import RunFolder
from g2vlm_fast.eval.protocol.runs import RunError, is_run, read_records
from g2vlm_fast.eval.protocol.summary import summarise
from g2vlm_fast.eval.protocol.systems import PredictionFailed, System
from g2vlm_fast.eval.scoring import SCORES, retrieval_rows, score_case


def evaluate_system(
    system: System,
    benchmark: Benchmark,
    out: Path | str,
    *,
    shard: tuple[int, int] | None = None,
    overwrite: bool = False,
    on_progress: Callable[[float], None] | None = None,
) -> Summary | None:
    """Judge a system on a benchmark, one scene in memory at a time.

    What is done stays done: a run that was interrupted, however that was, is gone on with by the
    same call. The numbers depend neither on interruptions nor on how many processes or threads
    there were: torch works on one thread of the CPU meanwhile, and shards use the others. What is
    scored is what was read back from the files of a prediction, so that the same numbers come of
    evaluating them.

    Args:
        system: who is judged.
        benchmark: on what.
        out: folder of the run.
        shard: (index, count): do every ``count``-th scene from scene ``index`` on. All shards
            together do the whole; the one that ends last sums up. None does all that is missing.
        overwrite: begin anew where an evaluation is already; not with a shard.
        on_progress: is told the share of the scenes of the shard that are done.

    Returns:
        The numbers, which also are in ``out``; None where other shards are not done yet.

    Raises:
        ValueError: a shard that does not exist; a benchmark that contradicts itself.
        RunError: ``out`` holds another run, or something else than a run.
        OSError: ``out`` cannot be written.
    """
    index, count = shard or (0, 1)
    if not 0 <= index < count:
        raise ValueError(f"evaluate_system: shard must be (index, count), got {(index, count)}")
    if shard is not None and overwrite:
        raise ValueError("evaluate_system: a shard cannot overwrite what others may have begun")
    with _one_thread():
        identity = RunIdentity.of(system, benchmark, SCORES)
        out = Path(out)
        if overwrite or not is_run(out):
            _case(benchmark, 0)  # what cannot be made begins no run, and deletes none
        folder = RunFolder.open(out, system, identity, overwrite=overwrite)
        mine = range(index, len(identity.scenes), count)
        new = False
        for done, number in enumerate(mine, start=1):
            if not folder.has_record(identity.scenes[number]):
                folder.write_record(_evaluate(system, _case(benchmark, number), folder))
                new = True
            if on_progress is not None:
                on_progress(done / len(mine))
        return None if folder.missing() else _gather(benchmark, folder, rank_anew=new)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch add in one order: how it splits a sum depends on how many threads it has."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _case(benchmark: Benchmark, number: int) -> Case:
    case = benchmark.case(number)
    if case.name != benchmark.names[number]:
        raise ValueError(
            f"benchmark {benchmark.name!r}: case {number} must be {benchmark.names[number]!r}, "
            f"got {case.name!r}"
        )
    return case


def _evaluate(system: System, case: Case, folder: RunFolder) -> SceneRecord:
    seconds = float("nan")  # of a prediction that was there before
    if not is_kept(folder.predictions, case.name):
        began = time.perf_counter()
        _predict_and_keep(system, case, folder.predictions)
        seconds = time.perf_counter() - began
    prediction, failure = _read(folder.predictions, case.name)
    tasks = frozenset(folder.identity.tasks)
    return replace(score_case(case, prediction, tasks=tasks, failure=failure), seconds=seconds)


def _predict_and_keep(system: System, case: Case, predictions: Path) -> None:
    try:
        prediction = system.predict(case)
        check_scene(prediction, case.name)
    except (PredictionFailed, PredictionError) as error:
        keep_failure(predictions, case.name, str(error))
    except Exception as error:
        error.add_note(f"while {system.name} predicted scene {case.name}")
        raise
    else:
        keep(predictions, prediction)


def _read(predictions: Path, name: str) -> tuple[ScenePrediction | None, str]:
    try:
        return kept(predictions, name), ""
    except PredictionFailed as error:
        return None, str(error) or "the system gave no reason"
    except ScanError as error:
        raise RunError(
            f"{error} Or delete the folder {predictions / name}: the prediction is made again then"
        ) from error


def _gather(benchmark: Benchmark, folder: RunFolder, *, rank_anew: bool) -> Summary:
    identity = folder.identity
    if "retrieval" in identity.tasks and (rank_anew or not folder.has_retrieval()):
        try:
            ranked = retrieval_rows(_cases_and_predictions(benchmark, folder))
        except ValueError as error:
            raise RunError(f"{folder.predictions}: {error}; correct the predictions") from error
        folder.write_retrieval(ranked)
    summary = summarise(read_records(folder.path, identity), SCORES, identity)
    folder.write_summary(summary)
    return summary


def _cases_and_predictions(
    benchmark: Benchmark, folder: RunFolder
) -> Iterator[tuple[Case, ScenePrediction | None]]:
    for number, name in enumerate(folder.identity.scenes):
        yield _case(benchmark, number), _read(folder.predictions, name)[0]
