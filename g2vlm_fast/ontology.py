"""The closed ontology of the generated rooms, and the names that the heads speak in.

A checkpoint stores the lists it was trained with in its configuration; these are the defaults.
"""

from __future__ import annotations

SIMPLE_CLASSES: tuple[str, ...] = (
    "table", "chair", "sofa", "bed", "cabinet", "shelf", "lamp", "box", "stool", "bin",
)  # fmt: skip
"""What simple rooms hold, which a tiny model learns to tell apart in minutes."""

CLASSES: tuple[str, ...] = SIMPLE_CLASSES

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

RELATIONS: tuple[str, ...] = ("left of", "right of", "in front of", "behind", "on", "near")

DIRECTIONAL_RELATIONS = RELATIONS[:4]
"""Relations that hold in a named frame: the first view of the scene unless said otherwise."""

INVERSE: dict[str, str] = {
    "left of": "right of",
    "right of": "left of",
    "in front of": "behind",
    "behind": "in front of",
}
