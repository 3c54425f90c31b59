"""TUM RGB-D sequences: lists of images by time, and a trajectory by time.

``rgb.txt`` and ``depth.txt`` hold ``time file``, ``groundtruth.txt`` holds ``time tx ty tz qx qy
qz qw`` (camera to world, metres, OpenCV axes); depth is in 1/5000 m, on the pixels of colour.

Source: Sturm, Engelhard, Endres, Burgard and Cremers, *A Benchmark for the Evaluation of RGB-D
SLAM Systems*, IROS 2012, and the site of the benchmark, which gives the cameras.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.data.readers.calibration import camera_beside
from g2vlm_fast.data.readers.errors import FrameError, ScanError
from g2vlm_fast.data.readers.images import ColorFile, DepthFile
from g2vlm_fast.data.readers.lens import Camera, Distortion, pinhole_matrix
from g2vlm_fast.data.readers.listing import Frame, Listing
from g2vlm_fast.data.readers.safe_files import inside, read_lines
from g2vlm_fast.data.readers.trajectory import Trajectory

MOST_APART = 0.02
"""Seconds that a colour image, its depth image and its pose may lie apart."""

UNITS_PER_METRE = 5000.0

_CAMERAS: dict[str, tuple[tuple[float, float, float, float], Distortion | None]] = {
    "freiburg1": (
        (517.3, 516.5, 318.6, 255.3),
        Distortion((0.2624, -0.9531, 1.1633), (-0.0054, 0.0026)),
    ),
    "freiburg2": (
        (520.9, 521.0, 325.1, 249.7),
        Distortion((0.2312, -0.7849, 0.9172), (-0.0033, -0.0001)),
    ),
    "freiburg3": ((535.4, 539.2, 320.1, 247.6), None),
}
"""Each sensor has its own calibration: focal lengths, principal point, lens."""


def is_tum(folder: Path) -> bool:
    """Whether ``folder`` holds the two lists of images."""
    return (folder / "rgb.txt").is_file() and (folder / "depth.txt").is_file()


def list_tum(folder: Path) -> Listing:
    """Pair colour, depth and poses by time; colour that finds no partner is left out.

    Raises:
        ScanError: a broken list, or images outside of the folder.
    """
    colors = read_image_list(folder, "rgb.txt")
    depths = read_image_list(folder, "depth.txt")
    truth = folder / "groundtruth.txt"
    trajectory = read_trajectory(truth) if truth.is_file() else None
    partner = associate(
        np.array([time for time, _ in colors]), np.array([time for time, _ in depths])
    )
    frames, skipped = [], []
    for index, (time, color) in enumerate(colors):
        pose = None if trajectory is None else trajectory.at(time, MOST_APART)
        if index not in partner:
            skipped.append(_without(color, "a depth image", time))
        elif trajectory is not None and pose is None:
            skipped.append(_without(color, "a pose", time))
        else:
            depth = DepthFile(depths[partner[index]][1])
            frames.append(Frame(ColorFile(color), depth, pose, time=time))
    camera = camera_beside(folder)
    assumptions: list[str] = []
    if camera is None:
        camera, assumptions = _known_camera(folder)
    alone = len(depths) - len(partner)
    if alone:
        assumptions.append(
            f"{alone} of {len(depths)} depth images have no colour image within {MOST_APART:g} s "
            "and were left out."
        )
    return Listing(
        frames=frames,
        skipped=skipped,
        camera=camera,
        may_assume_primesense=True,
        units_per_metre=UNITS_PER_METRE,
        trajectory=trajectory,
        assumptions=assumptions,
    )


def _without(color: Path, what: str, time: float) -> FrameError:
    return FrameError(
        color,
        f"has no {what.removeprefix('a ')} within {MOST_APART:g} s of its time {time:.6f}",
        "Remove it from its list, or record them together",
        reason=f"without {what}",
    )


def read_image_list(folder: Path, name: str) -> list[tuple[float, Path]]:
    """Times in seconds and images of a list, by time.

    Raises:
        ScanError: a line that is no time and file, or a file outside of ``folder``.
    """
    path, entries = folder / name, []
    for line in read_lines(path):
        words = line.split(maxsplit=1)
        try:
            time = float(words[0])
        except ValueError:
            time = float("nan")
        if len(words) != 2 or not np.isfinite(time):
            raise ScanError(path, f"has the line {line[:60]!r}", "Write: seconds file")
        entries.append((time, inside(folder, words[1], path)))
    return sorted(entries, key=lambda entry: entry[0])


def read_trajectory(path: Path) -> Trajectory:
    """A trajectory of lines ``time tx ty tz qx qy qz qw``.

    Raises:
        ScanError: a line that holds something else.
    """
    rows = []
    for line in read_lines(path):
        try:
            row = [float(word) for word in line.replace(",", " ").split()]
        except ValueError:
            row = []
        if len(row) != 8:
            raise ScanError(
                path, f"has the line {line[:60]!r}", "Write: seconds tx ty tz qx qy qz qw"
            )
        rows.append(row)
    table = np.array(rows, dtype=np.float64).reshape(-1, 8)
    return Trajectory.of(table[:, 0], table[:, 4:], table[:, 1:4])


def associate(first: NDArray[np.float64], second: NDArray[np.float64]) -> dict[int, int]:
    """Pair two ascending lists of times one to one, the closest first, within ``MOST_APART``."""
    candidates = []
    for index, time in enumerate(first):
        near = np.searchsorted(second, [time - MOST_APART, time + MOST_APART])
        for other in range(int(near[0]), min(int(near[1]) + 1, len(second))):
            apart = abs(float(second[other] - time))
            if apart <= MOST_APART:
                candidates.append((apart, index, other))
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for _, index, other in sorted(candidates):
        if index not in pairs and other not in taken:
            pairs[index] = other
            taken.add(other)
    return pairs


def _known_camera(folder: Path) -> tuple[Camera | None, list[str]]:
    name = next((name for name in _CAMERAS if name in folder.resolve().name), None)
    if name is None:
        return None, []
    numbers, lens = _CAMERAS[name]
    sentence = f"The published camera of {name} was taken, by the name of the folder."
    return Camera(pinhole_matrix(*numbers), (480, 640), lens), [sentence]
