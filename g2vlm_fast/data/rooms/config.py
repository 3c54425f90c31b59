"""What generated rooms are drawn from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from g2vlm_fast.ontology import CLASSES, COLORS

PROGRAMS: tuple[str, ...] = (
    "bedroom", "living room", "kitchen", "office", "bathroom", "flat",
)  # fmt: skip
"""Programs of rooms that a person would believe; "simple" rooms are beside them."""

TRAJECTORIES: tuple[str, ...] = ("look", "orbit", "walk")
"""How cameras move: they look about from anywhere, go round a centre of interest, or walk."""

Held = Literal["seen", "unseen", "all"]
"""Of what is held out of training: none of it, some of it in every room, or no matter."""

_HELD = ("seen", "unseen", "all")


@dataclass(frozen=True, kw_only=True)
class RoomConfig:
    """What rooms are drawn from. Ranges are (low, high), both included; lengths are metres.

    ``objects`` counts the pieces of simple rooms; the other programs furnish by floor area.
    ``variants`` and ``facts`` name what :mod:`g2vlm_fast.data.rooms.held_out` keeps from training.
    Simple rooms have neither, and look at their furniture from heights of their own:
    ``trajectories``, ``eye_height`` and ``pitch`` do not change them.
    """

    programs: tuple[str, ...] = PROGRAMS  # of these or "simple", all equally likely
    side: tuple[float, float] = (3.0, 6.0)  # of a living room or office; others are smaller
    flat_side: tuple[float, float] = (6.0, 9.0)
    height: tuple[float, float] = (2.4, 3.0)
    l_shaped: float = 0.25  # probability that a room is an L
    objects: tuple[int, int] = (3, 7)
    views: tuple[int, int] = (2, 4)
    trajectories: tuple[str, ...] = TRAJECTORIES
    eye_height: tuple[float, float] = (1.2, 1.9)
    pitch: tuple[int, int] = (-35, 5)  # degrees above the horizon that cameras look
    image_size: tuple[int, int] = (48, 64)  # (height, width) in pixels
    focal: tuple[float, float] = (0.65, 0.85)  # focal length over image width: 75 to 61 degrees
    sensor_noise: bool = True  # False: exact images and depth, and no holes
    noise_scale: float = 1.0  # of the spread of depth and colour
    depth_probability: float = 0.9  # of a scene, that depth is given
    mesh_probability: float = 0.3  # of a scene, that part of its surface is given as a mesh
    classes: tuple[str, ...] = CLASSES
    colors: tuple[str, ...] = tuple(COLORS)
    variants: Held = "seen"
    facts: Held = "seen"

    def __post_init__(self) -> None:
        for name in ("side", "flat_side", "height", "objects", "views", "focal", "eye_height"):
            low, high = getattr(self, name)
            if not 0 < low <= high < math.inf:
                raise ValueError(f"RoomConfig: {name} must be 0 < low <= high, got {(low, high)}")
        for name in ("objects", "views", "image_size"):
            value = getattr(self, name)
            if len(value) != 2 or not all(isinstance(number, int) for number in value):
                raise ValueError(f"RoomConfig: {name} must be two whole numbers, got {value}")
        for name in ("l_shaped", "depth_probability", "mesh_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"RoomConfig: {name} must be 0 to 1, got {getattr(self, name)}")
        if self.eye_height[1] > self.height[0]:
            raise ValueError(
                f"RoomConfig: eye_height must stay below the lowest ceiling ({self.height[0]} m), "
                f"got {self.eye_height}"
            )
        if not -80 <= self.pitch[0] <= self.pitch[1] <= 80:
            raise ValueError(
                f"RoomConfig: pitch must be -80 <= low <= high <= 80, got {self.pitch}"
            )
        if self.side[0] < 2.5 or self.height[0] < 2.2:
            raise ValueError("RoomConfig: rooms must be at least 2.5 m wide and 2.2 m high")
        if self.flat_side[0] < 5.0:
            raise ValueError(f"RoomConfig: flats must be 5 m wide or more, got {self.flat_side}")
        if not 0 <= self.noise_scale < math.inf:
            raise ValueError(f"RoomConfig: noise_scale must be >= 0, got {self.noise_scale}")
        if min(self.image_size) < 8:
            raise ValueError(f"RoomConfig: image_size must be >= 8, got {self.image_size}")
        for name, known in (
            ("classes", CLASSES),
            ("colors", tuple(COLORS)),
            ("programs", ("simple", *PROGRAMS)),
            ("trajectories", TRAJECTORIES),
        ):
            unknown = set(getattr(self, name)) - set(known)
            if unknown or not getattr(self, name):
                raise ValueError(
                    f"RoomConfig: {name} must be some of {list(known)}, got {getattr(self, name)}"
                )
        for name in ("variants", "facts"):
            if getattr(self, name) not in _HELD:
                raise ValueError(
                    f"RoomConfig: {name} must be one of {_HELD}, got {getattr(self, name)!r}"
                )
