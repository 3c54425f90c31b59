"""Rooms seen by cameras that are turned by a quarter."""

from __future__ import annotations

import dataclasses

import numpy as np
from scan_layouts.room import Room


def held_sideways(room: Room) -> Room:
    """The same views by a camera that is turned clockwise: the sky is on the left.

    Pixel (column, row) of the upright image becomes (row, W - 1 - column).
    """
    width = room.images.shape[2]
    matrix = np.array(
        [
            [room.matrix[1, 1], 0, room.matrix[1, 2]],
            [0, room.matrix[0, 0], width - 1 - room.matrix[0, 2]],
            [0, 0, 1.0],
        ]
    )
    # x of the turned camera is y (down) of the upright one, its y is minus x
    turn = np.eye(4)
    turn[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    return dataclasses.replace(
        room,
        images=np.rot90(room.images, 1, axes=(1, 2)),
        depth=np.rot90(room.depth, 1, axes=(1, 2)),
        instance=np.rot90(room.instance, 1, axes=(1, 2)),
        matrix=matrix,
        poses=room.poses @ turn,
    )
