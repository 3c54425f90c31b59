"""nerfstudio: OpenGL poses in a world that was moved and scaled, pixel centres at halves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from scan_layouts.files import save_image
from scan_layouts.room import Room

APPLIED = np.array([[0.0, 1, 0, 0.1], [1, 0, 0, -0.2], [0, 0, -1, 0.3], [0, 0, 0, 1]])
SCALE = 0.5


def write(folder: Path, room: Room) -> Path:
    """Write the room."""
    scan = folder / "capture"
    height, width = room.depth.shape[1:]
    frames = []
    for index in range(len(room)):
        color, depth = f"images/frame_{index:05d}.png", f"depth/frame_{index:05d}.png"
        save_image(scan / color, room.images[index])
        save_image(scan / depth, room.millimetres[index])
        pose = APPLIED @ room.poses[index]
        pose[:3, 3] *= SCALE
        pose[:3, 1:3] *= -1
        frames.append(
            {"file_path": color, "depth_file_path": depth, "transform_matrix": pose.tolist()}
        )
    whole = {
        "camera_model": "OPENCV", "w": width, "h": height,
        "fl_x": room.matrix[0, 0], "fl_y": room.matrix[1, 1],
        "cx": room.matrix[0, 2] + 0.5, "cy": room.matrix[1, 2] + 0.5,
        "k1": 0.0, "k2": 0.0, "p1": 0.0, "p2": 0.0,
        "depth_unit_scale_factor": 0.001, "applied_transform": APPLIED[:3].tolist(),
        "applied_scale": SCALE, "frames": frames,
    }  # fmt: skip
    (scan / "transforms.json").write_text(json.dumps(whole))
    return scan
