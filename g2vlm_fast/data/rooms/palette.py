"""The colours that things of a class come in."""

from __future__ import annotations

from collections.abc import Sequence

from g2vlm_fast.data.draws import Draws

Jitter = tuple[int, int, int]

_WOODEN = ("brown", "brown", "brown", "white", "white", "black")
_CERAMIC = ("white",)
_PLASTIC = ("black", "black", "white")

_NATURAL: dict[str, tuple[float, tuple[str, ...]]] = {
    **dict.fromkeys(("table", "chair", "desk", "cabinet", "shelf", "nightstand", "dresser",
                     "wardrobe", "bench", "counter", "coat rack", "stool"), (0.72, _WOODEN)),
    **dict.fromkeys(("toilet", "bathtub", "sink", "shower", "radiator", "ceiling light",
                     "whiteboard"), (1.0, _CERAMIC)),
    **dict.fromkeys(("refrigerator", "stove", "washing machine", "printer", "microwave"),
                    (0.85, ("white", "white", "black"))),
    **dict.fromkeys(("monitor", "keyboard", "laptop", "computer", "telephone"), (0.92, _PLASTIC)),
    "television": (1.0, ("black",)),
    "door": (0.9, ("white", "white", "brown")),
    "window": (1.0, ("white", "white", "brown")),
    "mirror": (0.8, ("brown", "white", "black")),
    "plant": (1.0, ("green",)),
    "piano": (0.95, ("black", "brown")),
    "fan": (0.85, ("white", "black")),
    "box": (0.6, ("brown",)),
    "basket": (0.6, ("brown", "white")),
    "bin": (0.4, ("black", "white")),
}  # fmt: skip
"""Probability of a colour that is usual for a class, and the usual ones; more of one is likelier.
Classes that are not named, textiles above all, come in every colour."""


def draw_color(draws: Draws, class_name: str, colors: Sequence[str]) -> tuple[str, Jitter]:
    """Draw a colour of ``colors`` for a thing and how far its channels are off (thousandths)."""
    usually, natural = _NATURAL.get(class_name, (0.0, ()))
    usual = [color for color in natural if color in colors]
    color = draws.choice(usual if usual and draws.chance(usually) else colors)
    return color, (draws.integer(-80, 80), draws.integer(-80, 80), draws.integer(-80, 80))
