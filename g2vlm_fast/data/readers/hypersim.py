"""Hypersim: rendered rooms, in units of their artists, with distances for depth.

``_detail/metadata_scene.csv`` tells the metres of an asset unit; ``_detail/cam_XX/`` the camera's
positions (asset units) and orientations (OpenGL axes); ``images/scene_cam_XX_final_preview/`` the
colour images and ``images/scene_cam_XX_geometry_hdf5/frame.IIII.depth_meters.hdf5`` the distances
from the camera centre in metres. ``metadata_camera_parameters.csv``, in the folder or above, has
the projection of scenes that are not rendered with the usual 60 degrees.

Source: Roberts et al., *Hypersim: A Photorealistic Synthetic Dataset for Holistic Indoor Scene
Understanding*, ICCV 2021, and its repository.
"""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.data.readers.calibration import rigid_pose
from g2vlm_fast.data.readers.errors import FrameError, ScanError
from g2vlm_fast.data.readers.images import MOST_PIXELS, ColorFile, image_size
from g2vlm_fast.data.readers.lens import Camera, pinhole_matrix
from g2vlm_fast.data.readers.listing import Frame, Listing
from g2vlm_fast.data.readers.nerfstudio import OPENGL_TO_OPENCV
from g2vlm_fast.data.readers.safe_files import read_csv

_USUAL_ANGLE = math.pi / 3
"""Horizontal field of view of scenes that state none."""

_FARTHEST = 1e3
"""Metres beyond which a distance is the sky's."""


def is_hypersim(folder: Path) -> bool:
    """Whether ``folder`` holds the metadata of a scene."""
    return (folder / "_detail" / "metadata_scene.csv").is_file()


def list_hypersim(folder: Path) -> Listing:
    """List the frames of all cameras of a scene.

    Raises:
        ScanError: h5py is missing, broken metadata, or a projection that no pinhole has.
    """
    _import_h5py(folder)
    metres = _metres_per_unit(folder / "_detail" / "metadata_scene.csv")
    frames: list[Frame] = []
    skipped: list[FrameError] = []
    cameras = sorted(path for path in (folder / "_detail").glob("cam_*") if path.is_dir())
    for camera in cameras:
        _list_camera(folder, camera, metres, frames, skipped)
    size = next((image_size(frame.color.path) for frame in frames), (768, 1024))
    return Listing(
        frames=frames,
        skipped=skipped,
        camera=_projection(folder, size),
        depth_along_ray=True,
        units_per_metre=1.0,
    )


def _import_h5py(path: Path) -> Any:
    try:
        return importlib.import_module("h5py")
    except ImportError as error:
        raise ScanError(
            path, "is a scene of Hypersim, whose HDF5 files need h5py", "Run: pip install h5py"
        ) from error


def read_hdf5(path: Path, dimensions: int) -> NDArray[np.float64]:
    """The numbers of the dataset ``dataset`` of an HDF5 file.

    Raises:
        FrameError: missing, damaged, or of another shape or size.
    """
    h5py = _import_h5py(path)
    damaged = "with a damaged image"
    if not path.is_file():
        raise FrameError(path, "is missing", "Restore it", reason="without a depth image")
    try:
        with h5py.File(path, "r") as file:
            dataset = file["dataset"]
            if len(dataset.shape) != dimensions or math.prod(dataset.shape) > 4 * MOST_PIXELS:
                raise ValueError(f"its shape is {dataset.shape}")
            return np.asarray(dataset[:], dtype=np.float64)
    except Exception as error:  # what a damaged file does to HDF5, nobody has written down
        told = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FrameError(
            path, f"cannot be read ({told})", "Copy it again", reason=damaged
        ) from error


@dataclass(frozen=True)
class _Distances:
    """Distances from the camera centre, in metres."""

    path: Path

    def read(self, units_per_metre: float) -> NDArray[np.float32]:
        distance = read_hdf5(self.path, 2) / units_per_metre
        measured = (distance > 0) & (distance < _FARTHEST)  # False for NaN too
        return np.where(measured, distance, 0.0).astype(np.float32)


def _list_camera(
    folder: Path, camera: Path, metres: float, frames: list[Frame], skipped: list[FrameError]
) -> None:
    try:
        positions = read_hdf5(camera / "camera_keyframe_positions.hdf5", 2)
        turns = read_hdf5(camera / "camera_keyframe_orientations.hdf5", 3)
    except FrameError as error:
        raise ScanError(
            error.path, "is missing or damaged: nothing says where this camera was",
            "Restore it, or remove the folder of its camera",
        ) from error  # fmt: skip
    if positions.shape[1:] != (3,) or turns.shape != (len(positions), 3, 3):
        raise ScanError(
            camera, f"holds positions {positions.shape} and orientations {turns.shape}",
            "Copy both files again",
        )  # fmt: skip
    images = folder / "images"
    colors = images / f"scene_{camera.name}_final_preview"
    depths = images / f"scene_{camera.name}_geometry_hdf5"
    for index, (position, turn) in enumerate(zip(positions, turns, strict=True)):
        stem = f"frame.{index:04d}"
        try:
            names = [colors / f"{stem}.{kind}.jpg" for kind in ("tonemap", "color")]
            color = next((path for path in names if path.is_file()), None)
            depth = depths / f"{stem}.depth_meters.hdf5"
            for path, what in ((color, "a colour image"), (depth, "a depth image")):
                if path is None or not path.is_file():
                    raise FrameError(
                        path or names[0], "is missing", "Download it", reason=f"without {what}"
                    )
            assert color is not None
            pose = _pose(camera, index, turn, position * metres)
            frames.append(Frame(ColorFile(color), _Distances(depth), pose))
        except FrameError as error:
            skipped.append(error)


def _pose(
    camera: Path, index: int, turn: NDArray[np.float64], position: NDArray[np.float64]
) -> NDArray[np.float64]:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, position
    return rigid_pose(camera, f"pose {index}", matrix) @ OPENGL_TO_OPENCV


def _metres_per_unit(path: Path) -> float:
    for row in read_csv(path, ("parameter_name", "parameter_value")):
        if row["parameter_name"] == "meters_per_asset_unit":
            metres = _number(path, row["parameter_value"])
            if 0 < metres < 1e6:
                return metres
    raise ScanError(path, "does not say how many metres an asset unit is", "Copy it again")


def _number(path: Path, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ScanError(path, f"holds {text[:40]!r} for a number", "Copy it again") from error


def _projection(folder: Path, size: tuple[int, int]) -> Camera:
    """The camera of a scene, from its projection matrix where one is stated.

    Raises:
        ScanError: the image plane is tilted, as of a view camera.
    """
    height, width = size
    focal = width / 2 / math.tan(_USUAL_ANGLE / 2)
    usual = pinhole_matrix(focal, focal, (width - 1) / 2, (height - 1) / 2)
    name = "metadata_camera_parameters.csv"
    places = (folder, folder.parent, folder.parent.parent)
    path = next((place / name for place in places if (place / name).is_file()), None)
    if path is None:
        return Camera(usual, size)
    entries = [f"M_proj_{row}{column}" for row in range(4) for column in range(4)]
    tilts = [f"M_cam_from_uv_2{column}" for column in range(3)]
    for row in read_csv(path, ("scene_name", *entries, *tilts)):
        if row["scene_name"] != folder.resolve().name:
            continue
        tilt = [_number(path, row[entry]) for entry in tilts]
        if abs(tilt[0]) > 1e-6 or abs(tilt[1]) > 1e-6:
            raise ScanError(path, "the camera of this scene has a tilted image plane, which no "
                            "pinhole camera has", "Leave this scene out")  # fmt: skip
        m = np.array([_number(path, row[entry]) for entry in entries]).reshape(4, 4)
        matrix = np.array(
            [
                [m[0, 0] * width / 2, -m[0, 1] * width / 2, (1 - m[0, 2]) * width / 2 - 0.5],
                [0.0, m[1, 1] * height / 2, (1 + m[1, 2]) * height / 2 - 0.5],
                [0.0, 0.0, 1.0],
            ]
        )
        if not ((abs(matrix) < 1e6).all() and matrix[0, 0] > 0 and matrix[1, 1] > 0):
            raise ScanError(path, "states a projection of no pinhole camera", "Copy it again")
        return Camera(matrix, size, None, path)
    return Camera(usual, size)
