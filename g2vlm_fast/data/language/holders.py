"""What of the building holds a thing: a wall, the floor or the ceiling.

People say "the picture on the wall" and "the cabinet on the wall, not the one on the floor". They
hardly ever mean one wall of four by that: it says how a thing is held, as a colour says how it
looks. So walls, floor and ceiling are no objects here. They have no box of their own that a system
could be asked for, no colour or size that anybody asks for, and "the wall" alone would be proved to
single out nothing in any room; a phrase such as "the lamp near the wall" is not made. What holds a
thing is a property of it, decided from its box and from what carries it:

========  ===========================================  ======================================
holder    holds (1)                                    does not hold (0)
========  ===========================================  ======================================
floor     nothing carries it and its bottom is within  it stands on or in a thing other than a
          0.02 m of the floor                          rug, or its bottom is 0.06 m or higher
ceiling   nothing carries it and its top is within     something carries it, or its top is
          0.02 m of the ceiling                        0.06 m or more below the ceiling
wall      nothing carries it, its bottom is 0.06 m or  something carries it, or floor or
          more above the floor and its top 0.06 m or   ceiling holds it
          more below the ceiling: nothing floats
========  ===========================================  ======================================

Of doors, windows and curtains, which are of the wall or before it, people would differ: undecided.
So is whether the floor holds what stands on a rug.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.data.scene import RoomTruth

HELD_IN_SEVERAL_WAYS: tuple[str, ...] = (
    "cabinet", "shelf", "coat rack", "radiator", "sink", "towel", "mirror", "television",
    "whiteboard",
)  # fmt: skip
"""Classes of which some hang on walls and some do not, so that the name does not tell."""

_OPENINGS = ("door", "window", "curtain")
_TOUCHES, _IS_APART = 0.02, 0.06  # metres


def held_by(truth: RoomTruth) -> dict[str, NDArray[np.int8]]:
    """Label by every holder whether it holds each of K things: ``[K]``, 1, 0 or -1 undecided."""
    center, size, _ = truth.boxes()
    bottom = (center[:, 2] - size[:, 2] / 2).double().numpy()
    below_ceiling = float(truth.room_size[2]) - bottom - size[:, 2].double().numpy()
    supports = [
        None if thing.support is None else truth.objects[thing.support].class_name
        for thing in truth.objects
    ]
    carried = np.array([support is not None for support in supports], dtype=bool)
    on_rug = np.array([support == "rug" for support in supports], dtype=bool)
    openings = np.array([thing.class_name in _OPENINGS for thing in truth.objects], dtype=bool)
    floor = _label(~carried & (bottom <= _TOUCHES), carried | (bottom >= _IS_APART))
    floor[on_rug] = -1
    ceiling = _label(~carried & (below_ceiling <= _TOUCHES), carried | (below_ceiling >= _IS_APART))
    wall = _label(
        ~carried & (bottom >= _IS_APART) & (below_ceiling >= _IS_APART),
        carried | (floor == 1) | (ceiling == 1),
    )
    for labels in (floor, wall):
        labels[openings] = -1
    return {"wall": wall, "floor": floor, "ceiling": ceiling}


def _label(holds: NDArray[np.bool_], fails: NDArray[np.bool_]) -> NDArray[np.int8]:
    return np.where(holds, 1, np.where(fails, 0, -1)).astype(np.int8)
