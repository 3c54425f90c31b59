"""Questions about where objects are to each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.data.language.execution import Executor
from g2vlm_fast.data.language.grammar import negated, with_article
from g2vlm_fast.data.language.programs import OWN_FRAME, SCENE, Program, holds, relate
from g2vlm_fast.data.language.questions.asking import Proposal, Slot, ask, ask_balanced
from g2vlm_fast.data.language.speaker import FRAME, Speaker
from g2vlm_fast.data.language.visibility import least_pixels
from g2vlm_fast.data.scene import Query
from g2vlm_fast.ontology import DIRECTIONAL_RELATIONS, RELATIONS, SIMPLE_RELATIONS

_NOTHING_SHARE = 0.15  # of the direction questions, where the scene has some
_LEAST_DISTANCE = 0.05  # metres; nearer things touch, and nobody asks how far apart they are
_ANCHORS = 8  # objects that a question about a direction tries
_TRIES = 12  # pairs that a question about a relation tries


def direction(speaker: Speaker) -> Query | None:
    """Ask what is in a direction of an object, on it or in it.

    A fixed share of answers is "nothing"; what is in a thing is asked where something is.
    """
    more = () if speaker.simple else ("above", "below", "in")
    found: list[tuple[str, Proposal, str]] = []
    for index in speaker.draws.shuffled(range(len(speaker.facts)))[:_ANCHORS]:
        anchor = speaker.references.any(index)
        if anchor is None:
            continue
        for relation in (*DIRECTIONAL_RELATIONS, "on", *more):
            program = Program("name_nearest", (relate(SCENE, relation, anchor), anchor))
            answer = speaker.executor.run(program)
            if relation == "in" and answer == "nothing":
                continue  # nobody knows of a closed cabinet, and nobody asks of a lamp
            if answer is not None:
                words = speaker.lexicon.relation(relation)
                slots: dict[str, Slot] = {"relation": words, "thing": anchor}
                found.append((answer, Proposal(program, slots), relation))
    something = [entry for entry in found if entry[0] != "nothing"]
    nothing = [entry for entry in found if entry[0] == "nothing"]
    if nothing and (not something or speaker.draws.chance(_NOTHING_SHARE)):
        something = nothing
    if not something:
        return None
    if not speaker.simple:
        answer = speaker.draws.choice(sorted({entry[0] for entry in something}))
        something = [entry for entry in something if entry[0] == answer]
    return _name(speaker, *speaker.draws.choice(something))


def _name(speaker: Speaker, answer: str, proposal: Proposal, relation: str) -> Query:
    """Ask, and say the colour of the answer aloud."""
    objects, anchor = proposal.program.inputs
    if answer == "nothing":
        return ask(speaker, "direction", proposal)
    nearest = Program("unique", (Program("nearest", (objects, anchor)),))
    proposal = Proposal(proposal.program, proposal.slots, nearest)
    index = speaker.executor.run(nearest)
    said = with_article(speaker.name(index))
    return ask(speaker, "direction", proposal, note=f": {said}")


def relation(speaker: Speaker) -> Query | None:
    """Ask whether a relation holds.

    The predicate is chosen first, then whether it holds, so that neither tells the answer. Where
    "on" or "in" does not hold, one of the two is on something, or has something on it, all the
    same: who has not seen the room knows, too, that no bed is in a cup.
    """
    names = SIMPLE_RELATIONS if speaker.simple else RELATIONS
    labels = {name: speaker.facts.labels(name) for name in names}
    if not speaker.simple:
        labels |= {name: _with_likely_failures(labels[name]) for name in ("on", "in")}
    return _holds(speaker, "relation", labels, FRAME)


def _with_likely_failures(labels: NDArray[np.int8]) -> NDArray[np.int8]:
    """Labels with those 0 left out whose subject and object hold in no other pair."""
    holds = labels == 1
    likely = holds.any(1)[:, None] | holds.any(0)[None]
    return np.where((labels == 0) & ~likely, np.int8(-1), labels)


def view_relation(speaker: Speaker) -> Query | None:
    """Ask for a direction as a view other than the first sees it, of objects that it shows."""
    if speaker.facts.num_views < 2:
        return None
    view = speaker.draws.integer(1, speaker.facts.num_views - 1)
    shown = speaker.facts.pixels[view] >= least_pixels(speaker.facts.image_size)
    both = shown[:, None] & shown[None]
    frame = f"view {view}"
    labels = {
        name: np.where(both, speaker.facts.labels(name, frame), -1)
        for name in DIRECTIONAL_RELATIONS
    }
    return _holds(speaker, "view_relation", labels, frame)


def own_relation(speaker: Speaker) -> Query | None:
    """Ask for a direction as an object that has a front would see it."""
    labels = {name: speaker.facts.labels(name, OWN_FRAME) for name in DIRECTIONAL_RELATIONS}
    return _holds(speaker, "own_relation", labels, OWN_FRAME)


def _holds(
    speaker: Speaker, kind: str, labels: dict[str, NDArray[np.int8]], frame: str
) -> Query | None:
    pairs = {name: (_pairs(found, 0), _pairs(found, 1)) for name, found in labels.items()}
    able = [name for name, (fails, holding) in pairs.items() if fails and holding]
    if not able:
        return None
    name = speaker.draws.choice(able)
    truth = speaker.draws.integer(0, 1)
    for subject, other in speaker.draws.shuffled(pairs[name][truth])[:_TRIES]:
        thing = speaker.references.plain(subject)
        anchor = speaker.references.plain(other)
        if thing is not None and anchor is not None:
            words = speaker.lexicon.relation(name)
            slots: dict[str, Slot] = {"thing": thing, "relation": words, "other": anchor}
            if kind == "view_relation":
                slots["view"] = frame.removeprefix("view ")
            proposal = Proposal(holds(thing, name, anchor, frame), slots, thing)
            said = words if truth else negated(words)
            note = f", {speaker.the(thing)} is {said} {speaker.the(anchor)}"
            return ask(speaker, kind, proposal, note=note)
    return None


def _pairs(labels: NDArray[np.int8], label: int) -> list[tuple[int, int]]:
    return [(int(subject), int(other)) for subject, other in np.argwhere(labels == label)]


def between(speaker: Speaker) -> Query | None:
    """Ask what is between two objects."""
    return ask_balanced(speaker, "between", lambda: _between(speaker), attempts=24)


def _between(speaker: Speaker) -> Proposal | None:
    first = speaker.references.plain(speaker.any_object())
    second = speaker.references.plain(speaker.any_object())
    if first is None or second is None or first == second:
        return None
    things = Program("relate_between", (SCENE, first, second))
    found = Program("unique", (things,))
    if _referent(speaker.executor, found) is None:
        return None
    return Proposal(Program("query_class", (found,)), {"thing": first, "other": second}, found)


def _referent(executor: Executor, reference: Program) -> int | None:
    index: int | None = executor.run(reference)
    return index


def distance(speaker: Speaker) -> Query | None:
    """Ask how far apart the closest points of two boxes are."""
    subject, anchor = speaker.any_object(), speaker.any_object()
    thing, other = speaker.references.plain(subject), speaker.references.plain(anchor)
    if thing is None or other is None or subject == anchor:
        return None
    if speaker.facts.gaps[subject][anchor] < _LEAST_DISTANCE:
        return None
    program = Program("distance", (thing, other))
    proposal = Proposal(program, {"thing": thing, "other": other}, thing)
    return ask(speaker, "distance", proposal, note=" m between the closest points of the boxes")
