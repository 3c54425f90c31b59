"""What generated rooms are drawn from."""

from __future__ import annotations

from dataclasses import dataclass

from g2vlm_fast.ontology import CLASSES, COLORS


@dataclass(frozen=True, kw_only=True)
class RoomConfig:
    """What rooms are drawn from. Ranges are (low, high), both included; lengths are metres."""

    side: tuple[float, float] = (3.0, 6.0)
    height: tuple[float, float] = (2.4, 3.0)
    objects: tuple[int, int] = (3, 7)
    views: tuple[int, int] = (2, 4)
    image_size: tuple[int, int] = (48, 64)  # (height, width) in pixels
    focal: tuple[float, float] = (0.65, 0.85)  # focal length over image width: 75 to 61 degrees
    sensor_noise: bool = True  # False: exact images and depth, and no holes
    depth_probability: float = 0.9  # of a scene, that depth is given
    mesh_probability: float = 0.3  # of a scene, that part of its surface is given as a mesh
    classes: tuple[str, ...] = CLASSES
    colors: tuple[str, ...] = tuple(COLORS)

    def __post_init__(self) -> None:
        for name in ("side", "height", "objects", "views", "focal"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"RoomConfig: {name} must be 0 < low <= high, got {(low, high)}")
        if self.side[0] < 2.5 or self.height[0] < 2.2:
            raise ValueError("RoomConfig: rooms must be at least 2.5 m wide and 2.2 m high")
        if min(self.image_size) < 8:
            raise ValueError(f"RoomConfig: image_size must be >= 8, got {self.image_size}")
        for name, known in (("classes", CLASSES), ("colors", COLORS)):
            unknown = set(getattr(self, name)) - set(known)
            if unknown or not getattr(self, name):
                raise ValueError(
                    f"RoomConfig: {name} must be some of {list(known)}, got {getattr(self, name)}"
                )
