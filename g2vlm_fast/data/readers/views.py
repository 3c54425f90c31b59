"""From the frames of a listing to views of one pinhole camera each, all of one size."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.data.readers.calibration import check_intrinsics_fit
from g2vlm_fast.data.readers.errors import FrameError, ScanError
from g2vlm_fast.data.readers.lens import Camera, resample
from g2vlm_fast.data.readers.listing import Frame, Listing

MOST_BYTES = 12 * 2**30
"""Memory that the views of one scan may take."""

_SAME_SHAPE = 0.02
"""Relative difference up to which two aspect ratios are one."""

_LEAST_PIXELS = 4
"""Pixels along a side of the smallest image that shows something."""


@dataclass(frozen=True, eq=False)
class View:
    """A frame, decoded."""

    frame: Frame
    color: NDArray[np.uint8]  # [H, W, 3]
    depth: NDArray[np.float32] | None  # [H, W] metres along z
    matrix: NDArray[np.float64]  # [3, 3] pixels
    pose: NDArray[np.float64] | None  # [4, 4]


def read_views(
    listing: Listing,
    frames: list[Frame],
    camera: Camera | None,
    units_per_metre: float,
    *,
    plausible: bool = True,
) -> tuple[list[View], list[FrameError]]:
    """Decode frames in parallel: undistorted, depth on the pixels of colour, upright.

    Args:
        listing: what the frames are from.
        frames: which of them.
        camera: of colour images that have none of their own.
        units_per_metre: of depth images.
        plausible: refuse camera matrices that cannot be of their images.

    Returns:
        The views in order, and why the others could not be read.

    Raises:
        ScanError: a camera that does not belong to its images; depth that cannot be brought onto
            colour; views of several sizes; views that do not fit into memory.
    """
    reader = _Reader(listing, camera, units_per_metre, plausible)
    with ThreadPoolExecutor(max_workers=4) as pool:
        tried = list(pool.map(reader.attempt, frames))
    views = [view for view in tried if isinstance(view, View)]
    for frame, result in zip(frames, tried, strict=True):
        if isinstance(result, ScanError) and not isinstance(result, FrameError):
            if views:  # an image of another size is no fault of its camera's
                first = views[0].frame
                _check_size(frame, frame.color.read(), first, first.color.read())
            raise result
    for view in views:
        _check_size(view.frame, view.color, views[0].frame, views[0].color)
    return views, [error for error in tried if isinstance(error, FrameError)]


def _check_size(
    frame: Frame, image: NDArray[np.uint8], first: Frame, first_image: NDArray[np.uint8]
) -> None:
    if image.shape != first_image.shape:
        raise ScanError(
            frame.color.path,
            f"is {size_in_words(image)}, but {first.color.path.name} is "
            f"{size_in_words(first_image)}",
            "All images of a scan must have one size: resize them, and their camera matrices",
        )


def check_memory(folder: Path, frames: int, pixels: int) -> None:
    """Refuse more views than memory holds, before any is decoded.

    Raises:
        ScanError: tells how many fit.
    """
    each = 7 * pixels  # 3 of colour, 4 of depth
    if frames * each > MOST_BYTES:
        raise ScanError(
            folder,
            f"its {frames} views of {pixels:,} pixels would take {frames * each / 2**30:.0f} GiB",
            f"Read at most {MOST_BYTES // each} with --max-frames, or save the images smaller",
        )


def size_in_words(image: NDArray[np.generic]) -> str:
    """ "640x480" of an image ``[H, W, ...]``."""
    return f"{image.shape[1]}x{image.shape[0]}"


@dataclass(frozen=True, eq=False)
class _Reader:
    listing: Listing
    camera: Camera | None
    units_per_metre: float
    plausible: bool

    def attempt(self, frame: Frame) -> View | ScanError:
        try:
            return self.read(frame)
        except ScanError as error:
            return error

    def read(self, frame: Frame) -> View:
        color = frame.color.read()
        depth = None if frame.depth is None else frame.depth.read(self.units_per_metre)
        for source, image in ((frame.color, color), (frame.depth, depth)):
            if source is not None and image is not None and min(image.shape[:2]) < _LEAST_PIXELS:
                raise ScanError(
                    source.path,
                    f"is {size_in_words(image)}",
                    f"Images need at least {_LEAST_PIXELS} pixels along each side",
                )
        camera = frame.camera or self.camera
        assert camera is not None
        camera = self._fitting(camera, frame.color.path, color.shape[:2])
        depth_camera = frame.depth_camera or self.listing.depth_camera
        target = self._target(frame, camera, depth_camera, color, depth)
        if depth is not None and depth_camera is None and depth.shape == color.shape[:2]:
            depth = _seen_through(target, depth, camera, smooth=False)
        if target.size != color.shape[:2]:
            color, camera = _shrunk(color, camera, target)
        color = _seen_through(target, color, camera, smooth=True)
        if depth is not None and self.listing.depth_along_ray:
            depth = depth / _ray_lengths(target)
        pose, matrix = frame.pose, target.matrix
        for _ in range(self.listing.clockwise_turns % 4):
            color = np.rot90(color, -1)
            depth = None if depth is None else np.rot90(depth, -1)
            pose, matrix = turned_clockwise(pose, matrix, color.shape[1])
        return View(frame, np.ascontiguousarray(color), depth, matrix, pose)

    def _target(
        self,
        frame: Frame,
        camera: Camera,
        depth_camera: Camera | None,
        color: NDArray[np.uint8],
        depth: NDArray[np.float32] | None,
    ) -> Camera:
        """The pinhole that the view shall have: that of depth, where it has one of its own."""
        if depth is None or frame.depth is None:
            return _without_lens(camera)
        if depth_camera is not None:
            return self._fitting(depth_camera, frame.depth.path, depth.shape)
        if depth.shape == color.shape[:2]:
            return _without_lens(camera)
        if not self.listing.one_field_of_view:
            raise ScanError(
                frame.depth.path,
                f"is {size_in_words(depth)}, but its colour image {frame.color.path.name} is "
                f"{size_in_words(color)}",
                "Register depth to colour, or resize both to one size and rescale the intrinsics",
            )
        if camera.distortion is not None:
            raise ScanError(
                frame.depth.path,
                f"is {size_in_words(depth)} beside distorted colour of {size_in_words(color)}",
                "Undistort the colour images first",
            )
        return self._fitting(camera, frame.depth.path, depth.shape)

    def _fitting(self, camera: Camera, image: Path, size: tuple[int, ...]) -> Camera:
        """The camera at the size of an image that it is said to have taken.

        Raises:
            ScanError: it took images of another shape.
        """
        height, width = size
        if self.plausible and camera.size and not _one_shape(camera.size, (height, width)):
            raise ScanError(
                image,
                f"is {width}x{height}, but its camera was calibrated at "
                f"{camera.size[1]}x{camera.size[0]}",
                "Turn or crop both alike; are width and height swapped?",
            )
        fitting = _at_size(camera, height, width)
        if self.plausible:
            check_intrinsics_fit(camera.source or image, fitting.matrix, height, width)
        return fitting


@lru_cache(maxsize=64)
def _without_lens(camera: Camera) -> Camera:
    if camera.distortion is None:
        return camera
    return Camera(camera.matrix, camera.size, None, camera.source)


def _one_shape(first: tuple[int, int], second: tuple[int, int]) -> bool:
    """Whether one of two images may be the other, resized."""
    return abs(first[0] * second[1] / (first[1] * second[0]) - 1) <= _SAME_SHAPE


@lru_cache(maxsize=64)
def _at_size(camera: Camera, height: int, width: int) -> Camera:
    if camera.size is None or not _one_shape(camera.size, (height, width)):
        return Camera(camera.matrix, (height, width), camera.distortion, camera.source)
    return camera.scaled_to((height, width))


def _seen_through(
    target: Camera, image: NDArray[Any], camera: Camera, *, smooth: bool
) -> NDArray[Any]:
    """An image of ``camera`` as ``target`` sees it; the same where they are one."""
    return image if target is camera else resample(image, camera, target, smooth=smooth)


def _shrunk(
    color: NDArray[np.uint8], camera: Camera, target: Camera
) -> tuple[NDArray[np.uint8], Camera]:
    """Colour at about the resolution of ``target``, so that resampling it does not alias."""
    from PIL import Image

    assert target.size is not None
    share = min(1.0, target.matrix[0, 0] / camera.matrix[0, 0])
    size = tuple(max(_LEAST_PIXELS, round(side * share)) for side in color.shape[:2])
    small = Image.fromarray(color).resize(size[::-1], Image.Resampling.BOX)
    return np.asarray(small), _at_size(camera, *size)


@lru_cache(maxsize=8)
def _ray_lengths(camera: Camera) -> NDArray[np.float32]:
    """Length of the ray with z = 1 through each pixel, ``[H, W]``."""
    assert camera.size is not None
    rows, columns = np.mgrid[: camera.size[0], : camera.size[1]].astype(np.float64)
    pixels = np.stack([columns, rows, np.ones_like(rows)], axis=-1)
    rays = pixels @ np.linalg.inv(camera.matrix).T
    return np.linalg.norm(rays, axis=-1).astype(np.float32)


def turned_clockwise(
    pose: NDArray[np.float64] | None, matrix: NDArray[np.float64], width: int
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64]]:
    """Pose and camera matrix of an image that was turned by a quarter, clockwise.

    Args:
        pose: ``[4, 4]`` camera to world before; None: unknown.
        matrix: ``[3, 3]`` pixels before.
        width: of the turned image.
    """
    turned = np.array(
        [
            [matrix[1, 1], 0.0, width - 1 - matrix[1, 2]],
            [0.0, matrix[0, 0], matrix[0, 2]],
            [0.0, 0.0, 1.0],
        ]
    )
    if pose is None:
        return None, turned
    new_to_old = np.eye(4)
    new_to_old[:2, :2] = [[0, 1], [-1, 0]]
    return pose @ new_to_old, turned
