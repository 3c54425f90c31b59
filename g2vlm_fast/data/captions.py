"""True descriptions of whole scenes."""

from __future__ import annotations

from g2vlm_fast.data.answers import CAPTION_TEMPLATES, NUMBER_WORDS, PLURALS, RELATION_SENTENCE
from g2vlm_fast.data.scene import Query
from g2vlm_fast.data.speaker import FRAME, Speaker, with_article
from g2vlm_fast.ontology import SIMPLE_RELATIONS
from g2vlm_fast.records import Task

_CAPTION_THINGS = 4


def statement(speaker: Speaker) -> Query:
    """Describe everything in the scene, as the text of the query."""
    things = speaker.draws.shuffled(range(len(speaker.facts)))
    text = _describe(speaker, things, sentences=2)
    return Query(text=text, task=Task.CAPTION, kind="statement", frame=FRAME, spoken=text)


def caption(speaker: Speaker) -> Query:
    """Ask for a description; the answer names up to four objects and relates two of them."""
    things = speaker.draws.shuffled(range(len(speaker.facts)))[:_CAPTION_THINGS]
    answer = _describe(speaker, things, sentences=1)
    return Query(
        text=speaker.template("caption"),
        task=Task.CAPTION,
        kind="caption",
        answer=answer,
        frame=FRAME,
        spoken=f"{answer} (directions seen from {FRAME})",
    )


def _describe(speaker: Speaker, things: list[int], sentences: int) -> str:
    """A sentence that lists things, then some that relate two of them."""
    names = [speaker.name(index) for index in things]
    counted = []
    for name in dict.fromkeys(names):
        number = names.count(name)
        color, kind = name.split()
        several = f"{NUMBER_WORDS[number]} {color} {PLURALS[kind]}"
        counted.append(with_article(name) if number == 1 else several)
    listed = ", ".join(counted[:-1]) + (" and " if len(counted) > 1 else "") + counted[-1]
    text = speaker.draws.choice(CAPTION_TEMPLATES).format(things=listed)
    return " ".join([text, *_relation_sentences(speaker, things, sentences)])


def _relation_sentences(speaker: Speaker, things: list[int], count: int) -> list[str]:
    pairs = [(i, j) for i in things for j in things if i != j]
    sentences: list[str] = []
    for subject, anchor in speaker.draws.shuffled(pairs):
        held = [r for r in SIMPLE_RELATIONS if speaker.facts.label(subject, r, anchor) == 1]
        thing = speaker.facts.describe(subject, speaker.draws, simple=True)
        other = speaker.facts.describe(anchor, speaker.draws, simple=True)
        plain = all(d is not None and d.superlative is None for d in (thing, other))
        if held and plain and len(sentences) < count:
            relation = "on" if "on" in held else speaker.draws.choice(held)
            sentences.append(
                RELATION_SENTENCE.format(subject=thing, relation=relation, object=other)
            )
    return sentences
