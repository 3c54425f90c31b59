"""Relation labels: margins, symmetry, and the frame they are meant in."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from g2vlm_fast.data import generate_room
from g2vlm_fast.data.language.relations import relation_labels
from g2vlm_fast.geometry.cameras import look_at
from g2vlm_fast.ontology import INVERSE, RELATIONS

DOWN = torch.tensor([0.0, 0.0, -1.0])
SOUTH = look_at(torch.tensor([0.0, -5.0, 1.5]), torch.tensor([0.0, 0.0, 0.5]))  # x is right


def labels(
    *boxes: tuple[tuple[float, float, float], tuple[float, float, float]], pose: Tensor = SOUTH
) -> Tensor:
    """Labels of unturned boxes from (center, size)."""
    center = torch.tensor([center for center, _ in boxes])
    size = torch.tensor([size for _, size in boxes])
    return relation_labels(center, size, torch.eye(3).repeat(len(boxes), 1, 1), pose, DOWN)


def of_pair(name: str, center: tuple[float, float, float], pose: Tensor = SOUTH) -> int:
    """Label of a small box at ``center`` relative to one at the origin."""
    size = (0.2, 0.2, 0.2)
    found = labels((center, size), ((0.0, 0.0, 0.0), size), pose=pose)
    return int(found[0, 1, RELATIONS.index(name)])


@pytest.mark.parametrize(
    ("name", "center"),
    [
        ("right of", (1.0, 0.0, 0.0)),
        ("left of", (-1.0, 0.0, 0.0)),
        ("behind", (0.0, 1.0, 0.0)),
        ("in front of", (0.0, -1.0, 0.0)),
    ],
)
def test_directions_are_those_of_the_view(name: str, center: tuple[float, float, float]) -> None:
    held = [r for r in RELATIONS[:4] if of_pair(r, center) == 1]
    assert held == [name]
    assert of_pair(INVERSE[name], center) == 0


def test_a_view_from_the_other_side_swaps_left_and_right() -> None:
    north = look_at(torch.tensor([0.0, 5.0, 1.5]), torch.tensor([0.0, 0.0, 0.5]))
    assert of_pair("left of", (1.0, 0.0, 0.0), north) == 1
    assert of_pair("in front of", (0.0, 1.0, 0.0), north) == 1


def test_height_does_not_matter_for_directions() -> None:
    assert of_pair("right of", (1.0, 0.1, 1.7)) == 1


@pytest.mark.parametrize(
    ("center", "label"),
    [
        ((0.31, 0.0, 0.0), 1),
        ((0.25, 0.0, 0.0), -1),  # between the margins
        ((0.19, 0.0, 0.0), 0),
        ((1.0, 0.8, 0.0), 1),
        ((1.0, 1.0, 0.0), -1),  # on the diagonal
        ((1.0, 1.3, 0.0), 0),
    ],
)
def test_right_of_has_a_grey_zone(center: tuple[float, float, float], label: int) -> None:
    assert of_pair("right of", center) == label


@pytest.mark.parametrize(
    ("center", "label"),
    [((0.69, 0.0, 0.0), 1), ((0.85, 0.0, 0.0), -1), ((1.05, 0.0, 0.0), 0), ((0.0, 0.0, 0.6), 1)],
)
def test_near_is_decided_by_the_gap_between_boxes(
    center: tuple[float, float, float], label: int
) -> None:
    assert of_pair("near", center) == label


@pytest.mark.parametrize(
    ("lamp", "label"),
    [
        ((0.0, 0.0, 1.0), 1),  # on the table top at 0.8
        ((0.4, 0.0, 1.0), 1),
        ((0.0, 0.0, 1.04), -1),  # hovers
        ((0.0, 0.0, 1.2), 0),
        ((0.52, 0.0, 1.0), -1),  # a third of it is on the table
        ((1.5, 0.0, 1.0), 0),  # beside the table at that height
        ((0.0, 0.0, 0.5), 0),  # in the table
    ],
)
def test_on_needs_contact_and_support(lamp: tuple[float, float, float], label: int) -> None:
    found = labels((lamp, (0.2, 0.2, 0.4)), ((0.0, 0.0, 0.4), (1.0, 0.6, 0.8)))
    assert found[0, 1, RELATIONS.index("on")] == label
    assert found[1, 0, RELATIONS.index("on")] == 0


def test_labels_of_rooms_are_complete_and_consistent() -> None:
    for seed in range(10):
        truth = generate_room(seed).truth
        assert truth is not None
        found = truth.relations
        count = len(truth.objects)
        assert found.shape == (count, count, len(RELATIONS))
        assert set(found.unique().tolist()) <= {-1, 0, 1}
        assert (found.diagonal() == -1).all()
        for name, inverse in INVERSE.items():
            a, b = found[..., RELATIONS.index(name)], found[..., RELATIONS.index(inverse)]
            assert torch.equal(a, b.mT)
        near = found[..., RELATIONS.index("near")]
        assert torch.equal(near, near.mT)
        assert ((found[..., :4] == 1).sum(-1) <= 1).all()
        for index, thing in enumerate(truth.objects):
            supports = (found[index, :, RELATIONS.index("on")] == 1).nonzero().flatten().tolist()
            stands = thing.support is not None and not thing.inside
            assert supports == ([thing.support] if stands else [])


def test_most_pairs_of_rooms_are_decided() -> None:
    pairs = []
    for seed in range(10):
        truth = generate_room(seed).truth
        assert truth is not None
        pairs.append(truth.relations[~torch.eye(len(truth.objects), dtype=torch.bool)])
    undecided = (torch.cat(pairs) == -1).float().mean(0)
    share = dict(zip(RELATIONS, undecided.tolist(), strict=True))
    assert share.pop("aligned with") < 0.8  # undecided for round things and for squares
    assert max(share.values()) < 0.25, share


def test_one_object_has_no_relations() -> None:
    assert (labels(((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))) == -1).all()


def test_turning_the_world_and_the_view_together_changes_nothing(
    generator: torch.Generator,
) -> None:
    center = torch.rand(6, 3, generator=generator) * 3
    size = 0.2 + torch.rand(6, 3, generator=generator)
    turn = torch.eye(4)
    c, s = math.cos(1.0), math.sin(1.0)
    turn[:2, :2] = torch.tensor([[c, -s], [s, c]])
    before = relation_labels(center, size, torch.eye(3).repeat(6, 1, 1), SOUTH, DOWN)
    rotation = turn[:3, :3].repeat(6, 1, 1)
    after = relation_labels(center @ turn[:3, :3].mT, size, rotation, turn @ SOUTH, DOWN)
    assert torch.equal(before, after)
