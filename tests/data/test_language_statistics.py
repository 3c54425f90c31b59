"""Baselines without sight, the table of statistics, and the balance of answers."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest

from g2vlm_fast.data import Query, RoomConfig, Scene, generate_room
from g2vlm_fast.data.language.blind import Blind, Majority, ShuffledGeometry, most_frequent, score
from g2vlm_fast.data.language.execution import Executor
from g2vlm_fast.data.language.facts import Facts
from g2vlm_fast.data.language.programs import Program, of_class
from g2vlm_fast.data.language.statistics import kind_statistics, statistics_table
from g2vlm_fast.data.language.texts import KINDS, queries
from g2vlm_fast.data.rooms.config import PROGRAMS
from g2vlm_fast.records import Task

SMALL = RoomConfig(programs=PROGRAMS, image_size=(24, 32), sensor_noise=False, mesh_probability=0.0)
YES_OR_NO = (
    "existence", "relation", "view_relation", "own_relation", "count_comparison",
    "count_equality", "height_comparison", "nearer", "situated_is", "situated_reach",
)  # fmt: skip
FIXED = {
    **dict.fromkeys(YES_OR_NO, 2),
    "relative_direction_easy": 2,
    "situated_turn": 2,
    "relative_direction_medium": 4,
    "relative_direction_hard": 4,
    "route": 9,
    "color": 8,
    "situated_color": 8,
}
OPEN = (
    "direction", "between", "extreme", "relative_distance", "situated_what", "situated_which",
    "situated_other", "appearance_order",
)  # fmt: skip


def talked_about(count: int) -> list[tuple[Scene, list[Query]]]:
    rooms = [generate_room(seed, SMALL) for seed in range(count)]
    return [(room, queries(room, i, kinds=KINDS, style="training")) for i, room in enumerate(rooms)]


@pytest.fixture(scope="module")
def sixty() -> list[tuple[Scene, list[Query]]]:
    return talked_about(60)


def asked(text: str, answer: str, kind: str = "color", value: float | None = None) -> Query:
    return Query(text=text, task=Task.QUESTION, kind=kind, answer=answer, value=value)


def test_words_are_scored_by_match_and_numbers_by_relative_accuracy() -> None:
    assert score(asked("?", "red"), "red") == 1
    assert score(asked("?", "red"), "blue") == 0
    two = asked("?", "<number>", value=2.0)
    assert score(two, 2.0) == 1
    assert score(two, 2.5) == pytest.approx(0.5)  # within 0.5, 0.45, 0.4, 0.35 and 0.3
    assert score(two, 3.1) == 0
    assert score(two, "red") == 0
    none = asked("?", "<number>", value=0.0)
    assert (score(none, 0.0), score(none, 1.0)) == (1, 0)


def test_the_most_frequent_answer() -> None:
    assert most_frequent(["b", "a", "b"]) == "b"
    assert most_frequent(["b", "a"]) == "a"
    assert most_frequent([3.0, 1.0, 9.0]) == 3.0
    with pytest.raises(ValueError, match="must not be empty"):
        most_frequent([])


def test_the_blind_guesser_learns_what_words_tell() -> None:
    training = [asked(f"is the banana in box {i} ripe?", "yellow") for i in range(5)]
    training += [asked(f"is the sky over box {i} clear?", "blue") for i in range(7)]
    assert Majority(training).guess(training[0]) == "blue"
    blind = Blind(training)
    assert blind.guess(asked("what of the banana in box 9?", "yellow")) == "yellow"
    assert blind.guess(asked("what of the sky over box 9?", "blue")) == "blue"
    with pytest.raises(ValueError, match="of the kind 'count'"):
        blind.guess(asked("how many?", "<number>", kind="count", value=1.0))


def test_shuffled_geometry_answers_from_another_room(
    sixty: list[tuple[Scene, list[Query]]],
) -> None:
    rooms = [
        Executor(Facts(room.truth, room.poses, room.gravity))
        for room, _ in sixty[:3]
        if room.truth is not None
    ]
    program = Program("count", (of_class("window"),))
    question = dataclasses.replace(
        asked("how many windows?", "<number>", kind="count", value=1.0), program=program
    )
    guesser = ShuffledGeometry(rooms, Majority([question]))
    assert guesser.guess(question, 0) == rooms[1].run(program)
    assert guesser.guess(question, 2) == rooms[0].run(program)
    with pytest.raises(ValueError, match="has no program"):
        guesser.guess(asked("?", "red"), 0)


def test_statistics_of_sixty_rooms(sixty: list[tuple[Scene, list[Query]]]) -> None:
    found = kind_statistics(sixty[:40], sixty[40:])
    for kind, row in found.items():
        assert row.questions == sum(q.kind == kind for _, texts in sixty[40:] for q in texts)
        assert all(0 <= value <= 1 for value in (row.majority, row.blind, row.shuffled))
        if row.answers:
            assert sum(row.answers.values()) == row.questions
            assert row.uniform <= row.greatest_share <= 1
    yes_no = [found[kind] for kind in YES_OR_NO if kind in found]
    total = sum(row.questions for row in yes_no)
    assert total > 150
    for guesser in ("majority", "blind", "shuffled"):
        mean = sum(getattr(row, guesser) * row.questions for row in yes_no) / total
        assert 0.4 < mean < 0.62, guesser


def test_the_table_names_every_kind_and_every_guesser(
    sixty: list[tuple[Scene, list[Query]]],
) -> None:
    table = statistics_table(sixty[:40], sixty[40:])
    found = kind_statistics(sixty[:40], sixty[40:])
    assert table.startswith("20 rooms, ")
    for word in ("majority", "blind", "shuffled", "SQA3D types: ", "VSI-Bench tasks: "):
        assert word in table
    lines = table.splitlines()
    assert {line.split()[0] for line in lines if line.split() and line.split()[0] in KINDS} == set(
        found
    )


def test_one_room_has_no_other_to_shuffle_with(sixty: list[tuple[Scene, list[Query]]]) -> None:
    with pytest.raises(ValueError, match="at least 2 validation rooms, got 1"):
        kind_statistics(sixty[:5], sixty[5:6])


def test_every_question_says_its_types(sixty: list[tuple[Scene, list[Query]]]) -> None:
    questions = [q for _, texts in sixty for q in texts if q.task == Task.QUESTION]
    assert {q.sqa3d_type for q in questions} == {"what", "is", "how", "can", "which", "other"}
    assert {q.vsi_type for q in questions} == {
        "", "object count", "absolute distance", "object size", "room size",
        "relative distance", "relative direction", "appearance order", "route plan",
    }  # fmt: skip
    for query in questions:
        assert query.program is not None
        assert query.wording
        situated = query.kind.startswith("situated")
        assert (query.situation is not None) == situated
        assert ("situation" in query.frame) == (
            situated or query.kind == "route" or query.kind.startswith("relative_direction")
        )
        assert query.referred is None or query.referred in query.objects


@pytest.mark.slow
def test_answers_of_300_rooms_are_balanced() -> None:
    """No answer of a fixed set is more than 0.1 above uniform; no other one above a quarter.

    Nor does a guesser that reads the questions alone get more than 0.15 above uniform.
    """
    rooms = talked_about(300)
    answers: dict[str, Counter[str]] = {}
    for _, texts in rooms:
        for query in texts:
            if query.task == Task.QUESTION and query.value is None and query.answer is not None:
                answers.setdefault(query.kind, Counter())[query.answer] += 1
    assert set(answers) == {*FIXED, *OPEN}
    found = kind_statistics(rooms[:200], rooms[200:])
    for kind, known in FIXED.items():
        assert len(answers[kind]) == known, kind
        greatest = max(answers[kind].values()) / answers[kind].total()
        assert greatest <= 1 / known + 0.1, (kind, answers[kind])
    yes_no = [found[kind] for kind in YES_OR_NO]
    blind = sum(row.blind * row.questions for row in yes_no) / sum(r.questions for r in yes_no)
    assert blind <= 0.5 + 0.15
    for kind in OPEN:
        greatest = max(answers[kind].values()) / answers[kind].total()
        assert greatest <= 0.25, (kind, answers[kind].most_common(3))
