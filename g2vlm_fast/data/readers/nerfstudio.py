"""``transforms.json`` of nerfstudio and instant-ngp.

Poses are camera to world with OpenGL axes (y up, z backward); pixel centres lie at halves.
``applied_transform`` and ``applied_scale`` tell what was done to the world after registration,
and are undone here, so that depth and positions are in one unit again.

Source: Tancik et al., *Nerfstudio: A Modular Framework for Neural Radiance Field Development*,
SIGGRAPH 2023, and the data conventions in its documentation.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.data.readers.calibration import rigid_pose
from g2vlm_fast.data.readers.errors import FrameError, ScanError
from g2vlm_fast.data.readers.images import ColorFile, DepthFile, image_size
from g2vlm_fast.data.readers.lens import Camera, Distortion, pinhole_matrix
from g2vlm_fast.data.readers.listing import IMAGE_SUFFIXES, Frame, Listing, without_pose
from g2vlm_fast.data.readers.safe_files import Fields, inside

OPENGL_TO_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])
"""Multiplied from the right, it turns OpenGL camera axes into OpenCV's."""

_MODELS = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV_FISHEYE")


def is_nerfstudio(folder: Path) -> bool:
    """Whether ``folder`` holds a ``transforms.json``."""
    return (folder / "transforms.json").is_file()


def list_nerfstudio(folder: Path) -> Listing:
    """List the frames of ``transforms.json``.

    Raises:
        ScanError: broken JSON, a camera model that is not known, files outside of the folder,
            poses that are no rigid motion.
    """
    return list_transforms(folder / "transforms.json", folder, folder)


def list_transforms(path: Path, root: Path, images: Path) -> Listing:
    """List the frames of a file of transforms.

    Args:
        path: the file.
        root: folder that every named file must lie in.
        images: folder that names of files are relative to.
    """
    whole = Fields.read(path)
    whole = _with_size(whole, root, images)
    undo, scale = _applied(whole)
    shared = _camera(whole) if _has_camera(whole) else None
    frames, skipped = [], []
    for entry in whole.objects("frames"):
        try:
            frames.append(_frame(entry, whole, root, images, shared, undo, scale))
        except FrameError as error:
            skipped.append(error)
    return Listing(
        frames=sorted(frames, key=lambda frame: frame.color.path.name),
        skipped=skipped,
        units_per_metre=1 / _positive(whole, "depth_unit_scale_factor", 1e-3),
        one_field_of_view=True,
        assumptions=[
            "transforms.json does not say whether its unit is the metre; it was taken for it.",
            *without_pose({frame.color.path.parent for frame in frames}, _named_stems(whole)),
        ],
    )


def _named_stems(whole: Fields) -> set[str]:
    """Names, without suffix, of all files that frames name."""
    names = ("file_path", "depth_file_path", "mask_path")
    entries = whole.objects("frames")
    return {Path(entry.text(name)).stem for entry in entries for name in names if name in entry}


def _with_size(whole: Fields, root: Path, images: Path) -> Fields:
    """The file with the size of its images, which Blender's scenes leave to the images."""
    if "w" in whole and "h" in whole:
        return whole
    for entry in whole.objects("frames"):
        color = _named(entry.text("file_path"), entry.path, root, images)
        if color.is_file():
            height, width = image_size(color)
            return Fields(whole.path, {**whole.values, "w": width, "h": height})
    return whole


def _frame(
    entry: Fields,
    whole: Fields,
    root: Path,
    images: Path,
    shared: Camera | None,
    undo: NDArray[np.float64],
    scale: float,
) -> Frame:
    color = _named(entry.text("file_path"), entry.path, root, images)
    matrix = entry.array("transform_matrix", 4, 4)
    pose = rigid_pose(entry.path, f"the transform_matrix of {entry.where}", matrix)
    pose[:3, 3] /= scale
    pose = undo @ pose @ OPENGL_TO_OPENCV
    depth = None
    if "depth_file_path" in entry:
        depth = DepthFile(_named(entry.text("depth_file_path"), entry.path, root, images))
        if not depth.path.is_file():
            raise _missing(depth.path, "without a depth image")
    if not color.is_file():
        raise _missing(color, "without a colour image")
    camera = shared
    if _has_camera(entry):
        camera = _camera(Fields(entry.path, {**whole.values, **entry.values}, entry.where))
    if camera is None:
        raise ScanError(entry.path, f"{entry.where} has no focal length", "Write fl_x, fl_y")
    return Frame(ColorFile(color), depth, pose, camera)


def _missing(path: Path, reason: str) -> FrameError:
    return FrameError(path, "is missing", "Restore it, or remove its frame", reason=reason)


def _named(name: str, path: Path, root: Path, images: Path) -> Path:
    """The image of a name, which may lack its suffix (as in Blender's scenes)."""
    relative = (images / name).relative_to(root) if not name.startswith("/") else Path(name)
    file = inside(root, str(relative), path)
    if file.suffix == "" and file.name:
        named = [file.with_name(f"{file.name}{suffix}") for suffix in IMAGE_SUFFIXES]
        return next((path for path in named if path.is_file()), file)
    return file


def _has_camera(fields: Fields) -> bool:
    return "fl_x" in fields or "camera_angle_x" in fields


def _camera(fields: Fields) -> Camera:
    """The camera of a frame, or of the whole file.

    Raises:
        ScanError: an unknown model or an impossible number.
    """
    model = fields.text("camera_model", "OPENCV")
    if model not in _MODELS:
        raise ScanError(
            fields.path,
            f"has cameras of the model {model!r}; known are {', '.join(_MODELS)}",
            "Undistort the images into one of these",
        )
    width, height = _positive(fields, "w"), _positive(fields, "h")
    if "fl_x" in fields:
        fx = _positive(fields, "fl_x")
        fy = _positive(fields, "fl_y", fx)
    else:
        angle = fields.number("camera_angle_x")
        if not 0 < angle < math.pi:
            raise ScanError(fields.path, f"camera_angle_x is {angle:g}", "Write radians")
        fx = fy = width / 2 / math.tan(angle / 2)
    cx, cy = fields.number("cx", width / 2), fields.number("cy", height / 2)
    fisheye = model == "OPENCV_FISHEYE"
    radial = tuple(fields.number(name, 0.0) for name in ("k1", "k2", "k3", "k4"))
    if not fisheye and radial[3]:
        raise ScanError(fields.path, f"k4 = {radial[3]:g} of the model {model} is not known",
                        "Undistort the images")  # fmt: skip
    lens = Distortion(radial, (fields.number("p1", 0.0), fields.number("p2", 0.0)), fisheye)
    return Camera(
        pinhole_matrix(fx, fy, cx - 0.5, cy - 0.5),
        (int(height), int(width)),
        None if lens.is_none else lens,
        fields.path,
    )


def _positive(fields: Fields, name: str, default: float | None = None) -> float:
    number = fields.number(name, default)
    if not 0 < number < 1e9:
        raise ScanError(fields.path, f"{name} is {number:g}", "Write a positive number")
    return number


def _applied(whole: Fields) -> tuple[NDArray[np.float64], float]:
    """What takes the world of the file back to the one of the recording: a motion, a scale."""
    scale = _positive(whole, "applied_scale", 1.0)
    if "applied_transform" not in whole:
        return np.eye(4), scale
    motion = np.eye(4)
    given = whole.array("applied_transform", -1, 4)
    if given.shape[0] not in (3, 4):
        raise ScanError(whole.path, "applied_transform is not 3x4", "Correct the file")
    motion[:3] = given[:3]
    try:
        motion = rigid_pose(whole.path, "applied_transform", motion)
    except FrameError as error:
        raise ScanError(whole.path, "applied_transform holds NaN", "Correct the file") from error
    inverse = np.eye(4)
    inverse[:3, :3] = motion[:3, :3].T
    inverse[:3, 3] = -motion[:3, :3].T @ motion[:3, 3]
    return inverse, scale
