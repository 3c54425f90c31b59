"""What walls, floors and ceilings hold, and how it is told apart by that."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from g2vlm_fast.data import PROGRAMS, Query, RoomConfig, Scene, generate_room
from g2vlm_fast.data.language.facts import Facts
from g2vlm_fast.data.language.holders import HELD_IN_SEVERAL_WAYS, held_by
from g2vlm_fast.data.language.programs import HOLDERS, Program, of_class
from g2vlm_fast.data.language.texts import KINDS, queries
from g2vlm_fast.data.rooms.furniture import VARIANTS, Mount, mount_of
from g2vlm_fast.data.scene import RoomTruth
from g2vlm_fast.ontology import CLASSES


@pytest.fixture(scope="module")
def rooms() -> list[Scene]:
    config = RoomConfig(views=(4, 6), image_size=(24, 32))
    return [
        generate_room(seed, replace(config, programs=(program,)))
        for program in PROGRAMS
        for seed in (0, 1)
    ]


def truth_of(room: Scene) -> RoomTruth:
    assert room.truth is not None
    return room.truth


def test_what_the_building_holds_is_mounted_there(rooms: list[Scene]) -> None:
    mounts = {"wall": Mount.WALL, "floor": Mount.FLOOR, "ceiling": Mount.CEILING}
    count = dict.fromkeys(HOLDERS, 0)
    for room in rooms:
        truth = truth_of(room)
        labels = held_by(truth)
        for index, thing in enumerate(truth.objects):
            for holder in HOLDERS:
                if labels[holder][index] == 1:
                    assert thing.support is None
                    mount = mount_of(thing.class_name, thing.variant)
                    assert mount == mounts[holder], thing.class_name
                    count[holder] += 1
    assert min(count.values()) >= 1, count


def test_one_part_of_the_building_holds_a_thing_or_none(rooms: list[Scene]) -> None:
    for room in rooms:
        truth = truth_of(room)
        labels = held_by(truth)
        for index, thing in enumerate(truth.objects):
            held = [labels[holder][index] for holder in HOLDERS]
            if thing.class_name in ("door", "window", "curtain"):
                assert held[:2] == [-1, -1]
            elif thing.support is None:
                assert sorted(held) == [0, 0, 1], thing.class_name
            else:
                on_rug = truth.objects[thing.support].class_name == "rug"
                assert held == [0, -1 if on_rug else 0, 0], thing.class_name


def test_turning_and_moving_a_room_changes_nothing(rooms: list[Scene]) -> None:
    truth = truth_of(rooms[0])
    turn = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    moved = tuple(
        replace(thing, center=turn @ thing.center + torch.tensor([3.0, 1.0, 0.0]),
                rotation=turn @ thing.rotation)
        for thing in truth.objects
    )  # fmt: skip
    before, after = held_by(truth), held_by(replace(truth, objects=moved))
    assert all((before[holder] == after[holder]).all() for holder in HOLDERS)


def test_between_touching_and_clearly_apart_nothing_is_decided(rooms: list[Scene]) -> None:
    truth = truth_of(rooms[0])
    index, thing = next(
        (i, o) for i, o in enumerate(truth.objects) if held_by(truth)["floor"][i] == 1
    )
    for lift, expected in ((0.01, (0, 1)), (0.04, (-1, -1)), (0.08, (1, 0))):
        lifted = replace(thing, center=thing.center + torch.tensor([0.0, 0.0, lift]))
        objects = (*truth.objects[:index], lifted, *truth.objects[index + 1 :])
        labels = held_by(replace(truth, objects=objects))
        assert (labels["wall"][index], labels["floor"][index]) == expected, lift


def test_classes_that_hang_and_stand_are_those_of_the_catalogue() -> None:
    several = {
        name
        for name in CLASSES
        if Mount.WALL in (mounts := {mount_of(name, variant) for variant in VARIANTS[name]})
        and len(mounts) > 1
    }
    assert set(HELD_IN_SEVERAL_WAYS) == several


@pytest.fixture(scope="module")
def two_cabinets(rooms: list[Scene]) -> Scene:
    """A room in which one cabinet stands on the floor and another hangs on a wall."""
    room = next(room for room in rooms if truth_of(room).program == "office")
    truth = truth_of(room)
    standing = [i for i, label in enumerate(held_by(truth)["floor"]) if label == 1]
    objects = list(truth.objects)
    for index, lift, color in ((standing[0], 0.0, "white"), (standing[1], 1.2, "brown")):
        thing = objects[index]
        flat = torch.tensor([1.0, 1.0, 0.0])
        size = torch.tensor([0.8, 0.3, 0.6])
        center = thing.center * flat + torch.tensor([0.0, 0.0, lift + 0.3])
        objects[index] = replace(
            thing, class_name="cabinet", variant="", color=color, center=center, size=size
        )
    return replace(room, truth=replace(truth, objects=tuple(objects)))


def texts_about_holders(room: Scene, kinds: tuple[str, ...]) -> list[Query]:
    return [
        query
        for query in queries(room, 3, kinds=kinds * 40, style="training")
        if query.program is not None
        and any(step.operation == "filter_held_by" for step in query.program.walk())
    ]


def test_things_are_told_by_what_holds_them(rooms: list[Scene]) -> None:
    told = 0
    for room in rooms:
        facts = Facts(truth_of(room))
        for query in texts_about_holders(room, ("phrase",)):
            assert query.program is not None
            assert query.referred is not None
            assert any(holder in query.text for holder in HOLDERS)
            step = query.program.inputs[0]
            if step.operation != "filter_held_by":
                continue
            name = facts.classes[query.referred]
            same = [index for index, own in enumerate(facts.classes) if own == name]
            held = [facts.held_by[step.value][index] for index in same]
            assert (held.count(1), held.count(-1)) == (1, 0)
            assert len(same) > 1  # or the name alone would do
            told += 1
    assert told > 0


def test_there_are_questions_of_what_hangs_and_what_stands(two_cabinets: Scene) -> None:
    found = texts_about_holders(two_cabinets, ("existence", "count"))
    asked = [query for query in found if "cabinet" in query.text or "cupboard" in query.text]
    assert {query.kind for query in asked} == {"existence", "count"}
    answers = {query.answer for query in asked if query.kind == "existence"}
    assert answers == {"yes", "no"}
    for query in asked:
        hung = "wall" in query.text
        wrong = "white" if hung else "brown"
        if query.kind == "existence" and query.program is not None:
            steps = [step.operation for step in query.program.walk()]
            if steps[-2] == "filter_held_by":
                assert query.answer == ("no" if wrong in query.text else "yes"), query.text


def test_where_all_of_a_class_hang_nobody_asks_whether_one_does(rooms: list[Scene]) -> None:
    for room in rooms:
        facts = Facts(truth_of(room))
        for query in texts_about_holders(room, ("existence", "count")):
            assert query.program is not None
            steps = list(query.program.walk())
            if steps[-2].operation == "filter_held_by":
                labels = facts.held_by["wall"]
                name = steps[1].value
                own = {int(labels[i]) for i, each in enumerate(facts.classes) if each == name}
                assert {0, 1} <= own, query.text


def test_simple_words_know_no_holders(rooms: list[Scene]) -> None:
    for seed, room in enumerate(rooms[:4]):
        for query in queries(room, seed, kinds=KINDS, style="simple"):
            steps = [] if query.program is None else query.program.walk()
            assert all(step.operation != "filter_held_by" for step in steps), query.text


def test_only_walls_floors_and_ceilings_hold() -> None:
    with pytest.raises(ValueError, match=r"filter_held_by takes a value of .*'wall'"):
        Program("filter_held_by", (of_class("lamp"),), "roof")
