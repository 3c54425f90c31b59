"""Replica in NICE-SLAM's form."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from scan_layouts.files import row, save_image
from scan_layouts.room import Room


def write(folder: Path, room: Room) -> Path:
    """Write the room; its camera stands in the folder above."""
    scan = folder / "replica" / "room0"
    for index in range(len(room)):
        save_image(scan / "results" / f"frame{index:06d}.jpg", room.images[index])
        stored = (6553.5 * room.depth[index]).round().astype(np.uint16)
        save_image(scan / "results" / f"depth{index:06d}.png", stored)
    (scan / "traj.txt").write_text("".join(f"{row(pose)}\n" for pose in room.poses))
    height, width = room.depth.shape[1:]
    camera = {
        "w": width, "h": height, "fx": room.matrix[0, 0], "fy": room.matrix[1, 1],
        "cx": room.matrix[0, 2], "cy": room.matrix[1, 2], "scale": 6553.5,
    }  # fmt: skip
    (scan / "cam_params.json").write_text(json.dumps({"camera": camera}))
    return scan
