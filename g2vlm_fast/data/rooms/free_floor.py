"""The floor that a person can walk on, as a grid."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from g2vlm_fast.data.rooms.footprints import Footprint
from g2vlm_fast.data.rooms.furniture import Mount
from g2vlm_fast.data.rooms.outlines import Block, Space
from g2vlm_fast.data.rooms.placement import Placed

PERSON_RADIUS = 250
"""Millimetres around the axis of a person."""

_STEP = 40  # what is no higher is walked over
_HEAD = 1900  # what begins higher is walked under

_SEATS = frozenset(("chair", "armchair", "sofa", "bench", "bed"))

Cell = tuple[int, int]


@dataclass(frozen=True, eq=False)
class FreeFloor:
    """Square cells over a building; ``free[column, row]`` where a person can stand."""

    x0: int  # millimetres, middle of cell (0, 0)
    y0: int
    size: int  # side of a cell
    free: np.ndarray  # [columns, rows] bool

    def position(self, cell: Cell) -> tuple[int, int]:
        """Return the middle of a cell in millimetres."""
        return self.x0 + self.size * cell[0], self.y0 + self.size * cell[1]

    def reachable(self) -> FreeFloor:
        """Return the largest part of it that hangs together (over sides of cells)."""
        label = np.zeros(self.free.shape, dtype=np.int32)
        largest, most = 0, 0
        for number, cell in enumerate(zip(*np.nonzero(self.free), strict=True), 1):
            if label[cell] == 0:
                steps = self.steps_from((int(cell[0]), int(cell[1])))
                label[steps >= 0] = number
                count = int((steps >= 0).sum())
                if count > most:
                    largest, most = number, count
        return FreeFloor(self.x0, self.y0, self.size, (label == largest) & self.free)

    def steps_from(self, start: Cell) -> np.ndarray:
        """Return the steps from a free cell to every cell ``[columns, rows]``, -1 = no way."""
        columns, rows = self.free.shape
        walls = np.zeros((columns + 2, rows + 2), dtype=bool)
        walls[1:-1, 1:-1] = self.free
        free = walls.ravel().tolist()
        across = rows + 2
        steps = [-1] * len(free)
        first = (start[0] + 1) * across + start[1] + 1
        steps[first] = 0
        queue = deque([first])
        while queue:
            here = queue.popleft()
            for there in (here - across, here - 1, here + 1, here + across):
                if free[there] and steps[there] < 0:
                    steps[there] = steps[here] + 1
                    queue.append(there)
        return np.array(steps).reshape(columns + 2, across)[1:-1, 1:-1]

    def path(self, start: Cell, goal: Cell) -> list[Cell]:
        """Return a shortest way between two cells, both included; empty where there is none."""
        steps = self.steps_from(start)
        way = [goal]
        while steps[way[-1]] > 0:
            column, row = way[-1]
            way.append(
                next(
                    (x, y)
                    for x, y in ((column - 1, row), (column, row - 1), (column, row + 1),
                                 (column + 1, row))
                    if 0 <= x < steps.shape[0] and 0 <= y < steps.shape[1]
                    and steps[x, y] == steps[column, row] - 1
                )
            )  # fmt: skip
        return way[::-1] if steps[goal] >= 0 else []


def stands_on_floor(piece: Placed) -> bool:
    """Whether a piece stands on the floor or a rug and is no rug itself."""
    is_low = piece.z + piece.furniture.size[2] <= _STEP
    return piece.furniture.mount == Mount.FLOOR and piece.z <= _STEP and not is_low


def is_reached(floor: FreeFloor, piece: Placed) -> bool:
    """Whether someone who stands on a floor comes to a piece that stands on the floor, too.

    The axis of the person has to be within 70 cm before the front of the piece. Within 60 cm of
    any side is enough where it has no front, and for what one sits or lies on: the front of a
    chair is at a table.
    """
    solid = piece.solid()
    columns, rows = np.nonzero(floor.free)
    away_x = floor.x0 + floor.size * columns - solid.x
    away_y = floor.y0 + floor.size * rows - solid.y
    local_x = abs(solid.cosine * away_x + solid.sine * away_y)
    local_y = solid.cosine * away_y - solid.sine * away_x
    if piece.furniture.has_front and piece.furniture.class_name not in _SEATS:
        before = -solid.half_depth - local_y
        return bool(((local_x <= solid.half_width) & (before > 0) & (before <= 700)).any())
    beyond_x = np.maximum(local_x - solid.half_width, 0)
    beyond_y = np.maximum(abs(local_y) - solid.half_depth, 0)
    return bool((beyond_x**2 + beyond_y**2 <= 600**2).any())


def free_floor(
    size: tuple[int, int, int],
    spaces: Sequence[Space],
    blocks: Sequence[Block],
    pieces: Sequence[Placed],
    *,
    cell: int = 50,
    radius: int = PERSON_RADIUS,
) -> FreeFloor:
    """Find the floor where the axis of an upright cylinder can stand.

    Args:
        size: millimetres, bounding box of the building.
        spaces: its rooms.
        blocks: what is solid within.
        pieces: the furniture.
        cell: side of a cell in millimetres.
        radius: of the cylinder in millimetres; its height is that of a person.
    """
    columns, rows = (side // cell for side in size[:2])
    x0, y0 = -(columns - 1) * cell // 2, -(rows - 1) * cell // 2
    x = x0 + cell * np.arange(columns)[:, None]
    y = y0 + cell * np.arange(rows)[None, :]
    reach_x, reach_y = size[0] / 2 - radius, size[1] / 2 - radius
    free = (abs(x) <= reach_x) & (abs(y) <= reach_y)
    solids = [piece.solid() for piece in pieces] + [block.footprint() for block in blocks]
    for solid in solids:
        if solid.top <= _STEP or solid.bottom >= _HEAD:
            continue
        around = solid.reach + radius
        first_column, last_column = _span(solid.x - around, solid.x + around, x0, cell, columns)
        first_row, last_row = _span(solid.y - around, solid.y + around, y0, cell, rows)
        window = (slice(first_column, last_column), slice(first_row, last_row))
        free[window] &= ~_nearer(solid, x[window[0]], y[:, window[1]], radius)
    return FreeFloor(x0, y0, cell, free)


def _span(low: float, high: float, start: int, cell: int, count: int) -> tuple[int, int]:
    """Range of the cells whose middles lie between two coordinates."""
    first = int((low - start) // cell)
    last = int((high - start) // cell) + 2
    return min(max(first, 0), count), min(max(last, 0), count)


def _nearer(solid: Footprint, x: np.ndarray, y: np.ndarray, radius: int) -> np.ndarray:
    """Where points ``x [c, 1]``, ``y [1, r]`` are nearer to a solid than ``radius``: ``[c, r]``."""
    away_x, away_y = x - solid.x, y - solid.y
    local_x = abs(solid.cosine * away_x + solid.sine * away_y)
    local_y = abs(solid.cosine * away_y - solid.sine * away_x)
    if solid.is_round:
        return local_x**2 + local_y**2 < (solid.half_width + radius) ** 2
    beyond_x = np.maximum(local_x - solid.half_width, 0)
    beyond_y = np.maximum(local_y - solid.half_depth, 0)
    return beyond_x**2 + beyond_y**2 < radius**2
