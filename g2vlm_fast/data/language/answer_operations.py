"""Operations that answer: with a number, a truth, a word, or a place to stand at."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from g2vlm_fast.data.language.facts import UNKNOWN_COLOR, Facts, Matches
from g2vlm_fast.data.language.programs import Program
from g2vlm_fast.data.language.set_operations import (
    CLEARLY_NEARER,
    extreme_distance,
    only_one,
    without,
)
from g2vlm_fast.data.language.situations import TURNS, Situation, Standpoint
from g2vlm_fast.data.language.visibility import least_pixels

_TALLER, _NOT_TALLER = 1.10, 1.03
_WITHIN_REACH, _OUT_OF_REACH = 0.60, 1.00  # metres over the floor
_REACHABLE_HEIGHTS = (0.2, 1.9)  # metres


def _count(facts: Facts, program: Program, matches: Matches) -> float | None:
    return float(len(matches.certain)) if matches.decided else None


def _exist(facts: Facts, program: Program, matches: Matches) -> bool | None:
    return True if matches.certain else None if matches.possible else False


def _compare(
    facts: Facts, program: Program, first: float | None, second: float | None
) -> bool | None:
    if first is None or second is None:
        return None
    return {"more": first > second, "fewer": first < second, "equal": first == second}[
        program.operation
    ]


def _holds(facts: Facts, program: Program, subject: int | None, other: int | None) -> bool | None:
    if subject is None or other is None:
        return None
    label = facts.labels(program.value, program.frame)[subject, other]
    return None if label == -1 else bool(label)


def _taller(facts: Facts, program: Program, first: int | None, second: int | None) -> bool | None:
    if first is None or second is None or first == second:
        return None
    ratio = facts.heights[first] / max(facts.heights[second], 1e-9)
    return _decide(ratio >= _TALLER, ratio <= _NOT_TALLER)


def _nearer(
    facts: Facts, program: Program, first: int | None, second: int | None, anchor: int | None
) -> bool | None:
    if first is None or second is None or anchor is None or len({first, second, anchor}) < 3:
        return None
    lead = facts.gaps[second][anchor] - facts.gaps[first][anchor]
    return _decide(lead >= CLEARLY_NEARER, lead <= -CLEARLY_NEARER)


def _reach(
    facts: Facts, program: Program, place: Standpoint | None, index: int | None
) -> bool | None:
    if place is None or index is None:
        return None
    away = facts.floor_distances(place.x, place.y)[index]
    middle, half = facts.centers[index][2], facts.heights[index] / 2
    low, high = _REACHABLE_HEIGHTS
    handy = middle + half >= low and middle - half <= high
    return _decide(away <= _WITHIN_REACH and handy, away >= _OUT_OF_REACH)


def _decide(holds: bool, fails: bool) -> bool | None:
    return True if holds else False if fails else None


def _query_class(facts: Facts, program: Program, index: int | None) -> str | None:
    return None if index is None else facts.classes[index]


def _query_color(facts: Facts, program: Program, index: int | None) -> str | None:
    if index is None or facts.colors[index] == UNKNOWN_COLOR:
        return None
    return facts.colors[index]


def _query_size(facts: Facts, program: Program, index: int | None) -> float | None:
    if index is None:
        return None
    x, y, z = facts.sizes[index]
    return z if program.value == "height" else max(x, y)


def _distance(
    facts: Facts, program: Program, first: int | None, second: int | None
) -> float | None:
    return None if first is None or second is None else facts.gaps[first][second]


def _distance_to_place(
    facts: Facts, program: Program, place: Standpoint | None, index: int | None
) -> float | None:
    if place is None or index is None:
        return None
    return facts.floor_distances(place.x, place.y)[index]


def _room_size(facts: Facts, program: Program) -> float:
    return facts.floor_area


def _situation(facts: Facts, program: Program) -> Standpoint:
    return Situation.parse(program.value).standpoint()


def _stand(
    facts: Facts, program: Program, at: int | None, towards: int | None
) -> Standpoint | None:
    """A place in the middle of one thing, facing the middle of another; not a step apart: None."""
    if at is None or towards is None:
        return None
    (x, y, _), (tx, ty, _) = facts.centers[at], facts.centers[towards]
    if math.hypot(tx - x, ty - y) < 0.5:
        return None
    return Standpoint(x, y, math.atan2(ty - y, tx - x))


def _direction(
    facts: Facts, program: Program, place: Standpoint | None, index: int | None
) -> str | None:
    if place is None or index is None:
        return None
    return place.sector(program.value, *facts.centers[index][:2])


def _route(facts: Facts, program: Program, *stops: int | None) -> str | None:
    """Turns at the second and the third stop; straight on is not a turn, and undecided."""
    if any(stop is None for stop in stops):
        return None
    turns = []
    for before, here, after in zip(stops, stops[1:], stops[2:], strict=False):
        arrived = _stand(facts, program, before, here)
        if before is None or here is None or after is None or arrived is None:
            return None
        x, y, _ = facts.centers[here]
        side = Standpoint(x, y, arrived.yaw).sector("sides", *facts.centers[after][:2])
        if side not in TURNS:
            return None
        turns.append(TURNS[side])
    return ", ".join(turns)


def _name_nearest(
    facts: Facts, program: Program, matches: Matches, anchor: int | None
) -> str | None:
    if anchor is None:
        return None
    if not without(matches, anchor).possible:
        return "nothing"
    nearest = Program("nearest", program.inputs)
    index = only_one(extreme_distance(facts, nearest, matches, anchor))
    return None if index is None else facts.classes[index]


def _appearance_order(facts: Facts, program: Program, *groups: Matches) -> str | None:
    """The classes of three groups, each of one class, by the first view that shows one of it."""
    first_views: dict[str, int] = {}
    for matches in groups:
        names = {facts.classes[i] for i in matches.possible}
        view = _first_view(facts, matches.certain) if matches.decided else None
        if len(names) != 1 or view is None or view in first_views.values():
            return None
        first_views[names.pop()] = view
    if len(first_views) != len(groups):
        return None
    return ", ".join(sorted(first_views, key=lambda name: first_views[name]))


def _first_view(facts: Facts, objects: Iterable[int]) -> int | None:
    """The first view that shows one of the objects, if it shows it well."""
    most = facts.pixels[:, sorted(objects)].max(axis=1, initial=0)
    seen = [view for view in range(len(most)) if most[view] > 0]
    return seen[0] if seen and most[seen[0]] >= least_pixels(facts.image_size) else None


ANSWER_OPERATIONS: dict[str, Callable[..., Any]] = {
    "count": _count,
    "exist": _exist,
    "more": _compare,
    "fewer": _compare,
    "equal": _compare,
    "holds": _holds,
    "taller": _taller,
    "nearer": _nearer,
    "reach": _reach,
    "query_class": _query_class,
    "query_color": _query_color,
    "query_size": _query_size,
    "distance": _distance,
    "distance_to_place": _distance_to_place,
    "room_size": _room_size,
    "situation": _situation,
    "stand": _stand,
    "direction": _direction,
    "name_nearest": _name_nearest,
    "route": _route,
    "appearance_order": _appearance_order,
}
"""By name: of the facts, the program and the results of its inputs."""
