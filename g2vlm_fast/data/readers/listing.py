"""What a reader finds in a folder, before a single image is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Frame:
    """One view: where its files are, and where its camera was."""

    color: Path
    depth: Path
    pose: NDArray[np.float64]  # [4, 4] camera to world, metres, OpenCV


@dataclass(frozen=True)
class Listing:
    """The frames of a scan in the order they were taken."""

    frames: list[Frame]
    intrinsics: Path | None  # file of the camera matrix, None = the scan has none
    may_assume_primesense: bool = False  # the layout comes from recorders of PrimeSense sensors


IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")


def find_images(folder: Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> list[Path]:
    """The images directly in ``folder``, ordered by the number in their name, then by name."""

    def order(path: Path) -> tuple[int, str]:
        digits = "".join(filter(str.isdigit, path.stem))
        return (int(digits) if digits else -1, path.name)

    found = (path for path in folder.iterdir() if path.suffix.lower() in suffixes)
    return sorted((path for path in found if path.is_file()), key=order)
