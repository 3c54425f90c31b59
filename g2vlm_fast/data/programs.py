"""Descriptions of objects as small programs, executed over the truth of a scene.

As in CLEVR (Johnson et al., CVPR 2017) a phrase such as "the largest box left of the red chair"
is a program: filter by class and colour, relate to another object, take the extreme. Here truth
has three values: a program returns the objects that match for certain and those that might,
as some relations are undecided; it singles an object out only if both are that object alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.scene import RoomTruth
from g2vlm_fast.ontology import RELATIONS, SIMPLE_RELATIONS

SUPERLATIVES = ("largest", "smallest", "tallest")
_CLEARLY = 1.15  # ratio to the runner-up from which an extreme is beyond doubt


@dataclass(frozen=True)
class Description:
    """A definite description; every part that is None says nothing."""

    class_name: str
    color: str | None = None
    superlative: str | None = None
    relation: str | None = None
    anchor: Description | None = None  # what the relation is to

    def __str__(self) -> str:
        words = ["the", self.superlative, self.color, self.class_name, self.relation, self.anchor]
        return " ".join(str(word) for word in words if word is not None)

    @property
    def is_directional(self) -> bool:
        """Whether the phrase means a direction, and so a frame."""
        nested = self.anchor is not None and self.anchor.is_directional
        return nested or self.relation in RELATIONS[:4]


class Facts:
    """The truth of a scene in the form that programs read."""

    def __init__(self, truth: RoomTruth) -> None:
        self.classes = [thing.class_name for thing in truth.objects]
        self.colors = [thing.color for thing in truth.objects]
        self.labels: list[list[list[int]]] = truth.relations.tolist()
        self.volumes = [float(thing.size.prod()) for thing in truth.objects]
        self.heights = [float(thing.size[2]) for thing in truth.objects]

    def __len__(self) -> int:
        return len(self.classes)

    def label(self, subject: int, relation: str, anchor: int) -> int:
        """Return 1, 0 or -1 for "subject is relation anchor"."""
        return self.labels[subject][anchor][RELATIONS.index(relation)]

    def execute(self, description: Description) -> tuple[set[int], set[int]]:
        """Return the objects that match for certain, and all that might."""
        matches = {
            index
            for index in range(len(self))
            if self.classes[index] == description.class_name
            and description.color in (None, self.colors[index])
        }
        certain, possible = matches, matches
        if description.relation is not None and description.anchor is not None:
            anchor = self.referent(description.anchor)
            if anchor is None:
                return set(), matches
            relation = description.relation
            certain = {i for i in matches if self.label(i, relation, anchor) == 1}
            possible = {i for i in matches - {anchor} if self.label(i, relation, anchor) != 0}
        if description.superlative is not None:
            best = self._extreme(description.superlative, certain) if certain == possible else None
            certain = set() if best is None else {best}
            possible = possible if best is None else certain
        return certain, possible

    def referent(self, description: Description) -> int | None:
        """Return the one object that a description singles out, or None."""
        certain, possible = self.execute(description)
        return next(iter(certain)) if certain == possible and len(certain) == 1 else None

    def describe(self, index: int, draws: Draws, *, simple: bool = False) -> Description | None:
        """Find a description that singles an object out.

        Args:
            index: the object.
            draws: chooses among the descriptions of the kind that is found first.
            simple: True for class, colour and superlative alone.

        Returns:
            A description whose referent is the object (it was executed), or None.
        """
        for group in self._candidates(index, draws, simple):
            proven = [d for d in group if self.referent(d) == index]
            if proven:
                return draws.choice(proven)
        return None

    def relational(self, index: int, draws: Draws) -> Description | None:
        """Find a description that needs a relation to another object, or None."""
        for description in draws.shuffled(self._related(index, draws)):
            if self.referent(description) == index:
                return description
        return None

    def _candidates(self, index: int, draws: Draws, simple: bool) -> Iterator[list[Description]]:
        name, color = self.classes[index], self.colors[index]
        yield [Description(name)]
        yield [Description(name, color)]
        yield [Description(name, superlative=s) for s in SUPERLATIVES]
        if not simple:
            yield self._related(index, draws)

    def _related(self, index: int, draws: Draws) -> list[Description]:
        found = []
        for other in range(len(self)):
            if other == index:
                continue
            anchor = self.describe(other, draws, simple=True)
            held = [r for r in SIMPLE_RELATIONS if self.label(index, r, other) == 1]
            if anchor is not None:
                found += [
                    Description(self.classes[index], relation=relation, anchor=anchor)
                    for relation in held
                ]
        return found

    def _extreme(self, superlative: str, candidates: set[int]) -> int | None:
        """Return the extreme of two or more objects if it is beyond doubt."""
        if len(candidates) < 2:
            return None
        measure = self.heights if superlative == "tallest" else self.volumes
        ranked = sorted(candidates, key=lambda i: measure[i], reverse=superlative != "smallest")
        first, second = measure[ranked[0]], measure[ranked[1]]
        ratio = second / first if superlative == "smallest" else first / second
        return ranked[0] if ratio >= _CLEARLY else None
