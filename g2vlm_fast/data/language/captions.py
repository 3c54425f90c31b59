"""True descriptions: of whole rooms in three lengths, of objects, and from a place.

Every sentence is a program that was executed: a list of things is their counts, a sentence that
relates two things is a relation that holds, and what is said of an object singles it out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from g2vlm_fast.data.language.answers import (
    CAPTION_TEMPLATES,
    LONGEST_ANSWER,
    RELATION_SENTENCE,
    split_words,
)
from g2vlm_fast.data.language.grammar import listed, numbered
from g2vlm_fast.data.language.programs import (
    SCENE,
    Program,
    frame_for,
    holds,
    of_class,
    relate,
    the,
)
from g2vlm_fast.data.language.questions.settings import draw_setting
from g2vlm_fast.data.language.situations import SIDES
from g2vlm_fast.data.language.speaker import FRAME, Speaker
from g2vlm_fast.data.language.wording import Wording
from g2vlm_fast.data.scene import Query
from g2vlm_fast.ontology import RELATIONS, SIMPLE_RELATIONS
from g2vlm_fast.records import Task

_CAPTION_THINGS, _STATEMENT_THINGS = 4, 12
_DESCRIPTION_SENTENCES = 6
_SIDE_THINGS = 4
_LOW = 0.2  # metres; lower things are told to the centimetre, the others to the decimetre
_COMPARISONS = ("higher than", "lower than", "bigger than", "smaller than", "aligned with")
_PLACES = tuple(name for name in RELATIONS if name not in _COMPARISONS)


def statement(speaker: Speaker) -> Query:
    """Describe what is in the scene (of many things the largest), as the text of the query."""
    ranked = sorted(range(len(speaker.facts)), key=lambda i: -speaker.facts.volumes[i])
    things = speaker.draws.shuffled(ranked[:_STATEMENT_THINGS])
    related = _relation_sentences(speaker, speaker.wording, things, 2)
    text = " ".join([_list_sentence(speaker, speaker.wording, things), *related])
    return _description(speaker, "statement", text)


def caption(speaker: Speaker) -> Query:
    """Ask for a description; the answer names up to four objects and relates two of them."""
    things = speaker.draws.shuffled(range(len(speaker.facts)))[:_CAPTION_THINGS]
    answer = _list_sentence(speaker, speaker.plain_wording, things)
    for sentence in _relation_sentences(speaker, speaker.plain_wording, things, 1):
        if len(split_words(f"{answer} {sentence}")) < LONGEST_ANSWER:
            answer = f"{answer} {sentence}"
    wording = speaker.lexicon.wording("caption")
    return Query(
        text=wording.format(place=speaker.facts.place),
        task=Task.CAPTION,
        kind="caption",
        answer=answer,
        frame=FRAME,
        spoken=f"{answer} (directions seen from {FRAME})",
        wording=wording,
    )


def description(speaker: Speaker) -> Query:
    """Describe the scene at length: a list and up to six sentences that relate two things."""
    ranked = sorted(range(len(speaker.facts)), key=lambda i: -speaker.facts.volumes[i])
    things = speaker.draws.shuffled(ranked[: 2 * _STATEMENT_THINGS])
    related = _relation_sentences(speaker, speaker.wording, things, _DESCRIPTION_SENTENCES)
    text = " ".join([_list_sentence(speaker, speaker.wording, things), *related])
    return _description(speaker, "description", text)


def object_caption(speaker: Speaker) -> Query | None:
    """Describe one object by its looks, its size and two relations, which single it out."""
    index = speaker.any_object()
    facts = speaker.facts
    name = of_class(facts.classes[index], facts.colors[index])
    matching, clauses = name, []
    for other in speaker.draws.shuffled(range(len(facts))):
        anchor = None if other == index else speaker.references.plain(other)
        held = [r for r in SIMPLE_RELATIONS if facts.labels(r)[index, other] == 1]
        if anchor is None or not held:
            continue
        relation = speaker.draws.choice(held)
        matching = relate(matching, relation, anchor)
        clauses.append(f"{speaker.lexicon.relation(relation)} {speaker.the(anchor)}")
        if len(clauses) == 2:
            break
    if not clauses or speaker.executor.referent(matching) != index:
        return None
    (noun,) = _counted(speaker, speaker.wording, [index], [index])
    height = facts.heights[index]
    told = f"{height:.2f}" if height < _LOW else f"{height:.1f}"
    return Query(
        text=f"this is {noun}, {told} meters tall. it is {listed(clauses)}.",
        task=Task.REFERRING,
        kind="object_caption",
        referred=index,
        frame=", ".join(matching.frames()),
        program=the(matching),
        objects=tuple(sorted({index, *_anchors(speaker, matching)})),
    )


def situated_description(speaker: Speaker) -> Query | None:
    """Describe what is on each side of somebody who stands in the room."""
    setting = draw_setting(speaker)
    if setting is None:
        return None
    sentences, objects = [setting.sentence], set(setting.told)
    for side in speaker.draws.shuffled(SIDES):
        places = [Program("relate_place", (SCENE, p), side) for p in setting.programs()]
        seen = frozenset.intersection(*(speaker.executor.run(p).certain for p in places))
        told = speaker.draws.shuffled(sorted(seen))[:_SIDE_THINGS]
        if told:
            nouns = _counted(speaker, speaker.wording, told, seen)
            verb = "is" if len(nouns) == 1 and nouns[0].startswith(("a ", "an ")) else "are"
            things = listed(nouns)
            sentences.append(f"{speaker.lexicon.side(side)} there {verb} {things}.")
            objects |= set(told)
    if len(sentences) == 1:
        return None
    text = " ".join(sentences)
    return Query(
        text=text,
        task=Task.CAPTION,
        kind="situated_description",
        frame="situation",
        spoken=text,
        situation=setting.spots[0],
        objects=tuple(sorted(objects)),
    )


def _description(speaker: Speaker, kind: str, text: str) -> Query:
    return Query(text=text, task=Task.CAPTION, kind=kind, frame=FRAME, spoken=text)


def _anchors(speaker: Speaker, matching: Program) -> set[int]:
    found = (speaker.executor.run(p) for p in matching.walk() if p.operation == "unique")
    return {index for index in found if index is not None}


def _counted(
    speaker: Speaker, wording: Wording, things: Sequence[int], among: Iterable[int]
) -> list[str]:
    """Kinds of things, by class and colour, each with how many there are among some objects."""
    kinds = list(zip(speaker.facts.classes, speaker.facts.colors, strict=True))
    numbers = Counter(kinds[i] for i in among)
    return [
        numbered(numbers[name, color], wording.noun_phrase(of_class(name, color)))
        for name, color in dict.fromkeys(kinds[i] for i in things)
    ]


def _list_sentence(speaker: Speaker, wording: Wording, things: list[int]) -> str:
    template = speaker.draws.choice(CAPTION_TEMPLATES)
    things_said = listed(_counted(speaker, wording, things, range(len(speaker.facts))))
    return template.format(place=speaker.facts.place, things=things_said)


def _relation_sentences(
    speaker: Speaker, wording: Wording, things: list[int], count: int
) -> list[str]:
    """Sentences that relate two things, each of which is told by class and colour alone."""
    relations = SIMPLE_RELATIONS if speaker.simple else _PLACES
    plain = {i: ref for i in things if (ref := speaker.references.plain(i)) is not None}
    told_by = ("filter_class", "filter_color")
    named = {i: ref for i, ref in plain.items() if ref.inputs[0].operation in told_by}
    pairs = speaker.draws.shuffled([(i, j) for i in named for j in named if i != j])
    sentences: list[str] = []
    told: set[frozenset[int]] = set()
    for subject, anchor in pairs:
        held = [r for r in relations if speaker.facts.labels(r)[subject, anchor] == 1]
        if len(sentences) == count or not held or frozenset((subject, anchor)) in told:
            continue
        support = [name for name in ("on", "in") if name in held]
        relation = support[0] if support else speaker.draws.choice(held)
        proof = holds(named[subject], relation, named[anchor], frame_for(relation, FRAME))
        if speaker.executor.run(proof) is not True:
            continue
        told.add(frozenset((subject, anchor)))
        sentences.append(
            RELATION_SENTENCE.format(
                subject=wording.the(named[subject]),
                relation=wording.lexicon.relation(relation),
                object=wording.the(named[anchor]),
            )
        )
    return sentences
