"""How a question comes about: proposals are executed, and one is chosen by its answer.

The answer is drawn before the question wherever the answers are a closed set, so that neither
the kind of a question nor its words tell the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from g2vlm_fast.data.language.facts import Matches
from g2vlm_fast.data.language.grammar import listed
from g2vlm_fast.data.language.programs import Program, Sort, view_of
from g2vlm_fast.data.language.situations import Situation
from g2vlm_fast.data.language.speaker import Speaker
from g2vlm_fast.data.scene import Query
from g2vlm_fast.records import Task

Slot = Program | str | tuple[Program, ...]
"""What fills a brace of a template: a reference, a set in the plural, a list of choices, words."""

VSI_TYPES: dict[str, str] = {
    "count": "object count",
    "situated_count": "object count",
    "distance": "absolute distance",
    "situated_distance": "absolute distance",
    "height": "object size",
    "width": "object size",
    "room_size": "room size",
    "relative_distance": "relative distance",
    "nearer": "relative distance",
    "situated_which": "relative distance",
    "situated_other": "relative distance",
    "relative_direction_easy": "relative direction",
    "relative_direction_medium": "relative direction",
    "relative_direction_hard": "relative direction",
    "situated_turn": "relative direction",
    "route": "route plan",
    "appearance_order": "appearance order",
}
"""Tasks of VSI-Bench (Yang et al., "Thinking in Space", CVPR 2025) by kind of question."""

SQA3D_TYPES: tuple[str, ...] = ("what", "is", "how", "can", "which", "other")
"""Types of questions of SQA3D (Ma et al., ICLR 2023), told by the first word."""


@dataclass(frozen=True)
class Proposal:
    """A question that might be asked."""

    program: Program
    slots: Mapping[str, Slot]
    referred: Program | None = None  # the reference to the object that it is about
    wording: str = ""  # kind of its wordings; empty for those of the kind of question
    before: str = ""  # sentences that the question follows
    situation: Situation | None = None
    told: tuple[int, ...] = ()  # the objects that the sentences before speak of


def ask(speaker: Speaker, kind: str, proposal: Proposal, *, note: str = "") -> Query:
    """Put a proposal into words.

    Args:
        speaker: of the scene.
        kind: the kind of question.
        proposal: whose program has an answer.
        note: follows the spoken answer.

    Raises:
        ValueError: the program has no answer.
    """
    result = speaker.executor.run(proposal.program)
    if result is None:
        raise ValueError(f"ask: {proposal.program.to_json()} has no answer in this room")
    answer, value = _answer(proposal.program, result)
    template = speaker.lexicon.wording(proposal.wording or kind)
    slots = {name: _fill(speaker, slot) for name, slot in proposal.slots.items()}
    question = template.format(place=speaker.facts.place, **slots)
    frames = proposal.program.frames()
    referred = _referred(speaker, proposal)
    objects = {*spoken_of(speaker, proposal.program), *proposal.told}
    if referred is not None:
        objects.add(referred)
    seen = ", ".join(frame for frame in frames if view_of(frame) is not None)
    said = answer if value is None else f"{value:.2f}".rstrip("0").rstrip(".")
    spoken = f"{said}{note}" + (f" (seen from {seen})" if seen else "")
    return Query(
        text=f"{proposal.before} {question}".strip(),
        task=Task.QUESTION,
        kind=kind,
        answer=answer,
        value=value,
        referred=referred,
        frame=", ".join(frames),
        spoken=spoken,
        program=proposal.program,
        objects=tuple(sorted(objects)),
        situation=proposal.situation,
        wording=template,
        sqa3d_type=sqa3d_type(question),
        vsi_type=VSI_TYPES.get(kind, ""),
    )


def sqa3d_type(question: str) -> str:
    """Return the type of a question in SQA3D: its first word, or "other"."""
    first = question.split(" ", 1)[0]
    return first if first in SQA3D_TYPES else "other"


def spoken_of(speaker: Speaker, program: Program) -> tuple[int, ...]:
    """Return the objects that a program singles out, counts or chooses from, ascending."""
    found: set[int] = set()
    for part in program.walk():
        result = speaker.executor.run(part)
        if part.operation == "unique" and result is not None:
            found.add(result)
        elif part.gives not in (Sort.OBJECT, Sort.OBJECTS):
            for taken in part.inputs:
                matches = speaker.executor.run(taken)
                if isinstance(matches, Matches):
                    found |= matches.certain
    return tuple(sorted(found))


def found_answers(
    speaker: Speaker,
    propose: Callable[[], Proposal | None],
    attempts: int = 16,
    enough: frozenset[Any] | None = None,
) -> dict[Any, Proposal]:
    """Return the first proposal for every answer that comes up.

    Args:
        speaker: of the scene.
        propose: makes a proposal, or None.
        attempts: how many proposals are made.
        enough: answers after which no more is looked for.
    """
    found: dict[Any, Proposal] = {}
    for _ in range(attempts):
        proposal = propose()
        answer = None if proposal is None else speaker.executor.run(proposal.program)
        if proposal is not None and answer is not None:
            found.setdefault(answer, proposal)
            if enough is not None and enough <= found.keys():
                break
    return found


def ask_balanced(
    speaker: Speaker,
    kind: str,
    propose: Callable[[], Proposal | None],
    *,
    attempts: int = 16,
    least_answers: int = 1,
) -> Query | None:
    """Ask so that all answers that come up are equally likely.

    Args:
        speaker: of the scene.
        kind: the kind of question.
        propose: makes a proposal, or None.
        attempts: how many proposals are made.
        least_answers: how many different answers must come up; else nothing is asked, so that an
            answer that most rooms have is not the answer of most questions.
    """
    found = found_answers(speaker, propose, attempts)
    if len(found) < least_answers:
        return None
    return ask(speaker, kind, found[speaker.draws.choice(sorted(found))])


def ask_color(
    speaker: Speaker,
    kind: str,
    propose: Callable[[], Proposal | None],
    *,
    attempts: int = 16,
    least_answers: int = 1,
) -> Query | None:
    """Ask for a colour: of three that come up the one that fewest things of the room have.

    Most rooms have something white; so it is not the answer of most questions.
    """
    found = found_answers(speaker, propose, attempts)
    if len(found) < least_answers:
        return None
    drawn = [speaker.draws.choice(sorted(found)) for _ in range(3)]
    return ask(speaker, kind, found[min(drawn, key=speaker.facts.colors.count)])


def ask_yes_or_no(
    speaker: Speaker, kind: str, propose: Callable[[], Proposal | None], *, attempts: int = 16
) -> Query | None:
    """Ask so that "yes" and "no" are equally likely; None where not both come up."""
    both = frozenset([True, False])
    found = found_answers(speaker, propose, attempts, both)
    return ask(speaker, kind, found[speaker.draws.chance(0.5)]) if both <= found.keys() else None


def _answer(program: Program, result: Any) -> tuple[str, float | None]:
    if program.gives == Sort.NUMBER:
        return "<number>", float(result)
    if program.gives == Sort.TRUTH:
        return "yes" if result else "no", None
    return str(result), None


def _fill(speaker: Speaker, slot: Slot) -> str:
    if isinstance(slot, str):
        return slot
    if isinstance(slot, tuple):
        return listed([_fill(speaker, part) for part in slot], "or")
    if slot.gives == Sort.OBJECT:
        return speaker.the(slot)
    return speaker.wording.noun_phrase(slot, several=True)


def _referred(speaker: Speaker, proposal: Proposal) -> int | None:
    if proposal.referred is None:
        return None
    index: int | None = speaker.executor.run(proposal.referred)
    return index
