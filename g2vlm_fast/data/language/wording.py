"""Programs in words: noun phrases for references and sets of objects."""

from __future__ import annotations

from collections.abc import Iterator

from g2vlm_fast.data.language.grammar import plural
from g2vlm_fast.data.language.lexicon import Lexicon
from g2vlm_fast.data.language.programs import Program, Sort, view_of

_EXTREMES = {"nearest": "nearest to", "farthest": "farthest from"}


class Wording:
    """Says programs in the words of a lexicon."""

    def __init__(self, lexicon: Lexicon) -> None:
        self.lexicon = lexicon

    def the(self, reference: Program) -> str:
        """Return a definite noun phrase: "the largest red box left of the table".

        Raises:
            ValueError: a program that does not give one object by ``unique``.
        """
        if reference.operation != "unique":
            raise ValueError(
                f"Wording: a reference must end in unique, got {reference.operation!r}"
            )
        return f"the {self.noun_phrase(reference.inputs[0])}"

    def noun_phrase(self, objects: Program, *, several: bool = False) -> str:
        """Return a noun phrase without article: "red boxes left of the table".

        Args:
            objects: a program of filters, relations and extremes from the scene on.
            several: True for the plural.

        Raises:
            ValueError: a program that no noun phrase says.
        """
        noun, color, extreme, clauses = "object", "", "", []
        for step in _steps(objects):
            if step.operation == "filter_class":
                noun = self.lexicon.noun(step.value)
            elif step.operation == "filter_color":
                color = step.value
            elif step.operation == "superlative":
                extreme = step.value
            elif step.operation != "scene":
                clauses.append(self._clause(step))
        words = (extreme, color, plural(noun) if several else noun, *clauses)
        return " ".join(word for word in words if word)

    def _clause(self, step: Program) -> str:
        if step.operation == "filter_held_by":
            return self.lexicon.holder(step.value)
        others = step.inputs[1:]
        if step.operation == "relate":
            clause = f"{self.lexicon.relation(step.value)} {self.the(others[0])}"
            view = view_of(step.frame)
            if step.frame and view is None:
                return f"{clause} from its own point of view"
            return f"{clause} in view {view}" if view else clause
        if step.operation == "relate_between":
            return f"between {self.the(others[0])} and {self.the(others[1])}"
        if step.operation == "relate_place":
            return self.lexicon.side(step.value)
        if step.operation in _EXTREMES:
            return f"{_EXTREMES[step.operation]} {self.the(others[0])}"
        if step.operation == "nearest_to_place":
            return "nearest to me"
        raise ValueError(f"Wording: no noun phrase says {step.operation!r}")


def _steps(objects: Program) -> Iterator[Program]:
    """The chain of operations on sets of objects, from the scene on."""
    if objects.inputs and objects.inputs[0].gives == Sort.OBJECTS:
        yield from _steps(objects.inputs[0])
    yield objects
