"""ARKitScenes: low-resolution colour and depth of a tablet, and boxes of its objects.

``<id>_frames/`` (or the folder itself) holds ``lowres_wide/<id>_<time>.png``, ``lowres_depth``
(millimetres), ``lowres_wide_intrinsics/*.pincam`` (width, height, fx, fy, cx, cy) and
``lowres_wide.traj`` (time, axis times angle, translation; world to camera). The world's z points
up. ``metadata.csv``, above, tells where the sky is in the images; without it, the poses do.

Source: Baruch et al., *ARKitScenes: A Diverse Real-World Dataset for 3D Indoor Scene
Understanding Using Mobile RGB-D Data*, NeurIPS Datasets 2021, and its repository.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from g2vlm_fast.data.annotations.records import ScanAnnotations
from g2vlm_fast.data.readers.calibration import check_matrix, read_numbers
from g2vlm_fast.data.readers.errors import FrameError, ScanError
from g2vlm_fast.data.readers.images import ColorFile, DepthFile
from g2vlm_fast.data.readers.lens import Camera, pinhole_matrix
from g2vlm_fast.data.readers.listing import Frame, Listing, find_images
from g2vlm_fast.data.readers.oriented_boxes import object_with_box
from g2vlm_fast.data.readers.safe_files import Fields, read_csv, read_lines
from g2vlm_fast.data.readers.trajectory import (
    Trajectory,
    inverse_rigid,
    pose_matrix,
    quaternion_from_axis_angle,
    rotation_from_quaternion,
)
from g2vlm_fast.data.readers.upright import SKY_TURNS, sky_direction

MOST_APART = 0.02
"""Seconds between a frame and its pose."""

_CAMERA_APART = 0.0051
"""Seconds between a frame and its camera, whose name is rounded to milliseconds."""


def is_arkitscenes(folder: Path) -> bool:
    """Whether ``folder`` holds a trajectory of the wide camera."""
    return _frames_folder(folder) is not None


def _frames_folder(folder: Path) -> Path | None:
    for place in (folder, folder / f"{folder.resolve().name}_frames"):
        if (place / "lowres_wide.traj").is_file():
            return place
    return None


def list_arkitscenes(folder: Path) -> Listing:
    """List the frames, upright.

    Raises:
        ScanError: a broken trajectory, camera file, annotation or metadata.
    """
    place = _frames_folder(folder)
    assert place is not None
    trajectory = _read_trajectory(place / "lowres_wide.traj")
    cameras = _camera_files(place / "lowres_wide_intrinsics")
    colors = find_images(place / "lowres_wide")
    if not colors:
        raise ScanError(place / "lowres_wide", "holds no images", "Download lowres_wide")
    frames, skipped = [], []
    for color in colors:
        try:
            frames.append(_frame(color, place, trajectory, cameras))
        except FrameError as error:
            skipped.append(error)
    name = folder.resolve().name
    sky, assumptions = _sky(folder, frames)
    mesh = folder / f"{name}_3dod_mesh.ply"
    boxes = folder / f"{name}_3dod_annotation.json"
    return Listing(
        frames=frames,
        skipped=skipped,
        clockwise_turns=SKY_TURNS[sky],
        gravity=np.array([0.0, 0.0, -1.0]),
        mesh=mesh if mesh.is_file() else None,
        annotations=(lambda: _read_boxes(boxes)) if boxes.is_file() else None,
        assumptions=assumptions,
    )


def _frame(color: Path, place: Path, trajectory: Trajectory, cameras: dict[float, Path]) -> Frame:
    time = _time(color)
    depth = place / "lowres_depth" / color.name
    if not depth.is_file():
        raise FrameError(depth, "is missing", "Restore it", reason="without a depth image")
    pose = None if time is None else trajectory.at(time, MOST_APART)
    if time is None or pose is None:
        raise FrameError(
            color, f"has no pose within {MOST_APART:g} s", "Remove it", reason="without a pose"
        )
    nearest = min(cameras, key=lambda other: abs(other - time), default=None)
    if nearest is None or abs(nearest - time) > _CAMERA_APART:
        raise FrameError(color, "has no .pincam file", "Restore it", reason="without a camera")
    return Frame(ColorFile(color), DepthFile(depth), pose, _camera(cameras[nearest]), time=time)


def _time(path: Path) -> float | None:
    """Seconds, from ``<id>_<seconds>.<suffix>``."""
    try:
        time = float(path.stem.rpartition("_")[2])
    except ValueError:
        return None
    return time if np.isfinite(time) else None


def _read_trajectory(path: Path) -> Trajectory:
    rows = []
    for line in read_lines(path):
        try:
            rows.append([float(word) for word in line.split()])
        except ValueError:
            rows.append([])
        if len(rows[-1]) != 7:
            raise ScanError(path, f"has the line {line[:60]!r}", "Write: seconds rx ry rz tx ty tz")
    table = np.array(rows, dtype=np.float64).reshape(-1, 7)
    table = table[(abs(table) < 1e15).all(axis=1)]
    quaternions = quaternion_from_axis_angle(table[:, 1:4])
    to_camera = pose_matrix(rotation_from_quaternion(quaternions), table[:, 4:])
    # the inverse rotation is the conjugate quaternion
    inverse = quaternions * [-1.0, -1.0, -1.0, 1.0]
    return Trajectory.of(table[:, 0], inverse, inverse_rigid(to_camera)[:, :3, 3])


def _camera_files(folder: Path) -> dict[float, Path]:
    found = sorted(folder.glob("*.pincam")) if folder.is_dir() else []
    return {time: path for path in found if (time := _time(path)) is not None}


def _camera(path: Path) -> Camera:
    numbers = read_numbers(path)
    if numbers.size != 6 or not (abs(numbers) < 1e6).all() or numbers[:2].min() < 1:
        raise ScanError(path, "is not width, height, fx, fy, cx, cy", "Copy the file again")
    width, height, *entries = numbers.tolist()
    matrix = check_matrix(path, pinhole_matrix(*entries))
    return Camera(matrix, (int(height), int(width)), None, path)


def _sky(folder: Path, frames: list[Frame]) -> tuple[str, list[str]]:
    """The side of the images that the sky is on."""
    name = folder.resolve().name
    for place in (folder, folder.parent, folder.parent.parent):
        path = place / "metadata.csv"
        if not path.is_file():
            continue
        for row in read_csv(path, ("video_id", "sky_direction")):
            if row["video_id"] == name and row["sky_direction"].lower() in SKY_TURNS:
                return row["sky_direction"].lower(), []
    sky = sky_direction(frames)
    return sky, [f"No metadata.csv tells where the sky is; by the poses, it is {sky}."]


def _read_boxes(path: Path) -> ScanAnnotations:
    whole = Fields.read(path)
    objects = []
    for index, entry in enumerate(whole.objects("data")):
        segments = Fields.of(path, entry.values.get("segments"), f"segments of {entry.where}")
        box = Fields.of(path, segments.values.get("obbAligned"), f"box of {entry.where}")
        objects.append(object_with_box(entry, index, entry.text("label"), box))
    return ScanAnnotations(objects=tuple(objects))
