"""Texts are true, unambiguous, balanced and within the vocabulary: checked by other means."""

from __future__ import annotations

import re
from collections import Counter

import pytest
import torch

from g2vlm_fast.data import AnswerVocabulary, Query, RoomConfig, Scene, generate_room, queries
from g2vlm_fast.data.language.answers import END, NUMBER, PLURALS, START
from g2vlm_fast.data.language.execution import Executor
from g2vlm_fast.data.language.facts import Facts
from g2vlm_fast.data.language.lexicon import Style, held_out
from g2vlm_fast.data.language.phrasebook import PLAIN_WORDINGS, WORDINGS
from g2vlm_fast.data.language.programs import Program, of_class, relate, the
from g2vlm_fast.data.language.texts import KINDS
from g2vlm_fast.data.scene import RoomObject, RoomTruth
from g2vlm_fast.geometry.boxes import upright_box_gap
from g2vlm_fast.ontology import CLASSES, COLORS, DIRECTIONAL_RELATIONS, RELATIONS, SIMPLE_RELATIONS
from g2vlm_fast.records import Task

RELATION = "|".join(SIMPLE_RELATIONS)


@pytest.fixture(scope="module")
def spoken() -> list[tuple[RoomTruth, Query]]:
    found = []
    for seed in range(60):
        room = generate_room(seed, RoomConfig(programs=("simple",)))
        assert room.truth is not None
        found += [(room.truth, query) for query in queries(room, seed)]
    return found


def of_kind(spoken: list[tuple[RoomTruth, Query]], kind: str) -> list[tuple[RoomTruth, Query]]:
    chosen = [(truth, query) for truth, query in spoken if query.kind == kind]
    assert len(chosen) > 30
    return chosen


def matching(truth: RoomTruth, phrase: str) -> set[int]:
    """Objects that a phrase of the form "the [extreme] [colour] class [relation the ...]" fits.

    Written apart from the programs under test: a parser of the surface text.
    """
    head = re.match(
        rf"the (?:(largest|smallest|tallest) )?(?:({'|'.join(COLORS)}) )?({'|'.join(CLASSES)})"
        rf"(?: ({RELATION}) (.*))?$",
        phrase,
    )
    assert head, phrase
    extreme, color, name, relation, rest = head.groups()
    found = {
        index
        for index, thing in enumerate(truth.objects)
        if thing.class_name == name and color in (None, thing.color)
    }
    if relation:
        (anchor,) = matching(truth, rest)
        predicate = RELATIONS.index(relation)
        assert all(truth.relations[i, anchor, predicate] != -1 for i in found - {anchor})
        found = {i for i in found if truth.relations[i, anchor, predicate] == 1}
    if extreme:
        sizes = {i: truth.objects[i].size for i in found}
        key = (lambda i: sizes[i][2]) if extreme == "tallest" else (lambda i: sizes[i].prod())
        found = {min(found, key=key) if extreme == "smallest" else max(found, key=key)}
    return found


def test_every_kind_is_asked(spoken: list[tuple[RoomTruth, Query]]) -> None:
    kinds = Counter(query.kind for _, query in spoken)
    assert set(kinds) == {
        "statement", "caption", "phrase", "existence", "count", "color", "direction",
        "relation", "distance", "height", "width", "room_size",
    }  # fmt: skip
    assert kinds["statement"] == kinds["caption"] == 60


def test_phrases_fit_the_referred_object_and_no_other(
    spoken: list[tuple[RoomTruth, Query]],
) -> None:
    shapes = Counter()
    for truth, query in of_kind(spoken, "phrase"):
        assert query.task == Task.REFERRING
        assert matching(truth, query.text) == {query.referred}
        shapes[bool(re.search(RELATION, query.text))] += 1
        directional = any(relation in query.text for relation in DIRECTIONAL_RELATIONS)
        assert query.frame == ("view 0" if directional else "")
    assert min(shapes[True], shapes[False]) > 30


def test_direction_answers_are_the_nearest_object_in_that_direction(
    spoken: list[tuple[RoomTruth, Query]],
) -> None:
    answers = Counter()
    for truth, query in of_kind(spoken, "direction"):
        parsed = re.fullmatch(rf"(?:what|which object) is ({RELATION}) (the .*)\?", query.text)
        assert parsed, query.text
        relation, phrase = parsed.groups()
        (anchor,) = matching(truth, phrase)
        labels = truth.relations[:, anchor, RELATIONS.index(relation)]
        there = [i for i in range(len(truth.objects)) if labels[i] == 1]
        gap = upright_box_gap(truth.boxes(), truth.boxes())[anchor]
        if not there:
            assert query.answer == "nothing"
            assert query.referred is None
            assert all(labels[i] == 0 for i in range(len(labels)) if i != anchor)
        else:
            nearest = min(there, key=lambda i: gap[i].item())
            assert query.referred == nearest
            assert query.answer == truth.objects[nearest].class_name
            for i in (labels == -1).nonzero().flatten().tolist():
                assert i == anchor or gap[i] > gap[nearest]
        if relation != "on":
            assert query.frame == "view 0"
            assert "(seen from view 0)" in query.spoken
        answers[query.answer] += 1
    assert 0.05 < answers["nothing"] / answers.total() < 0.3
    assert max(answers.values()) < 0.35 * answers.total()


def test_the_plain_form_of_the_direction_question_occurs(
    spoken: list[tuple[RoomTruth, Query]],
) -> None:
    plain = re.compile(rf"what is left of the ({'|'.join(CLASSES)})\?")
    assert any(plain.fullmatch(query.text) for _, query in spoken)


def test_relation_answers_are_true_and_balanced(spoken: list[tuple[RoomTruth, Query]]) -> None:
    counts: dict[str, Counter] = {}
    for truth, query in of_kind(spoken, "relation"):
        parsed = re.fullmatch(
            rf"(?:is|would you say that) (the .*?) (?:is )?({RELATION}) (the .*)\?", query.text
        )
        assert parsed, query.text
        (subject,) = matching(truth, parsed[1])
        (anchor,) = matching(truth, parsed[3])
        label = int(truth.relations[subject, anchor, RELATIONS.index(parsed[2])])
        assert query.answer == {1: "yes", 0: "no"}[label]
        counts.setdefault(parsed[2], Counter())[query.answer] += 1
    total = sum(counts.values(), Counter())
    assert total["yes"] / total.total() == pytest.approx(0.5, abs=0.1)
    assert all(counter["yes"] and counter["no"] for counter in counts.values())


def test_existence_answers_are_true_and_balanced(spoken: list[tuple[RoomTruth, Query]]) -> None:
    answers = Counter()
    with_color = Counter()
    for truth, query in of_kind(spoken, "existence"):
        parsed = re.search(
            rf" a (?:({'|'.join(COLORS)}) )?({'|'.join(CLASSES)})( in the room)?\?", query.text
        )
        assert parsed, query.text
        exists = any(
            thing.class_name == parsed[2] and parsed[1] in (None, thing.color)
            for thing in truth.objects
        )
        assert query.answer == ("yes" if exists else "no")
        answers[query.answer] += 1
        with_color[query.answer] += parsed[1] is not None
    assert answers["yes"] / answers.total() == pytest.approx(0.5, abs=0.15)
    assert with_color["yes"] / with_color.total() == pytest.approx(0.5, abs=0.2)


def test_counts_are_those_of_the_class(spoken: list[tuple[RoomTruth, Query]]) -> None:
    singular = {plural: name for name, plural in PLURALS.items()}
    values = Counter()
    for truth, query in of_kind(spoken, "count"):
        name = singular[query.text.split()[2]]
        number = sum(thing.class_name == name for thing in truth.objects)
        assert query.value == number
        assert query.answer == "<number>"
        values[number] += 1
    assert len(values) >= 3


def test_colors_are_asked_without_being_told(spoken: list[tuple[RoomTruth, Query]]) -> None:
    for truth, query in of_kind(spoken, "color"):
        phrase = re.search(r"(the (?!color).*)\?", query.text)
        assert phrase
        assert query.referred is not None
        assert matching(truth, phrase[1]) == {query.referred}
        assert query.answer == truth.objects[query.referred].color
        head = re.split(RELATION, phrase[1])[0]
        assert not any(color in head for color in COLORS)


def test_distances_and_sizes_are_measured_on_the_boxes(
    spoken: list[tuple[RoomTruth, Query]],
) -> None:
    for truth, query in of_kind(spoken, "height"):
        assert query.referred is not None
        assert query.value == pytest.approx(truth.objects[query.referred].size[2].item())
    for truth, query in of_kind(spoken, "width"):
        assert query.referred is not None
        assert query.value == pytest.approx(truth.objects[query.referred].size[:2].max().item())
    for truth, query in of_kind(spoken, "room_size"):
        assert query.value == pytest.approx(truth.room_size[:2].prod().item())
    for truth, query in of_kind(spoken, "distance"):
        parsed = re.fullmatch(
            r"(?:how far is|what is the distance between) (the .*) (?:from|and) (the .*)\?",
            query.text,
        )
        assert parsed, query.text
        (a,), (b,) = matching(truth, parsed[1]), matching(truth, parsed[2])
        centers = (truth.objects[a].center - truth.objects[b].center).norm()
        reach = (truth.objects[a].size.norm() + truth.objects[b].size.norm()) / 2
        assert query.value is not None
        assert max(centers - reach, 0.05) <= query.value <= centers


def test_statements_and_captions_say_only_what_is_true(
    spoken: list[tuple[RoomTruth, Query]],
) -> None:
    sentences = 0
    for truth, query in of_kind(spoken, "statement") + of_kind(spoken, "caption"):
        text = query.text if query.kind == "statement" else query.answer
        assert text is not None
        first, *others = text.rstrip(".").split(". ")
        mentioned = re.findall(rf"a ({'|'.join(COLORS)}) ({'|'.join(CLASSES)})\b", first)
        things = [(thing.color, thing.class_name) for thing in truth.objects]
        assert all(thing in things for thing in mentioned)
        if query.kind == "statement":
            assert all(things.count(thing) == 1 for thing in mentioned)
        for sentence in others:
            parsed = re.fullmatch(rf"(the .*) is ({RELATION}) (the .*)", sentence)
            assert parsed, sentence
            (subject,), (anchor,) = matching(truth, parsed[1]), matching(truth, parsed[3])
            assert truth.relations[subject, anchor, RELATIONS.index(parsed[2])] == 1
            sentences += 1
    assert sentences > 60


def test_a_statement_has_no_answer_and_a_caption_has_one(
    spoken: list[tuple[RoomTruth, Query]],
) -> None:
    assert all(query.answer is None for _, query in of_kind(spoken, "statement"))
    assert all(query.answer for _, query in of_kind(spoken, "caption"))


def test_answers_are_in_the_vocabulary_and_short(spoken: list[tuple[RoomTruth, Query]]) -> None:
    vocabulary = AnswerVocabulary()
    for _, query in spoken:
        if query.answer is not None:
            ids = vocabulary.encode(query.answer)
            assert len(ids) <= 32
            assert vocabulary.decode(ids) == query.answer


def test_another_seed_says_other_things() -> None:
    room = generate_room(0)
    assert queries(room, 0) == queries(room, 0)
    assert queries(room, 0) != queries(room, 1)


def test_scenes_without_truth_have_no_texts() -> None:
    scene = Scene(
        name="scan",
        images=torch.zeros(1, 3, 4, 4, dtype=torch.uint8),
        intrinsics=torch.eye(3)[None],
        poses=torch.eye(4)[None],
    )
    with pytest.raises(ValueError, match="scene 'scan' has no truth"):
        queries(scene, 0)


def executor_of(classes: list[str], label: int, volumes: tuple[float, ...] = ()) -> Executor:
    """Objects that are alike but for class and volume, with one label for every relation."""
    count = len(classes)
    sizes = [torch.tensor([volume, 1.0, 1.0]) for volume in volumes or (1.0,) * count]
    objects = tuple(
        RoomObject(
            class_name=name, color="red", center=torch.zeros(3), size=size,
            rotation=torch.eye(3), primitives=range(0),
        )
        for name, size in zip(classes, sizes, strict=True)
    )  # fmt: skip
    blank = torch.zeros(1, 4, 4)
    return Executor(
        Facts(
            RoomTruth(
                objects=objects,
                primitives=generate_room(0).truth.primitives,
                relations=torch.full((count, count, len(RELATIONS)), label, dtype=torch.int8),
                room_size=torch.ones(3),
                depth=blank,
                normal=torch.zeros(1, 3, 4, 4),
                instance=torch.full((1, 4, 4), -1),
            )
        )
    )


NEAR_TABLE = relate(of_class("chair"), "near", the(of_class("table")))


def test_an_undecided_relation_singles_nothing_out() -> None:
    assert executor_of(["table", "chair"], 1).referent(NEAR_TABLE) == 1
    assert executor_of(["table", "chair"], 0).referent(NEAR_TABLE) is None
    undecided = executor_of(["table", "chair"], -1)
    assert undecided.run(NEAR_TABLE) == (set(), {1})
    assert undecided.referent(NEAR_TABLE) is None


def test_an_ambiguous_anchor_singles_nothing_out() -> None:
    assert executor_of(["table", "table", "chair"], 1).referent(NEAR_TABLE) is None


def test_an_extreme_needs_a_clear_lead() -> None:
    largest, smallest = (
        Program("superlative", (of_class("box"),), word) for word in ("largest", "smallest")
    )
    assert executor_of(["box", "box"], 0, (1.0, 1.1)).referent(largest) is None
    clear = executor_of(["box", "box"], 0, (1.0, 1.2))
    assert clear.referent(largest) == 1
    assert clear.referent(smallest) == 0


def test_an_extreme_of_one_is_not_said() -> None:
    largest = Program("superlative", (of_class("box"),), "largest")
    assert executor_of(["box"], 0).referent(largest) is None


def test_special_words_lead_the_vocabulary() -> None:
    vocabulary = AnswerVocabulary()
    assert vocabulary.words[:4] == ["<pad>", "<start>", "<end>", "<number>"]
    assert vocabulary.words[4:] == sorted(set(vocabulary.words[4:]))
    assert AnswerVocabulary(vocabulary.words).words == vocabulary.words


def test_decoding_stops_at_the_end_and_fills_in_numbers() -> None:
    vocabulary = AnswerVocabulary()
    ids = [START, *vocabulary.encode("yes, the red chair."), NUMBER]
    assert vocabulary.decode(ids) == "yes, the red chair."
    assert vocabulary.decode([NUMBER, END], value=2.504) == "2.5"
    assert vocabulary.decode([NUMBER, END], value=3.0) == "3"
    assert vocabulary.decode([NUMBER, END]) == "<number>"
    assert vocabulary.decode([]) == ""


@pytest.mark.parametrize("words", [["a", "b"], ["<pad>", "<start>", "<end>", "<number>", "a", "a"]])
def test_bad_vocabularies_are_refused(words: list[str]) -> None:
    with pytest.raises(ValueError, match="AnswerVocabulary: words must"):
        AnswerVocabulary(words)


def test_unknown_words_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\['zeppelin'\] in 'a zeppelin'"):
        AnswerVocabulary().encode("a zeppelin")


@pytest.mark.parametrize("style", ["simple", "training", "held out"])
def test_sparse_rooms_are_asked_what_they_can_answer(style: Style) -> None:
    for seed in range(6):
        room = generate_room(seed, RoomConfig(programs=("simple",), objects=(1, 2), views=(1, 1)))
        made = queries(room, seed, kinds=KINDS, style=style)
        assert [query.kind for query in made[:2]] == ["statement", "caption"]
        assert "appearance_order" not in {query.kind for query in made}
        assert "view_relation" not in {query.kind for query in made}


def test_kinds_are_asked_for_by_name() -> None:
    room = generate_room(0)
    assert {query.kind for query in queries(room, 0, kinds=["count", "height"])} <= {
        "statement", "caption", "count", "height",
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"kinds must be some of .* got \['gossip'\]"):
        queries(room, 0, kinds=["gossip"])


def test_held_out_words_are_never_used_in_training() -> None:
    room = generate_room(0, RoomConfig(programs=("living room",)))
    unseen = {held_out(words, PLAIN_WORDINGS) for words in WORDINGS.values()}

    def wordings(style: Style) -> set[str]:
        made = (queries(room, seed, kinds=KINDS, style=style) for seed in range(20))
        return {query.wording for texts in made for query in texts}

    training, tested = wordings("training"), wordings("held out")
    assert len(training) > 60
    assert not training & unseen
    assert tested - {""} <= unseen


def test_two_word_classes_and_vowels_are_spoken_of() -> None:
    texts = []
    for seed in range(12):
        room = generate_room(seed, RoomConfig(programs=("office", "bathroom"), image_size=(24, 32)))
        texts += [query.text for query in queries(room, seed, kinds=KINDS, style="training")]
    spoken = " ".join(texts)
    assert not re.search(r"\ba [aeiou]", spoken)
    assert not re.search(r"\ban [^aeiou]", spoken)
    assert not re.search(r"\b(shelfs|boxs|benchs|\{|\})", spoken)
    assert any(" " in name and name in spoken for name in CLASSES)
