"""A whole evaluation: an oracle in place of the model, and an untrained model."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from g2vlm_fast.data import AnswerVocabulary, RoomConfig, Scene, generate_room, queries, seeds_of
from g2vlm_fast.eval import DEFINITIONS, Priors, evaluate, room_facts, to_json, to_table, verdict
from g2vlm_fast.eval.output import scene_outputs
from g2vlm_fast.model import G2VLM, G2VLMConfig
from g2vlm_fast.ontology import CLASSES, RELATIONS
from g2vlm_fast.records import GeometryTokens, Prediction, SceneBatch

SMALL = RoomConfig(image_size=(24, 32), views=(2, 2))


@pytest.fixture(scope="module")
def rooms() -> list[Scene]:
    return [generate_room(seed, SMALL) for seed in seeds_of("test", 3)]


@pytest.fixture(scope="module")
def priors() -> Priors:
    train = [generate_room(seed, SMALL) for seed in seeds_of("train", 4)]
    known = [room_facts(room, queries(room, 0), truncation=0.3) for room in train]
    return Priors.fit(known, num_classes=len(CLASSES), num_relations=len(RELATIONS))


@pytest.fixture(scope="module")
def model() -> G2VLM:
    torch.manual_seed(0)
    return G2VLM(G2VLMConfig.tiny(answer_vocabulary=AnswerVocabulary().words))


def test_every_definition_is_measured_of_an_untrained_model(
    model: G2VLM, rooms: list[Scene], priors: Priors
) -> None:
    model.train()
    done: list[float] = []
    metrics = evaluate(
        model,
        rooms,
        [queries(room, 0)[:12] for room in rooms],
        priors=priors,
        scenes_per_batch=2,
        on_progress=done.append,
    )
    assert [metric.name for metric in metrics] == [wanted.name for wanted in DEFINITIONS]
    assert model.training
    assert done == [pytest.approx(2 / 3), 1.0]
    found = {metric.name: metric for metric in metrics}
    for name in ("depth_abs_rel_missing", "completion_chamfer_l1", "answer_exact_match"):
        assert found[name].scenes == 3
        assert 0 <= found[name].value < 100
    heads = {metric.head for metric in metrics if metric.headline}
    assert heads == {metric.head for metric in metrics}
    assert len(json.loads(to_json(metrics))) == len(metrics)
    assert to_table(metrics).row_count == len(metrics)
    assert to_table(metrics, headlines_only=True).row_count == len(heads)
    assert {verdict(m) for m in metrics} <= {"better", "worse", "not shown", "not measured"}


def test_batching_changes_no_result_but_rounding(
    model: G2VLM, rooms: list[Scene], priors: Priors
) -> None:
    texts = [queries(room, 0)[:6] for room in rooms]
    alone = evaluate(model, rooms, texts, priors=priors, scenes_per_batch=1)
    together = evaluate(model, rooms, texts, priors=priors, scenes_per_batch=3)
    for one, other in zip(alone, together, strict=True):
        if one.name.startswith(("completion", "signed")):
            continue  # their samples are drawn a batch at a time
        assert one.value == pytest.approx(other.value, rel=1e-3, abs=1e-5, nan_ok=True), one.name
        assert one.chance == pytest.approx(other.chance, rel=1e-3, nan_ok=True), one.name


def test_scenes_without_truth_are_refused(model: G2VLM, rooms: list[Scene], priors: Priors) -> None:
    blind = dataclasses.replace(rooms[0], truth=None)
    with pytest.raises(ValueError, match=r"room.*no truth"):
        evaluate(model, [blind], [[]], priors=priors)
    with pytest.raises(ValueError, match="as many lists of queries"):
        evaluate(model, rooms, [], priors=priors)


def packed_prediction() -> tuple[Prediction, SceneBatch, GeometryTokens, torch.Tensor]:
    """Two scenes of one view; two and three objects, of which the second of each is none."""
    offsets = torch.tensor([0, 2, 5], dtype=torch.int32)
    pairs = torch.tensor([[0, 1], [1, 0], [2, 3], [2, 4], [3, 2], [3, 4], [4, 2], [4, 3]])
    batch = SceneBatch(
        images=torch.zeros(2, 3, 4, 4),
        intrinsics=torch.eye(3).expand(2, 3, 3),
        poses=torch.eye(4).expand(2, 4, 4),
        gravity=torch.tensor([[0.0, 0, -1]]).expand(2, 3),
        view_offsets=torch.tensor([0, 1, 2], dtype=torch.int32),
        text_ids=torch.zeros(3, dtype=torch.int64),
        text_offsets=torch.tensor([0, 1, 3], dtype=torch.int32),
        text_scene=torch.tensor([0, 1]),
    )
    anchors = torch.arange(3.0)[:, None, None].expand(3, 2, 3) + torch.tensor([[0.0], [10.0]])
    prediction = Prediction(
        depth=torch.ones(2, 4, 4),
        normal=torch.zeros(2, 3, 4, 4),
        points=torch.zeros(4, 3),
        point_offsets=torch.tensor([0, 1, 4], dtype=torch.int32),
        query_distance=torch.tensor([0.1, 0.2, 0.3]),
        box_center=torch.arange(5.0)[:, None].expand(5, 3),
        box_size=torch.ones(5, 3),
        box_rotation=torch.eye(3).expand(5, 3, 3),
        objectness=torch.tensor([1.0, -1, 1, -1, 1]),
        class_logits=torch.nn.functional.one_hot(torch.tensor([3, 0, 4, 0, 5]), 10).float(),
        object_offsets=offsets,
        relation_pairs=pairs,
        relation_logits=torch.arange(8.0)[:, None] - 5.5,
        relation_offsets=torch.tensor([0, 2, 8], dtype=torch.int32),
        grounding_logits=torch.tensor([0.0, 9.0, 1.0, 9.0, 2.0]),
        grounding_offsets=offsets,
        scene_embedding=torch.eye(2),
        text_embedding=torch.eye(2),
        anchor_position=anchors,
        anchor_spread=torch.tensor([[2.0, 1.0], [3.0, 2.0], [1.0, 2.0]]),
    )
    tokens = GeometryTokens(
        position=torch.zeros(3, 3),
        normal=torch.zeros(3, 3),
        feature=torch.zeros(3, 1),
        scale=torch.ones(3),
        offsets=torch.tensor([0, 2, 3], dtype=torch.int32),
    )
    return prediction, batch, tokens, torch.tensor([0, 1, 3], dtype=torch.int32)


def test_a_packed_prediction_is_cut_into_its_scenes() -> None:
    first, second = scene_outputs(*packed_prediction())
    assert first.points.shape == (1, 3)
    assert second.points.shape == (3, 3)
    assert second.distance.tolist() == pytest.approx([0.2, 0.3])
    assert first.tokens.shape == (2, 3)


def test_only_detections_are_kept_and_relations_follow_them() -> None:
    first, second = scene_outputs(*packed_prediction())
    assert first.objects.classes.tolist() == [3]
    assert second.objects.classes.tolist() == [4, 5]
    assert second.objects.boxes.center[:, 0].tolist() == [2.0, 4.0]
    assert first.graph.pairs.shape == (0, 2)
    assert second.graph.pairs.tolist() == [[0, 1], [1, 0]]
    assert second.graph.values[:, 0].tolist() == [False, True]


def test_texts_choose_among_all_candidates_and_bring_their_anchors() -> None:
    first, second = scene_outputs(*packed_prediction())
    assert len(first.candidates) == 2
    assert second.objectness.tolist() == pytest.approx([0.7311, 0.2689, 0.7311], abs=1e-4)
    assert first.texts[0].choice == 1
    assert second.texts[0].choice == 1
    assert first.texts[0].anchors[:, 0].tolist() == [0.0, 10.0]
    assert second.texts[0].anchors[:, 0].tolist() == [1.0, 11.0, 2.0, 12.0]


def test_a_head_that_was_not_asked_is_an_error() -> None:
    prediction, *others = packed_prediction()
    silent = dataclasses.replace(prediction, query_distance=None)
    with pytest.raises(ValueError, match="query_distance"):
        scene_outputs(silent, *others)
