"""Matching, boxes, relations, grounding and anchors."""

from __future__ import annotations

import dataclasses

import torch

from g2vlm_fast.losses import match_objects, spatial_loss
from g2vlm_fast.losses.spatial import (
    anchor_loss,
    box_loss,
    grounding_loss,
    relation_loss,
    seed_loss,
)
from g2vlm_fast.records import Prediction, SceneBatch, Targets


def test_every_true_object_finds_its_prediction(perfect: Prediction, targets: Targets) -> None:
    matching = match_objects(perfect, targets)
    assert matching.predicted_of(5).tolist() == [1, 2, 0, 5, 4]
    assert matching.target_of(7).tolist() == [2, 0, 1, -1, 4, 3, -1]


def test_more_true_objects_than_predictions_leave_some_unmatched(
    perfect: Prediction, targets: Targets
) -> None:
    fewer = {
        name: getattr(perfect, name)[[1, 4]]
        for name in ("box_center", "box_size", "box_rotation", "objectness", "class_logits")
    }
    offsets = torch.tensor([0, 1, 2], dtype=torch.int32)
    matching = match_objects(dataclasses.replace(perfect, **fewer, object_offsets=offsets), targets)
    assert matching.predicted_of(5).tolist() == [0, -1, -1, -1, 1]


def test_a_prediction_far_away_stands_for_nothing(perfect: Prediction, targets: Targets) -> None:
    center = perfect.box_center.clone()
    center[1, 2] += 1.2
    matching = match_objects(dataclasses.replace(perfect, box_center=center), targets)
    assert matching.predicted_of(5).tolist() == [-1, 2, 0, 5, 4]


def test_a_quarter_turn_with_swapped_sides_is_the_same_box(
    perfect: Prediction, targets: Targets
) -> None:
    quarter = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    turned = dataclasses.replace(
        perfect,
        box_rotation=perfect.box_rotation @ quarter,
        box_size=perfect.box_size[:, [1, 0, 2]],
    )
    matching = match_objects(perfect, targets)
    for name, value in box_loss(turned, targets, matching).items():
        assert value < 2e-3, name
    half = dataclasses.replace(perfect, box_rotation=perfect.box_rotation @ quarter @ quarter)
    assert box_loss(half, targets, matching)["yaw"] < 1e-5


def test_undecided_relations_never_enter(perfect: Prediction, targets: Targets) -> None:
    matching = match_objects(perfect, targets)
    logits = perfect.relation_logits.clone().requires_grad_()
    prediction = dataclasses.replace(perfect, relation_logits=logits)
    relation_loss(prediction, targets, matching).backward()
    assert not logits.grad[:, 5].any()
    assert logits.grad[:, :5].any()
    changed = targets.relation_labels.clone()
    before = relation_loss(perfect, targets, matching)
    changed[:, :5] = torch.where(changed[:, :5] == 1, -1, changed[:, :5])
    after = relation_loss(perfect, dataclasses.replace(targets, relation_labels=changed), matching)
    assert torch.isfinite(after)
    assert before < 1e-3
    assert after < 1e-3


def test_relations_of_unmatched_objects_never_enter(perfect: Prediction, targets: Targets) -> None:
    matching = match_objects(perfect, targets)
    logits = perfect.relation_logits.clone().requires_grad_()
    prediction = dataclasses.replace(perfect, relation_logits=logits)
    (1e3 * relation_loss(prediction, targets, matching)).backward()
    extra = ((perfect.relation_pairs == 3) | (perfect.relation_pairs == 6)).any(-1)
    assert not logits.grad[extra].any()


def test_seeds_belong_to_the_smallest_box_around_them(
    perfect: Prediction, targets: Targets
) -> None:
    center = targets.box_center.clone()
    size = targets.box_size.clone()
    center[1], size[0], size[1] = (
        center[0],
        torch.tensor([3.0, 3, 3]),
        torch.tensor([0.4, 0.4, 0.4]),
    )
    nested = dataclasses.replace(targets, box_center=center, box_size=size)
    inner = dataclasses.replace(
        perfect,
        seed_position=torch.tensor([[0.0, 0, 1], [1.2, 0, 1], [9.0, 9, 9], [2.0, 1, 1]]),
        seed_vote=torch.zeros(4, 3),
        seed_objectness=torch.tensor([40.0, 40, -40, 40]),
        seed_class_logits=torch.nn.functional.one_hot(torch.tensor([1, 0, 5, 1]), 10) * 40.0,
        seed_offsets=torch.tensor([0, 3, 4], dtype=torch.int32),
    )
    terms = seed_loss(inner, nested)
    assert terms["seed_objectness"] < 1e-3
    assert terms["seed_class"] < 1e-3


def test_grounding_of_texts_that_refer_to_nothing_never_enters(
    perfect: Prediction, batch: SceneBatch, targets: Targets
) -> None:
    matching = match_objects(perfect, targets)
    logits = torch.randn(14, requires_grad=True)
    grounding_loss(
        dataclasses.replace(perfect, grounding_logits=logits), batch, targets, matching
    ).backward()
    assert not logits.grad[:4].any()
    assert not logits.grad[8:11].any()
    assert logits.grad[4:8].all()


def test_one_anchor_at_the_object_is_enough(
    perfect: Prediction, batch: SceneBatch, targets: Targets
) -> None:
    apart, spread = torch.full((12, 2, 3), 5.0), torch.full((12, 2), 2.0)
    lost = dataclasses.replace(perfect, anchor_position=apart, anchor_spread=spread)
    nowhere = anchor_loss(lost, batch, targets)
    apart = apart.clone()
    apart[3, 1], apart[9, 0] = targets.box_center[1], targets.box_center[4]
    unsure = anchor_loss(dataclasses.replace(lost, anchor_position=apart), batch, targets)
    spread = spread.clone()
    spread[3, 1] = spread[9, 0] = 0.1
    sure = dataclasses.replace(lost, anchor_position=apart, anchor_spread=spread)
    assert nowhere > 3
    assert anchor_loss(sure, batch, targets) < 0.5 < unsure < nowhere


def test_a_wide_anchor_costs_more(perfect: Prediction, batch: SceneBatch, targets: Targets) -> None:
    narrow = anchor_loss(perfect, batch, targets)
    wide = dataclasses.replace(perfect, anchor_spread=torch.full((12, 2), 2.0))
    assert anchor_loss(wide, batch, targets) > narrow + 0.15


def test_a_scene_without_objects_costs_only_what_is_seen_there(
    perfect: Prediction, batch: SceneBatch, targets: Targets
) -> None:
    none = dataclasses.replace(
        targets,
        box_center=torch.zeros(0, 3), box_size=torch.zeros(0, 3), box_rotation=torch.zeros(0, 3, 3),
        object_class=torch.zeros(0, dtype=torch.long),
        object_offsets=torch.zeros(3, dtype=torch.int32),
        relation_pairs=torch.zeros(0, 2, dtype=torch.long),
        relation_labels=torch.zeros(0, 6, dtype=torch.int8),
        relation_offsets=torch.zeros(3, dtype=torch.int32),
        referred_object=torch.full((4,), -1),
    )  # fmt: skip
    terms = spatial_loss(perfect, batch, none, match_objects(perfect, none))
    assert all(value.isfinite() for value in terms.values())
    assert terms["center"] == 0
    assert terms["seed_objectness"] > 1
