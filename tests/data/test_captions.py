"""Descriptions hold: every list, relation and side, taken from the text and held to the boxes."""

from __future__ import annotations

import re
from collections import Counter

import pytest
import torch

from g2vlm_fast.data import AnswerVocabulary, Query, RoomConfig, RoomTruth, Scene, generate_room
from g2vlm_fast.data.language.answers import LONGEST_ANSWER, PLURALS
from g2vlm_fast.data.language.grammar import NUMBER_WORDS
from g2vlm_fast.data.language.phrasebook import RELATION_WORDS, SIDE_WORDS
from g2vlm_fast.data.language.texts import KINDS, queries
from g2vlm_fast.data.rooms.config import PROGRAMS
from g2vlm_fast.ontology import COLORS, RELATIONS
from g2vlm_fast.records import Task

SINGULAR = {many: one for one, many in PLURALS.items()} | {one: one for one in PLURALS}
COLOR = "|".join(COLORS)
NOUN = "|".join(sorted(SINGULAR, key=len, reverse=True))
RELATION = "|".join(sorted(RELATIONS, key=len, reverse=True))
COUNTED = re.compile(rf"(an?|{'|'.join(NUMBER_WORDS)}) ({COLOR}) ({NOUN})\b")
SIDES = {words[0]: side for side, words in SIDE_WORDS.items()}


@pytest.fixture(scope="module")
def rooms() -> list[tuple[Scene, list[Query]]]:
    config = RoomConfig(programs=PROGRAMS, image_size=(24, 32))
    made = [generate_room(seed, config) for seed in range(24)]
    return [(room, queries(room, 0, kinds=KINDS, style="simple")) for room in made]


def truth_of(scene: Scene) -> RoomTruth:
    assert scene.truth is not None
    return scene.truth


def counted(text: str) -> Counter[tuple[str, str]]:
    """How many of every colour and class a list names."""
    found: Counter[tuple[str, str]] = Counter()
    for number, color, noun in COUNTED.findall(text):
        one = number in ("a", "an")
        assert (noun in PLURALS) == one, text
        found[color, SINGULAR[noun]] += 1 if one else NUMBER_WORDS.index(number)
    return found


def present(truth: RoomTruth, chosen: list[int] | None = None) -> Counter[tuple[str, str]]:
    indices = range(len(truth.objects)) if chosen is None else chosen
    return Counter((truth.objects[i].color, truth.objects[i].class_name) for i in indices)


def only(truth: RoomTruth, phrase: str) -> int:
    """The one object of a colour, if one is named, and a class."""
    parsed = re.fullmatch(rf"the (?:({COLOR}) )?({NOUN})", phrase)
    assert parsed, phrase
    (index,) = (
        i
        for i, thing in enumerate(truth.objects)
        if thing.class_name == parsed[2] and parsed[1] in (None, thing.color)
    )
    return index


def test_lists_and_relations_of_descriptions_are_true(
    rooms: list[tuple[Scene, list[Query]]],
) -> None:
    sentences = 0
    for room, texts in rooms:
        truth = truth_of(room)
        for query in texts:
            if query.kind not in ("statement", "caption", "description"):
                continue
            text = query.answer if query.kind == "caption" else query.text
            assert text is not None
            first, *others = text.rstrip(".").split(". ")
            told = counted(first)
            assert told <= present(truth)
            assert len(COUNTED.findall(first)) == first.count(",") + (" and " in first) + 1
            for sentence in others:
                parsed = re.fullmatch(rf"(the .*?) is ({RELATION}) (the .*)", sentence)
                assert parsed, sentence
                pair = only(truth, parsed[1]), only(truth, parsed[3])
                assert truth.relations[(*pair, RELATIONS.index(parsed[2]))] == 1, sentence
                sentences += 1
    assert sentences > 120


def test_descriptions_come_in_three_lengths(rooms: list[tuple[Scene, list[Query]]]) -> None:
    lengths: dict[str, list[int]] = {"caption": [], "statement": [], "description": []}
    vocabulary = AnswerVocabulary()
    for _, texts in rooms:
        for query in texts:
            if query.kind in lengths:
                text = query.answer if query.kind == "caption" else query.text
                assert text is not None
                lengths[query.kind].append(len(text.split()))
            if query.kind == "caption" and query.answer is not None:
                assert len(vocabulary.encode(query.answer)) <= LONGEST_ANSWER
    means = [sum(counts) / len(counts) for counts in lengths.values()]
    assert means[0] < means[1] < means[2]


def test_sides_of_situated_descriptions_are_true(
    rooms: list[tuple[Scene, list[Query]]],
) -> None:
    told = 0
    for room, texts in rooms:
        truth = truth_of(room)
        for query in texts:
            if query.kind != "situated_description":
                continue
            assert query.situation is not None
            place = torch.tensor([query.situation.x, query.situation.y]) / 1000
            facing = torch.deg2rad(torch.tensor(float(query.situation.yaw)))
            ahead = torch.stack([facing.cos(), facing.sin()])
            left = torch.stack([-ahead[1], ahead[0]])
            _, *sentences = query.text.rstrip(".").split(". ")
            for sentence in sentences:
                parsed = re.fullmatch(rf"({'|'.join(SIDES)}) there (?:is|are) (.*)", sentence)
                assert parsed, sentence
                there = []
                for index, thing in enumerate(truth.objects):
                    offset = thing.center[:2] - place
                    forward, aside = float(offset @ ahead), float(offset @ left)
                    side = "in front" if forward > 0 else "behind"
                    if abs(aside) > abs(forward):
                        side = "left" if aside > 0 else "right"
                    if side == SIDES[parsed[1]]:
                        there.append(index)
                assert counted(parsed[2])
                assert counted(parsed[2]) <= present(truth, there), sentence
                told += 1
    assert told > 25


def test_captions_of_objects_fit_them_alone(rooms: list[tuple[Scene, list[Query]]]) -> None:
    count = 0
    pattern = re.compile(
        rf"this is (?:an?) ({COLOR}) ({NOUN}), ([\d.]+) meters tall\. it is (.*)\."
    )
    words = {several[0]: name for name, several in RELATION_WORDS.items()}
    clause = re.compile(rf"({'|'.join(sorted(words, key=len, reverse=True))}) (the .*)")
    for room, texts in rooms:
        truth = truth_of(room)
        for query in texts:
            if query.kind != "object_caption":
                continue
            assert query.task == Task.REFERRING
            assert query.referred is not None
            thing = truth.objects[query.referred]
            parsed = pattern.fullmatch(query.text)
            assert parsed, query.text
            assert (parsed[1], parsed[2]) == (thing.color, thing.class_name)
            height = thing.size[2].item()
            assert float(parsed[3]) == pytest.approx(height, abs=0.0051 if height < 0.2 else 0.051)
            for part in parsed[4].split(" and "):
                relation = clause.fullmatch(part)
                assert relation, part
                if re.fullmatch(rf"the (?:({COLOR}) )?({NOUN})", relation[2]):
                    anchor = only(truth, relation[2])
                    predicate = RELATIONS.index(words[relation[1]])
                    assert truth.relations[query.referred, anchor, predicate] == 1
                    count += 1
    assert count > 30


def test_a_list_counts_all_of_a_kind_in_the_room() -> None:
    for seed in (7, 9, 11):
        room = generate_room(seed, RoomConfig(image_size=(24, 32), views=(6, 6)))
        there = present(truth_of(room))
        for draw in range(6):
            answer = queries(room, draw, kinds=())[1].answer
            assert answer is not None
            named = counted(answer.split(". ")[0])
            assert named
            assert all(number == there[kind] for kind, number in named.items()), answer


def test_nobody_asks_for_the_nearest_of_one() -> None:
    for seed in range(6):
        room = generate_room(seed, RoomConfig(image_size=(24, 32), views=(6, 6)))
        classes = [thing.class_name for thing in truth_of(room).objects]
        for query in queries(room, seed, kinds=KINDS, style="training"):
            steps = [] if query.program is None else list(query.program.walk())
            for step in steps:
                if step.operation in ("nearest", "farthest") and query.task == Task.REFERRING:
                    head = step.inputs[0]
                    while head.operation != "filter_class":
                        head = head.inputs[0]
                    assert classes.count(head.value) > 1, query.text
