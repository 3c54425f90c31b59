"""References to objects, each executed and proved to have exactly one referent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.language.execution import Executor
from g2vlm_fast.data.language.programs import (
    HOLDERS,
    SUPERLATIVES,
    Program,
    held_by,
    of_class,
    relate,
    the,
)
from g2vlm_fast.ontology import RELATIONS, SIMPLE_RELATIONS

_SPOKEN = tuple(
    name
    for name in RELATIONS
    if name not in ("higher than", "lower than", "bigger than", "smaller than", "aligned with")
)
_ANCHORS = 12  # other objects that a reference by relation tries


class References:
    """Finds programs that single an object out.

    Args:
        executor: of the scene.
        draws: chooses among the references of a kind.
        simple: True for the relations of simple rooms alone, and for no extremes by distance.
    """

    def __init__(self, executor: Executor, draws: Draws, *, simple: bool) -> None:
        self._executor = executor
        self._draws = draws
        self._simple = simple
        self._relations = SIMPLE_RELATIONS if simple else _SPOKEN
        self._plain: dict[int, list[Program]] = {}

    def plain(self, index: int) -> Program | None:
        """Return a reference by class, colour and size alone, the shortest that there is."""
        if index not in self._plain:
            self._plain[index] = self._find_plain(index)
        found = self._plain[index]
        return the(self._draws.choice(found)) if found else None

    def related(self, index: int) -> Program | None:
        """Return a reference that needs another object."""
        facts = self._executor.facts
        others = [i for i in self._draws.shuffled(range(len(facts))) if i != index]
        proven = self._proven(index, self._related(index, others[:_ANCHORS]))
        found = next(proven, None)
        return None if found is None else the(found)

    def any(self, index: int) -> Program | None:
        """Return a plain reference, or one that needs another object where there is none."""
        return self.plain(index) or self.related(index)

    def _find_plain(self, index: int) -> list[Program]:
        facts = self._executor.facts
        name, color = facts.classes[index], facts.colors[index]
        of_name, of_both = of_class(name), of_class(name, color)
        groups: list[list[Program]] = [
            [of_name],
            [of_both, *self._held(index, of_name)],
            [Program("superlative", (of_name,), word) for word in SUPERLATIVES],
        ]
        if not self._simple:
            groups.append([Program("superlative", (of_both,), word) for word in SUPERLATIVES])
        for group in groups:
            found = list(self._proven(index, group))
            if found:
                return found
        return []

    def _held(self, index: int, objects: Program) -> list[Program]:
        """The thing told by what holds it: "the cabinet on the wall"."""
        labels = self._executor.facts.held_by
        holders = () if self._simple else HOLDERS
        return [held_by(objects, holder) for holder in holders if labels[holder][index] == 1]

    def _proven(self, index: int, candidates: Sequence[Program] | Iterator[Program]
                ) -> Iterator[Program]:  # fmt: skip
        return (found for found in candidates if self._executor.referent(found) == index)

    def _related(self, index: int, others: list[int]) -> Iterator[Program]:
        facts = self._executor.facts
        heads = [of_class(facts.classes[index])]
        if not self._simple:
            heads.append(of_class(facts.classes[index], facts.colors[index]))
        for other in others:
            anchor = self.plain(other)
            if anchor is None:
                continue
            held = [r for r in self._relations if facts.labels(r)[index, other] == 1]
            for head in heads:
                found = [relate(head, relation, anchor) for relation in held]
                if not self._simple and len(self._executor.run(head).possible - {other}) > 1:
                    found += [Program(word, (head, anchor)) for word in ("nearest", "farthest")]
                yield from self._draws.shuffled(found)
