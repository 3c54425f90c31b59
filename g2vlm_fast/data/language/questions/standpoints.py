"""Questions of VSI-Bench asked from objects: on which side a third one is, and turns on a way."""

from __future__ import annotations

from itertools import pairwise

from g2vlm_fast.data.language.programs import Program
from g2vlm_fast.data.language.questions.asking import Proposal, ask_balanced
from g2vlm_fast.data.language.speaker import Speaker
from g2vlm_fast.data.scene import Query

_SECTORS = {
    "relative_direction_easy": "left or right",
    "relative_direction_medium": "sides",
    "relative_direction_hard": "quadrants",
}


def relative_direction(speaker: Speaker, kind: str) -> Query | None:
    """Ask on which side a third thing is for somebody at one, facing another (VSI-Bench)."""

    def propose() -> Proposal | None:
        indices = speaker.draws.shuffled(range(len(speaker.facts)))[:3]
        references = [speaker.references.plain(index) for index in indices]
        at, towards, thing = (*references, None, None, None)[:3]
        if at is None or towards is None or thing is None:
            return None
        if not speaker.facts.approachable(indices[0]):
            return None
        place = Program("stand", (at, towards))
        program = Program("direction", (place, thing), _SECTORS[kind])
        return Proposal(program, {"at": at, "towards": towards, "thing": thing}, thing)

    least = 2 if kind == "relative_direction_easy" else 3
    return ask_balanced(speaker, kind, propose, attempts=24, least_answers=least)


def route(speaker: Speaker) -> Query | None:
    """Ask for the turns on a way over two stops, with no wall in between (VSI-Bench)."""

    def propose() -> Proposal | None:
        stops = speaker.draws.shuffled(range(len(speaker.facts)))[:4]
        references = [speaker.references.plain(index) for index in stops]
        named = tuple(reference for reference in references if reference is not None)
        if len(named) < 4 or not all(map(speaker.facts.approachable, stops)):
            return None
        points = [speaker.facts.centers[index][:2] for index in stops]
        if not all(speaker.floor.is_open(*here, *there) for here, there in pairwise(points)):
            return None
        slots = dict(zip(("start", "first", "second", "goal"), named, strict=True))
        return Proposal(Program("route", named), slots, named[-1])

    return ask_balanced(speaker, "route", propose, attempts=40, least_answers=4)
