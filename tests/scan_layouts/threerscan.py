"""3RScan with the scene graph of 3DSSG: images on their side, a larger colour camera."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from scan_layouts.arkitscenes import box
from scan_layouts.files import row, save_image
from scan_layouts.room import BOXES, Room, rays, render
from scan_layouts.scannet import _padded
from scan_layouts.sideways import held_sideways

NAME = "7f30f36c-42f9-27ed-87c6-23ceb65f1f9b"


def write(folder: Path, room: Room) -> Path:
    """Write the room, its boxes and a relation."""
    scan = folder / "3RScan" / NAME
    seen = held_sideways(room)
    height, width = seen.depth.shape[1:]
    size = (2 * height + 8, 2 * width + 8)
    matrix = np.diag([2.0, 2.0, 1.0]) @ seen.matrix + [[0, 0, 5.0], [0, 0, 3.0], [0, 0, 0]]
    directions = rays(matrix, size)
    sequence = scan / "sequence"
    for index in range(len(seen)):
        stem = f"frame-{index:06d}"
        save_image(sequence / f"{stem}.color.jpg", render(directions, seen.poses[index])[2])
        _save_pgm(sequence / f"{stem}.depth.pgm", seen.millimetres[index])
        np.savetxt(sequence / f"{stem}.pose.txt", seen.poses[index])
    (sequence / "_info.txt").write_text(
        f"m_versionNumber = 4\nm_sensorName = Tablet\nm_colorWidth = {size[1]}\n"
        f"m_colorHeight = {size[0]}\nm_depthWidth = {width}\nm_depthHeight = {height}\n"
        f"m_depthShift = 1000\nm_calibrationColorIntrinsic = {row(_padded(matrix))}\n"
        f"m_calibrationDepthIntrinsic = {row(_padded(seen.matrix))}\nm_frames.size = {len(seen)}\n"
    )
    groups = [
        {"objectId": index + 1, "label": name, "obb": box(low, high)}
        for index, (name, (low, high)) in enumerate(BOXES.items())
    ]
    _write_json(scan / "semseg.v2.json", {"scan_id": NAME, "segGroups": groups})
    table = {"id": "1", "label": "table", "attributes": {"color": ["brown"], "shape": ["flat"]}}
    others = {"scan": "another", "objects": [{"id": "9", "label": "chair", "attributes": {}}]}
    mine = {"scan": NAME, "objects": [table]}
    _write_json(scan / "objects.json", {"scans": [others, mine]})
    relation = {"scan": NAME, "relationships": [[3, 1, 5, "left"]]}
    _write_json(scan / "relationships.json", {"scans": [relation]})
    return scan


def _save_pgm(path: Path, depth: np.ndarray) -> None:
    """16 bits a pixel, big-endian, as the format wants it."""
    header = f"P5\n{depth.shape[1]} {depth.shape[0]}\n65535\n".encode()
    path.write_bytes(header + depth.astype(">u2").tobytes())


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value))
