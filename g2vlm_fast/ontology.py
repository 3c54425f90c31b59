"""The closed ontology of the generated rooms, and the names that the heads speak in.

A checkpoint stores the lists it was trained with in its configuration; these are the defaults.
"""

from __future__ import annotations

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
"""Predicates of ordered pairs; their formulas are in ``data.relations``."""

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
"""Classes that things are "in" rather than "on", unless they stand on the very top."""
