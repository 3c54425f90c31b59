"""Questions that compare numbers, sizes and distances, and the order in which views show."""

from __future__ import annotations

from functools import reduce

from g2vlm_fast.data.language.programs import Program, of_class, the
from g2vlm_fast.data.language.questions.asking import Proposal, Slot, ask_balanced, ask_yes_or_no
from g2vlm_fast.data.language.speaker import Speaker
from g2vlm_fast.data.scene import Query

_COMPARATIVES = {"largest": "larger", "smallest": "smaller", "tallest": "taller"}
_LIKE_SIZES = 3.0  # ratio of volumes
_CHOICES = 4  # things to choose the nearest from, as in VSI-Bench


def count_comparison(speaker: Speaker) -> Query | None:
    """Ask whether there are more, or fewer, of one class than of another."""
    word = speaker.draws.choice(["more", "fewer"])

    def propose() -> Proposal | None:
        pair = _two_classes(speaker)
        if pair is None:
            return None
        program = Program(word, tuple(Program("count", (things,)) for things in pair))
        return Proposal(program, {"more": word, "things": pair[0], "others": pair[1]})

    return ask_yes_or_no(speaker, "count_comparison", propose)


def count_equality(speaker: Speaker) -> Query | None:
    """Ask whether there are as many of one class as of another."""

    def propose() -> Proposal | None:
        pair = _two_classes(speaker)
        if pair is None:
            return None
        program = Program("equal", tuple(Program("count", (things,)) for things in pair))
        return Proposal(program, {"things": pair[0], "others": pair[1]})

    return ask_yes_or_no(speaker, "count_equality", propose)


def _two_classes(speaker: Speaker) -> tuple[Program, Program] | None:
    names = sorted(set(speaker.facts.classes))
    if len(names) < 2:
        return None
    first, second = speaker.draws.shuffled(names)[:2]
    return of_class(first), of_class(second)


def extreme(speaker: Speaker) -> Query | None:
    """Ask which of two things of different classes is the larger, smaller or taller one."""
    word = speaker.draws.choice(list(_COMPARATIVES))

    def propose() -> Proposal | None:
        choices = _choices(speaker, 2)
        if choices is None or not _comparable(speaker, choices):
            return None
        found = the(Program("superlative", (_any_of(choices),), word))
        slots: dict[str, Slot] = {"more": _COMPARATIVES[word], "most": word, "choices": choices}
        return Proposal(Program("query_class", (found,)), slots, found)

    return ask_balanced(speaker, "extreme", propose)


def _comparable(speaker: Speaker, references: tuple[Program, ...]) -> bool:
    """Whether neither of two things is so much larger that their classes tell it."""
    volumes = [speaker.facts.volumes[speaker.executor.run(thing)] for thing in references]
    return max(volumes) <= _LIKE_SIZES * min(volumes)


def height_comparison(speaker: Speaker) -> Query | None:
    """Ask whether one thing is taller than another."""

    def propose() -> Proposal | None:
        pair = _choices(speaker, 2)
        if pair is None:
            return None
        slots = {"thing": pair[0], "other": pair[1]}
        return Proposal(Program("taller", pair), slots, pair[0])

    return ask_yes_or_no(speaker, "height_comparison", propose)


def relative_distance(speaker: Speaker) -> Query | None:
    """Ask which of four things of different classes is nearest to another one."""

    def propose() -> Proposal | None:
        drawn = _choices(speaker, _CHOICES + 1) or _choices(speaker, 3)
        if drawn is None:
            return None
        anchor, choices = drawn[0], drawn[1:]
        found = the(Program("nearest", (_any_of(choices), anchor)))
        slots: dict[str, Slot] = {"thing": anchor, "choices": choices}
        return Proposal(Program("query_class", (found,)), slots, found)

    return ask_balanced(speaker, "relative_distance", propose, attempts=8)


def nearer(speaker: Speaker) -> Query | None:
    """Ask whether one thing is nearer to a third than another."""

    def propose() -> Proposal | None:
        three = _choices(speaker, 3)
        if three is None:
            return None
        slots = dict(zip(("thing", "other", "anchor"), three, strict=True))
        return Proposal(Program("nearer", three), slots, three[0])

    return ask_yes_or_no(speaker, "nearer", propose)


def appearance_order(speaker: Speaker) -> Query | None:
    """Ask in which order three classes first appear in the views."""

    def propose() -> Proposal | None:
        names = sorted(set(speaker.facts.classes))
        if len(names) < 3 or speaker.facts.num_views < 3:
            return None
        groups = tuple(of_class(name) for name in speaker.draws.shuffled(names)[:3])
        return Proposal(Program("appearance_order", groups), {"choices": _named(speaker, groups)})

    return ask_balanced(speaker, "appearance_order", propose, attempts=24)


def _named(speaker: Speaker, groups: tuple[Program, ...]) -> str:
    return ", ".join(speaker.wording.noun_phrase(things) for things in groups)


def _choices(speaker: Speaker, count: int) -> tuple[Program, ...] | None:
    """References to objects of different classes, in random order."""
    chosen: dict[str, Program] = {}
    for index in speaker.draws.shuffled(range(len(speaker.facts))):
        name = speaker.facts.classes[index]
        reference = None if name in chosen else speaker.references.plain(index)
        if reference is not None:
            chosen[name] = reference
            if len(chosen) == count:
                return tuple(chosen.values())
    return None


def _any_of(references: tuple[Program, ...]) -> Program:
    sets = [reference.inputs[0] for reference in references]
    return reduce(lambda first, second: Program("union", (first, second)), sets)
