"""COLMAP: world-to-camera poses, text or binary, pixel centres at halves."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from scan_layouts.files import quaternions, row, save_image
from scan_layouts.room import Room

POINTS = np.array([[0.5, 0.4, 0.7], [-2.0, 1.5, 0.0]])


def parameters(room: Room) -> list[float]:
    """fx fy cx cy with pixel centres at halves."""
    matrix = room.matrix
    return [matrix[0, 0], matrix[1, 1], matrix[0, 2] + 0.5, matrix[1, 2] + 0.5]


def write_text(folder: Path, room: Room) -> Path:
    """Write the room with a model of text files and depth beside."""
    scan = _images(folder / "project", room)
    sparse = scan / "sparse" / "0"
    sparse.mkdir(parents=True)
    height, width = room.depth.shape[1:]
    numbers = row(np.array(parameters(room)))
    (sparse / "cameras.txt").write_text(f"# cameras\n1 PINHOLE {width} {height} {numbers}\n")
    lines = ["# images"]
    for index, (turn, place) in enumerate(_world_to_camera(room)):
        lines += [f"{index + 1} {row(turn)} {row(place)} 1 view{index:03d}.png", "1.5 2.5 -1"]
    (sparse / "images.txt").write_text("\n".join(lines) + "\n")
    points = [f"{i} {row(point)} 255 0 51 0.5 1 0" for i, point in enumerate(POINTS)]
    (sparse / "points3D.txt").write_text("\n".join(points) + "\n")
    return scan


def write_binary(folder: Path, room: Room) -> Path:
    """Write the room with a binary model."""
    scan = _images(folder / "project_binary", room)
    sparse = scan / "sparse" / "0"
    sparse.mkdir(parents=True)
    height, width = room.depth.shape[1:]
    camera = struct.pack("<QiiQQ4d", 1, 1, 1, width, height, *parameters(room))
    (sparse / "cameras.bin").write_bytes(camera)
    images = struct.pack("<Q", len(room))
    for index, (turn, place) in enumerate(_world_to_camera(room)):
        images += struct.pack("<i7di", index + 1, *turn, *place, 1)
        images += f"view{index:03d}.png".encode() + b"\0" + struct.pack("<Qddq", 1, 1.5, 2.5, -1)
    (sparse / "images.bin").write_bytes(images)
    points = struct.pack("<Q", len(POINTS))
    for index, point in enumerate(POINTS):
        points += struct.pack("<Q3d3BdQii", index, *point, 255, 0, 51, 0.5, 1, 1, 0)
    (sparse / "points3D.bin").write_bytes(points)
    return scan


def _images(scan: Path, room: Room) -> Path:
    for index in range(len(room)):
        save_image(scan / "images" / f"view{index:03d}.png", room.images[index])
        save_image(scan / "depth" / f"view{index:03d}.png", room.millimetres[index])
    return scan


def _world_to_camera(room: Room) -> list[tuple[np.ndarray, np.ndarray]]:
    """Quaternions (w first) and translations."""
    inverse = np.linalg.inv(room.poses)
    turns = quaternions(inverse[:, :3, :3])[:, [3, 0, 1, 2]]
    return list(zip(turns, inverse[:, :3, 3], strict=True))
