"""Programs are typed, plain data; executed, they never take a doubt for a fact."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from g2vlm_fast.data import RoomConfig, Scene, generate_room
from g2vlm_fast.data.language.execution import Executor
from g2vlm_fast.data.language.facts import Facts, Matches
from g2vlm_fast.data.language.programs import (
    OPERATIONS,
    SCENE,
    Program,
    Sort,
    holds,
    of_class,
    relate,
    the,
)
from g2vlm_fast.data.language.situations import SIDES, Situation
from g2vlm_fast.ontology import COLORS, DIRECTIONAL_RELATIONS, RELATIONS, SIMPLE_CLASSES

PROGRAMS_OF_ROOMS = ("living room", "office")


@pytest.fixture(scope="module")
def rooms() -> list[Scene]:
    config = RoomConfig(programs=PROGRAMS_OF_ROOMS, image_size=(24, 32))
    return [generate_room(seed, config) for seed in range(3)]


def facts_of(scene: Scene) -> Facts:
    assert scene.truth is not None
    return Facts(scene.truth, scene.poses, scene.gravity)


def programs(sort: Sort, depth: int) -> st.SearchStrategy[Program]:
    """Programs of any form that give a sort, at most so many operations deep."""
    fitting = [
        (name, signature)
        for name, signature in OPERATIONS.items()
        if signature.output == sort and (depth > 0 or not signature.inputs)
    ]
    return st.sampled_from(fitting).flatmap(lambda entry: _built(*entry, depth))


def _built(name: str, signature, depth: int) -> st.SearchStrategy[Program]:  # type: ignore[no-untyped-def]
    inputs = st.tuples(*(_deeper(part, depth) for part in signature.inputs))
    if signature.values is None:
        values = st.builds(
            lambda x, y, yaw: str(Situation(x, y, yaw)),
            st.integers(-3000, 3000), st.integers(-3000, 3000), st.integers(0, 359),
        )  # fmt: skip
    else:
        values = st.sampled_from(signature.values)
    frames = st.sampled_from(["view 0", "view 1", "own"])

    def build(parts: tuple, value: str, frame: str) -> Program:
        framed = signature.framed and value in DIRECTIONAL_RELATIONS
        return Program(name, parts, value, frame if framed else "")

    return st.builds(build, inputs, values, frames)


def _deeper(sort: Sort, depth: int) -> st.SearchStrategy[Program]:
    if depth > 1:
        return programs(sort, depth - 1)
    things = st.sampled_from([of_class(name) for name in SIMPLE_CLASSES])
    return {
        Sort.OBJECTS: things,
        Sort.OBJECT: things.map(the),
        Sort.PLACE: st.just(Program("situation", value="0 0 0")),
        Sort.NUMBER: things.map(lambda found: Program("count", (found,))),
    }[sort]


answers = st.one_of(*(programs(sort, 3) for sort in (Sort.TRUTH, Sort.NUMBER, Sort.WORD)))


@settings(max_examples=150, deadline=None)
@given(answers)
def test_programs_survive_json(program: Program) -> None:
    again = Program.from_json(json.loads(json.dumps(program.to_json())))
    assert again == program
    assert hash(again) == hash(program)


@settings(max_examples=150, deadline=None)
@given(answers)
def test_any_program_gives_its_sort_or_nothing(rooms: list[Scene], program: Program) -> None:
    kinds = {Sort.TRUTH: bool, Sort.NUMBER: float, Sort.WORD: str}
    for room in rooms:
        result = Executor(facts_of(room)).run(program)
        assert result is None or type(result) is kinds[program.gives]


@settings(max_examples=150, deadline=None)
@given(programs(Sort.OBJECTS, 3))
def test_what_matches_for_certain_is_possible(rooms: list[Scene], program: Program) -> None:
    for room in rooms:
        found = Executor(facts_of(room)).run(program)
        assert isinstance(found, Matches)
        assert found.certain <= found.possible


def completions(scene: Scene, seed: int) -> Iterator[Facts]:
    """Facts in which every undecided relation was decided by lot."""
    assert scene.truth is not None
    generator = torch.Generator().manual_seed(seed)
    for _ in range(3):
        facts = facts_of(scene)
        lot = torch.randint(0, 2, scene.truth.relations.shape, generator=generator).numpy()
        facts._relations = facts._relations.copy()
        undecided = facts._relations == -1
        facts._relations[undecided] = lot[undecided]
        facts._in_frame = {"view 0": facts._relations[..., :4]}
        yield facts


def programs_with_relations() -> Iterator[Program]:
    for relation in RELATIONS:
        for name in ("sofa", "desk", "door"):
            anchor = the(of_class(name))
            for head in (SCENE, of_class("chair")):
                things = relate(head, relation, anchor)
                counted = Program("count", (things,))
                yield counted
                yield Program("exist", (things,))
                yield Program("name_nearest", (things, anchor))
                yield Program("query_class", (the(things),))
                yield Program("query_color", (the(Program("nearest", (things, anchor))),))
                yield Program("count", (Program("union", (things, of_class("book"))),))
                yield Program("more", (counted, Program("count", (of_class("lamp"),))))


def test_no_decision_of_what_is_undecided_changes_an_answer(rooms: list[Scene]) -> None:
    answered = doubtful = 0
    for seed, room in enumerate(rooms):
        executor = Executor(facts_of(room))
        completed = [Executor(facts) for facts in completions(room, seed)]
        for program in programs_with_relations():
            answer = executor.run(program)
            answered += answer is not None
            doubtful += answer is None
            if answer is not None:
                assert all(other.run(program) == answer for other in completed), program
    assert min(answered, doubtful) > 100


def test_colors_filter_and_intersect(rooms: list[Scene]) -> None:
    facts = facts_of(rooms[0])
    executor = Executor(facts)
    found = [executor.run(Program("filter_color", (SCENE,), color)).certain for color in COLORS]
    assert frozenset().union(*found) == facts.everything.certain
    chairs = of_class("chair")
    both = Program("intersect", (chairs, of_class("chair", facts.colors[0])))
    assert executor.run(both).certain == {
        i for i in executor.run(chairs).certain if facts.colors[i] == facts.colors[0]
    }


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Program("dance"), "operation must be one of"),
        (lambda: Program("count"), r"count takes \['objects'\], got \[\]"),
        (lambda: Program("count", (the(SCENE),)), r"got \['object'\]"),
        (lambda: of_class("unicorn"), "filter_class takes a value of"),
        (lambda: Program("relate", (SCENE, the(SCENE)), "left of"), "must name a frame"),
        (lambda: Program("relate", (SCENE, the(SCENE)), "on", "view 0"), "must have no frame"),
        (lambda: Program("relate", (SCENE, the(SCENE)), "left of", "view x"), "name a frame"),
        (lambda: Program("situation", value="1 2"), "expected 'x y yaw'"),
        (lambda: Program.from_json({"value": "chair"}), "expected a mapping with an operation"),
    ],
)
def test_programs_that_mean_nothing_are_refused(build, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        build()


def test_frames_are_named_once() -> None:
    table, chair = the(of_class("table")), the(of_class("chair"))
    question = holds(the(relate(of_class("lamp"), "behind", table)), "left of", chair)
    assert question.frames() == ("view 0",)
    place = Program("stand", (table, chair))
    assert Program("direction", (place, table), "sides").frames() == ("situation",)
    assert holds(table, "near", chair).frames() == ()


def test_a_view_that_is_not_there_is_refused(rooms: list[Scene]) -> None:
    facts = facts_of(rooms[0])
    with pytest.raises(ValueError, match=f"the scene has {rooms[0].num_views} views"):
        facts.labels("left of", "view 99")
    assert rooms[0].truth is not None
    with pytest.raises(ValueError, match="need the poses of the views"):
        Facts(rooms[0].truth).labels("left of", "view 1")


@pytest.mark.parametrize(
    ("bearing", "side"),
    [
        (0, "in front"), (30, "in front"), (90, "left"), (-90, "right"), (180, "behind"),
        (-150, "behind"),
    ],
)  # fmt: skip
def test_sides_are_told_by_the_bearing(bearing: int, side: str) -> None:
    place = Situation(1000, 500, 70).standpoint()
    angle = torch.deg2rad(torch.tensor(70.0 + bearing))
    point = (1.0 + 2 * angle.cos().item(), 0.5 + 2 * angle.sin().item())
    assert [name for name in SIDES if place.side_label(name, *point) == 1] == [side]
    assert place.sector("sides", *point) == side


@pytest.mark.parametrize("bearing", [45, 50, -140])
def test_between_two_sides_nothing_is_decided(bearing: int) -> None:
    place = Situation(0, 0, 0).standpoint()
    angle = torch.deg2rad(torch.tensor(float(bearing)))
    point = (2 * angle.cos().item(), 2 * angle.sin().item())
    assert place.sector("sides", *point) is None
    assert sorted(place.side_label(name, *point) for name in SIDES) == [-1, -1, 0, 0]


def test_what_is_underfoot_is_on_no_side() -> None:
    place = Situation(0, 0, 0).standpoint()
    assert place.sector("left or right", 0.1, 0.3) is None
    assert {place.side_label(name, 0.1, 0.3) for name in SIDES} == {-1}


@pytest.mark.parametrize(
    "plain",
    [
        {"operation": ["scene"]},
        {"operation": "scene", "inputs": 5},
        {"operation": "situation", "value": 5},
        {"operation": "scene", "frame": 5},
    ],
)
def test_values_of_other_types_are_no_program(plain: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Program"):
        Program.from_json(plain)
