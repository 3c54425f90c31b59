"""Things of a room as questions describe them: whether there are any, and how many.

Every description is made of words that are true of something in the room, so that none of them
alone tells the answer.
"""

from __future__ import annotations

from g2vlm_fast.data.language.holders import HELD_IN_SEVERAL_WAYS
from g2vlm_fast.data.language.programs import Program, held_by, of_class, relate
from g2vlm_fast.data.language.speaker import Speaker

RELATIONS_OF_THINGS = ("left of", "right of", "in front of", "behind", "near", "on", "in")


def colored(speaker: Speaker) -> Program:
    """Describe things by a class of the room and a colour of the room."""
    index, other = speaker.any_object(), speaker.any_object()
    painted = index if speaker.draws.chance(0.5) else other
    return of_class(speaker.facts.classes[index], speaker.facts.colors[painted])


def held(speaker: Speaker) -> Program | None:
    """Describe things by class, colour and what holds them.

    The class is one of which some hang on a wall of this room and some do not; None where there
    is no such class.
    """
    facts = speaker.facts
    on_wall = facts.held_by["wall"]
    names = [
        name
        for name in HELD_IN_SEVERAL_WAYS
        if {0, 1} <= {int(on_wall[i]) for i, own in enumerate(facts.classes) if own == name}
    ]
    if not names:
        return None
    name = speaker.draws.choice(names)
    colors = [color for own, color in zip(facts.classes, facts.colors, strict=True) if own == name]
    color = speaker.draws.choice(("", *colors))
    return held_by(of_class(name, color), speaker.draws.choice(("wall", "floor")))


def beside(speaker: Speaker, relation: str) -> Program | None:
    """Describe things by class and by a relation to an object of the room.

    What is on or in an object is asked where something is, of the class of what is there or of
    something else that stands on or in anything: nobody asks for a bed in a cup. None where
    nothing is, or where no words single the object out.
    """
    facts = speaker.facts
    subjects: list[int] = list(range(len(facts)))
    if relation in ("on", "in"):
        holds = facts.labels(relation) == 1
        if not holds.any():
            return None
        anchor = speaker.draws.choice(holds.any(0).nonzero()[0].tolist())
        carried = (facts.labels("on") == 1) | (facts.labels("in") == 1)
        there = holds[:, anchor] if speaker.draws.chance(0.5) else carried.any(1)
        subjects = there.nonzero()[0].tolist()
    else:
        anchor = speaker.any_object()
    reference = speaker.references.plain(anchor)
    name = facts.classes[speaker.draws.choice(subjects)]
    return None if reference is None else relate(of_class(name), relation, reference)
