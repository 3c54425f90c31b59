"""Containment, heights, sizes, fronts and betweenness; what holds of relations of any boxes."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from g2vlm_fast.data.language.relations import between_labels, own_direction_labels, relation_labels
from g2vlm_fast.geometry.cameras import look_at
from g2vlm_fast.ontology import INVERSE, RELATIONS, SYMMETRIC_RELATIONS

DOWN = torch.tensor([0.0, 0.0, -1.0])
SOUTH = look_at(torch.tensor([0.0, -5.0, 1.5]), torch.tensor([0.0, 0.0, 0.5]))
Box = tuple[tuple[float, float, float], tuple[float, float, float], float]  # center, size, degrees

TABLE: Box = ((0.0, 0.0, 0.4), (1.4, 0.8, 0.8), 0.0)
SHELF: Box = ((0.0, 0.0, 1.0), (1.0, 0.4, 2.0), 0.0)


def turn(degrees: float) -> Tensor:
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return torch.tensor([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def stacked(boxes: list[Box]) -> tuple[Tensor, Tensor, Tensor]:
    center, size, yaw = zip(*boxes, strict=True)
    return torch.tensor(center), torch.tensor(size), torch.stack([turn(angle) for angle in yaw])


def label(name: str, subject: Box, other: Box, **facts) -> int:  # type: ignore[no-untyped-def]
    found = relation_labels(*stacked([subject, other]), SOUTH, DOWN, **facts)
    inverse = INVERSE.get(name)
    if inverse is not None:
        assert found[0, 1, RELATIONS.index(name)] == found[1, 0, RELATIONS.index(inverse)]
    return int(found[0, 1, RELATIONS.index(name)])


def small(x: float, y: float, z: float, side: float = 0.2, yaw: float = 0.0) -> Box:
    return (x, y, z), (side, side, side), yaw


@pytest.mark.parametrize(
    ("gap", "sideways", "expected"),
    [
        (0.07, 0.0, 1), (0.03, 0.0, -1), (0.0, 0.0, 0), (-0.1, 0.0, 0),
        (0.5, 0.7, 1),  # half over the edge
        (0.5, 0.9, -1), (0.5, 1.0, 0),
    ],
)  # fmt: skip
def test_above_needs_air_between_and_a_common_footprint(
    gap: float, sideways: float, expected: int
) -> None:
    assert label("above", small(sideways, 0.0, 0.9 + gap), TABLE) == expected


def test_a_picture_on_the_wall_is_above_the_sofa_before_it() -> None:
    sofa: Box = ((0.0, 0.0, 0.4), (2.0, 0.9, 0.8), 0.0)
    picture: Box = ((0.2, 0.50, 1.5), (0.8, 0.04, 0.6), 0.0)
    assert label("above", picture, sofa) == 1


@pytest.mark.parametrize(("rise", "expected"), [(0.11, 1), (0.06, -1), (0.02, 0), (-0.5, 0)])
def test_higher_is_decided_by_top_and_middle(rise: float, expected: int) -> None:
    assert label("higher than", small(3.0, 0.0, 0.5 + rise), small(0.0, 0.0, 0.5)) == expected


def test_a_wardrobe_and_a_lamp_beside_its_upper_half_are_not_told_apart_by_height() -> None:
    wardrobe: Box = ((0.0, 0.0, 1.0), (1.0, 0.6, 2.0), 0.0)
    assert label("higher than", small(2.0, 0.0, 1.7), wardrobe) == -1


@pytest.mark.parametrize(("factor", "expected"), [(1.35, 1), (1.2, -1), (1.0, 0), (0.5, 0)])
def test_bigger_is_a_ratio_of_volumes(factor: float, expected: int) -> None:
    subject: Box = ((2.0, 0.0, 0.5), (factor, 1.0, 1.0), 0.0)
    assert label("bigger than", subject, ((0.0, 0.0, 0.5), (1.0, 1.0, 1.0), 0.0)) == expected


@pytest.mark.parametrize(
    ("z", "containers", "expected"),
    [
        (1.0, [False, True], 1), (1.0, [False, False], 0), (1.0, None, -1),
        (2.1, [False, True], 0), (2.0, [False, True], -1),
    ],
)  # fmt: skip
def test_in_is_said_of_containers(z: float, containers: list[bool] | None, expected: int) -> None:
    assert label("in", small(0.0, 0.0, z), SHELF, containers=containers) == expected


def test_what_carries_a_thing_decides_on_and_in() -> None:
    book, case = small(0.1, 0.0, 0.9), SHELF
    carried = {"containers": [False, True], "supports": [1, None]}
    assert label("in", book, case, **carried, inside=[True, False]) == 1
    assert label("on", book, case, **carried, inside=[True, False]) == 0
    on_top = small(0.1, 0.0, 2.1)
    assert label("on", on_top, case, **carried) == 1
    assert label("in", on_top, case, **carried) == 0
    pillow, bed = small(0.0, 0.8, 0.6), ((0.0, 0.0, 0.5), (1.6, 2.0, 1.0), 0.0)
    assert label("on", pillow, bed, containers=[False, False], supports=[1, None]) == 1


def test_a_book_on_the_board_of_a_shelf_may_be_called_in_it() -> None:
    carried = {"containers": [False, True], "supports": [1, None], "inside": [False, False]}
    assert label("on", small(0.1, 0.0, 0.9), SHELF, **carried) == 1
    assert label("in", small(0.1, 0.0, 0.9), SHELF, **carried) == -1


def test_what_is_in_a_box_in_a_cabinet_is_in_the_cabinet() -> None:
    cabinet: Box = ((0.0, 0.0, 0.5), (1.2, 0.5, 1.0), 0.0)
    box: Box = ((0.2, 0.0, 0.3), (0.4, 0.3, 0.2), 0.0)
    book: Box = ((0.2, 0.0, 0.27), (0.2, 0.2, 0.1), 0.0)
    cup: Box = ((0.2, 0.0, 0.45), (0.1, 0.1, 0.1), 0.0)
    vase: Box = ((0.2, 0.0, 1.1), (0.1, 0.1, 0.2), 0.0)
    found = relation_labels(
        *stacked([cabinet, box, book, cup, vase]), SOUTH, DOWN,
        containers=[True, True, False, False, False],
        supports=[None, 0, 1, 1, 0],
        inside=[False, True, True, False, False],
    )  # fmt: skip
    within, on = (found[..., RELATIONS.index(name)] for name in ("in", "on"))
    assert (within == 1).nonzero().tolist() == [[1, 0], [2, 0], [2, 1], [3, 0]]
    assert (on == 1).nonzero().tolist() == [[3, 1], [4, 0]]


def test_being_inside_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="object 0 is inside, but nothing carries it"):
        label("in", TABLE, SHELF, supports=[None, None], inside=[True, False])
    with pytest.raises(ValueError, match="give supports"):
        label("in", TABLE, SHELF, inside=[True, False])
    with pytest.raises(ValueError, match="inside must speak of each of the 2 objects"):
        label("in", TABLE, SHELF, supports=[1, None], inside=[True])


def test_boxes_that_contradict_the_known_support_are_undecided() -> None:
    on_top = small(0.0, 0.0, 0.9)
    assert label("on", on_top, TABLE) == 1
    assert label("on", on_top, TABLE, supports=[None, None]) == -1


@pytest.mark.parametrize(
    ("center", "expected"),
    [
        ((0.0, -2.0), 1), ((0.3, -2.0), 1),  # ahead, slightly aside
        ((0.8, -2.0), -1), ((2.0, -2.0), 0), ((0.0, 2.0), 0),
    ],
)  # fmt: skip
def test_facing_follows_the_front(center: tuple[float, float], expected: int) -> None:
    chair = small(0.0, 0.0, 0.5, side=0.5)
    television = small(*center, 0.5, side=0.4)
    assert label("facing", chair, television, has_front=[True, False]) == expected
    assert label("facing", chair, television, has_front=[False, True]) == 0
    assert label("facing", chair, television) == -1
    turned = small(0.0, 0.0, 0.5, side=0.5, yaw=180.0)
    assert label("facing", turned, television, has_front=[True, False]) == (
        1 if center == (0.0, 2.0) else 0
    )


def test_a_chair_faces_the_long_table_that_it_stands_at_the_end_of() -> None:
    chair = small(1.1, 0.75, 0.5, side=0.5)
    table: Box = ((0.0, 0.0, 0.4), (2.8, 0.8, 0.8), 0.0)
    assert label("facing", chair, table, has_front=[True, False]) == 1


@pytest.mark.parametrize(
    ("yaw", "expected"), [(0.0, 1), (4.0, 1), (10.0, -1), (30.0, 0), (87.0, 1), (180.0, 1)]
)
def test_aligned_is_meant_modulo_a_quarter_turn(yaw: float, expected: int) -> None:
    other: Box = ((3.0, 0.0, 0.4), (1.4, 0.8, 0.8), yaw)
    assert label("aligned with", TABLE, other) == expected
    square: Box = ((3.0, 0.0, 0.4), (0.8, 0.8, 0.8), yaw)
    assert label("aligned with", TABLE, square) == -1
    assert label("aligned with", TABLE, square, has_front=[False, True]) == expected


def test_own_directions_are_those_of_somebody_who_sits_there() -> None:
    sofa: Box = ((0.0, 0.0, 0.4), (2.0, 0.9, 0.8), 0.0)  # looks towards -y
    lamp, table = small(-2.0, 0.0, 0.5), small(0.0, -2.0, 0.5)
    center, _, rotation = stacked([sofa, lamp, table])
    found = own_direction_labels(center, rotation, [True, False, False])
    assert found[1, 0].tolist() == [0, 1, 0, 0]  # the lamp at -x is to its right
    assert found[2, 0].tolist() == [0, 0, 1, 0]
    assert (found[:, 1:] == -1).all()
    assert (found.diagonal() == -1).all()


@pytest.mark.parametrize(
    ("x", "y", "z", "expected"),
    [
        (0.0, 0.0, 0.5, 1), (0.4, 0.2, 0.5, 1),
        (0.7, 0.0, 0.5, -1), (0.0, 0.5, 0.5, -1), (0.95, 0.0, 0.5, 0), (0.0, 0.8, 0.5, 0),
        (0.0, 0.0, 2.5, 0), (2.0, 0.0, 0.5, 0),
    ],
)  # fmt: skip
def test_between(x: float, y: float, z: float, expected: int) -> None:
    center, size, _ = stacked(
        [small(x, y, z), small(-1.0, 0.0, 0.5, side=0.6), small(1.0, 0.0, 0.5, side=0.6)]
    )
    found = between_labels(center, size)
    assert found[0, 1, 2] == found[0, 2, 1] == expected
    assert (found[0, 0] == -1).all()
    assert (found[:, 1, 1] == -1).all()


def test_facts_of_another_number_of_objects_are_refused() -> None:
    with pytest.raises(ValueError, match="has_front must speak of each of the 2 objects, got 1"):
        label("facing", TABLE, SHELF, has_front=[True])


millimetres = st.integers(-3000, 3000).map(lambda value: value / 1000)
side = st.integers(20, 2000).map(lambda value: value / 1000)
boxes = st.lists(
    st.tuples(
        st.tuples(millimetres, millimetres, st.integers(0, 2500).map(lambda z: z / 1000)),
        st.tuples(side, side, side),
        st.integers(0, 359).map(float),
    ),
    min_size=1,
    max_size=8,
)


def all_labels(found: list[Box], pose: Tensor = SOUTH) -> Tensor:
    facts = [index % 2 == 0 for index in range(len(found))]
    return relation_labels(*stacked(found), pose, DOWN, has_front=facts, containers=facts)


@settings(max_examples=60, deadline=None)
@given(boxes)
def test_inverse_symmetric_and_irreflexive_relations_are(found: list[Box]) -> None:
    labels = all_labels(found)
    assert set(labels.unique().tolist()) <= {-1, 0, 1}
    assert (labels.diagonal() == -1).all()
    by_name = {name: labels[..., index] for index, name in enumerate(RELATIONS)}
    for name, inverse in INVERSE.items():
        assert torch.equal(by_name[name], by_name[inverse].mT), name
        assert not ((by_name[name] == 1) & (by_name[inverse] == 1)).any(), name
    for name in SYMMETRIC_RELATIONS:
        assert torch.equal(by_name[name], by_name[name].mT), name
    for name in ("on", "in"):
        assert not ((by_name[name] == 1) & (by_name[name].mT == 1)).any(), name


@settings(max_examples=60, deadline=None)
@given(boxes)
def test_comparisons_are_transitive(found: list[Box]) -> None:
    labels = all_labels(found)
    for name in ("higher than", "lower than", "bigger than", "smaller than"):
        holds = labels[..., RELATIONS.index(name)] == 1
        chained = (holds[:, :, None] & holds[None]).any(1)
        assert not (chained & ~holds).any(), name


@settings(max_examples=60, deadline=None)
@given(boxes, st.integers(0, 359), millimetres, millimetres)
def test_a_rigid_motion_of_world_and_view_turns_no_yes_into_no(
    found: list[Box], degrees: int, x: float, y: float
) -> None:
    motion = torch.eye(4)
    motion[:3, :3], motion[:2, 3] = turn(degrees), torch.tensor([x, y])
    center, size, rotation = stacked(found)
    facts = [index % 2 == 0 for index in range(len(found))]
    moved = relation_labels(
        center @ motion[:3, :3].mT + motion[:3, 3], size, motion[:3, :3] @ rotation,
        motion @ SOUTH, DOWN, has_front=facts, containers=facts,
    )  # fmt: skip
    before = all_labels(found)
    assert not ((before == 1) & (moved == 0)).any()
    assert not ((before == 0) & (moved == 1)).any()
    assert (before != moved).float().mean() < 0.02  # rounding at the very edge of a margin
