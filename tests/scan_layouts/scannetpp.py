"""ScanNet++: the phone with smaller depth, and the camera with its fisheye lens."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from scan_layouts.arkitscenes import box
from scan_layouts.colmap import _world_to_camera
from scan_layouts.files import row, save_image
from scan_layouts.room import BOXES, Room, rays, render

LENS = (0.05, -0.02, 0.01, -0.003)
"""k1 to k4 of Kannala and Brandt's model."""


def write_phone(folder: Path, room: Room) -> Path:
    """Write what the phone recorded: colour of thrice the size of depth."""
    scan = folder / "0a5c013435"
    height, width = room.depth.shape[1:]
    matrix = np.diag([3.0, 3.0, 1.0]) @ room.matrix + [[0, 0, 1.0], [0, 0, 1.0], [0, 0, 0]]
    directions = rays(matrix, (3 * height, 3 * width))
    entries = {}
    for index in range(len(room)):
        name = f"frame_{10 * index:06d}"
        color = render(directions, room.poses[index])[2]
        save_image(scan / "iphone" / "rgb" / f"{name}.jpg", color)
        save_image(scan / "iphone" / "depth" / f"{name}.png", room.millimetres[index])
        entries[name] = {
            "pose": np.eye(4).tolist(),
            "aligned_pose": room.poses[index].tolist(),
            "intrinsic": matrix.tolist(),
        }
    (scan / "iphone" / "pose_intrinsic_imu.json").write_text(json.dumps(entries))
    _write_objects(scan)
    return scan


def write_camera(folder: Path, room: Room) -> Path:
    """Write what the camera took, through its lens."""
    scan = folder / "fisheye_0a5c013435"
    matrix = room.matrix
    height, width = room.depth.shape[1:]
    row_, column = np.mgrid[:height, :width].astype(np.float64)
    x = (column - matrix[0, 2]) / matrix[0, 0]
    y = (row_ - matrix[1, 2]) / matrix[1, 1]
    angle = _angle_of(np.hypot(x, y))
    stretch = np.tan(angle) / np.maximum(np.hypot(x, y), 1e-12)
    directions = np.stack([x * stretch, y * stretch, np.ones_like(x)], axis=-1)
    lines = []
    for index, (turn, place) in enumerate(_world_to_camera(room)):
        name = f"DSC{index:05d}.JPG"
        save_image(
            scan / "dslr" / "resized_images" / name, render(directions, room.poses[index])[2]
        )
        lines += [f"{index} {row(turn)} {row(place)} 1 {name}", ""]
    model = scan / "dslr" / "colmap"
    model.mkdir()
    numbers = [matrix[0, 0], matrix[1, 1], matrix[0, 2] + 0.5, matrix[1, 2] + 0.5, *LENS]
    (model / "cameras.txt").write_text(
        f"1 OPENCV_FISHEYE {width} {height} {row(np.array(numbers))}\n"
    )
    (model / "images.txt").write_text("\n".join(lines) + "\n")
    (model / "points3D.txt").write_text("")
    _write_objects(scan)
    return scan


def _angle_of(radius: np.ndarray) -> np.ndarray:
    """The angle whose image lies at ``radius``, by Newton's method."""
    angle = radius.copy()
    for _ in range(50):
        value, slope = angle.copy(), np.ones_like(angle)
        for power, k in enumerate(LENS, start=1):
            value += k * angle ** (2 * power + 1)
            slope += (2 * power + 1) * k * angle ** (2 * power)
        angle -= (value - radius) / slope
    return angle


def _write_objects(scan: Path) -> None:
    groups = [
        {"id": index + 1, "objectId": index + 1, "label": name, "obb": box(low, high)}
        for index, (name, (low, high)) in enumerate(BOXES.items())
    ]
    (scan / "scans").mkdir()
    (scan / "scans" / "segments_anno.json").write_text(json.dumps({"segGroups": groups}))
