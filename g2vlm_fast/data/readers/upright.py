"""Images of cameras that were held sideways."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from g2vlm_fast.data.readers.listing import Frame

SKY_TURNS = {"up": 0, "left": 1, "down": 2, "right": 3}
"""Clockwise quarter turns that put an image upright, by the side that the sky is on."""


def sky_direction(frames: Sequence[Frame]) -> str:
    """The side of the images that the sky is on, from poses in a world whose z points up."""
    ups = [frame.pose[2, :3] for frame in frames if frame.pose is not None]
    if not ups:
        return "up"
    right, down, _ = np.mean(ups, axis=0)  # of up, in the camera
    if abs(right) > abs(down):
        return "right" if right > 0 else "left"
    return "down" if down > 0 else "up"
