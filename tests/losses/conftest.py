"""Two scenes with three and two objects, and a prediction that is exactly right about them."""

from __future__ import annotations

import pytest
import torch

from g2vlm_fast.geometry.cameras import look_at
from g2vlm_fast.records import Prediction, SceneBatch, Targets, Task

HEIGHT, WIDTH = 16, 24


def int32(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int32)


@pytest.fixture
def batch() -> SceneBatch:
    draw = torch.Generator().manual_seed(0)
    eye = torch.tensor([[0.0, -3.0, 1.5], [0.5, -3.0, 1.5]])
    return SceneBatch(
        images=torch.rand(2, 3, HEIGHT, WIDTH, generator=draw),
        intrinsics=torch.tensor([[20.0, 0, 11.5], [0, 20, 7.5], [0, 0, 1]]).repeat(2, 1, 1),
        poses=look_at(eye, torch.tensor([[0.0, 1.0, 1.0]]).expand(2, 3)),
        gravity=torch.tensor([[0.0, 0.0, -1.0]]).repeat(2, 1),
        view_offsets=int32(0, 1, 2),
        text_ids=torch.arange(12),
        text_offsets=int32(0, 2, 5, 8, 12),
        text_scene=torch.tensor([0, 0, 1, 1]),
    )


@pytest.fixture
def targets() -> Targets:
    draw = torch.Generator().manual_seed(1)
    angle = torch.tensor([0.0, 0.4, -0.3, 0.2, 0.1])
    rotation = torch.eye(3).repeat(5, 1, 1)
    rotation[:, 0, 0] = rotation[:, 1, 1] = angle.cos()
    rotation[:, 1, 0], rotation[:, 0, 1] = angle.sin(), -angle.sin()
    pairs = torch.tensor([[0, 1], [1, 0], [0, 2], [2, 0], [1, 2], [2, 1], [3, 4], [4, 3]])
    labels = torch.randint(0, 2, (8, 6), generator=draw).to(torch.int8)
    labels[:, 5] = -1
    return Targets(
        depth=2 + torch.rand(2, HEIGHT, WIDTH, generator=draw),
        normal=torch.nn.functional.normalize(
            torch.randn(2, 3, HEIGHT, WIDTH, generator=draw), dim=1
        ),
        surface_points=torch.rand(60, 3, generator=draw),
        surface_offsets=int32(0, 30, 60),
        query_points=torch.rand(20, 3, generator=draw),
        query_distance=torch.linspace(-0.6, 0.6, 20),
        query_offsets=int32(0, 10, 20),
        box_center=torch.tensor([[0.0, 0, 1], [2, 0, 1], [0, 2, 1], [0, 0, 1], [2, 1, 1]]),
        box_size=0.4 + torch.rand(5, 3, generator=draw),
        box_rotation=rotation,
        object_class=torch.tensor([0, 1, 2, 1, 1]),
        object_offsets=int32(0, 3, 5),
        relation_pairs=pairs,
        relation_labels=labels,
        relation_offsets=int32(0, 6, 8),
        text_task=torch.tensor([Task.CAPTION, Task.REFERRING, Task.CAPTION, Task.QUESTION]),
        answer_ids=torch.tensor([3, 2]),
        answer_offsets=int32(0, 0, 0, 0, 2),
        answer_value=torch.tensor([torch.nan, torch.nan, torch.nan, 1.5]),
        referred_object=torch.tensor([-1, 1, -1, 4]),
    )


@pytest.fixture
def perfect(batch: SceneBatch, targets: Targets) -> Prediction:
    """What a model that knows the truth would say; objects in another order, one too many each."""
    order = torch.tensor([2, 0, 1, 0, 4, 3, 3])  # rows 3 and 6 are extra objects, far away
    extra = torch.tensor([0, 0, 0, 1, 0, 0, 1]).bool()
    center = targets.box_center[order].masked_fill(extra[:, None], 50.0)
    classes = torch.nn.functional.one_hot(targets.object_class[order], 10) * 40.0
    index = torch.arange(7)
    pairs = torch.cartesian_prod(index, index)
    scene = torch.tensor([0, 0, 0, 0, 1, 1, 1])
    pairs = pairs[(pairs[:, 0] != pairs[:, 1]) & (scene[pairs[:, 0]] == scene[pairs[:, 1]])]
    labels = {
        tuple(p): row
        for p, row in zip(targets.relation_pairs.tolist(), targets.relation_labels, strict=True)
    }
    relation = torch.stack(
        [
            (labels.get((int(order[s]), int(order[o])), torch.zeros(6)).float() - 0.5) * 80
            if not extra[s] and not extra[o] else torch.randn(6)
            for s, o in pairs.tolist()
        ]
    )  # fmt: skip
    embedding = torch.eye(8)
    grounding = torch.full((14,), -40.0)
    grounding[4 + 2] = 40.0  # text 1: object 1 of scene 0, predicted row 2
    grounding[8 + 3 + 0] = 40.0  # text 3: object 4, predicted row 4, the first of scene 1
    answer = torch.full((2, 5), -40.0)
    answer[[0, 1], [3, 2]] = 40.0
    seeds = targets.box_center.repeat_interleave(4, dim=0)
    anchors = torch.zeros(12, 2, 3)
    anchors[2:5], anchors[8:12] = targets.box_center[1], targets.box_center[4]
    return Prediction(
        depth=targets.depth.clone(),
        coarse_depth=targets.depth[:, 2::4, 2::4].clone(),
        confidence=torch.full_like(targets.depth, 0.9999),
        normal=targets.normal.clone(),
        points=targets.surface_points.clone(),
        point_offsets=targets.surface_offsets,
        query_distance=targets.query_distance.clamp(-0.3, 0.3),
        query_truncation=torch.tensor(0.3),
        seed_position=seeds,
        seed_vote=seeds.clone(),
        seed_objectness=torch.full((20,), 40.0),
        seed_class_logits=classes[[1, 2, 0, 5, 4]].repeat_interleave(4, dim=0),
        seed_offsets=int32(0, 12, 20),
        box_center=center,
        box_size=targets.box_size[order].clone(),
        box_rotation=targets.box_rotation[order].clone(),
        objectness=torch.where(extra, -40.0, 40.0),
        class_logits=classes,
        descriptor=embedding[[4, 5, 0, 6, 7, 4, 5]],
        object_offsets=int32(0, 4, 7),
        relation_pairs=pairs,
        relation_logits=relation,
        grounding_logits=grounding,
        grounding_offsets=int32(0, 4, 8, 11, 14),
        scene_embedding=embedding[[1, 2]],
        text_embedding=embedding[[1, 0, 2, 3]],
        answer_logits=answer,
        answer_offsets=targets.answer_offsets,
        answer_value=torch.tensor([torch.nan, torch.nan, torch.nan, 1.5]),
        anchor_position=anchors,
        anchor_spread=torch.full((12, 2), 0.05),
    )  # fmt: skip
