"""Frame folders in the style of 7-Scenes, and folders with an Open3D trajectory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scan_layouts.files import row, save_image
from scan_layouts.room import Room


def write(folder: Path, room: Room, *, units_per_metre: float = 1000.0) -> Path:
    """Write a frame folder."""
    scan = folder / "seq-01"
    scan.mkdir(parents=True)
    np.savetxt(scan / "intrinsics.txt", room.matrix)
    stored = (units_per_metre * room.depth).round().clip(0, 65534).astype(np.uint16)
    for index in range(len(room)):
        stem = f"frame-{index:06d}"
        save_image(scan / f"{stem}.color.png", room.images[index])
        save_image(scan / f"{stem}.depth.png", stored[index])
        np.savetxt(scan / f"{stem}.pose.txt", room.poses[index])
    return scan


def write_trajectory(folder: Path, room: Room) -> Path:
    """Write images in numbered files and all poses in one trajectory."""
    scan = folder / "livingroom"
    lines = []
    for index in range(len(room)):
        save_image(scan / "image" / f"{index}.png", room.images[index])
        save_image(scan / "depth" / f"{index}.png", room.millimetres[index])
        lines.append(f"{index} {index} {index + 1}")
        lines += [row(line) for line in room.poses[index]]
    (scan / "trajectory.log").write_text("\n".join(lines) + "\n")
    np.savetxt(scan / "intrinsics.txt", room.matrix)
    return scan
