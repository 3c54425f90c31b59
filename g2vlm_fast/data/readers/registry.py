"""Which reader reads which folder, and the one path from any listing to a :class:`Scene`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from g2vlm_fast.data.readers.calibration import check_intrinsics_fit, read_intrinsics
from g2vlm_fast.data.readers.errors import ScanError
from g2vlm_fast.data.readers.frame_folder import is_frame_folder, list_frame_folder
from g2vlm_fast.data.readers.images import check_depth_unit, read_views
from g2vlm_fast.data.readers.listing import Listing
from g2vlm_fast.data.readers.mesh import read_mesh
from g2vlm_fast.data.readers.options import ReadOptions
from g2vlm_fast.data.readers.trajectory_folder import is_trajectory_folder, list_trajectory_folder
from g2vlm_fast.data.scene import Scene
from g2vlm_fast.geometry.frames import gravity_from_cameras

FARTHEST_CAMERA = 1e4
"""Metres from the origin up to which float32 resolves a millimetre."""

PRIMESENSE = np.array([[525.0, 0.0, 319.5], [0.0, 525.0, 239.5], [0.0, 0.0, 1.0]])
"""Factory camera matrix of PrimeSense sensors at 640x480, the default of Open3D."""


@dataclass(frozen=True)
class Reader:
    """A layout of files: how to recognise it, and how to list its frames."""

    name: str
    layout: str
    recognises: Callable[[Path], bool]
    list: Callable[[Path], Listing]


READERS: list[Reader] = [
    Reader(
        "frames",
        "frame-*.color.png|jpg, frame-*.depth.png, frame-*.pose.txt, intrinsics.txt",
        is_frame_folder,
        list_frame_folder,
    ),
    Reader(
        "trajectory",
        "image|color|rgb/*.png|jpg, depth/*.png, trajectory.log",
        is_trajectory_folder,
        list_trajectory_folder,
    ),
]
"""The readers, asked in this order; append one to read another layout."""


def read_scan(path: Path | str, options: ReadOptions | None = None) -> Scene:
    """Read a recorded scan: posed colour and depth images with one camera matrix.

    Poses are camera to world in metres, cameras OpenCV. The world is the one of the recording;
    its gravity is only estimated, from how the cameras were held
    (:func:`g2vlm_fast.geometry.frames.align_to_gravity` refines it).

    Args:
        path: folder in one of the layouts of ``READERS``.
        options: what the files do not say.

    Returns:
        The scene, with everything that was taken for granted in ``assumptions``.

    Raises:
        ScanError: anything missing, truncated or inconsistent; names the file and the remedy.
    """
    options = options or ReadOptions()
    folder = Path(path)
    _check_folder(folder)
    options.check_files()
    reader = next((reader for reader in READERS if reader.recognises(folder)), None)
    if reader is None:
        layouts = "; or ".join(reader.layout for reader in READERS)
        raise ScanError(folder, "holds no scan in a known layout", f"Expected {layouts}")
    listing = reader.list(folder)
    if not listing.frames:
        raise ScanError(folder, "holds no frame", f"Expected {reader.layout}")
    assumptions: list[str] = []
    frames = _select(listing, options, assumptions)
    colors, depth = read_views(frames, options.depth_scale)
    check_depth_unit(frames[0].depth, depth, options.depth_scale)
    intrinsics = _intrinsics(folder, listing, options, depth.shape[1:], assumptions)
    poses = _poses(frames)
    assumptions.append("The files do not say where gravity points; it was estimated.")
    scene = Scene(
        name=folder.resolve().name,
        images=torch.from_numpy(colors),
        intrinsics=torch.from_numpy(intrinsics).float().repeat(len(frames), 1, 1),
        poses=poses,
        depth=torch.from_numpy(depth),
        gravity=gravity_from_cameras(poses),
        assumptions=tuple(assumptions),
    )
    return dataclasses.replace(scene, **_given_mesh(folder, options))


def _poses(frames: list) -> torch.Tensor:
    """Return the poses in float32, ``[V, 4, 4]``, where that still resolves a millimetre."""
    poses = np.stack([frame.pose for frame in frames])
    farthest = int(np.abs(poses[:, :3, 3]).max(axis=1).argmax())
    distance = float(np.abs(poses[farthest, :3, 3]).max())
    if distance > FARTHEST_CAMERA:
        raise ScanError(
            frames[farthest].color,
            f"was taken {distance:.3g} m from the origin, where coordinates in float32 "
            "are no longer exact to a millimetre",
            "Subtract one offset from all positions, or mend this pose",
        )
    return torch.from_numpy(poses).float()


def _check_folder(folder: Path) -> None:
    if not folder.exists():
        raise ScanError(folder, "does not exist", "Name the folder of a scan")
    if not folder.is_dir():
        raise ScanError(folder, "is not a folder", "Name the folder that holds the scan's files")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise ScanError(folder, "may not be read", "Grant read permission")
    if not any(folder.iterdir()):
        raise ScanError(folder, "is empty", "Name the folder that holds the scan's files")


def _select(listing: Listing, options: ReadOptions, assumptions: list[str]) -> list:
    frames = listing.frames[:: options.stride]
    if len(frames) > options.max_frames:
        keep = np.linspace(0, len(frames) - 1, options.max_frames).round().astype(int)
        frames = [frames[index] for index in keep]
    if len(frames) < len(listing.frames):
        assumptions.append(
            f"{len(frames)} of {len(listing.frames)} frames were read, evenly spread "
            f"(--stride {options.stride}, --max-frames {options.max_frames})."
        )
    return frames


def _intrinsics(
    folder: Path,
    listing: Listing,
    options: ReadOptions,
    size: tuple[int, ...],
    assumptions: list[str],
) -> NDArray[np.float64]:
    height, width = size
    file = options.intrinsics or listing.intrinsics
    if file is not None:
        matrix = read_intrinsics(file)
        check_intrinsics_fit(file, matrix, height, width)
        return matrix
    if listing.may_assume_primesense and (height, width) == (480, 640):
        assumptions.append(
            "The scan has no camera matrix; the factory one of PrimeSense sensors was assumed "
            "(focal length 525, principal point 319.5, 239.5)."
        )
        return PRIMESENSE
    raise ScanError(
        folder,
        f"has no camera matrix for its {width}x{height} images",
        "Put the 3x3 matrix into intrinsics.txt there, or name a file with --intrinsics FILE",
    )


def _given_mesh(folder: Path, options: ReadOptions) -> dict[str, Any]:
    path = options.mesh
    if path is None:
        path = folder / "mesh.ply"
        if not path.is_file():
            return {}
    mesh = read_mesh(path)
    fields = {"vertices": mesh.vertices, "faces": mesh.faces, "vertex_normals": mesh.normals}
    if mesh.colors is not None:
        fields["vertex_colors"] = mesh.colors
    return {name: torch.from_numpy(value) for name, value in fields.items()}
