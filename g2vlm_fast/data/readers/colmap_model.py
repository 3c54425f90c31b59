"""The files of a COLMAP model, as text and in binary.

Source: Schoenberger and Frahm, *Structure-from-Motion Revisited*, CVPR 2016, and the description
of the output format in COLMAP's documentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.data.readers.errors import ScanError
from g2vlm_fast.data.readers.lens import Camera, Distortion, pinhole_matrix
from g2vlm_fast.data.readers.safe_files import Cursor, read_bytes, read_lines, read_text

_MODELS = {
    # name: number in binary files, count of parameters
    "SIMPLE_PINHOLE": (0, 3), "PINHOLE": (1, 4), "SIMPLE_RADIAL": (2, 4), "RADIAL": (3, 5),
    "OPENCV": (4, 8), "OPENCV_FISHEYE": (5, 8), "FULL_OPENCV": (6, 12), "FOV": (7, 5),
    "SIMPLE_RADIAL_FISHEYE": (8, 4), "RADIAL_FISHEYE": (9, 5), "THIN_PRISM_FISHEYE": (10, 12),
}  # fmt: skip
_ONE_FOCAL = ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "SIMPLE_RADIAL_FISHEYE",
              "RADIAL_FISHEYE")  # fmt: skip
_REFUSED = ("FULL_OPENCV", "FOV", "THIN_PRISM_FISHEYE")


@dataclass(frozen=True, eq=False)
class RegisteredImage:
    """An image and where its camera was."""

    name: str
    camera: int
    quaternion: NDArray[np.float64]  # [4] x y z w, world to camera
    translation: NDArray[np.float64]  # [3] world to camera


@dataclass(frozen=True, eq=False)
class ColmapModel:
    """Cameras by id, images in the order of their names, and points ``[N, 6]``: place, colour."""

    cameras: dict[int, Camera]
    images: list[RegisteredImage]
    points: NDArray[np.float64]
    path: Path  # the file of the images


def find_model(folder: Path) -> Path | None:
    """The folder that holds the model of a project, if there is one."""
    for name in ("", "sparse/0", "sparse", "colmap", "colmap/sparse/0"):
        for suffix in (".bin", ".txt"):
            if (folder / name / f"cameras{suffix}").is_file():
                return folder / name
    return None


def read_model(folder: Path) -> ColmapModel:
    """Read a model; binary files are preferred.

    Raises:
        ScanError: a file is missing, cut off or contradicts itself; a camera model that is not
            known or cannot be undistorted.
    """
    binary = (folder / "cameras.bin").is_file()
    suffix = ".bin" if binary else ".txt"
    images = folder / f"images{suffix}"
    points = folder / f"points3D{suffix}"
    cameras = folder / f"cameras{suffix}"
    if binary:
        model = _binary_cameras(cameras), _binary_images(images), _binary_points(points)
    else:
        model = _text_cameras(cameras), _text_images(images), _text_points(points)
    return ColmapModel(model[0], sorted(model[1], key=lambda image: image.name), model[2], images)


def camera_of(path: Path, model: str, width: int, height: int, parameters: list[float]) -> Camera:
    """A camera from the parameters of a COLMAP model; its pixel centres lie at halves.

    Raises:
        ScanError: the model is not known or cannot be undistorted, or a number is impossible.
    """
    if model not in _MODELS:
        raise ScanError(path, f"has a camera of the unknown model {model!r}",
                        f"Known are {', '.join(set(_MODELS) - set(_REFUSED))}")  # fmt: skip
    if model in _REFUSED:
        raise ScanError(path, f"has a camera of the model {model}, which is not undistorted here",
                        "Undistort the images with: colmap image_undistorter")  # fmt: skip
    values = np.array(parameters, dtype=np.float64)
    if len(values) != _MODELS[model][1] or not np.isfinite(values).all():
        raise ScanError(path, f"a {model} camera has {_MODELS[model][1]} finite parameters, got "
                        f"{parameters}", "Correct the file")  # fmt: skip
    if not (0 < width < 10**6 and 0 < height < 10**6):
        raise ScanError(path, f"has a camera of {width}x{height} pixels", "Correct the file")
    focal = [values[0]] if model in _ONE_FOCAL else [values[0], values[1]]
    if min(focal) <= 0:
        raise ScanError(path, f"has the focal length {min(focal):g}", "Correct the file")
    center, lens = values[len(focal) : len(focal) + 2] - 0.5, values[len(focal) + 2 :]
    fisheye = "FISHEYE" in model
    if model == "OPENCV":
        distortion = Distortion((lens[0], lens[1]), (lens[2], lens[3]))
    else:
        distortion = Distortion(tuple(map(float, lens)), fisheye=fisheye)
    matrix = pinhole_matrix(focal[0], focal[-1], center[0], center[1])
    return Camera(matrix, (height, width), None if distortion.is_none else distortion, path)


def _binary_cameras(path: Path) -> dict[int, Camera]:
    cursor, cameras = Cursor(path, read_bytes(path)), {}
    numbers = {number: name for name, (number, _) in _MODELS.items()}
    for _ in range(cursor.count(least_bytes=24)):
        camera, model, width, height = cursor.take("iiQQ")
        name = numbers.get(model)
        if name is None:
            raise ScanError(path, f"has a camera of the unknown model {model}",
                            "Convert it with: colmap model_converter")  # fmt: skip
        parameters = list(cursor.take(f"{_MODELS[name][1]}d"))
        cameras[camera] = camera_of(path, name, width, height, parameters)
    return cameras


def _binary_images(path: Path) -> list[RegisteredImage]:
    cursor, images = Cursor(path, read_bytes(path)), []
    for _ in range(cursor.count(least_bytes=73)):
        _, w, x, y, z, *translation, camera = cursor.take("i7di")
        name = cursor.take_text()
        cursor.take_bytes(24 * cursor.count(least_bytes=24))
        pose = np.array([x, y, z, w]), np.array(translation)
        images.append(RegisteredImage(name, camera, *pose))
    return images


def _binary_points(path: Path) -> NDArray[np.float64]:
    if not path.is_file():
        return np.zeros((0, 6))
    cursor, points = Cursor(path, read_bytes(path)), []
    for _ in range(cursor.count(least_bytes=43)):
        _, x, y, z, red, green, blue, _ = cursor.take("Q3d3Bd")
        cursor.take_bytes(8 * cursor.count(least_bytes=8))
        points.append((x, y, z, red / 255, green / 255, blue / 255))
    return _finite_points(points)


def _text_cameras(path: Path) -> dict[int, Camera]:
    cameras = {}
    for line in read_lines(path):
        words = line.split()
        try:
            camera, width, height = int(words[0]), int(words[2]), int(words[3])
            parameters = [float(word) for word in words[4:]]
        except (IndexError, ValueError) as error:
            raise _bad_line(path, line, "CAMERA_ID MODEL WIDTH HEIGHT PARAMS...") from error
        cameras[camera] = camera_of(path, words[1], width, height, parameters)
    return cameras


def _text_images(path: Path) -> list[RegisteredImage]:
    """Every image has two lines; the second, of its features, may be empty."""
    images = []
    lines = [line for line in _all_lines(path) if not line.startswith("#")]
    while lines and not lines[-1]:
        lines.pop()
    for line in lines[::2]:
        words = line.split(maxsplit=9)
        try:
            w, x, y, z, *translation = (float(word) for word in words[1:8])
            image = RegisteredImage(
                words[9], int(words[8]), np.array([x, y, z, w]), np.array(translation)
            )
        except (IndexError, ValueError) as error:
            layout = "IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME"
            raise _bad_line(path, line, layout) from error
        images.append(image)
    return images


def _text_points(path: Path) -> NDArray[np.float64]:
    if not path.is_file():
        return np.zeros((0, 6))
    points = []
    for line in read_lines(path):
        try:
            x, y, z, *color = (float(word) for word in line.split()[1:7])
            points.append((x, y, z, *(value / 255 for value in color)))
        except ValueError as error:
            raise _bad_line(path, line, "POINT3D_ID X Y Z R G B ERROR TRACK...") from error
        if len(points[-1]) != 6:
            raise _bad_line(path, line, "POINT3D_ID X Y Z R G B ERROR TRACK...")
    return _finite_points(points)


def _all_lines(path: Path) -> list[str]:
    return [line.strip() for line in read_text(path).splitlines()]


def _finite_points(points: Sequence[tuple[float, ...]]) -> NDArray[np.float64]:
    table = np.array(points, dtype=np.float64).reshape(-1, 6)
    table = table[np.isfinite(table).all(axis=1) & (abs(table[:, :3]) < 1e6).all(axis=1)]
    table[:, 3:] = table[:, 3:].clip(0, 1)
    return table


def _bad_line(path: Path, line: str, layout: str) -> ScanError:
    return ScanError(path, f"has the line {line[:60]!r}", f"Write: {layout}")
