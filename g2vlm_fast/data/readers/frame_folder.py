"""Frame folders in the style of 7-Scenes: ``frame-*.color.png``, ``.depth.png``, ``.pose.txt``.

Source: Shotton et al., *Scene Coordinate Regression Forests for Camera Relocalization in RGB-D
Images*, CVPR 2013; also the layout of Zeng et al., 3DMatch, and of its fusion samples.
"""

from __future__ import annotations

from pathlib import Path

from g2vlm_fast.data.readers.calibration import (
    find_intrinsics,
    read_numbers,
    rigid_pose,
)
from g2vlm_fast.data.readers.errors import ScanError
from g2vlm_fast.data.readers.listing import IMAGE_SUFFIXES, Frame, Listing


def is_frame_folder(folder: Path) -> bool:
    """Whether ``folder`` holds at least one ``frame-*`` file."""
    return any(folder.glob("frame-*.*"))


def list_frame_folder(folder: Path) -> Listing:
    """Find the frames of a folder, and read their poses.

    Raises:
        ScanError: a frame that lacks one of its three files, or a broken text file.
    """
    stems = sorted({path.name.split(".")[0] for path in folder.glob("frame-*.*")})
    frames = [_find_frame(folder, stem) for stem in stems]
    return Listing(frames, find_intrinsics(folder))


def _find_frame(folder: Path, stem: str) -> Frame:
    remedy = f"Restore the file, or remove every file of {stem}"
    candidates = [folder / f"{stem}.color{suffix}" for suffix in IMAGE_SUFFIXES]
    color = next((path for path in candidates if path.is_file()), None)
    if color is None:
        raise ScanError(candidates[0], "is missing", remedy)
    depth, pose = folder / f"{stem}.depth.png", folder / f"{stem}.pose.txt"
    for path in (depth, pose):
        if not path.is_file():
            raise ScanError(path, "is missing", remedy)
    numbers = read_numbers(pose)
    if numbers.size != 16:
        raise ScanError(pose, f"expected the 16 numbers of a 4x4 pose, got {numbers.size}", remedy)
    return Frame(color, depth, rigid_pose(pose, "the pose", numbers.reshape(4, 4)))
