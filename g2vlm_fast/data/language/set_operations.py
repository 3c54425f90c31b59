"""Operations on sets of objects, with their two bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from g2vlm_fast.data.language.facts import UNKNOWN_COLOR, Facts, Matches
from g2vlm_fast.data.language.programs import Program
from g2vlm_fast.data.language.situations import Standpoint

CLEARLY_LARGER = 1.15
CLEARLY_NEARER = 0.15  # metres
_NONE: frozenset[int] = frozenset()


def _filter_class(facts: Facts, program: Program, matches: Matches) -> Matches:
    keep = frozenset(i for i in matches.possible if facts.classes[i] == program.value)
    return Matches(matches.certain & keep, keep)


def _filter_color(facts: Facts, program: Program, matches: Matches) -> Matches:
    """Those of a colour; a thing whose colour is not known might have it."""
    return Matches(
        frozenset(i for i in matches.certain if facts.colors[i] == program.value),
        frozenset(i for i in matches.possible if facts.colors[i] in (program.value, UNKNOWN_COLOR)),
    )


def _filter_held_by(facts: Facts, program: Program, matches: Matches) -> Matches:
    return matches.only(facts.held_by[program.value])


def _superlative(facts: Facts, program: Program, matches: Matches) -> Matches:
    """The extreme of two or more objects if it is beyond doubt."""
    if not matches.decided or len(matches.certain) < 2:
        return _undecided(matches)
    measure = facts.heights if program.value == "tallest" else facts.volumes
    least = program.value == "smallest"
    ranked = sorted(matches.certain, key=lambda i: measure[i], reverse=not least)
    first, second = measure[ranked[0]], measure[ranked[1]]
    clear = second >= CLEARLY_LARGER * first if least else first >= CLEARLY_LARGER * second
    return _just(ranked[0]) if clear else _undecided(matches)


def _relate(facts: Facts, program: Program, matches: Matches, anchor: int | None) -> Matches:
    if anchor is None:
        return _undecided(matches)
    labels = facts.labels(program.value, program.frame)[:, anchor]
    return without(matches, anchor).only(labels)


def _relate_between(
    facts: Facts, program: Program, matches: Matches, first: int | None, second: int | None
) -> Matches:
    if first is None or second is None or first == second:
        return _undecided(matches)
    return without(matches, first, second).only(facts.between(first, second))


def _relate_place(
    facts: Facts, program: Program, matches: Matches, place: Standpoint | None
) -> Matches:
    if place is None:
        return _undecided(matches)
    labels = {i: place.side_label(program.value, *facts.centers[i][:2]) for i in matches.possible}
    return Matches(
        frozenset(i for i in matches.certain if labels[i] == 1),
        frozenset(i for i in matches.possible if labels[i] != 0),
    )


def extreme_distance(
    facts: Facts, program: Program, matches: Matches, anchor: int | None
) -> Matches:
    if anchor is None:
        return _undecided(matches)
    others = without(matches, anchor)
    gaps = facts.gaps[anchor]
    if program.operation == "nearest":
        return _nearest(others, {i: gaps[i] for i in others.possible})
    if not others.decided:
        return _undecided(others)
    return _nearest(others, {i: -gaps[i] for i in others.possible})


def _nearest_to_place(
    facts: Facts, program: Program, matches: Matches, place: Standpoint | None
) -> Matches:
    if place is None:
        return _undecided(matches)
    distances = facts.floor_distances(place.x, place.y)
    return _nearest(matches, {i: distances[i] for i in matches.possible})


def _combine(facts: Facts, program: Program, first: Matches, second: Matches) -> Matches:
    if program.operation == "union":
        return Matches(first.certain | second.certain, first.possible | second.possible)
    return Matches(first.certain & second.certain, first.possible & second.possible)


def only_one(matches: Matches) -> int | None:
    """Return the one object that matches for certain, if no other might."""
    return next(iter(matches.certain)) if matches.decided and len(matches.certain) == 1 else None


def _nearest(matches: Matches, distance: dict[int, float]) -> Matches:
    """The nearest for certain, if neither another one nor one that might match is as near."""
    ranked = sorted(matches.possible, key=lambda i: (distance[i], i))
    if not ranked:
        return matches
    clear = len(ranked) == 1 or distance[ranked[1]] - distance[ranked[0]] >= CLEARLY_NEARER
    return _just(ranked[0]) if ranked[0] in matches.certain and clear else _undecided(matches)


def _just(index: int) -> Matches:
    return Matches(frozenset([index]), frozenset([index]))


def without(matches: Matches, *indices: int) -> Matches:
    """Return the matches but for some objects."""
    gone = frozenset(indices)
    return Matches(matches.certain - gone, matches.possible - gone)


def _undecided(matches: Matches) -> Matches:
    return Matches(_NONE, matches.possible)


SET_OPERATIONS: dict[str, Callable[..., Any]] = {
    "scene": lambda facts, program: facts.everything,
    "filter_class": _filter_class,
    "filter_color": _filter_color,
    "filter_held_by": _filter_held_by,
    "superlative": _superlative,
    "relate": _relate,
    "relate_between": _relate_between,
    "relate_place": _relate_place,
    "nearest": extreme_distance,
    "farthest": extreme_distance,
    "nearest_to_place": _nearest_to_place,
    "union": _combine,
    "intersect": _combine,
    "unique": lambda facts, program, matches: only_one(matches),
}
"""By name: of the facts, the program and the results of its inputs."""
