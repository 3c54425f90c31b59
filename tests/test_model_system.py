"""A checkpoint as a system: what it says of a case, in whose world, and the same every time."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from g2vlm_fast import recipes
from g2vlm_fast.data import AnswerVocabulary, RoomConfig
from g2vlm_fast.data.interchange import ScenePrediction
from g2vlm_fast.data.transform import move_scene
from g2vlm_fast.eval.benchmarks import RoomBenchmark
from g2vlm_fast.eval.protocol.cases import Case
from g2vlm_fast.eval.protocol.evaluation import evaluate_system
from g2vlm_fast.eval.protocol.systems import PredictionFailed
from g2vlm_fast.model import G2VLM, G2VLMConfig
from g2vlm_fast.pipeline.checkpoint import load_model
from g2vlm_fast.pipeline.model_system import ModelSystem

ROOMS = RoomBenchmark(
    count=1,
    base=RoomConfig(
        programs=("simple",), image_size=(48, 64), views=(5, 5), depth_probability=1.0,
        mesh_probability=0.0,
    ),
    surface_points=500,
)  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learned nothing and sees a dozen objects everywhere."""
    folder = tmp_path_factory.mktemp("checkpoint")
    torch.manual_seed(0)
    model = G2VLM(G2VLMConfig.tiny(answer_vocabulary=AnswerVocabulary().words))
    model.save_pretrained(folder)
    config = json.loads(recipes.tiny_test().to_json())
    (folder / "training.json").write_text(json.dumps({"recipe": "untrained", "config": config}))
    return folder


@pytest.fixture(scope="module")
def system(checkpoint: Path) -> ModelSystem:
    return ModelSystem(load_model(checkpoint), voxel_size=0.06)


@pytest.fixture(scope="module")
def case() -> Case:
    return ROOMS.case(0)


@pytest.fixture(scope="module")
def said(system: ModelSystem, case: Case) -> ScenePrediction:
    return system.predict(case)


def _arrays(prediction: ScenePrediction) -> dict[str, Any]:
    values = {each.name: getattr(prediction, each.name) for each in dataclasses.fields(prediction)}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


def test_everything_that_is_attempted_is_said(said: ScenePrediction, case: Case) -> None:
    assert case.given is not None
    assert {"points", "vertices", "faces", "depth", "scene_embedding"} <= _arrays(said).keys()
    assert said.views == tuple(range(case.given.num_views))
    asked = {query.text for query in case.queries}
    assert set(said.texts) == asked
    assert {answer.question for answer in said.answers} <= asked
    assert len(said.answers) > 5


def test_world_is_that_of_what_was_given(
    system: ModelSystem, said: ScenePrediction, case: Case
) -> None:
    assert case.given is not None
    turn = torch.eye(4)
    turn[:3, :3] = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # y is up
    turn[:3, 3] = torch.tensor([5.0, -3.0, 1.0])
    moved = dataclasses.replace(case, given=move_scene(case.given, turn))
    elsewhere = system.predict(moved)
    assert elsewhere.points is not None
    assert said.points is not None
    back = (elsewhere.points.astype(np.float64) - turn[:3, 3].numpy()) @ turn[:3, :3].numpy()
    ends = [np.quantile(cloud, [0.02, 0.98], axis=0) for cloud in (back, said.points)]
    assert np.allclose(*np.ptp(ends, axis=1), atol=0.25)
    floors = [end[0, 2] for end in ends]
    assert floors[0] == pytest.approx(floors[1], abs=0.15)


def test_case_without_depth_is_a_failure(system: ModelSystem, case: Case) -> None:
    assert case.given is not None
    blind = dataclasses.replace(case.given, depth=None, depth_sigma=None)
    for given in (None, blind):
        with pytest.raises(PredictionFailed, match="needs views with depth"):
            system.predict(dataclasses.replace(case, given=given))
    nothing = dataclasses.replace(case.given, depth=torch.zeros_like(case.given.depth))
    with pytest.raises(PredictionFailed):
        system.predict(dataclasses.replace(case, given=nothing))


def test_predictions_do_not_depend_on_threads(system: ModelSystem, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    try:
        for count in (1, 4):
            torch.set_num_threads(count)
            evaluate_system(system, ROOMS, tmp_path / str(count))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    name = ROOMS.names[0]
    for file in (f"predictions/{name}/prediction.json", "summary.json", "retrieval.json"):
        assert (tmp_path / "1" / file).read_bytes() == (tmp_path / "4" / file).read_bytes()
    archives = [np.load(tmp_path / n / f"predictions/{name}/prediction.npz") for n in ("1", "4")]
    for array in archives[0].files:
        assert np.array_equal(*(archive[array] for archive in archives)), array


def test_other_weights_are_another_system(checkpoint: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = G2VLM(G2VLMConfig.tiny(answer_vocabulary=AnswerVocabulary().words))
    model.save_pretrained(tmp_path)
    (tmp_path / "training.json").write_bytes((checkpoint / "training.json").read_bytes())
    first, second = (ModelSystem(load_model(folder)) for folder in (checkpoint, tmp_path))
    assert first.fingerprint == ModelSystem(load_model(checkpoint)).fingerprint
    assert first.fingerprint != second.fingerprint
    assert first.name != second.name
    assert first.name.startswith("untrained ")
    assert first.fingerprint != ModelSystem(load_model(checkpoint), model_views=2).fingerprint
