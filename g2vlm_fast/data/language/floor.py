"""The area of the floor of a room."""

from __future__ import annotations

import numpy as np

from g2vlm_fast.data.rendering.primitives import Shape
from g2vlm_fast.data.scene import RoomTruth

_RISE = 0.05  # metres: what ends below is floor, and what begins above is no wall


def floor_area(truth: RoomTruth) -> float:
    """Return the square metres of floor: the rectangle of the room less its inner walls.

    Walls and solid corners are boxes of the room itself that rise from the floor, along its axes.
    """
    solids = truth.primitives
    bottom = solids.center[:, 2] - solids.half_size[:, 2]
    walls = (solids.instance == -1) & (solids.shape == Shape.BOX)
    walls &= (bottom.abs() <= _RISE) & (solids.half_size[:, 2] > _RISE)
    half_room = (truth.room_size[:2].double() / 2).numpy()
    center, half = (part[walls, :2].double().numpy() for part in (solids.center, solids.half_size))
    low = np.clip(center - half, -half_room, half_room)
    high = np.clip(center + half, -half_room, half_room)
    lines = [np.unique([-half_room[i], half_room[i], *low[:, i], *high[:, i]]) for i in (0, 1)]
    middle = [(line[1:] + line[:-1]) / 2 for line in lines]
    inside = [(low[:, i, None] < middle[i]) & (middle[i] < high[:, i, None]) for i in (0, 1)]
    walled = (inside[0][:, :, None] & inside[1][:, None, :]).any(0)
    cells = np.diff(lines[0])[:, None] * np.diff(lines[1])
    return float(cells[~walled].sum())
