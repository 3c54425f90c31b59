"""Every class of furniture and its variants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from types import MappingProxyType

from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.furniture import simple
from g2vlm_fast.data.furniture.pieces import Builder, Furniture, Mount, even

_BUILDERS: dict[str, dict[str, Builder]] = {
    "table": {
        "rectangular": lambda draws: simple.rectangular_table(draws, even(draws, 700, 760)),
        "round": lambda draws: simple.round_table(draws, even(draws, 700, 760)),
    },
    "chair": {"dining": simple.chair},
    "sofa": {"two cushions": simple.sofa},
    "bed": {"headboard": simple.bed},
    "cabinet": {"two doors": simple.cabinet},
    "shelf": {"bookcase": simple.shelf},
    "lamp": {"floor": simple.floor_lamp, "table": simple.table_lamp},
    "box": {"large carton": simple.large_carton, "small carton": simple.small_carton},
    "stool": {"round": simple.stool},
    "bin": {"round": simple.waste_bin},
}

VARIANTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {class_name: tuple(builders) for class_name, builders in _BUILDERS.items()}
)
"""The names of the variants of every class, in a fixed order."""


def make_furniture(class_name: str, draws: Draws, *, variant: str | None = None) -> Furniture:
    """Draw a piece of furniture.

    Args:
        class_name: one of ``ontology.CLASSES``.
        draws: source of randomness.
        variant: one of ``VARIANTS[class_name]``; None draws one, all equally likely.

    Raises:
        ValueError: an unknown class or variant.
    """
    if class_name not in VARIANTS:
        raise ValueError(
            f"make_furniture: class_name must be one of {tuple(VARIANTS)}, got {class_name!r}"
        )
    names = VARIANTS[class_name]
    if variant is None:
        variant = draws.choice(names)
    elif variant not in names:
        raise ValueError(
            f"make_furniture: variant of {class_name!r} must be one of {names}, got {variant!r}"
        )
    return replace(_BUILDERS[class_name][variant](draws), variant=variant)


@cache
def mount_of(class_name: str, variant: str) -> Mount:
    """Return what a variant stands on or hangs from; arguments as in :func:`make_furniture`."""
    return make_furniture(class_name, Draws(0), variant=variant).mount
