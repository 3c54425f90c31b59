"""What a reader finds in a folder, before a single image is decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.data.annotations.records import ScanAnnotations
from g2vlm_fast.data.readers.errors import FrameError
from g2vlm_fast.data.readers.lens import Camera
from g2vlm_fast.data.readers.trajectory import Trajectory


class ColorSource(Protocol):
    """A colour image that can be decoded."""

    @property
    def path(self) -> Path:
        """The file at fault if it cannot."""

    def size(self) -> tuple[int, int]:
        """(height, width) as its header declares them; raises as :meth:`read`."""

    def read(self) -> NDArray[np.uint8]:
        """Decode to ``[H, W, 3]``; raises :class:`FrameError` where the image is damaged."""


class DepthSource(Protocol):
    """A depth image that can be decoded."""

    @property
    def path(self) -> Path:
        """The file at fault if it cannot."""

    def read(self, units_per_metre: float) -> NDArray[np.float32]:
        """Decode to ``[H, W]`` metres, 0 = missing; raises as :class:`ColorSource` does."""


@dataclass(frozen=True)
class Frame:
    """One view: where its images are, and where its camera was."""

    color: ColorSource
    depth: DepthSource | None
    pose: NDArray[np.float64] | None  # [4, 4] camera to world, metres, OpenCV
    camera: Camera | None = None  # of the colour image; None: the one of the listing
    depth_camera: Camera | None = None  # of the depth image; None: the one of the listing
    time: float | None = None  # seconds, on the clock of the trajectory


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The frames of a scan in the order they were taken, and what its files say of all of them."""

    frames: list[Frame]
    skipped: list[FrameError] = field(default_factory=list)  # frames that cannot be used
    camera: Camera | None = None  # of colour images that have none of their own
    depth_camera: Camera | None = None  # of depth images of another size than colour
    may_assume_primesense: bool = False  # the layout comes from recorders of PrimeSense sensors
    units_per_metre: float = 1000.0  # of depth images
    depth_along_ray: bool = False  # depth is the distance from the camera centre
    one_field_of_view: bool = False  # depth of another size shows what the colour image shows
    clockwise_turns: int = 0  # quarter turns that put the images upright
    gravity: NDArray[np.float64] | None = None  # [3] unit, points down; None: not said
    mesh: Path | None = None  # in the frame of ``mesh_to_world``
    mesh_to_world: NDArray[np.float64] | None = None  # [4, 4]; None: already there
    points: NDArray[np.float64] | None = None  # [N, 6] x y z metres, r g b in [0, 1]
    annotations: Callable[[], ScanAnnotations] | None = None
    poses_estimated: bool = False  # by registration, before the files were written
    trajectory: Trajectory | None = None  # what poses were looked up in by time
    assumptions: list[str] = field(default_factory=list)


IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")


def find_images(folder: Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> list[Path]:
    """The images directly in ``folder``, ordered by the number in their name, then by name."""
    if not folder.is_dir():
        return []
    found = (path for path in folder.iterdir() if path.suffix.lower() in suffixes)
    return sorted((path for path in found if path.is_file()), key=lambda p: _order(p.stem, p.name))


def without_pose(folders: Iterable[Path], posed: set[str]) -> list[str]:
    """A sentence about the images of folders that no pose names, if there are any.

    Args:
        folders: with images.
        posed: names of images that have a pose, without their suffix.
    """
    images = [path for folder in folders for path in find_images(folder)]
    lost = sum(path.stem not in posed for path in images)
    if not lost:
        return []
    return [f"{lost} of {len(images)} images have no pose and were left out."]


def in_order(names: Iterable[str]) -> list[str]:
    """Names in the order of the numbers in them: 2 before 10."""
    return sorted(names, key=lambda name: _order(name, name))


def _order(numbered: str, name: str) -> tuple[int, str]:
    digits = "".join(filter(str.isdecimal, numbered))[-18:]
    return (int(digits) if digits else -1, name)
