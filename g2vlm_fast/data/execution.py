"""Programs executed over the truth of a scene, in three-valued logic.

Some relations are undecided, so a set of objects has two bounds: those that match for certain
and those that might (:class:`g2vlm_fast.data.facts.Matches`). Whatever would differ between the
bounds is undecided, and its result is None: a reference singles an object out only if both
bounds are that object alone, and a question has an answer only if nothing undecided could change
it. Comparisons have margins of their own:

=====================  ============================  ==========================================
operation              true, or the extreme          false
=====================  ============================  ==========================================
superlative            1.15 times its runner-up
nearest, farthest      0.15 m before its runner-up
taller                 1.10 times as tall, or more   at most 1.03 times as tall
nearer                 nearer by 0.15 m or more      farther by 0.15 m or more
reach                  within 0.60 m, and its box    1.00 m away or more
                       from 0.2 to 1.9 m of height
appearance_order       a view shows 0.2 % of its     no earlier view shows a pixel of it, and
                       pixels of each class          the first views differ
=====================  ============================  ==========================================
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from g2vlm_fast.data.facts import Facts, Matches
from g2vlm_fast.data.programs import Program, view_of
from g2vlm_fast.data.situations import TURNS, Situation, Standpoint
from g2vlm_fast.data.visibility import least_pixels

CLEARLY_LARGER = 1.15
CLEARLY_NEARER = 0.15  # metres
_TALLER, _NOT_TALLER = 1.10, 1.03
_WITHIN_REACH, _OUT_OF_REACH = 0.60, 1.00  # metres over the floor
_REACHABLE_HEIGHTS = (0.2, 1.9)  # metres
_NONE: frozenset[int] = frozenset()


class Executor:
    """Runs programs over one scene; results are kept, as programs share their parts."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self._results: dict[Program, Any] = {}

    def run(self, program: Program) -> Any:
        """Return what a program gives.

        Objects come as :class:`Matches`, an object as its index, a place as a
        :class:`Standpoint`, a number as float, a truth as bool and a word as str; None where it
        is undecided. Objects are never None: undecided ones are possible but not certain.
        """
        if program not in self._results:
            inputs = [self.run(part) for part in program.inputs]
            self._results[program] = _OPERATIONS[program.operation](self.facts, program, *inputs)
        return self._results[program]

    def try_run(self, program: Program) -> Any:
        """Return what a program gives, or None also where it names a view that is not there."""
        views = [view_of(part.frame) for part in program.walk()]
        if any(view is not None and view >= self.facts.num_views for view in views):
            return None
        return self.run(program)

    def referent(self, objects: Program) -> int | None:
        """Return the one object that a program for objects singles out, or None."""
        return _unique(self.facts, objects, self.run(objects))


def _undecided(matches: Matches) -> Matches:
    return Matches(_NONE, matches.possible)


def _filter(facts: Facts, program: Program, matches: Matches) -> Matches:
    names = facts.classes if program.operation == "filter_class" else facts.colors
    keep = frozenset(i for i in matches.possible if names[i] == program.value)
    return Matches(matches.certain & keep, keep)


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


def _just(index: int) -> Matches:
    return Matches(frozenset([index]), frozenset([index]))


def _relate(facts: Facts, program: Program, matches: Matches, anchor: int | None) -> Matches:
    if anchor is None:
        return _undecided(matches)
    labels = facts.labels(program.value, program.frame)[:, anchor]
    return _without(matches, anchor).only(labels)


def _relate_between(
    facts: Facts, program: Program, matches: Matches, first: int | None, second: int | None
) -> Matches:
    if first is None or second is None or first == second:
        return _undecided(matches)
    return _without(matches, first, second).only(facts.between(first, second))


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


def _without(matches: Matches, *indices: int) -> Matches:
    gone = frozenset(indices)
    return Matches(matches.certain - gone, matches.possible - gone)


def _extreme_distance(
    facts: Facts, program: Program, matches: Matches, anchor: int | None
) -> Matches:
    if anchor is None:
        return _undecided(matches)
    others = _without(matches, anchor)
    gaps = facts.gaps[anchor]
    if program.operation == "nearest":
        return _nearest(others, {i: gaps[i] for i in others.possible})
    if not others.decided:
        return _undecided(others)
    return _nearest(others, {i: -gaps[i] for i in others.possible})


def _nearest(matches: Matches, distance: dict[int, float]) -> Matches:
    """The nearest for certain, if neither another one nor one that might match is as near."""
    ranked = sorted(matches.possible, key=lambda i: (distance[i], i))
    if not ranked:
        return matches
    clear = len(ranked) == 1 or distance[ranked[1]] - distance[ranked[0]] >= CLEARLY_NEARER
    return _just(ranked[0]) if ranked[0] in matches.certain and clear else _undecided(matches)


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


def _unique(facts: Facts, program: Program, matches: Matches) -> int | None:
    return next(iter(matches.certain)) if matches.decided and len(matches.certain) == 1 else None


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


def _query_word(facts: Facts, program: Program, index: int | None) -> str | None:
    names = facts.classes if program.operation == "query_class" else facts.colors
    return None if index is None else names[index]


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
    if not _without(matches, anchor).possible:
        return "nothing"
    nearest = Program("nearest", program.inputs)
    index = _unique(facts, nearest, _extreme_distance(facts, nearest, matches, anchor))
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


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "scene": lambda facts, program: facts.everything,
    "filter_class": _filter,
    "filter_color": _filter,
    "superlative": _superlative,
    "relate": _relate,
    "relate_between": _relate_between,
    "relate_place": _relate_place,
    "nearest": _extreme_distance,
    "farthest": _extreme_distance,
    "nearest_to_place": _nearest_to_place,
    "union": _combine,
    "intersect": _combine,
    "unique": _unique,
    "count": _count,
    "exist": _exist,
    "more": _compare,
    "fewer": _compare,
    "equal": _compare,
    "holds": _holds,
    "taller": _taller,
    "nearer": _nearer,
    "reach": _reach,
    "query_class": _query_word,
    "query_color": _query_word,
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
