"""Ways through furnished rooms: what bars them or cannot be reached is taken out."""

from __future__ import annotations

from collections.abc import Collection

from g2vlm_fast.data.rooms.arrangement import Arrangement
from g2vlm_fast.data.rooms.free_floor import FreeFloor, free_floor, is_reached, stands_on_floor

_CELL = 100  # millimetres, of the floor that is searched for ways
_CONNECTED = 0.88  # share of the free floor that one can walk to
_MOST_BARS = 3  # pieces taken out because they cut a room in two


def make_walkable(arrangement: Arrangement, essential: Collection[str]) -> None:
    """Take out what bars the way to large parts of the floor, then what no one can walk to.

    Args:
        arrangement: the furnished building.
        essential: classes that rooms are not believed without; they go last.
    """
    for _ in range(_MOST_BARS):
        floor = _floor_without(arrangement, None)
        if floor.reachable().free.sum() >= _CONNECTED * floor.free.sum():
            break
        _take_out_bar(arrangement, essential)
    for spared in (essential, essential, ()):
        floor = _floor_without(arrangement, None).reachable()
        unreached = [
            index
            for index, piece in enumerate(arrangement.placed)
            if stands_on_floor(piece) and not is_reached(floor, piece)
        ]
        if not unreached:
            return
        arrangement.take_out(
            index
            for index in unreached
            if arrangement.placed[index].furniture.class_name not in spared
        )


def _take_out_bar(arrangement: Arrangement, essential: Collection[str]) -> None:
    """Take out the piece without which one can walk furthest; small ones where it is the same."""
    best: tuple[int, int, int] | None = None
    for index, piece in enumerate(arrangement.placed):
        if not stands_on_floor(piece) or piece.furniture.class_name in essential:
            continue
        gain = int(_floor_without(arrangement, index).reachable().free.sum())
        rank = (gain, -piece.furniture.size[0] * piece.furniture.size[1], -index)
        best = rank if best is None else max(best, rank)
    if best is not None:
        arrangement.take_out([-best[2]])


def _floor_without(arrangement: Arrangement, left_out: int | None) -> FreeFloor:
    outline = arrangement.outline
    pieces = [piece for index, piece in enumerate(arrangement.placed) if index != left_out]
    return free_floor(outline.size, outline.spaces, outline.blocks, pieces, cell=_CELL)
