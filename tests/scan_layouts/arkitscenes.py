"""ARKitScenes: a tablet held sideways, world-to-camera axis-angle poses, boxes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from scan_layouts.files import rotation_vectors, row, save_image
from scan_layouts.room import BOXES, Room
from scan_layouts.sideways import held_sideways

NAME = "41069021"


def write(folder: Path, room: Room, *, metadata: bool = True) -> Path:
    """Write the room; without metadata, nothing but the poses tells where the sky is."""
    scan = folder / "Training" / NAME
    frames = scan / f"{NAME}_frames"
    seen = held_sideways(room)
    to_camera = np.linalg.inv(seen.poses)
    vectors = rotation_vectors(to_camera[:, :3, :3])
    lines = []
    height, width = seen.depth.shape[1:]
    (frames / "lowres_wide_intrinsics").mkdir(parents=True)
    for index in range(len(seen)):
        time = 6415.123 + index / 10
        name = f"{NAME}_{time:.3f}"
        save_image(frames / "lowres_wide" / f"{name}.png", seen.images[index])
        save_image(frames / "lowres_depth" / f"{name}.png", seen.millimetres[index])
        numbers = [seen.matrix[0, 0], seen.matrix[1, 1], seen.matrix[0, 2], seen.matrix[1, 2]]
        (frames / "lowres_wide_intrinsics" / f"{NAME}_{time + 0.001:.3f}.pincam").write_text(
            f"{width} {height} {row(np.array(numbers))}"
        )
        lines.append(f"{time:.6f} {row(vectors[index])} {row(to_camera[index, :3, 3])}")
    (frames / "lowres_wide.traj").write_text("\n".join(lines) + "\n")
    data = [
        {"uid": name, "label": name, "segments": {"obbAligned": box(low, high)}}
        for name, (low, high) in BOXES.items()
    ]
    (scan / f"{NAME}_3dod_annotation.json").write_text(json.dumps({"data": data}))
    if metadata:
        (scan / "metadata.csv").write_text(f"video_id,sky_direction\n7,Up\n{NAME},Left\n")
    return scan


def box(low: np.ndarray, high: np.ndarray) -> dict[str, list[float]]:
    """A box turned by a quarter about z: x and y of its size are exchanged."""
    size = high - low
    return {
        "centroid": ((low + high) / 2).tolist(),
        "axesLengths": size[[1, 0, 2]].tolist(),
        "normalizedAxes": [0, 1, 0, -1, 0, 0, 0, 0, 1],
    }
