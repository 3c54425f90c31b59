"""Every class of furniture and its variants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from types import MappingProxyType

from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.rooms.furniture import (
    appliances,
    bathroom,
    beds,
    containers,
    decoration,
    electronics,
    lighting,
    openings,
    seating,
    smallware,
    storage,
    tables,
)
from g2vlm_fast.data.rooms.furniture.pieces import Builder, Furniture, Mount

_FAMILIES = (
    seating, tables, storage, containers, beds, lighting, appliances, bathroom, electronics,
    openings, decoration, smallware,
)  # fmt: skip
_BUILDERS: dict[str, dict[str, Builder]] = {
    class_name: variants for family in _FAMILIES for class_name, variants in family.BUILDERS.items()
}

VARIANTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {class_name: tuple(variants) for class_name, variants in _BUILDERS.items()}
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
