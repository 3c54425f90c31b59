"""Frame folders in the style of 7-Scenes: ``frame-*.color.png``, ``.depth.png``, ``.pose.txt``.

Source: Shotton et al., *Scene Coordinate Regression Forests for Camera Relocalization in RGB-D
Images*, CVPR 2013; also the layout of Zeng et al., 3DMatch, and of its fusion samples.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.data.readers.calibration import camera_beside, read_numbers, rigid_pose
from g2vlm_fast.data.readers.errors import FrameError, ScanError
from g2vlm_fast.data.readers.images import ColorFile, DepthFile
from g2vlm_fast.data.readers.listing import IMAGE_SUFFIXES, Frame, Listing, in_order


def is_frame_folder(folder: Path) -> bool:
    """Whether ``folder`` holds at least one ``frame-*`` file."""
    return any(folder.glob("frame-*.*"))


def list_frame_folder(folder: Path) -> Listing:
    """Find the frames of a folder, and read their poses; frames that lack a file are left out.

    Where no frame at all has a pose, the poses are left to be estimated.

    Raises:
        ScanError: a broken text file, or a pose that is no rigid motion.
    """
    frames, skipped = find_frames(folder, (".depth.png",))
    return Listing(frames=frames, skipped=skipped, camera=camera_beside(folder))


def find_frames(
    folder: Path, depth_suffixes: tuple[str, ...]
) -> tuple[list[Frame], list[FrameError]]:
    """The frames ``frame-*`` of a folder, and why others cannot be used.

    Args:
        folder: of the frames.
        depth_suffixes: what the names of depth images end in.
    """
    stems = in_order({path.name.split(".")[0] for path in folder.glob("frame-*.*")})
    posed = any(folder.glob("frame-*.pose.txt"))
    frames, skipped = [], []
    for stem in stems:
        try:
            color = _find(folder, stem, [f".color{s}" for s in IMAGE_SUFFIXES], "a colour image")
            depth = _find(folder, stem, depth_suffixes, "a depth image")
            pose = _find(folder, stem, [".pose.txt"], "a pose") if posed else None
            matrix = None if pose is None else read_pose(pose)
            frames.append(Frame(ColorFile(color), DepthFile(depth), matrix))
        except FrameError as error:
            skipped.append(error)
    return frames, skipped


def _find(folder: Path, stem: str, suffixes: list[str] | tuple[str, ...], what: str) -> Path:
    paths = [folder / f"{stem}{suffix}" for suffix in suffixes]
    for path in paths:
        if path.is_file():
            return path
    raise FrameError(
        paths[0],
        "is missing",
        f"Restore the file, or remove every file of {stem}",
        reason=f"without {what}",
    )


def read_pose(path: Path) -> NDArray[np.float64]:
    """A camera-to-world pose ``[4, 4]`` from a file of 16 numbers.

    Raises:
        FrameError: NaN or infinite.
        ScanError: another count of numbers, or no rigid motion.
    """
    numbers = read_numbers(path)
    if numbers.size != 16:
        raise ScanError(
            path,
            f"expected the 16 numbers of a 4x4 pose, got {numbers.size}",
            "Restore the file, or remove every file of its frame",
        )
    return rigid_pose(path, "the pose", numbers.reshape(4, 4))
