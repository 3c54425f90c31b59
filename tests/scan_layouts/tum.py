"""TUM RGB-D, at 30 frames a second, with a trajectory of 150 poses a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scan_layouts.files import quaternions, row, save_image
from scan_layouts.room import Room, walk

START = 1305031102.0


def write(
    folder: Path, room: Room, *, pose_delay: float = 0.0, track: np.ndarray | None = None
) -> Path:
    """Write the room; poses carry times that are ``pose_delay`` seconds late.

    ``track`` are the poses of a real scan, one for each image; without them the trajectory is the
    walk through the room, which is known between images, too.
    """
    scan = folder / "rgbd_dataset_room"
    scan.mkdir(parents=True)
    rgb, depth, poses = ["# color images"], ["# depth maps"], ["# ground truth trajectory"]
    for index in range(len(room)):
        time = START + index / 30
        rgb.append(f"{time:.6f} rgb/{time:.6f}.png")
        depth.append(f"{time + 0.008:.6f} depth/{time + 0.008:.6f}.png")
        save_image(scan / "rgb" / f"{time:.6f}.png", room.images[index])
        stored = (5000 * room.depth[index]).round().astype(np.uint16)
        save_image(scan / "depth" / f"{time + 0.008:.6f}.png", stored)
    between = 1 if track is not None else 5
    if track is None:
        track = room.poses if len(room) < 2 else walk(between * (len(room) - 1) + 1)
    turns = quaternions(track[:, :3, :3])
    for index, (pose, turn) in enumerate(zip(track, turns, strict=True)):
        time = START + index / 30 / between + pose_delay
        poses.append(f"{time:.6f} {row(pose[:3, 3])} {row(turn)}")
    for name, lines in {"rgb": rgb, "depth": depth, "groundtruth": poses}.items():
        (scan / f"{name}.txt").write_text("\n".join(lines) + "\n")
    np.savetxt(scan / "intrinsics.txt", room.matrix)
    return scan
