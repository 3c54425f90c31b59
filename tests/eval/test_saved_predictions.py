"""A folder of predictions is judged as the system that made them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from toy_evaluation import ToyBenchmark, ToySystem

from g2vlm_fast.data.interchange import write_prediction
from g2vlm_fast.data.readers.errors import ScanError
from g2vlm_fast.eval.protocol.evaluation import evaluate_system
from g2vlm_fast.eval.systems.files import SavedPredictions

ROOMS = ToyBenchmark(3)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a system that fails on one scene."""
    out = tmp_path_factory.mktemp("judged") / "run"
    evaluate_system(ToySystem(fails_on=("toy-1",)), ROOMS, out)
    return out


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Predictions that somebody wrote without saying whose they are."""
    for number, name in enumerate(ROOMS.names):
        write_prediction(ToySystem().predict(ROOMS.case(number)), tmp_path / "said" / name)
    return tmp_path / "said"


def test_predictions_of_a_run_give_its_numbers_again(judged: Path, tmp_path: Path) -> None:
    saved = SavedPredictions(judged / "predictions", ROOMS.names)
    evaluate_system(saved, ROOMS, tmp_path / "again")
    for name in ("summary.json", "retrieval.json"):
        assert (tmp_path / "again" / name).read_bytes() == (judged / name).read_bytes()
    assert saved.name == "toy"
    assert saved.looks_at_truth
    assert saved.tasks == ToySystem().tasks


def test_what_predictions_say_tells_what_is_attempted(folder: Path, tmp_path: Path) -> None:
    saved = SavedPredictions(folder, ROOMS.names)
    assert (saved.name, saved.looks_at_truth) == ("toy", False)
    assert saved.tasks == ToySystem().tasks - {"predicate_classification"}  # which must be said
    summary = evaluate_system(saved, ROOMS, tmp_path / "run")
    assert summary is not None
    assert summary.failures == {}


def test_missing_and_damaged_predictions_are_counted_failures(folder: Path, tmp_path: Path) -> None:
    shutil.rmtree(folder / "toy-0")
    (folder / "toy-2" / "prediction.npz").write_bytes(b"cut off")
    summary = evaluate_system(SavedPredictions(folder, ROOMS.names), ROOMS, tmp_path / "run")
    assert summary is not None
    assert summary.failures["toy-0"] == "there is no prediction of this scene"
    assert "prediction.npz" in summary.failures["toy-2"]
    assert summary.scenes == 3
    answered = next(e for e in summary.estimates if e.name == "answer_score")
    assert (answered.scenes, answered.count) == (3, 24)


def test_prediction_under_the_name_of_another_scene_is_a_failure(
    folder: Path, tmp_path: Path
) -> None:
    shutil.rmtree(folder / "toy-0")
    shutil.copytree(folder / "toy-1", folder / "toy-0")
    summary = evaluate_system(SavedPredictions(folder, ROOMS.names), ROOMS, tmp_path / "run")
    assert summary is not None
    assert summary.failures == {"toy-0": "the prediction is of another scene, 'toy-1'"}


def test_reason_of_a_failure_is_kept(folder: Path, tmp_path: Path) -> None:
    shutil.rmtree(folder / "toy-0")
    (folder / "toy-0").mkdir()
    (folder / "toy-0" / "failure.txt").write_text("out of memory\n")
    summary = evaluate_system(SavedPredictions(folder, ROOMS.names), ROOMS, tmp_path / "run")
    assert summary is not None
    assert summary.failures == {"toy-0": "out of memory"}


def test_extra_scenes_are_refused(folder: Path) -> None:
    with pytest.raises(ScanError, match=r"not asked about, 1 in all \('toy-2'\)"):
        SavedPredictions(folder, ROOMS.names[:2])


def test_predictions_of_another_benchmark_are_refused(folder: Path) -> None:
    with pytest.raises(ScanError, match="no prediction of any of the 2 scenes"):
        SavedPredictions(folder, ("room-1", "room-2"))
    with pytest.raises(ScanError, match="is no folder"):
        SavedPredictions(folder / "absent", ROOMS.names)


def test_predictions_of_two_systems_are_refused(folder: Path) -> None:
    other = ToySystem(name="another").predict(ROOMS.case(0))
    write_prediction(other, folder / "toy-0", overwrite=True)
    with pytest.raises(ScanError, match=r"several systems \(another, toy\)"):
        SavedPredictions(folder, ROOMS.names)


def test_predictions_that_say_nothing_are_refused(folder: Path) -> None:
    for name in ROOMS.names:
        (folder / name / "prediction.json").write_text("{}")
    with pytest.raises(ScanError, match="no prediction that can be read"):
        SavedPredictions(folder, ROOMS.names)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("[]", "not an object"),
        ('{"format": "other", "version": 1}', "is no g2vlm-fast system"),
        (
            '{"format": "g2vlm-fast system", "version": 1, "name": "x", "tasks": ["juggling"]}',
            "tasks must be some of those known",
        ),
        (
            '{"format": "g2vlm-fast system", "version": 1, "name": "x", "tasks": [["answers"]]}',
            "tasks must be some of those known",
        ),
        ('{"format": "g2vlm-fast system", "version": 1, "tasks": ["answers"]}', "name must be"),
    ],
)
def test_damaged_words_about_the_system_are_told(folder: Path, written: str, told: str) -> None:
    (folder / "system.json").write_text(written)
    with pytest.raises(ScanError, match=rf"system.json: .*{told}"):
        SavedPredictions(folder, ROOMS.names)


def test_every_change_of_a_file_changes_the_fingerprint(folder: Path) -> None:
    seen = {SavedPredictions(folder, ROOMS.names).fingerprint}
    for name in ("toy-0/prediction.json", "toy-1/prediction.npz"):
        with (folder / name).open("ab") as file:
            file.write(b" ")
        seen.add(SavedPredictions(folder, ROOMS.names).fingerprint)
    shutil.rmtree(folder / "toy-2")
    seen.add(SavedPredictions(folder, ROOMS.names).fingerprint)
    assert len(seen) == 4
