"""Judging heads: the truth scores best, and a guesser is not better than chance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from g2vlm_fast.eval.heads import dense, language, reconstruction, retrieval, spatial
from g2vlm_fast.eval.heads.spatial import Graph
from g2vlm_fast.eval.metric import Definition, Metric, Sums, measure, measure_all
from g2vlm_fast.eval.metrics.boxes import Boxes
from g2vlm_fast.eval.priors import Answer, Objects, Priors, RoomFacts

CLASSES, RELATIONS, ROOMS = 3, 2, 20


def objects(generator: np.random.Generator, count: int = 5) -> Objects:
    center = np.stack([np.arange(count) * 1.5, *generator.uniform(-1, 1, (2, count))], axis=1)
    size = generator.uniform(0.4, 0.8, (count, 3))
    boxes = Boxes(center, size, np.broadcast_to(np.eye(3), (count, 3, 3)))
    return Objects(boxes, generator.choice(CLASSES, count, p=[0.6, 0.3, 0.1]))


def relation_table(room: Objects) -> np.ndarray:
    """Predicate 0 is geometric (smaller y), predicate 1 holds from class 0 to class 1."""
    y = room.boxes.center[:, 1]
    labels = np.zeros((len(room), len(room), RELATIONS), dtype=np.int8)
    labels[..., 0] = y[:, None] < y[None]
    labels[..., 1] = (room.classes[:, None] == 0) & (room.classes[None] == 1)
    labels[np.abs(y[:, None] - y[None]) < 0.05, 0] = -1
    return labels


def facts(generator: np.random.Generator) -> RoomFacts:
    room = objects(generator)
    return RoomFacts(
        objects=room,
        relations=relation_table(room),
        answers=[
            Answer("existence", str(generator.choice(["yes", "no"], p=[0.7, 0.3]))),
            Answer("count", "<number>", float(generator.choice([1, 2, 3], p=[0.2, 0.6, 0.2]))),
        ],
        captions=["a room with a chair" if generator.random() < 0.5 else "a bed"],
        depths=generator.uniform(1, 3, 50),
        normals=np.array([[0, 0, 1.0]] * 3 + [[1.0, 0, 0]]),
        hidden_distances=generator.uniform(-0.1, 0.3, 20),
    )


@pytest.fixture(scope="module")
def rooms() -> list[RoomFacts]:
    generator = np.random.default_rng(0)
    return [facts(generator) for _ in range(ROOMS)]


@pytest.fixture(scope="module")
def priors() -> Priors:
    generator = np.random.default_rng(1)
    return Priors.fit(
        [facts(generator) for _ in range(100)], num_classes=CLASSES, num_relations=RELATIONS
    )


def graph_of(room: Objects, values: np.ndarray) -> Graph:
    first, second = np.nonzero(~np.eye(len(room), dtype=bool))
    return Graph(np.stack([first, second], axis=1), values[first, second])


def by_name(
    definitions: tuple[Definition, ...], scenes: list[dict[str, Sums]]
) -> dict[str, Metric]:
    return {metric.name: metric for metric in measure_all(definitions, scenes)}


def test_priors_are_what_the_rooms_were_drawn_from(priors: Priors) -> None:
    assert priors.majority_class == 0
    assert priors.answer("existence") == "yes"
    assert priors.answer("never asked") == "yes"
    assert priors.number("count") == 2.0
    assert priors.depth == pytest.approx(2.0, abs=0.1)
    assert priors.hidden_distance == pytest.approx(0.1, abs=0.03)
    assert priors.normal.tolist() == [0, 0, 1]
    assert priors.relation_rate[0, 1, 1] > 0.9
    assert priors.relation_rate[1, 0, 1] < 0.1
    assert priors.relation_rate[0, 0, 0] == pytest.approx(0.5, abs=0.1)


def test_the_class_pair_prior_asserts_what_maximises_f1(priors: Priors) -> None:
    asserted = priors.relations(np.array([0, 1]), np.array([1, 0]))
    assert asserted[0, 1]
    assert not asserted[1, 1]


def test_priors_without_rooms_are_an_error() -> None:
    with pytest.raises(ValueError, match="training rooms"):
        Priors.fit([], num_classes=CLASSES, num_relations=RELATIONS)


def test_true_objects_are_perfect_and_better_than_chance(
    rooms: list[RoomFacts], priors: Priors
) -> None:
    scenes = [spatial.judge_objects(room.objects, room.objects, priors) for room in rooms]
    metrics = by_name(spatial.DEFINITIONS[:4], scenes)
    for metric in metrics.values():
        assert metric.value == pytest.approx(1.0), metric.name
        assert metric.better_than_chance, metric.name
    assert metrics["object_class_accuracy"].chance == pytest.approx(0.6, abs=0.12)


def test_the_furniture_of_other_rooms_is_not_better_than_chance(
    rooms: list[RoomFacts], priors: Priors
) -> None:
    generator = np.random.default_rng(9)
    scenes = [spatial.judge_objects(objects(generator), room.objects, priors) for room in rooms]
    metrics = by_name(spatial.DEFINITIONS[:4], scenes)
    assert not any(metric.better_than_chance for metric in metrics.values())
    assert metrics["object_f1_25"].chance == pytest.approx(metrics["object_f1_25"].value, abs=0.1)


def test_no_detections_score_zero_without_an_error(rooms: list[RoomFacts], priors: Priors) -> None:
    room = rooms[0]
    nothing = Objects(
        Boxes(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3, 3))), np.zeros(0, dtype=np.int64)
    )
    empty = Graph(np.zeros((0, 2), dtype=np.int64), np.zeros((0, RELATIONS), dtype=bool))
    truth = graph_of(room.objects, relation_table(room.objects))
    assert spatial.judge_objects(nothing, room.objects, priors)["object_f1_25"].value[0] == 0
    sums = spatial.judge_relations(nothing, empty, room.objects, truth, priors)
    assert sums["relation_f1_triplets"].value[0] == 0
    assert sums["relation_f1_matched_nodes"].value == (0, 0)
    sums = spatial.judge_grounding([-1], [0], nothing, np.zeros(0), room.objects)
    assert sums["localisation_acc_25"] == Sums((0, 1), (0, 1))
    assert sums["grounding_accuracy"].value == (0, 0)


def test_true_relations_are_perfect_and_the_prior_is_chance(
    rooms: list[RoomFacts], priors: Priors
) -> None:
    def judge(assert_relations) -> dict[str, Metric]:  # type: ignore[no-untyped-def]
        scenes = []
        for room in rooms:
            labels = relation_table(room.objects)
            ours = graph_of(room.objects, assert_relations(room.objects, labels))
            truth = graph_of(room.objects, labels)
            scenes.append(spatial.judge_relations(room.objects, ours, room.objects, truth, priors))
        return by_name(spatial.DEFINITIONS[4:6], scenes)

    def prior(room: Objects, labels: np.ndarray) -> np.ndarray:
        count = len(room)
        pairs = priors.relations(np.repeat(room.classes, count), np.tile(room.classes, count))
        return pairs.reshape(count, count, RELATIONS)

    for metric in judge(lambda room, labels: labels == 1).values():
        assert metric.value == 1.0
        assert metric.better_than_chance
    for metric in judge(prior).values():
        assert metric.value == pytest.approx(metric.chance)
        assert not metric.better_than_chance


def test_right_relations_on_shuffled_detections_are_wrong_triplets(
    rooms: list[RoomFacts], priors: Priors
) -> None:
    room = rooms[0].objects
    order = np.roll(np.arange(len(room)), 1)
    moved = Objects(room.boxes[order], room.classes[order])
    ours = graph_of(moved, relation_table(moved) == 1)
    truth = graph_of(room, relation_table(room))
    sums = spatial.judge_relations(moved, ours, room, truth, priors)
    assert sums["relation_f1_matched_nodes"].value[0] == sums["relation_f1_matched_nodes"].value[1]
    mislabelled = graph_of(moved, relation_table(room) == 1)
    worse = spatial.judge_relations(moved, mislabelled, room, truth, priors)
    assert worse["relation_f1_matched_nodes"].value[0] < sums["relation_f1_matched_nodes"].value[0]


def test_grounding_by_hand(rooms: list[RoomFacts]) -> None:
    room = rooms[0].objects
    predicted = Objects(room.boxes[:4], room.classes[:4])
    likely = np.array([0.8, 0.4, 0.4, 0.4])
    sums = spatial.judge_grounding([0, 1, 3, 2], [0, 1, 2, 4], predicted, likely, room)
    assert sums["grounding_accuracy"].value == (2, 3)
    assert sums["grounding_accuracy"].chance == pytest.approx((0.4 + 0.2 + 0.2, 3))
    assert sums["localisation_acc_50"].value == (2, 4)
    assert sums["localisation_acc_50"].chance == pytest.approx((0.4 + 0.2 + 0.2, 4))


def test_anchors_are_compared_with_the_other_objects() -> None:
    boxes = Boxes(
        np.array([[0.0, 0, 0], [3, 0, 0], [0, 4, 0]]), np.ones((3, 3)), np.stack([np.eye(3)] * 3)
    )
    room = Objects(boxes, np.array([0, 1, 2]))
    anchors = np.array([[0.0, 0, 0], [9.0, 9, 9]])
    sums = spatial.judge_anchors([anchors], [0], np.array([[0.0, 0, 2]]), room)
    assert sums["anchor_distance"].value == (0.0, 1.0)
    assert sums["anchor_distance"].chance == (3.5, 1.0)
    assert sums["anchor_distance"].beside == {"mean position of the geometry tokens": (2.0, 1.0)}
    alone = Objects(boxes[:1], room.classes[:1])
    assert spatial.judge_anchors([anchors], [0], anchors, alone)["anchor_distance"].value[1] == 0


def test_answers_and_captions_by_hand(priors: Priors) -> None:
    truth = [
        Answer("existence", "no"),
        Answer("count", "<number>", 3.0),
        Answer("existence", "yes"),
    ]
    nan = float("nan")
    sums = language.judge_answers(["no", "<number>", "no"], [nan, 3.1, nan], truth, priors)
    assert sums["answer_exact_match"] == Sums((1, 2), (1, 2))
    assert sums["number_within_20_percent"] == Sums((1, 1), (0, 1))
    lengths = [Answer("height", "<number>", 1.0), Answer("count", "<number>", 1.0)]
    sums = language.judge_answers(["<number>"] * 2, [1.3, 1.3], lengths, priors)
    assert sums["number_within_20_percent"].value == (1, 2)
    sums = language.judge_answers(["a bed"], [nan], lengths[1:], priors)
    assert sums["number_within_20_percent"].value == (0, 1)
    said = language.judge_captions(["a bed"], ["a bed"], priors)["caption_token_f1"]
    assert said.value == (1.0, 1.0)
    assert 0 < said.chance[0] <= 1.0


def dense_sums(depth: torch.Tensor, priors: Priors) -> dict[str, Sums]:
    true_depth = torch.full((1, 4, 4), 2.0)
    true_depth[0, 0] = 3.0
    given = torch.full((1, 4, 4), 2.0)
    given[0, 0] = 0.0
    normal = torch.zeros(1, 3, 4, 4)
    normal[:, 0] = 1.0
    return dense.judge_dense(depth, normal, given, true_depth, normal, priors)


def test_depth_counts_only_where_none_was_given(priors: Priors) -> None:
    depth = torch.full((1, 4, 4), 3.3)
    sums = dense_sums(depth, priors)["depth_abs_rel_missing"]
    assert sums.value == pytest.approx((4 * 0.1, 4))
    assert sums.chance == pytest.approx((4 * (3 - priors.depth) / 3, 4))
    assert sums.beside["nearest given depth"] == pytest.approx((4 / 3, 4))


def test_normals_are_judged_in_both_regions(priors: Priors) -> None:
    sums = dense_sums(torch.ones(1, 4, 4), priors)
    assert sums["normal_angle_missing"] == Sums((0.0, 4.0), (4 * 90.0, 4.0))
    assert sums["normal_angle_given"] == Sums((0.0, 12.0), (12 * 90.0, 12.0))


def test_depth_without_any_given_is_judged_everywhere(priors: Priors) -> None:
    true_depth = torch.full((2, 3, 3), 2.0)
    normal = torch.ones(2, 3, 3, 3)
    sums = dense.judge_dense(
        true_depth, normal, torch.zeros_like(true_depth), true_depth, normal, priors
    )
    assert sums["depth_abs_rel_missing"].value == (0.0, 18.0)
    assert sums["depth_abs_rel_missing"].beside["nearest given depth"][1] == 0
    assert sums["normal_angle_given"].value == (0.0, 0.0)


def test_completion_is_compared_with_random_points_about_the_tokens() -> None:
    surface = torch.tensor([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]])
    hidden = torch.tensor([False, False, True])
    extents = torch.tensor([1e-4])
    sums = reconstruction.judge_completion(
        surface, surface[:1], extents, surface, hidden, surface[1:2]
    )
    assert sums["completion_chamfer_l1"].value == (0.0, 1)
    assert sums["completion_chamfer_l1"].chance == pytest.approx((0.5, 1), abs=1e-3)
    assert sums["completion_completeness_hidden"].value == (0.0, 1)
    assert sums["completion_completeness_hidden"].chance == pytest.approx((2.0, 1), abs=1e-3)
    assert sums["completion_f_score_5cm"].value == (1.0, 1)
    beside = sums["completion_completeness"].beside
    assert beside["lifted input depth"] == pytest.approx((2 / 3, 1))


def test_random_points_stay_within_the_extents_of_their_tokens() -> None:
    tokens, extents = torch.tensor([[0.0, 0, 0], [9.0, 0, 0]]), torch.tensor([0.2, 1.0])
    guess = reconstruction._random_in_extents(tokens, extents, 400)
    away = (guess - tokens.repeat(200, 1)).abs() / extents.repeat(200)[:, None]
    assert 0.45 < away.max() <= 0.5


def test_signed_distance_is_truncated_and_split_by_sight(priors: Priors) -> None:
    truth, ours = torch.tensor([0.1, 5.0, -0.2]), torch.tensor([0.2, 9.0, 0.3])
    observed = torch.tensor([True, True, False])
    sums = reconstruction.judge_signed_distance(
        ours, truth, observed, 0.3, priors, torch.tensor([0.1, 0.3, torch.nan])
    )
    assert sums["signed_distance_error_observed"].value == pytest.approx((0.1, 2))
    assert sums["signed_distance_error_hidden"].value == pytest.approx((0.5, 1))
    (hidden,) = sums["signed_distance_error_hidden"].beside.values()
    assert hidden == pytest.approx(sums["signed_distance_error_hidden"].chance)
    (seen,) = sums["signed_distance_error_observed"].beside.values()
    assert seen == pytest.approx((0.0, 2))


def test_retrieval_of_matching_and_random_embeddings() -> None:
    generator = np.random.default_rng(0)
    both = generator.normal(size=(2, 50, 8))
    scenes, texts = both / np.linalg.norm(both, axis=-1, keepdims=True)
    captions = [f"room {i}" for i in range(50)]
    perfect = by_name(
        retrieval.DEFINITIONS, retrieval.judge_retrieval(scenes, 3 * scenes, captions)
    )
    blind = by_name(retrieval.DEFINITIONS, retrieval.judge_retrieval(scenes, texts, captions))
    assert perfect["retrieval_text_to_scene_r5"].value == 1.0
    assert perfect["retrieval_text_to_scene_r1"].chance == pytest.approx(1 / 50)
    assert perfect["retrieval_r1"].count == 100
    assert blind["retrieval_r1"].value == pytest.approx(
        (blind["retrieval_text_to_scene_r1"].value + blind["retrieval_scene_to_text_r1"].value) / 2
    )
    assert blind["retrieval_text_to_scene_r5"].chance == pytest.approx(5 / 50)
    assert not any(metric.better_than_chance for metric in blind.values())


def test_equal_captions_raise_the_chance() -> None:
    embeddings = np.eye(4)
    sums = retrieval.judge_retrieval(embeddings, embeddings, ["a", "a", "b", "c"])
    assert sums[0]["retrieval_text_to_scene_r1"].chance == (pytest.approx(0.5), 1.0)
    assert sums[2]["retrieval_text_to_scene_r1"].chance == (pytest.approx(0.25), 1.0)


LOWER = Definition("error", "head", "a guess", unit="m", higher_is_better=False)
RATE = Definition("hits", "head", "a guess", rate=True)


def test_lower_is_better_where_the_definition_says_so() -> None:
    generator = np.random.default_rng(0)
    errors = generator.uniform(0.1, 0.2, 30)
    good = measure(LOWER, [Sums((error, 1), (0.3, 1)) for error in errors])
    bad = measure(LOWER, [Sums((error, 1), (0.05, 1)) for error in errors])
    even = measure(LOWER, [Sums((error, 1), (errors.mean(), 1)) for error in errors])
    assert (good.better_than_chance, bad.better_than_chance) == (True, False)
    assert good.p_value < 0.01 < 0.99 < bad.p_value
    assert not even.better_than_chance
    assert good.low < good.value < good.high < good.chance


def test_a_rate_at_its_limit_keeps_an_interval() -> None:
    metric = measure(RATE, [Sums((4, 4), (1, 4))] * 30)
    assert metric.interval == "wilson"
    assert 0.85 < metric.low < metric.high == 1.0


def test_scenes_without_items_are_left_out() -> None:
    metric = measure(LOWER, [Sums((0, 0), (0, 0)), Sums((1, 2), (2, 2)), Sums((1, 2), (3, 2))])
    assert (metric.value, metric.scenes, metric.count) == (0.5, 2, 4)
    nothing = measure(LOWER, [])
    assert np.isnan(nothing.value)
    assert not nothing.better_than_chance
    assert nothing.to_json()["value"] is None


def test_p_values_of_a_table_are_adjusted_together() -> None:
    generator = np.random.default_rng(0)
    scenes = [
        {"error": Sums((e, 1), (0.52, 1)), "hits": Sums((h, 1), (0.4, 1))}
        for e, h in zip(generator.uniform(0, 1, 30), generator.integers(0, 2, 30), strict=True)
    ]
    error, hits = measure_all([LOWER, RATE], scenes)
    smaller, larger = sorted([error, hits], key=lambda metric: metric.p_value)
    assert smaller.p_holm == pytest.approx(2 * smaller.p_value)
    assert larger.p_holm == pytest.approx(max(larger.p_value, smaller.p_holm))


def test_a_scene_without_completion_points_fails_and_is_counted() -> None:
    nothing = torch.zeros(0, 3)
    surface = torch.tensor([[0.0, 0, 0], [3, 4, 0], [3, 0, 0]])
    hidden = torch.tensor([True, False, False])
    sums = reconstruction.judge_completion(
        nothing, nothing, torch.zeros(0), surface, hidden, surface
    )
    assert sums["completion_chamfer_l1"].value == (5.0, 1)
    assert sums["completion_completeness_hidden"].value == (5.0, 1.0)
    assert sums["completion_f_score_5cm"].value == (0.0, 1)
    assert sums["completion_chamfer_l1"].value == sums["completion_chamfer_l1"].chance
