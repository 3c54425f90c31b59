"""Hypersim: asset units, OpenGL cameras, distances instead of depth."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scan_layouts.files import save_image
from scan_layouts.room import Room, rays, render

NAME = "ai_001_001"
METRES_PER_UNIT = 0.0254

Save = Callable[[Path, np.ndarray], None]


def save_with_h5py(path: Path, values: np.ndarray) -> None:
    """Write an HDF5 file with one dataset."""
    import h5py

    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["dataset"] = values


def save_with_numpy(path: Path, values: np.ndarray) -> None:
    """Write NumPy's format in place of HDF5."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.save(file, values)


class NumpyFile:
    """What the reader uses of ``h5py.File``, over files of :func:`save_with_numpy`."""

    def __init__(self, path: Path, mode: str) -> None:
        self._values = np.load(path, allow_pickle=False)

    def __enter__(self) -> NumpyFile:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def __getitem__(self, name: str) -> Any:
        return {"dataset": self._values}[name]


def centred(room: Room) -> Room:
    """The room by the camera of most Hypersim scenes: 60 degrees, looking straight."""
    height, width = room.depth.shape[1:]
    focal = width / 2 / np.tan(np.pi / 6)
    matrix = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]])
    seen = [render(rays(matrix, (height, width)), pose) for pose in room.poses]
    return dataclasses.replace(
        room,
        matrix=matrix,
        depth=np.stack([part[0] for part in seen]),
        images=np.stack([part[2] for part in seen]),
    )


def write(
    folder: Path, room: Room, save: Save, *, projection: bool = False, tilt: float = 0.0
) -> Path:
    """Write the room; its camera is stated where it is not the usual one."""
    scan = folder / NAME
    detail, images = scan / "_detail", scan / "images"
    opengl = room.poses @ np.diag([1.0, -1, -1, 1])
    save(detail / "cam_00" / "camera_keyframe_orientations.hdf5", opengl[:, :3, :3])
    positions = opengl[:, :3, 3] / METRES_PER_UNIT
    save(detail / "cam_00" / "camera_keyframe_positions.hdf5", positions)
    (detail / "metadata_scene.csv").write_text(
        f"parameter_name,parameter_value\nmeters_per_asset_unit,{METRES_PER_UNIT}\n"
    )
    length = np.linalg.norm(room.rays, axis=-1)
    for index in range(len(room)):
        stem = f"frame.{index:04d}"
        preview = images / "scene_cam_00_final_preview" / f"{stem}.tonemap.jpg"
        save_image(preview, room.images[index])
        distance = (room.depth[index] * length).astype(np.float32)
        distance[0, 0] = np.nan
        save(images / "scene_cam_00_geometry_hdf5" / f"{stem}.depth_meters.hdf5", distance)
    if projection:
        _write_projection(scan / "metadata_camera_parameters.csv", room, tilt)
    return scan


def _write_projection(path: Path, room: Room, tilt: float) -> None:
    """The matrix that takes OpenGL camera coordinates to normalised ones, near 1, far 1000."""
    height, width = room.depth.shape[1:]
    matrix = np.zeros((4, 4))
    matrix[0, 0] = 2 * room.matrix[0, 0] / width
    matrix[1, 1] = 2 * room.matrix[1, 1] / height
    matrix[0, 2] = 1 - 2 * (room.matrix[0, 2] + 0.5) / width
    matrix[1, 2] = 2 * (room.matrix[1, 2] + 0.5) / height - 1
    matrix[2] = [0, 0, -1001 / 999, -2000 / 999]
    matrix[3, 2] = -1
    names = [f"M_proj_{i}{j}" for i in range(4) for j in range(4)]
    names += [f"M_cam_from_uv_2{j}" for j in range(3)]
    values = [*matrix.ravel(), tilt, 0.0, -1.0]
    path.write_text(
        f"scene_name,{','.join(names)}\n{NAME},{','.join(repr(float(v)) for v in values)}\n"
    )
