"""What makes a room lived in: curtains, pictures, lights, clutter, and more of the same."""

from __future__ import annotations

from g2vlm_fast.data.rooms.arrangement import Arrangement
from g2vlm_fast.data.rooms.furnishing import chances, wall_piece
from g2vlm_fast.data.rooms.furniture import Mount
from g2vlm_fast.data.rooms.openings import (
    hang,
    hang_before,
    hang_under,
    light_ceiling,
)

_DISTRACTORS = (
    "chair", "stool", "lamp", "plant", "box", "bin", "basket", "armchair", "cabinet", "shelf",
    "nightstand", "backpack", "suitcase",
)  # fmt: skip
"""Classes of which a room is given another piece on purpose, so that a name is not enough."""


def dress(arrangement: Arrangement, windows: list[int], richness: float) -> None:
    """Add curtains, radiators, pictures, lights, clutter and more of the same.

    Args:
        arrangement: the building, whose current space is furnished already.
        windows: indices of the windows of the space.
        richness: of its furniture, about 1.
    """
    draws, space = arrangement.draws, arrangement.space
    may = chances(arrangement, richness)
    dry = space.program != "bathroom"
    for window in windows:
        if may(0.6):
            hang_under(arrangement, window, "radiator")
        if dry and may(0.45):
            hang_before(arrangement, window, "curtain")
    for name, chance in (
        ("picture", 0.5), ("picture", 0.35), ("mirror", 0.2), ("clock", 0.25),
    ):  # fmt: skip
        if dry and may(chance):
            hang(arrangement, name)
    light_ceiling(arrangement, 1 + round(space.area * draws.integer(0, 10) / 100))
    for name, chance in (
        ("plant", 0.45), ("lamp", 0.3), ("bin", 0.25), ("plant", 0.2), ("basket", 0.4),
        ("backpack", 0.25), ("suitcase", 0.15), ("box", 0.4), ("fan", 0.12),
        ("coat rack", 0.12), ("stool", 0.15), ("box", 0.25), ("computer", 0.05),
    ):  # fmt: skip
        if dry and may(chance):
            wall_piece(arrangement, name, into_corner=0.5)
    for _ in range(draws.integer(0, 2)):
        _add_distractor(arrangement)


def _add_distractor(arrangement: Arrangement) -> None:
    """Add another piece of a class that the space already has."""
    present = [name for name in _DISTRACTORS if arrangement.standing(name)]
    if present:
        name = arrangement.draws.choice(present)
        furniture = arrangement.make(name, mount=Mount.FLOOR)
        if furniture is not None:
            arrangement.against_wall(furniture, into_corner=0.2)
