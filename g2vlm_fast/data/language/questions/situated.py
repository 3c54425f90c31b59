"""Questions of SQA3D, asked from a place: what is on a side, how far, within reach.

The words of a situation fit many places, so a question is asked only if its answer is the same
from several of them; a distance, which never is, states the position.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from g2vlm_fast.data.language.programs import SCENE, Program, of_class, the
from g2vlm_fast.data.language.questions.asking import (
    Proposal,
    Slot,
    ask,
    ask_balanced,
    ask_color,
    ask_yes_or_no,
)
from g2vlm_fast.data.language.questions.settings import Setting, draw_setting
from g2vlm_fast.data.language.situations import SIDES
from g2vlm_fast.data.language.speaker import Speaker
from g2vlm_fast.data.scene import Query


def _untold(speaker: Speaker, setting: Setting) -> Program | None:
    """Return a reference to an object that the situation does not speak of, or None."""
    index = speaker.any_object()
    return None if index in setting.told else speaker.references.plain(index)


Make = Callable[[Program], Program]
"""Makes the program of a question out of a place."""

Propose = Callable[[Speaker, Setting], Proposal | None]


def _propose(
    speaker: Speaker,
    setting: Setting,
    make: Make,
    slots: Mapping[str, Slot],
    referred: Program | None = None,
    *,
    wording: str = "",
) -> Proposal | None:
    """The question from the first spot, if all spots give its answer."""
    programs = [make(place) for place in setting.programs()]
    first, *others = (speaker.executor.run(program) for program in programs)
    if first is None or any(other != first for other in others):
        return None
    return Proposal(
        programs[0],
        slots,
        referred,
        wording=wording,
        before=setting.sentence,
        situation=setting.spots[0],
        told=setting.told,
    )


def situated(speaker: Speaker, kind: str) -> Query | None:
    """Ask a question of a kind from a place (SQA3D)."""
    if kind == "situated_distance":
        setting = draw_setting(speaker)
        return None if setting is None else _distance(speaker, setting)
    side = speaker.draws.choice(SIDES)  # drawn before the answer, so that it does not tell it
    make: Propose = partial(_is, side=side) if kind == "situated_is" else _PROPOSE[kind]

    def propose() -> Proposal | None:
        setting = draw_setting(speaker)
        return None if setting is None else make(speaker, setting)

    if kind in ("situated_is", "situated_reach"):
        return ask_yes_or_no(speaker, kind, propose, attempts=24)
    if kind == "situated_color":
        return ask_color(speaker, kind, propose, attempts=32, least_answers=3)
    least = 2 if kind == "situated_turn" else 1
    return ask_balanced(speaker, kind, propose, attempts=20, least_answers=least)


def _what(speaker: Speaker, setting: Setting) -> Proposal | None:
    side = speaker.draws.choice(SIDES)

    def nearest(place: Program) -> Program:
        return the(
            Program("nearest_to_place", (Program("relate_place", (SCENE, place), side), place))
        )

    return _propose(
        speaker,
        setting,
        lambda place: Program("query_class", (nearest(place),)),
        {"side": speaker.lexicon.side(side)},
        nearest(setting.programs()[0]),
    )


def _color(speaker: Speaker, setting: Setting) -> Proposal | None:
    index = speaker.any_object()
    if index in setting.told:
        return None
    name = speaker.facts.classes[index]
    side = speaker.draws.choice(SIDES)

    def only(place: Program) -> Program:
        return the(Program("relate_place", (of_class(name), place), side))

    reference = only(setting.programs()[0])
    return _propose(
        speaker,
        setting,
        lambda place: Program("query_color", (only(place),)),
        {"thing": reference},
        reference,
    )


def _is(speaker: Speaker, setting: Setting, side: str) -> Proposal | None:
    thing = _untold(speaker, setting)
    if thing is None:
        return None

    def is_there(place: Program) -> Program:
        return Program("exist", (Program("relate_place", (thing.inputs[0], place), side),))

    return _propose(
        speaker, setting, is_there, {"thing": thing, "side": speaker.lexicon.side(side)}, thing
    )


def _count(speaker: Speaker, setting: Setting) -> Proposal | None:
    things = of_class(speaker.facts.classes[speaker.any_object()])
    side = speaker.draws.choice(SIDES)
    return _propose(
        speaker,
        setting,
        lambda place: Program("count", (Program("relate_place", (things, place), side),)),
        {"things": things, "side": speaker.lexicon.side(side)},
    )


def _reach(speaker: Speaker, setting: Setting) -> Proposal | None:
    thing = _untold(speaker, setting)
    if thing is None:
        return None
    return _propose(
        speaker, setting, lambda place: Program("reach", (place, thing)), {"thing": thing}, thing
    )


def _turn(speaker: Speaker, setting: Setting) -> Proposal | None:
    thing = _untold(speaker, setting)
    if thing is None:
        return None
    return _propose(
        speaker,
        setting,
        lambda place: Program("direction", (place, thing), "left or right"),
        {"thing": thing},
        thing,
    )


def _closer(speaker: Speaker, setting: Setting) -> Proposal | None:
    thing, other = _untold(speaker, setting), _untold(speaker, setting)
    if thing is None or other is None:
        return None
    first, second = (speaker.executor.run(reference) for reference in (thing, other))
    if speaker.facts.classes[first] == speaker.facts.classes[second]:
        return None
    both = Program("union", (thing.inputs[0], other.inputs[0]))

    def nearest(place: Program) -> Program:
        return the(Program("nearest_to_place", (both, place)))

    return _propose(
        speaker,
        setting,
        lambda place: Program("query_class", (nearest(place),)),
        {"thing": thing, "other": other},
        nearest(setting.programs()[0]),
    )


def _distance(speaker: Speaker, setting: Setting) -> Query | None:
    """Ask for a distance; the position is stated, as the words alone fit many distances."""
    thing = _untold(speaker, setting)
    if thing is None:
        return None
    spot = setting.spots[0]
    stated = f" my position is ({spot.x / 1000:.2f}, {spot.y / 1000:.2f})."
    program = Program("distance_to_place", (setting.programs()[0], thing))
    proposal = Proposal(
        program,
        {"thing": thing},
        thing,
        before=setting.sentence + stated,
        situation=spot,
        told=setting.told,
    )
    return ask(speaker, "situated_distance", proposal, note=" m over the floor")


_PROPOSE: dict[str, Propose] = {
    "situated_what": _what,
    "situated_color": _color,
    "situated_count": _count,
    "situated_reach": _reach,
    "situated_which": _closer,
    "situated_turn": _turn,
    "situated_other": _closer,
}
