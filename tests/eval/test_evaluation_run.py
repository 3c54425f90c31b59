"""The evaluation loop: streaming, resumed after SIGKILL, the same by one or several processes."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_evaluation import FEW_TASKS, ToyBenchmark, ToySystem, evaluate_shard, evaluate_until_killed

from g2vlm_fast.data.interchange import ScenePrediction
from g2vlm_fast.eval.protocol.cases import Case
from g2vlm_fast.eval.protocol.evaluation import evaluate_system
from g2vlm_fast.eval.protocol.records import Summary
from g2vlm_fast.eval.protocol.runs import RunError, read_run
from g2vlm_fast.eval.protocol.systems import PredictionFailed

SCENES = 3
MOVES = 19
"""How many files and folders a run of SCENES scenes moves into place: each is a place to die at."""


def toy() -> ToySystem:
    """The system of ``whole``, which attempts little, so that much can be tried."""
    return ToySystem(tasks=FEW_TASKS)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation that nobody interrupted."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert evaluate_system(toy(), ToyBenchmark(SCENES), out) is not None
    return out


@pytest.fixture(scope="module")
def server() -> Any:
    """Processes that begin with everything imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["g2vlm_fast.eval.protocol.evaluation", "scipy.optimize"])
    return context


def numbers(run: Path) -> dict[str, Any]:
    """Everything that was measured, bit by bit; seconds are no part of it."""
    records = {
        path.name: {name: value for name, value in json.loads(path.read_text()).items()
                    if name != "seconds"}
        for path in sorted((run / "scenes").iterdir())
    }  # fmt: skip
    texts = {name: (run / name).read_text() for name in ("summary.json", "retrieval.json")}
    return {"records": records, **texts}


def test_run_is_read_back_as_it_was_summed_up(tmp_path: Path) -> None:
    told: list[float] = []
    system, benchmark = ToySystem(), ToyBenchmark(4)
    summary = evaluate_system(system, benchmark, tmp_path / "run", on_progress=told.append)
    run = read_run(tmp_path / "run")
    assert isinstance(summary, Summary)
    assert repr(replace(run.summary, versions={})) == repr(summary)
    assert [record.name for record in run.records] == list(benchmark.names) == system.asked
    assert told == [0.25, 0.5, 0.75, 1.0]
    assert {"date", "g2vlm-fast", "torch", "processor"} <= run.summary.versions.keys()
    assert all(record.seconds > 0 for record in run.records)
    assert "text_to_scene_recall_1" in run.records[0].rows
    solid = [each for each in summary.estimates if each.name != "mesh_iou"]  # these rooms are not
    assert {estimate.scenes for estimate in solid} <= {1, 2, 3, 4}


@pytest.mark.parametrize("moves", range(MOVES))
def test_killed_run_is_gone_on_with_to_the_same_bits(
    moves: int, whole: Path, server: Any, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    process = server.Process(target=evaluate_until_killed, args=(out, SCENES, moves))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    if (out / "scenes").exists():
        with pytest.raises(RunError, match=r"not finished, \d of 3"):
            read_run(out)
    evaluate_system(toy(), ToyBenchmark(SCENES), out)
    assert numbers(out) == numbers(whole)
    assert [*out.glob("scenes/.*"), *out.glob("predictions/.*")] == []


def test_every_place_to_die_at_is_tried(whole: Path, server: Any, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = server.Process(target=evaluate_until_killed, args=(out, SCENES, MOVES))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert numbers(out) == numbers(whole)


def test_shards_are_gathered_to_the_bits_of_one_process(
    whole: Path, server: Any, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shards = [server.Process(target=evaluate_shard, args=(out, SCENES, i, 4)) for i in range(4)]
    for process in shards:
        process.start()
    for process in shards:
        process.join(60)
    assert [process.exitcode for process in shards] == [0, 0, 0, 0]
    assert numbers(out) == numbers(whole)


def test_processes_on_the_same_shard_do_not_disturb_each_other(
    whole: Path, server: Any, tmp_path: Path
) -> None:
    for repeat in range(2):
        out = tmp_path / f"run-{repeat}"
        twins = [server.Process(target=evaluate_shard, args=(out, SCENES, 0, 1)) for _ in range(4)]
        for process in twins:
            process.start()
        for process in twins:
            process.join(60)
        assert [process.exitcode for process in twins] == [0, 0, 0, 0]
        assert numbers(out) == numbers(whole)


def test_file_that_another_process_cleared_away_is_there_already(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process ends the run between the draft of a record and its move into place."""
    out, benchmark = tmp_path / "run", ToyBenchmark(SCENES)
    move, begun = os.replace, False

    def interrupted(source: Any, target: Any) -> None:
        nonlocal begun
        if Path(target).name == "toy-1.json" and not begun:
            begun = True
            evaluate_system(toy(), benchmark, out)
            assert not Path(source).exists()
        move(source, target)

    monkeypatch.setattr(os, "replace", interrupted)
    assert evaluate_system(toy(), benchmark, out) is not None
    assert begun
    assert numbers(out) == numbers(whole)


def test_only_the_last_shard_sums_up(whole: Path, tmp_path: Path) -> None:
    out, benchmark = tmp_path / "run", ToyBenchmark(SCENES)
    assert evaluate_system(toy(), benchmark, out, shard=(1, 2)) is None
    with pytest.raises(RunError, match="not finished, 1 of 3"):
        read_run(out)
    assert evaluate_system(toy(), benchmark, out, shard=(0, 2)) is not None
    assert numbers(out) == numbers(whole)


def test_call_without_a_shard_does_what_is_missing(whole: Path, tmp_path: Path) -> None:
    out, rest = tmp_path / "run", toy()
    evaluate_system(toy(), ToyBenchmark(SCENES), out, shard=(1, 3))
    assert evaluate_system(rest, ToyBenchmark(SCENES), out) is not None
    assert rest.asked == ["toy-0", "toy-2"]
    assert numbers(out) == numbers(whole)


class Unmakable(ToyBenchmark):
    """Its cases cannot be made any more."""

    def case(self, index: int) -> Case:
        raise ValueError("the scan is gone")


def test_finished_run_asks_nothing_and_makes_no_scene_again(whole: Path) -> None:
    again = toy()
    before = numbers(whole)
    assert evaluate_system(again, Unmakable(SCENES), whole) is not None
    assert again.asked == []
    assert numbers(whole) == before


def test_benchmark_that_cannot_be_made_begins_nothing_and_deletes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(ValueError, match="the scan is gone"):
        evaluate_system(toy(), Unmakable(SCENES), out)
    assert os.listdir(tmp_path) == []
    evaluate_system(toy(), ToyBenchmark(SCENES), out)
    before = numbers(out)
    with pytest.raises(ValueError, match="the scan is gone"):
        evaluate_system(toy(), Unmakable(SCENES), out, overwrite=True)
    assert numbers(out) == before


@pytest.mark.parametrize("threads", [1, 2])
def test_torch_has_one_thread_while_systems_are_judged(threads: int, tmp_path: Path) -> None:
    class Watching(ToySystem):
        def predict(self, case: Case) -> ScenePrediction:
            assert torch.get_num_threads() == 1
            return super().predict(case)

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        evaluate_system(Watching(tasks=FEW_TASKS), ToyBenchmark(1), tmp_path / "run")
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_prediction_that_was_damaged_in_a_run_is_named_with_a_remedy(tmp_path: Path) -> None:
    out = tmp_path / "run"
    evaluate_system(toy(), ToyBenchmark(SCENES), out)
    (out / "scenes" / "toy-1.json").unlink()
    said = out / "predictions" / "toy-1"
    (said / "prediction.json").write_text("{")
    with pytest.raises(RunError, match=r"prediction.json: is no JSON.* delete the folder .*toy-1:"):
        evaluate_system(toy(), ToyBenchmark(SCENES), out)
    shutil.rmtree(said)
    again = toy()
    evaluate_system(again, ToyBenchmark(SCENES), out)
    assert again.asked == ["toy-1"]


def test_folders_that_somebody_took_out_of_a_run_are_filled_again(
    whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    evaluate_system(toy(), ToyBenchmark(SCENES), out)
    shutil.rmtree(out / "scenes")
    shutil.rmtree(out / "predictions")
    evaluate_system(toy(), ToyBenchmark(SCENES), out)
    assert numbers(out) == numbers(whole)


def test_prediction_that_was_kept_is_scored_without_asking_again(
    whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    evaluate_system(toy(), ToyBenchmark(SCENES), out)
    (out / "scenes" / "toy-1.json").unlink()
    again = toy()
    evaluate_system(again, ToyBenchmark(SCENES), out)
    assert again.asked == []
    assert numbers(out) == numbers(whole)
    assert np.isnan(read_run(out).records[1].seconds)


@pytest.mark.parametrize(
    ("system", "rooms", "told"),
    [
        (ToySystem(error=0.2), ToyBenchmark(SCENES), "system fingerprint toy 0.1"),
        (ToySystem(name="other"), ToyBenchmark(SCENES), "system toy, not other"),
        (toy(), ToyBenchmark(SCENES, fingerprint="toy-2"), "fingerprint toy-1, not toy-2"),
        (toy(), ToyBenchmark(SCENES + 1), r"scenes 3 \(toy-0, toy-1, toy-2\), not 4"),
        (ToySystem(), ToyBenchmark(SCENES), r"tasks 2 .* not \d"),
    ],
)
def test_folder_of_another_run_is_refused(
    system: ToySystem, rooms: ToyBenchmark, told: str, whole: Path
) -> None:
    before = numbers(whole)
    with pytest.raises(RunError, match=rf"holds another evaluation .*{told}.*--overwrite"):
        evaluate_system(system, rooms, whole)
    assert system.asked == []
    assert numbers(whole) == before


def test_folder_of_another_version_of_the_scores_is_refused(
    whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("g2vlm_fast.eval.protocol.identity.VERSION", 999)
    with pytest.raises(RunError, match=r"scoring .* not 999-"):
        evaluate_system(toy(), ToyBenchmark(SCENES), whole)


def test_overwriting_begins_anew(tmp_path: Path) -> None:
    out = tmp_path / "run"
    evaluate_system(toy(), ToyBenchmark(2), out)
    other = ToySystem(error=0.4, tasks=FEW_TASKS)
    evaluate_system(other, ToyBenchmark(2), out, overwrite=True)
    assert other.asked == ["toy-0", "toy-1"]
    assert os.listdir(tmp_path) == ["run"]
    assert read_run(out).identity.system_fingerprint == other.fingerprint


@pytest.mark.parametrize("overwrite", [False, True])
def test_folder_that_is_no_evaluation_is_never_touched(overwrite: bool, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(RunError, match="exists and is no evaluation"):
        evaluate_system(ToySystem(), ToyBenchmark(2), tmp_path, overwrite=overwrite)
    (tmp_path / "run.json").write_text('{"scene": "results of a reconstruction"}')
    with pytest.raises(RunError, match="is of no g2vlm-fast evaluation"):
        evaluate_system(ToySystem(), ToyBenchmark(2), tmp_path, overwrite=overwrite)
    assert (tmp_path / "mine").read_text() == "precious"
    assert sorted(os.listdir(tmp_path)) == ["mine", "run.json"]


@pytest.mark.parametrize("shard", [(2, 2), (-1, 2), (0, 0)])
def test_shard_that_does_not_exist_is_refused(shard: tuple[int, int], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="shard must be"):
        evaluate_system(ToySystem(), ToyBenchmark(2), tmp_path / "run", shard=shard)
    with pytest.raises(ValueError, match="cannot overwrite"):
        evaluate_system(
            ToySystem(), ToyBenchmark(2), tmp_path / "run", shard=(0, 2), overwrite=True
        )
    assert os.listdir(tmp_path) == []


def test_failures_are_counted_in_every_score(tmp_path: Path) -> None:
    benchmark = ToyBenchmark(SCENES)
    right = evaluate_system(ToySystem(), benchmark, tmp_path / "right")
    failing = ToySystem(fails_on=("toy-1",))
    wrong = evaluate_system(failing, benchmark, tmp_path / "wrong")
    assert right is not None
    assert wrong is not None
    assert wrong.failures == {"toy-1": "toy-1 is too hard"}
    assert right.failures == {}
    counts = [{e.name: e.scenes for e in summary.estimates} for summary in (right, wrong)]
    assert counts[0].keys() == counts[1].keys()
    assert all(counts[1][name] == SCENES for name in ("spq", "answer_score", "chamfer_l1"))
    answered = {e.name: (e.value, e.count) for e in wrong.estimates}["answer_score"]
    assert answered[1] == 8 * SCENES
    assert wrong.by_kind["count"].count == 4 * SCENES


class Odd(ToySystem):
    """Says something of the first scene that no system may say."""

    def __init__(self, said: Any) -> None:
        super().__init__()
        self.said = said

    def predict(self, case: Case) -> ScenePrediction:
        prediction = super().predict(case)
        if case.name != "toy-0":
            return prediction
        if isinstance(self.said, Exception):
            raise self.said
        return replace(prediction, **self.said)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"scene": "toy-1"}, "of another scene, 'toy-1'"),
        ({"points": np.full((3, 3), np.nan, np.float32)}, "points must be finite"),
        ({"points": 1000 * np.arange(9, dtype=np.float32).reshape(3, 3)}, "too large"),
        ({"objects": ()}, "object"),
        (PredictionFailed("out of patience"), "out of patience"),
        (PredictionFailed(), "no reason"),
    ],
)
def test_unusable_prediction_is_a_counted_failure(said: Any, told: str, tmp_path: Path) -> None:
    summary = evaluate_system(Odd(said), ToyBenchmark(2), tmp_path / "run")
    assert summary is not None
    assert list(summary.failures) == ["toy-0"]
    assert told in summary.failures["toy-0"]
    assert summary.scenes == 2


def test_system_with_a_defect_stops_the_run_and_names_the_scene(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        evaluate_system(Odd(ZeroDivisionError()), ToyBenchmark(2), tmp_path / "run")
    assert caught.value.__notes__ == ["while toy predicted scene toy-0"]
    assert os.listdir(tmp_path / "run" / "scenes") == []


def test_embeddings_of_two_lengths_are_an_error_that_names_the_predictions(tmp_path: Path) -> None:
    other = {
        "scene_embedding": np.ones(3, np.float32), "text_embeddings": None, "texts": (),
        "object_embeddings": None,
    }  # fmt: skip
    with pytest.raises(RunError, match="predictions: retrieval: embeddings"):
        evaluate_system(Odd(other), ToyBenchmark(2), tmp_path / "run")


class Named(ToyBenchmark):
    """Its cases have names of their own."""

    def __init__(self, *names: str) -> None:
        super().__init__(len(names))
        self.chosen = names

    @property
    def names(self) -> tuple[str, ...]:
        return self.chosen


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("room", "Room"), "'Room' comes twice"),
        (("a/b",), "fit for a folder"),
        (("..",), "fit for a folder"),
        ((".hidden",), "fit for a folder"),
        (("",), "fit for a folder"),
        (("ends with a dot.",), "fit for a folder"),
        ((), "has no cases"),
    ],
)
def test_benchmark_whose_names_cannot_be_folders_is_refused(
    names: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=told):
        evaluate_system(ToySystem(), Named(*names), tmp_path / "run")
    assert os.listdir(tmp_path) == []


class Misnamed(ToyBenchmark):
    """Makes another case than it says."""

    def case(self, index: int) -> Case:
        return super().case(index + 1)


def test_benchmark_that_makes_another_case_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="case 0 must be 'toy-0', got 'toy-1'"):
        evaluate_system(ToySystem(), Misnamed(2), tmp_path / "run")


def test_unknown_task_is_refused(tmp_path: Path) -> None:
    for tasks, told in ((frozenset({"juggling"}), "juggling"), (frozenset(), "none")):
        with pytest.raises(ValueError, match=rf"tasks must be some of surface.*got {told}"):
            evaluate_system(ToySystem(tasks=tasks), ToyBenchmark(2), tmp_path / "run")  # type: ignore[arg-type]
