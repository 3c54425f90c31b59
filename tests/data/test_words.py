"""Articles, plurals, wordings and what of them is held out."""

from __future__ import annotations

import re
import string

import pytest

from g2vlm_fast.data import AnswerVocabulary
from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.language.answers import PLURALS
from g2vlm_fast.data.language.grammar import listed, negated, numbered, plural, with_article
from g2vlm_fast.data.language.lexicon import Lexicon, held_out
from g2vlm_fast.data.language.phrasebook import (
    HOLDER_WORDS,
    NOUNS,
    PLAIN_WORDINGS,
    RELATION_WORDS,
    SIDE_WORDS,
    WORDINGS,
)
from g2vlm_fast.data.language.programs import (
    HOLDERS,
    SCENE,
    Program,
    held_by,
    of_class,
    relate,
    the,
)
from g2vlm_fast.data.language.situations import SIDES
from g2vlm_fast.data.language.wording import Wording
from g2vlm_fast.ontology import CLASSES, CONTAINERS, RELATIONS


@pytest.mark.parametrize(
    ("noun", "expected"),
    [
        ("chair", "chairs"), ("box", "boxes"), ("shelf", "shelves"), ("bench", "benches"),
        ("bookshelf", "bookshelves"), ("ceiling light", "ceiling lights"), ("couch", "couches"),
        ("chest of drawers", "chests of drawers"), ("vase", "vases"), ("toy", "toys"),
        ("canopy", "canopies"), ("piano", "pianos"), ("glass", "glasses"),
    ],
)  # fmt: skip
def test_plurals(noun: str, expected: str) -> None:
    assert plural(noun) == expected


def test_every_class_has_a_plural_and_an_article_of_its_own() -> None:
    assert set(PLURALS) == set(CLASSES)
    assert len(set(PLURALS.values()) | set(CLASSES)) == 2 * len(CLASSES)
    for name in CLASSES:
        assert with_article(name).split()[0] == ("an" if name[0] in "aeiou" else "a")
    AnswerVocabulary().encode(" ".join([*CLASSES, *PLURALS.values()]))


def test_numbers_are_words_up_to_twenty() -> None:
    assert numbered(1, "armchair") == "an armchair"
    assert numbered(2, "red box") == "two red boxes"
    assert numbered(20, "cup") == "twenty cups"
    assert numbered(21, "cup") == "many cups"
    with pytest.raises(ValueError, match="at least 1, got 0"):
        numbered(0, "cup")


def test_lists() -> None:
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"], "or") == "a, b or c"


def test_classes_that_words_speak_of_exist() -> None:
    assert set(NOUNS) <= set(CLASSES)
    assert set(CONTAINERS) <= set(CLASSES)


def test_no_noun_names_two_classes() -> None:
    nouns = [noun for name in CLASSES for noun in NOUNS.get(name, (name,))]
    assert len(set(nouns)) == len(nouns)
    assert all(NOUNS[name][0] == name for name in NOUNS)
    plurals = [plural(noun) for noun in nouns]
    assert not set(plurals) & set(nouns)


def test_every_relation_and_side_has_words_that_mean_nothing_else() -> None:
    assert set(RELATION_WORDS) == set(RELATIONS)
    assert set(SIDE_WORDS) == set(SIDES)
    assert set(HOLDER_WORDS) == set(HOLDERS)
    for table in (RELATION_WORDS, SIDE_WORDS, HOLDER_WORDS):
        words = [word for several in table.values() for word in several]
        assert len(set(words)) == len(words)


@pytest.mark.parametrize("kind", WORDINGS)
def test_wordings_of_a_kind_have_the_same_slots(kind: str) -> None:
    slots = [
        {
            "more" if name == "most" else name  # an adjective as comparative or superlative
            for _, name, _, _ in string.Formatter().parse(template)
            if name and name != "place"
        }
        for template in WORDINGS[kind]
    ]
    assert all(found == slots[0] for found in slots)
    assert len(set(WORDINGS[kind])) == len(WORDINGS[kind])
    assert all(re.fullmatch(r"[a-z{].*[?.]", template) for template in WORDINGS[kind])


@pytest.mark.parametrize("kind", WORDINGS)
def test_every_kind_of_question_has_a_wording_that_training_never_sees(kind: str) -> None:
    unseen = held_out(WORDINGS[kind], PLAIN_WORDINGS)
    training = Lexicon("training", Draws(0))
    seen = {training.wording(kind) for _ in range(200)}
    assert seen == set(WORDINGS[kind]) - {unseen}
    assert {Lexicon("held out", Draws(0)).wording(kind) for _ in range(20)} == {unseen}
    simple = Lexicon("simple", Draws(0))
    assert {simple.wording(kind) for _ in range(50)} == set(WORDINGS[kind][:PLAIN_WORDINGS])


def test_what_is_held_out_is_fixed() -> None:
    assert held_out(("sofa", "couch", "settee")) == held_out(("sofa", "settee", "couch"))
    assert held_out(("desk",)) is None


def test_an_unknown_style_is_refused() -> None:
    with pytest.raises(ValueError, match="style must be one of"):
        Lexicon("poetic", Draws(0))  # type: ignore[arg-type]


def test_noun_phrases_say_the_program() -> None:
    wording = Wording(Lexicon("simple", Draws(0)))
    door, rug = the(of_class("door")), the(of_class("rug", "red"))
    shelves = relate(of_class("shelf", "white"), "left of", door)
    largest = Program("superlative", (shelves,), "largest")
    assert wording.the(the(largest)) == "the largest white shelf left of the door"
    hung = held_by(of_class("shelf", "white"), "wall")
    assert wording.the(the(hung)) == "the white shelf on the wall"
    assert wording.noun_phrase(hung, several=True) == "white shelves on the wall"
    assert wording.noun_phrase(shelves, several=True) == "white shelves left of the door"
    between = Program("relate_between", (SCENE, door, rug))
    assert wording.noun_phrase(between) == "object between the door and the red rug"
    own = relate(of_class("lamp"), "behind", the(of_class("sofa")), "own")
    assert wording.noun_phrase(own) == "lamp behind the sofa from its own point of view"
    seen = relate(of_class("lamp"), "behind", door, "view 2")
    assert wording.noun_phrase(seen) == "lamp behind the door in view 2"
    nearest = Program("nearest", (of_class("chair"), door))
    assert wording.noun_phrase(nearest) == "chair nearest to the door"
    with pytest.raises(ValueError, match="must end in unique"):
        wording.the(of_class("door"))
    with pytest.raises(ValueError, match="no noun phrase says 'union'"):
        wording.noun_phrase(Program("union", (SCENE, SCENE)))


def test_no_relation_is_denied_twice() -> None:
    denied = {negated(words) for wordings in RELATION_WORDS.values() for words in wordings}
    assert {"far from", "not near", "not left of"} <= denied
    assert not any(words.count("not ") > 1 for words in denied)
