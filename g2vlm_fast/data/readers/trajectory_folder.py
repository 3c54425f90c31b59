"""Folders with a ``trajectory.log``, as Open3D writes them and ICL-NUIM is distributed.

A trajectory is a list of blocks of five lines: three integers (the first is the frame's number),
then the four rows of a camera-to-world pose in metres.

Source: Handa et al., *A Benchmark for RGB-D Visual Odometry, 3D Reconstruction and SLAM*, ICRA
2014; Choi et al., *Robust Reconstruction of Indoor Scenes*, CVPR 2015 (the file format).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.data.readers.calibration import camera_beside, read_numbers, rigid_pose
from g2vlm_fast.data.readers.errors import FrameError, ScanError
from g2vlm_fast.data.readers.images import ColorFile, DepthFile
from g2vlm_fast.data.readers.listing import Frame, Listing, find_images

_COLOR_FOLDERS = ("image", "color", "rgb")
_NUMBERS_A_POSE = 3 + 16


def is_trajectory_folder(folder: Path) -> bool:
    """Whether ``folder`` holds a ``.log`` trajectory."""
    return any(folder.glob("*.log"))


def list_trajectory_folder(folder: Path) -> Listing:
    """Pair colour and depth images, in order of their numbers, with the poses of the trajectory.

    Raises:
        ScanError: no or several trajectories, missing folders, counts that differ, bad poses.
    """
    trajectory = _only_trajectory(folder)
    poses = _read_trajectory(trajectory)
    color_folder = next(
        (folder / name for name in _COLOR_FOLDERS if (folder / name).is_dir()), None
    )
    if color_folder is None:
        raise ScanError(
            folder, "has no folder of colour images", f"Name it {' or '.join(_COLOR_FOLDERS)}"
        )
    depth_folder = folder / "depth"
    if not depth_folder.is_dir():
        raise ScanError(depth_folder, "is missing", "Put the 16-bit depth images there")
    colors, depths = find_images(color_folder), find_images(depth_folder, (".png",))
    _check_counts(trajectory, len(poses), {color_folder: len(colors), depth_folder: len(depths)})
    frames, skipped = [], []
    for color, depth, pose in zip(colors, depths, poses, strict=True):
        if isinstance(pose, FrameError):
            skipped.append(pose)
        else:
            frames.append(Frame(ColorFile(color), DepthFile(depth), pose))
    return Listing(
        frames=frames, skipped=skipped, camera=camera_beside(folder), may_assume_primesense=True
    )


def _only_trajectory(folder: Path) -> Path:
    logs = sorted(folder.glob("*.log"))
    if folder / "trajectory.log" in logs:
        return folder / "trajectory.log"
    if len(logs) > 1:
        names = ", ".join(path.name for path in logs)
        raise ScanError(
            folder, f"has several trajectories ({names})", "Rename the one to use trajectory.log"
        )
    return logs[0]


def _read_trajectory(path: Path) -> list[NDArray[np.float64] | FrameError]:
    numbers = read_numbers(path)
    if numbers.size == 0 or numbers.size % _NUMBERS_A_POSE:
        raise ScanError(
            path,
            f"expected blocks of {_NUMBERS_A_POSE} numbers (3 integers and a 4x4 pose), got "
            f"{numbers.size} numbers",
            "The file may be cut off: write it again",
        )
    blocks = numbers.reshape(-1, _NUMBERS_A_POSE)[:, 3:].reshape(-1, 4, 4)
    poses: list[NDArray[np.float64] | FrameError] = []
    for index, block in enumerate(blocks):
        try:
            poses.append(rigid_pose(path, f"pose {index}", block))
        except FrameError as error:
            poses.append(error)
    return poses


def _check_counts(trajectory: Path, poses: int, images: dict[Path, int]) -> None:
    for folder, count in images.items():
        if count != poses:
            raise ScanError(
                trajectory,
                f"holds {poses} poses, but {folder.name}/ holds {count} images",
                "Every frame needs its colour image, its depth image and its pose",
            )
