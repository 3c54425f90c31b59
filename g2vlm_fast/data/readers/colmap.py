"""COLMAP projects: ``images/``, and a model in ``sparse/0``, ``sparse``, ``colmap`` or beside.

Poses are world to camera; the unit is the one of the reconstruction, which structure from motion
does not know. Depth is read from ``depth/<name>.png`` (millimetres) where there is such a folder.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from g2vlm_fast.data.readers.colmap_model import RegisteredImage, find_model, read_model
from g2vlm_fast.data.readers.errors import FrameError, ScanError
from g2vlm_fast.data.readers.images import ColorFile, DepthFile
from g2vlm_fast.data.readers.listing import Frame, Listing, without_pose
from g2vlm_fast.data.readers.safe_files import inside
from g2vlm_fast.data.readers.trajectory import inverse_rigid, pose_matrix, rotation_from_quaternion

METRE_UNKNOWN = "COLMAP does not know the metre; its unit was taken for it."

_IMAGE_FOLDERS = ("images", "rgb", "color", "resized_images", "undistorted_images")


def is_colmap(folder: Path) -> bool:
    """Whether ``folder`` holds a COLMAP model."""
    return find_model(folder) is not None


def list_colmap(folder: Path) -> Listing:
    """List the registered images of a project.

    Raises:
        ScanError: a broken model, no folder of images, or images outside of it.
    """
    model_folder = find_model(folder)
    if model_folder is None:
        raise ScanError(folder, "holds no COLMAP model", "Put cameras, images and points3D there")
    found = [folder / name for name in _IMAGE_FOLDERS if (folder / name).is_dir()]
    if not found:
        raise ScanError(folder, "has no folder of images", f"Name it {_IMAGE_FOLDERS[0]}")
    model = read_model(model_folder)
    depth_folder = folder / "depth"
    frames, skipped = [], []
    for image in model.images:
        color = inside(found[0], image.name, model.path)
        camera = model.cameras.get(image.camera)
        if camera is None:
            raise ScanError(
                model.path, f"{image.name} names camera {image.camera}, which does not exist",
                "Export the model again",
            )  # fmt: skip
        depth = None
        if depth_folder.is_dir():
            depth = inside(depth_folder, f"{_stem(image.name)}.png", model.path)
        try:
            for path, reason in ((color, "without a colour image"),
                                 (depth, "without a depth image")):  # fmt: skip
                if path is not None and not path.is_file():
                    raise FrameError(path, "is missing", "Restore it", reason=reason)
            pose = _pose(model.path, image)
            depth_file = None if depth is None else DepthFile(depth)
            frames.append(Frame(ColorFile(color), depth_file, pose, camera))
        except FrameError as error:
            skipped.append(error)
    return Listing(
        frames=frames,
        skipped=skipped,
        one_field_of_view=True,
        points=model.points if len(model.points) else None,
        assumptions=[
            METRE_UNKNOWN,
            *without_pose({found[0]}, {Path(image.name).stem for image in model.images}),
        ],
    )


def _pose(path: Path, image: RegisteredImage) -> np.ndarray:
    numbers = np.concatenate([image.quaternion, image.translation])
    if not (abs(numbers) < 1e15).all() or np.linalg.norm(image.quaternion) < 1e-6:
        raise FrameError(
            path, f"the pose of {image.name} holds NaN or infinite numbers", "Remove the image",
            reason="whose pose is NaN or infinite",
        )  # fmt: skip
    rotation = rotation_from_quaternion(image.quaternion)
    return inverse_rigid(pose_matrix(rotation, image.translation))


def _stem(name: str) -> str:
    """A name without its suffix, folders kept."""
    stem, dot, _ = name.rpartition(".")
    return stem if dot else name
