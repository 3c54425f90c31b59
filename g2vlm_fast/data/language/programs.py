"""Questions and references as small functional programs: data, not code.

As in CLEVR (Johnson et al., CVPR 2017) a phrase such as "the largest box left of the red chair"
and a question about it are trees of typed operations. :mod:`g2vlm_fast.data.language.execution`
runs them over the truth of a scene, :mod:`g2vlm_fast.data.language.wording` says them in words, and
anybody can run them again from :meth:`Program.to_json`.

====================  =========================  =======  ======================================
operation [value]     inputs                     gives    meaning
====================  =========================  =======  ======================================
scene                                            objects  everything
filter_class [c]      objects                    objects  those of a class
filter_color [c]      objects                    objects  those of a colour
filter_held_by [h]    objects                    objects  those that wall, floor or ceiling holds
superlative [s]       objects                    objects  the extreme by size, if beyond doubt
relate [r, frame]     objects, object            objects  those that stand in r to the object
relate_between        objects, object, object    objects  those between the two
relate_place [side]   objects, place             objects  those on that side of a place
nearest, farthest     objects, object            objects  the extreme by distance, beyond doubt
nearest_to_place      objects, place             objects  the same from a place
union, intersect      objects, objects           objects  as of sets
unique                objects                    object   the only one
count                 objects                    number
exist                 objects                    truth
more, fewer, equal    number, number             truth    the first compared with the second
holds [r, frame]      object, object             truth    the first stands in r to the second
taller                object, object             truth    the first is taller
nearer                object, object, object     truth    the first is nearer to the third than
                                                          the second
reach                 place, object              truth    the object is within arm's reach
query_class           object                     word
query_color           object                     word
query_size [extent]   object                     number   metres
distance              object, object             number   metres between closest points
distance_to_place     place, object              number   metres over the floor
room_size                                        number   square metres
situation [x y yaw]                              place    mm, mm, degrees
stand                 object, object             place    at the first, facing the second
direction [sectors]   place, object              word     in which sector the object is
name_nearest          objects, object            word     the class of the nearest, or "nothing"
route                 object, object, object,    word     where to turn at the second and at the
                      object                              third on the way from the first to the
                                                          fourth: "left, back"
appearance_order      objects, objects, objects  word     classes by the view that first shows
                                                          one of each
====================  =========================  =======  ======================================
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from g2vlm_fast.data.language.situations import SECTORS, SIDES, Situation
from g2vlm_fast.ontology import CLASSES, COLORS, DIRECTIONAL_RELATIONS, RELATIONS

SUPERLATIVES = ("largest", "smallest", "tallest")
EXTENTS = ("height", "width")
HOLDERS = ("wall", "floor", "ceiling")
OWN_FRAME = "own"
"""The frame of an object that has a front, as somebody who sits in it sees it."""


class Sort(StrEnum):
    """What an operation takes or gives."""

    OBJECTS = "objects"
    OBJECT = "object"
    PLACE = "place"
    NUMBER = "number"
    TRUTH = "truth"
    WORD = "word"


@dataclass(frozen=True)
class Signature:
    """What an operation takes and gives, and which values and frames it knows."""

    inputs: tuple[Sort, ...]
    output: Sort
    values: tuple[str, ...] | None = ("",)  # None: checked apart
    framed: bool = False


def _signatures() -> dict[str, Signature]:
    objects, thing, place = Sort.OBJECTS, Sort.OBJECT, Sort.PLACE
    number, truth, word = Sort.NUMBER, Sort.TRUTH, Sort.WORD
    return {
        "scene": Signature((), objects),
        "filter_class": Signature((objects,), objects, CLASSES),
        "filter_color": Signature((objects,), objects, tuple(COLORS)),
        "filter_held_by": Signature((objects,), objects, HOLDERS),
        "superlative": Signature((objects,), objects, SUPERLATIVES),
        "relate": Signature((objects, thing), objects, RELATIONS, framed=True),
        "relate_between": Signature((objects, thing, thing), objects),
        "relate_place": Signature((objects, place), objects, SIDES),
        "nearest": Signature((objects, thing), objects),
        "farthest": Signature((objects, thing), objects),
        "nearest_to_place": Signature((objects, place), objects),
        "union": Signature((objects, objects), objects),
        "intersect": Signature((objects, objects), objects),
        "unique": Signature((objects,), thing),
        "count": Signature((objects,), number),
        "exist": Signature((objects,), truth),
        "more": Signature((number, number), truth),
        "fewer": Signature((number, number), truth),
        "equal": Signature((number, number), truth),
        "holds": Signature((thing, thing), truth, RELATIONS, framed=True),
        "taller": Signature((thing, thing), truth),
        "nearer": Signature((thing, thing, thing), truth),
        "reach": Signature((place, thing), truth),
        "query_class": Signature((thing,), word),
        "query_color": Signature((thing,), word),
        "query_size": Signature((thing,), number, EXTENTS),
        "distance": Signature((thing, thing), number),
        "distance_to_place": Signature((place, thing), number),
        "room_size": Signature((), number),
        "situation": Signature((), place, None),
        "stand": Signature((thing, thing), place),
        "direction": Signature((place, thing), word, tuple(SECTORS)),
        "name_nearest": Signature((objects, thing), word),
        "route": Signature((thing, thing, thing, thing), word),
        "appearance_order": Signature((objects, objects, objects), word),
    }


OPERATIONS: dict[str, Signature] = _signatures()


@dataclass(frozen=True)
class Program:
    """An operation on the results of others.

    Raises:
        ValueError: an unknown operation, or inputs, a value or a frame that it does not take.
            A directional relation needs a frame, "view 0", "view 1", ... or "own"; others have
            none.
    """

    operation: str
    inputs: tuple[Program, ...] = ()
    value: str = ""
    frame: str = ""

    def __post_init__(self) -> None:
        signature = OPERATIONS.get(self.operation)
        if signature is None:
            raise ValueError(
                f"Program: operation must be one of {list(OPERATIONS)}, got {self.operation!r}"
            )
        given = tuple(OPERATIONS[part.operation].output for part in self.inputs)
        if given != signature.inputs:
            raise ValueError(
                f"Program: {self.operation} takes {[str(s) for s in signature.inputs]}, "
                f"got {[str(s) for s in given]}"
            )
        if signature.values is None:
            Situation.parse(self.value)
        elif self.value not in signature.values:
            raise ValueError(
                f"Program: {self.operation} takes a value of {list(signature.values)}, "
                f"got {self.value!r}"
            )
        directional = signature.framed and self.value in DIRECTIONAL_RELATIONS
        named = self.frame == OWN_FRAME or view_of(self.frame) is not None
        if directional != named or (self.frame and not named):
            raise ValueError(
                f"Program: {self.operation} {self.value!r} must "
                f"{'name a frame, a view or own' if directional else 'have no frame'}, "
                f"got {self.frame!r}"
            )

    @property
    def gives(self) -> Sort:
        return OPERATIONS[self.operation].output

    def walk(self) -> Iterator[Program]:
        """Yield the program and all that it is made of, inputs first."""
        for part in self.inputs:
            yield from part.walk()
        yield self

    def frames(self) -> tuple[str, ...]:
        """Return the frames that directions are meant in, each once."""
        places = ("situation", "stand", "route")
        found = ["situation" if p.operation in places else p.frame for p in self.walk()]
        return tuple(dict.fromkeys(frame for frame in found if frame))

    def to_json(self) -> dict[str, Any]:
        """Return plain values: operation, and inputs, value and frame where it has them."""
        plain: dict[str, Any] = {"operation": self.operation}
        if self.inputs:
            plain["inputs"] = [part.to_json() for part in self.inputs]
        return plain | {k: v for k in ("value", "frame") if (v := getattr(self, k))}

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Program:
        """Return the program of :meth:`to_json`.

        Raises:
            ValueError: no such program.
        """
        if not isinstance(plain, dict) or "operation" not in plain:
            raise ValueError(f"Program: expected a mapping with an operation, got {plain!r}")
        words = {name: plain.get(name, "") for name in ("operation", "value", "frame")}
        inputs = plain.get("inputs", [])
        if not all(isinstance(word, str) for word in words.values()) or not isinstance(
            inputs, list
        ):
            raise ValueError(f"Program: expected texts and a list of inputs, got {plain!r}")
        parts = tuple(cls.from_json(part) for part in inputs)
        return cls(words["operation"], parts, words["value"], words["frame"])


def view_of(frame: str) -> int | None:
    """Return the view that a frame names, or None."""
    head, _, number = frame.partition(" ")
    return int(number) if head == "view" and number.isdecimal() else None


SCENE = Program("scene")


def of_class(name: str, color: str = "") -> Program:
    """Return the program for all things of a class, and of a colour if one is given."""
    found = Program("filter_class", (SCENE,), name)
    return Program("filter_color", (found,), color) if color else found


def held_by(objects: Program, holder: str) -> Program:
    """Return the program for those that a part of the building holds, one of ``HOLDERS``."""
    return Program("filter_held_by", (objects,), holder)


def the(objects: Program) -> Program:
    """Return the program for the only one of some objects."""
    return Program("unique", (objects,))


def relate(objects: Program, relation: str, anchor: Program, frame: str = "view 0") -> Program:
    """Return the program for those that stand in a relation; only directions have a frame."""
    return Program("relate", (objects, anchor), relation, frame_for(relation, frame))


def holds(subject: Program, relation: str, other: Program, frame: str = "view 0") -> Program:
    """Return the program that asks for a relation; only directions have a frame."""
    return Program("holds", (subject, other), relation, frame_for(relation, frame))


def frame_for(relation: str, frame: str) -> str:
    """Return the frame if the relation is a direction, else none."""
    return frame if relation in DIRECTIONAL_RELATIONS else ""
