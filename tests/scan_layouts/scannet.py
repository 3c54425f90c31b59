"""ScanNet: larger colour images than depth, a world that is not axis-aligned, instances."""

from __future__ import annotations

import json
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from scan_layouts.files import box_mesh, row, save_image, write_mesh
from scan_layouts.room import BOXES, Room, rays, render

NAME = "scene0000_00"
COLOR_SIZE = (101, 132)


def alignment() -> np.ndarray:
    """What takes the world of the files to the one of the room: a turn and a shift."""
    angle = np.radians(25)
    align = np.eye(4)
    align[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    align[:3, 3] = [-3.0, 1.0, -0.2]
    return align


def color_matrix(room: Room) -> np.ndarray:
    """A colour camera with about the field of view of the depth camera."""
    scale = COLOR_SIZE[1] / room.depth.shape[2]
    return np.array(
        [
            [room.matrix[0, 0] * scale, 0, room.matrix[0, 2] * scale + 1.3],
            [0, room.matrix[1, 1] * scale, room.matrix[1, 2] * scale + 0.7],
            [0, 0, 1.0],
        ]
    )


def colors(room: Room) -> list[np.ndarray]:
    """What the colour camera sees."""
    directions = rays(color_matrix(room), COLOR_SIZE)
    return [render(directions, pose)[2] for pose in room.poses]


def raw_poses(room: Room) -> np.ndarray:
    """Poses as the files hold them, before the alignment."""
    return np.linalg.inv(alignment()) @ room.poses


def write(folder: Path, room: Room) -> Path:
    """Write exported frames, mesh and instances."""
    scan = folder / NAME
    for index, (color, pose) in enumerate(zip(colors(room), raw_poses(room), strict=True)):
        save_image(scan / "color" / f"{index}.jpg", color)
        save_image(scan / "depth" / f"{index}.png", room.millimetres[index])
        (scan / "pose").mkdir(exist_ok=True)
        np.savetxt(scan / "pose" / f"{index}.txt", pose)
    (scan / "intrinsic").mkdir()
    for name, matrix in (("color", color_matrix(room)), ("depth", room.matrix)):
        np.savetxt(scan / "intrinsic" / f"intrinsic_{name}.txt", _padded(matrix))
        np.savetxt(scan / "intrinsic" / f"extrinsic_{name}.txt", np.eye(4))
    _write_scene(scan)
    return scan


def write_sens(folder: Path, room: Room) -> Path:
    """Write the container, mesh and instances."""
    scan = folder / f"sens_{NAME}" / NAME
    scan.mkdir(parents=True)
    height, width = room.depth.shape[1:]
    matrices = [_padded(color_matrix(room)), np.eye(4), _padded(room.matrix), np.eye(4)]
    parts = [
        struct.pack("<IQ", 4, 8) + b"StructIO",
        np.array(matrices, dtype="<f4").tobytes(),
        struct.pack("<iiIIIIfQ", 2, 1, COLOR_SIZE[1], COLOR_SIZE[0], width, height, 1000.0,
                    len(room)),
    ]  # fmt: skip
    for index, (color, pose) in enumerate(zip(colors(room), raw_poses(room), strict=True)):
        buffer = BytesIO()
        Image.fromarray(color).save(buffer, "JPEG", quality=98, subsampling=0)
        depth = zlib.compress(room.millimetres[index].astype("<u2").tobytes())
        time = index * 33333
        parts.append(pose.astype("<f4").tobytes())
        parts.append(struct.pack("<4Q", time, time, len(buffer.getvalue()), len(depth)))
        parts += [buffer.getvalue(), depth]
    (scan / f"{NAME}.sens").write_bytes(b"".join(parts))
    _write_scene(scan)
    return scan


def _padded(matrix: np.ndarray) -> np.ndarray:
    padded = np.eye(4)
    padded[:3, :3] = matrix
    return padded


def _write_scene(scan: Path) -> None:
    (scan / f"{NAME}.txt").write_text(
        f"axisAlignment = {row(alignment())}\nsceneType = Office\n"
        f"colorHeight = {COLOR_SIZE[0]}\ncolorWidth = {COLOR_SIZE[1]}\n"
    )
    inverse = np.linalg.inv(alignment())
    vertices, faces, segments, groups = [], [], [], []
    for index, (name, (low, high)) in enumerate(BOXES.items()):
        corners, sides = box_mesh(low, high)
        faces.append(sides + 8 * index)
        vertices.append(corners @ inverse[:3, :3].T + inverse[:3, 3])
        segments += [100 + index] * 4 + [200 + index] * 4
        groups.append(
            {"id": index, "objectId": index, "segments": [100 + index, 200 + index], "label": name}
        )
    write_mesh(scan / f"{NAME}_vh_clean_2.ply", np.concatenate(vertices), np.concatenate(faces))
    (scan / f"{NAME}_vh_clean_2.0.010000.segs.json").write_text(
        json.dumps({"sceneId": NAME, "segIndices": segments})
    )
    (scan / f"{NAME}.aggregation.json").write_text(
        json.dumps({"sceneId": NAME, "segGroups": groups})
    )
