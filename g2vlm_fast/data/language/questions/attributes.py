"""References, and questions about what there is, of which colour and of which size."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from g2vlm_fast.data.language.grammar import NUMBER_WORDS, numbered, plural, with_article
from g2vlm_fast.data.language.programs import Program, of_class
from g2vlm_fast.data.language.questions.asking import (
    Proposal,
    ask,
    ask_balanced,
    ask_color,
    ask_yes_or_no,
    spoken_of,
)
from g2vlm_fast.data.language.questions.things import RELATIONS_OF_THINGS, beside, colored, held
from g2vlm_fast.data.language.speaker import Speaker
from g2vlm_fast.data.scene import Query
from g2vlm_fast.ontology import CLASSES, COLORS, SIMPLE_CLASSES
from g2vlm_fast.records import Task

Describe = Callable[[Speaker], Program | None]


def phrase(speaker: Speaker) -> Query | None:
    """Refer to an object, half of the time by its relation to another one."""
    index = speaker.any_object()
    by_relation = speaker.draws.chance(0.5)
    reference = speaker.references.related(index) if by_relation else None
    reference = reference or speaker.references.any(index)
    if reference is None:
        return None
    return Query(
        text=speaker.the(reference),
        task=Task.REFERRING,
        kind="phrase",
        referred=index,
        frame=", ".join(reference.frames()),
        program=reference,
        objects=spoken_of(speaker, reference),
    )


def existence(speaker: Speaker) -> Query | None:
    """Ask whether something is there, as often with "yes" as with "no" for an answer."""
    if not speaker.simple:
        return _existence(speaker)
    facts = speaker.facts
    present = speaker.draws.chance(0.5)
    if present:
        index = speaker.any_object()
        color, name = facts.colors[index], facts.classes[index]
        color = color if speaker.draws.chance(0.5) else ""
    else:
        absent = _absent(speaker)
        if absent is None:
            return None
        color, name = absent
    things = of_class(name, color)
    thing = with_article(speaker.wording.noun_phrase(things))
    note = f", there is {thing}" if present else f", there is not {thing}"
    return ask(
        speaker, "existence", Proposal(Program("exist", (things,)), {"thing": thing}), note=note
    )


def _existence(speaker: Speaker) -> Query | None:
    """Ask in one way, and in another where it cannot be asked with both answers.

    Within every way "yes" and "no" are equally likely, so that the way does not tell the answer.
    """
    relations: list[Describe] = [
        partial(beside, relation=relation)
        for relation in speaker.draws.shuffled(RELATIONS_OF_THINGS)
    ]
    ways: list[Describe] = [colored, colored, held, *relations[:2]]
    for describe in (speaker.draws.choice(ways), *relations[2:4], colored):
        query = ask_yes_or_no(
            speaker, "existence", partial(_is_there, speaker, describe), attempts=24
        )
        if query is not None:
            return query
    return None


def _is_there(speaker: Speaker, describe: Describe) -> Proposal | None:
    things = describe(speaker)
    if things is None:
        return None
    thing = with_article(speaker.wording.noun_phrase(things))
    return Proposal(Program("exist", (things,)), {"thing": thing})


def _absent(speaker: Speaker) -> tuple[str, str] | None:
    """What the scene lacks: by turns a class, and one of its classes in a new colour.

    So a question with a colour is as often answered "no" as one without. None where all are there.
    """
    facts = speaker.facts
    missing = [name for name in SIMPLE_CLASSES if name not in facts.classes]
    if missing and speaker.draws.chance(0.5):
        return speaker.draws.choice([""]), speaker.draws.choice(missing)
    name = facts.classes[speaker.any_object()]
    taken = {c for c, n in zip(facts.colors, facts.classes, strict=True) if n == name}
    free = [color for color in COLORS if color not in taken]
    return (speaker.draws.choice(free), name) if free else None


def count(speaker: Speaker) -> Query | None:
    """Ask how many objects of a class there are, sometimes none."""
    if not speaker.simple:
        return ask_balanced(speaker, "count", lambda: _counted(speaker))
    present = speaker.draws.chance(0.7)
    name = speaker.facts.classes[speaker.any_object()]
    name = name if present else speaker.draws.choice(SIMPLE_CLASSES)
    number = speaker.facts.classes.count(name)
    counted = numbered(number, name) if number > 1 else f"{NUMBER_WORDS[number]} "
    spoken = counted if number > 1 else counted + (name if number else plural(name))
    proposal = Proposal(Program("count", (of_class(name),)), {"things": of_class(name)})
    return ask(speaker, "count", proposal, note=f": {spoken}")


def _counted(speaker: Speaker) -> Proposal | None:
    """A class, a class of a colour, on wall or floor, or beside an object."""
    name = speaker.facts.classes[speaker.any_object()]
    form = speaker.draws.integer(0, 4)
    if form == 0:
        name = name if speaker.draws.chance(0.8) else speaker.draws.choice(CLASSES)
        things = of_class(name)
    elif form == 1:
        things = of_class(name, speaker.facts.colors[speaker.any_object()])
    else:
        relation = speaker.draws.choice(RELATIONS_OF_THINGS)
        found = held(speaker) if form == 2 else beside(speaker, relation)
        if found is None:
            return None
        things = found
    return Proposal(Program("count", (things,)), {"things": things})


def color(speaker: Speaker) -> Query | None:
    """Ask the colour of an object that can be told from others without it."""
    if speaker.simple:
        proposal = _color_of(speaker, speaker.any_object())
        return None if proposal is None else ask(speaker, "color", proposal)
    return ask_color(speaker, "color", lambda: _color_of(speaker, speaker.any_object()))


def _color_of(speaker: Speaker, index: int) -> Proposal | None:
    alone = speaker.facts.classes.count(speaker.facts.classes[index]) == 1
    reference = speaker.references.plain(index) if alone else speaker.references.related(index)
    if reference is None or _tells_color(reference):
        return None
    return Proposal(Program("query_color", (reference,)), {"thing": reference}, reference)


def _tells_color(reference: Program) -> bool:
    """Whether the head of a noun phrase, not what it is related to, names a colour."""
    part: Program | None = reference
    while part is not None:
        if part.operation == "filter_color":
            return True
        part = part.inputs[0] if part.inputs else None
    return False


def height(speaker: Speaker) -> Query | None:
    """Ask how tall an object is."""
    return _extent(speaker, "height")


def width(speaker: Speaker) -> Query | None:
    """Ask how long the longer horizontal side of an object is."""
    return _extent(speaker, "width")


def _extent(speaker: Speaker, kind: str) -> Query | None:
    reference = speaker.references.any(speaker.any_object())
    if reference is None:
        return None
    program = Program("query_size", (reference,), kind)
    return ask(speaker, kind, Proposal(program, {"thing": reference}, reference), note=" m")


def room_size(speaker: Speaker) -> Query:
    """Ask for the area of the floor."""
    proposal = Proposal(Program("room_size"), {})
    return ask(speaker, "room_size", proposal, note=" square metres")
