"""Places in a room that questions and descriptions are told from, in words and in numbers.

The words ("beside the table, facing the window") fit many places; a setting holds several that
they fit, so that nothing is said that is not true from all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from g2vlm_fast.data.language.programs import Program
from g2vlm_fast.data.language.situations import Situation
from g2vlm_fast.data.language.speaker import Speaker

_SPOTS = 4  # places that the words fit and that must agree
_TRIES = 6
_PLACES = 4  # places that a speaker finds in a room


@dataclass(frozen=True)
class Setting:
    """A situation that was drawn: its sentence, and the places that its words fit."""

    sentence: str
    spots: tuple[Situation, ...]  # the first is the one that is meant
    told: tuple[int, int]  # the objects that the sentence speaks of: beside which, facing which

    def programs(self) -> list[Program]:
        return [Program("situation", value=str(spot)) for spot in self.spots]


def draw_setting(speaker: Speaker) -> Setting | None:
    """Draw a place beside an object, facing another one.

    A speaker finds a few places and comes back to them.
    """
    if len(speaker.spots) < _PLACES:
        found = _find_spots(speaker)
        if found is not None:
            speaker.spots.append(found)
    if not speaker.spots:
        return None
    at, towards, spots = speaker.draws.choice(speaker.spots)
    beside, ahead = speaker.references.plain(at), speaker.references.plain(towards)
    if beside is None or ahead is None:
        raise RuntimeError(f"draw_setting: objects {at} and {towards} lost their references")
    template = speaker.lexicon.wording("situation")
    sentence = template.format(at=speaker.the(beside), towards=speaker.the(ahead))
    return Setting(sentence, spots, (at, towards))


def _find_spots(speaker: Speaker) -> tuple[int, int, tuple[Situation, ...]] | None:
    for _ in range(_TRIES):
        at, towards = speaker.any_object(), speaker.any_object()
        named = speaker.references.plain(at) and speaker.references.plain(towards)
        if named is None or at == towards or not speaker.facts.approachable(at):
            continue
        spots: list[Situation] = []
        for _ in range(_SPOTS):
            spot = speaker.floor.beside(speaker.facts, at, towards, speaker.draws)
            if spot is None:
                break
            spots.append(spot)
        if len(spots) == _SPOTS:
            return at, towards, tuple(spots)
    return None
