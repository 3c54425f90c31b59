"""The closed ontology of the generated rooms, and the names that the heads speak in.

A checkpoint stores the lists it was trained with in its configuration; these are the defaults.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

SIMPLE_CLASSES: tuple[str, ...] = (
    "table", "chair", "sofa", "bed", "cabinet", "shelf", "lamp", "box", "stool", "bin",
)  # fmt: skip
"""What simple rooms hold, which a tiny model learns to tell apart in minutes."""

CLASSES: tuple[str, ...] = (
    *SIMPLE_CLASSES,
    "desk", "armchair", "bench", "nightstand", "dresser", "wardrobe", "refrigerator", "stove",
    "washing machine", "counter", "sink", "toilet", "bathtub", "shower", "door", "window",
    "curtain", "mirror", "picture", "whiteboard", "clock", "monitor", "keyboard", "laptop",
    "computer", "printer", "television", "plant", "pillow", "book", "cup", "bowl", "vase", "basket",
    "backpack", "suitcase", "radiator", "microwave", "kettle", "telephone", "fan", "rug", "towel",
    "piano", "ceiling light", "coat rack",
)  # fmt: skip
"""Everything that rooms hold: furniture, what stands or lies on it, what hangs, and openings."""

COLORS: dict[str, tuple[float, float, float]] = {
    "red": (0.80, 0.16, 0.14),
    "green": (0.18, 0.58, 0.24),
    "blue": (0.16, 0.30, 0.75),
    "yellow": (0.88, 0.76, 0.18),
    "white": (0.90, 0.90, 0.88),
    "black": (0.12, 0.12, 0.13),
    "brown": (0.45, 0.29, 0.16),
    "purple": (0.50, 0.22, 0.60),
}

SIMPLE_RELATIONS: tuple[str, ...] = ("left of", "right of", "in front of", "behind", "on", "near")
"""What a tiny model learns to tell of simple rooms."""

RELATIONS: tuple[str, ...] = (
    *SIMPLE_RELATIONS,
    "in", "above", "below", "higher than", "lower than", "bigger than", "smaller than", "facing",
    "aligned with",
)  # fmt: skip
"""Predicates of ordered pairs; their formulas are in ``data.language.relations``."""

DIRECTIONAL_RELATIONS = RELATIONS[:4]
"""Relations that hold in a named frame: the first view of the scene unless said otherwise."""

INVERSE: dict[str, str] = {
    "left of": "right of",
    "right of": "left of",
    "in front of": "behind",
    "behind": "in front of",
    "above": "below",
    "below": "above",
    "higher than": "lower than",
    "lower than": "higher than",
    "bigger than": "smaller than",
    "smaller than": "bigger than",
}

SYMMETRIC_RELATIONS: tuple[str, ...] = ("near", "aligned with")

CONTAINERS: tuple[str, ...] = (
    "cabinet", "shelf", "box", "bin", "wardrobe", "dresser", "nightstand", "refrigerator", "sink",
    "bathtub", "shower", "cup", "bowl", "vase", "basket", "backpack", "suitcase", "microwave",
)  # fmt: skip
"""Classes that things can be "in": of others the label is 0 wherever the boxes are."""


@dataclass(frozen=True)
class Ontology:
    """The classes and relations that a model tells apart, in the order of its outputs.

    Raises:
        ValueError: a name that comes twice, or a relation that nobody labels.
    """

    classes: tuple[str, ...] = CLASSES
    relations: tuple[str, ...] = RELATIONS

    def __post_init__(self) -> None:
        for name in ("classes", "relations"):
            names = getattr(self, name)
            twice = sorted({each for each in names if names.count(each) > 1})
            if twice:
                raise ValueError(f"Ontology: {name} must differ, {twice} come twice")
        unknown = sorted(set(self.relations) - set(RELATIONS))
        if unknown:
            raise ValueError(f"Ontology: relations must be some of {RELATIONS}, got {unknown}")

    @property
    def relation_columns(self) -> list[int]:
        """Where each relation stands in labels of all of ``RELATIONS``."""
        return [RELATIONS.index(name) for name in self.relations]

    def class_ids(self, names: Iterable[str]) -> list[int]:
        """Return the id of each class.

        Raises:
            ValueError: a class that the model does not know.
        """
        names = list(names)
        unknown = sorted(set(names) - set(self.classes))
        if unknown:
            raise ValueError(
                f"Ontology: {unknown} are none of the model's classes {list(self.classes)}; "
                "use scenes of other classes, or a model that knows these"
            )
        return [self.classes.index(name) for name in names]


EVERYTHING = Ontology()
"""All that rooms hold and all that is labelled of them."""

SIMPLE = Ontology(SIMPLE_CLASSES, SIMPLE_RELATIONS)
"""What a tiny model learns of simple rooms in minutes."""
