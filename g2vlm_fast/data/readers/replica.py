"""Replica as NICE-SLAM distributes it: rendered frames, a trajectory, a camera.

``results/frame*.jpg results/depth*.png traj.txt`` (sixteen numbers a line, camera to world,
OpenCV) and ``cam_params.json`` in the folder or beside it, with the units a metre of depth.

Source: Straub et al., *The Replica Dataset*, arXiv 1906.05797; Zhu et al., *NICE-SLAM*, CVPR 2022.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from g2vlm_fast.data.readers.calibration import rigid_pose
from g2vlm_fast.data.readers.errors import FrameError, ScanError
from g2vlm_fast.data.readers.images import ColorFile, DepthFile
from g2vlm_fast.data.readers.lens import Camera, pinhole_matrix
from g2vlm_fast.data.readers.listing import Frame, Listing, find_images
from g2vlm_fast.data.readers.safe_files import Fields, read_lines


def is_replica(folder: Path) -> bool:
    """Whether ``folder`` holds a trajectory and results."""
    return (folder / "traj.txt").is_file() and (folder / "results").is_dir()


def list_replica(folder: Path) -> Listing:
    """List the frames; each is named by the number of its pose.

    Raises:
        ScanError: no camera, a broken trajectory, or poses without images.
    """
    camera, units = _camera(folder)
    images = find_images(folder / "results")
    colors = {_number(path): path for path in images if path.stem.startswith("frame")}
    depths = {_number(path): path for path in images if path.stem.startswith("depth")}
    trajectory = folder / "traj.txt"
    lines = read_lines(trajectory)
    if max(colors, default=-1) >= len(lines):
        raise ScanError(
            trajectory, f"holds {len(lines)} poses, but images are numbered to {max(colors)}",
            "Restore the missing lines: every pose after them would belong to another image",
        )  # fmt: skip
    frames, skipped = [], []
    for index, line in enumerate(lines):
        try:
            for found, what in ((colors, "a colour image"), (depths, "a depth image")):
                if index not in found:
                    raise FrameError(
                        folder / "results", f"has no {what[2:]} {index:06d}", "Restore it",
                        reason=f"without {what}",
                    )  # fmt: skip
            pose = rigid_pose(trajectory, f"pose {index}", _pose(trajectory, index, line))
            frames.append(Frame(ColorFile(colors[index]), DepthFile(depths[index]), pose))
        except FrameError as error:
            skipped.append(error)
    mesh = folder.parent / f"{folder.resolve().name}_mesh.ply"
    return Listing(
        frames=frames,
        skipped=skipped,
        camera=camera,
        units_per_metre=units,
        mesh=mesh if mesh.is_file() else None,
    )


def _number(path: Path) -> int:
    digits = "".join(filter(str.isdecimal, path.stem))
    return int(digits[:18]) if digits else -1


def _pose(path: Path, index: int, line: str) -> np.ndarray:
    try:
        return np.array([float(word) for word in line.split()]).reshape(4, 4)
    except ValueError as error:
        raise ScanError(path, f"line {index} is not 16 numbers", "Copy the file again") from error


def _camera(folder: Path) -> tuple[Camera, float]:
    path = folder / "cam_params.json"
    if not path.is_file():
        path = folder.parent / "cam_params.json"
    if not path.is_file():
        raise ScanError(
            folder, "has no cam_params.json, nor has the folder above", "Copy it from the data set"
        )
    camera = Fields.of(path, Fields.read(path).values.get("camera"), "camera")
    numbers = {name: camera.number(name) for name in ("w", "h", "fx", "fy", "cx", "cy", "scale")}
    sides = numbers["w"], numbers["h"], numbers["fx"], numbers["fy"], numbers["scale"]
    if not (min(sides) > 0 and max(sides) < 1e6):
        raise ScanError(path, f"holds impossible numbers: {numbers}", "Correct the file")
    matrix = pinhole_matrix(*(numbers[name] for name in ("fx", "fy", "cx", "cy")))
    size = (max(1, int(numbers["h"])), max(1, int(numbers["w"])))
    return Camera(matrix, size, None, path), numbers["scale"]
