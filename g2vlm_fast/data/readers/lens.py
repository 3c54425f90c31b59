"""Cameras with lenses, and images as a pinhole would have seen them.

Source of the models: Brown, *Close-Range Camera Calibration*, Photogrammetric Engineering 37(8),
1971 (radial and tangential); Kannala and Brandt, *A Generic Camera Model and Calibration Method
for Conventional, Wide-Angle, and Fish-Eye Lenses*, TPAMI 28(8), 2006 (fisheye).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Distortion:
    """How a lens moves the point ``(x, y, 1)`` in its image plane.

    ``fisheye`` makes the radial polynomial one of the angle to the optical axis instead of the
    distance from it: ``r = angle (1 + k1 angle^2 + ...)``; else ``r = d (1 + k1 d^2 + ...)``.
    """

    radial: tuple[float, ...]  # k1, k2, ...
    tangential: tuple[float, float] = (0.0, 0.0)  # p1, p2
    fisheye: bool = False

    @property
    def is_none(self) -> bool:
        """Whether this is a pinhole."""
        return not self.fisheye and not any(self.radial) and not any(self.tangential)

    def distort(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Where the lens puts ``(x, y, 1)``; NaN beyond where its polynomial folds back."""
        distance = np.hypot(x, y)
        argument = np.arctan(distance) if self.fisheye else distance
        square = argument * argument
        factor = np.ones_like(square)
        for power, coefficient in enumerate(self.radial, start=1):
            factor += coefficient * square**power
        if self.fisheye:
            safe = np.where(distance > 1e-12, distance, 1.0)
            factor = np.where(distance > 1e-12, argument * factor / safe, 1.0)
        factor = np.where(argument < self.fold(), factor, np.nan)
        p1, p2 = self.tangential
        moved_x = x * factor + 2 * p1 * x * y + p2 * (distance**2 + 2 * x * x)
        moved_y = y * factor + p1 * (distance**2 + 2 * y * y) + 2 * p2 * x * y
        return moved_x, moved_y

    def fold(self) -> float:
        """Where ``d (1 + k1 d^2 + ...)`` stops to grow: beyond, the model says nothing."""
        slope = np.zeros(2 * len(self.radial) + 1)
        slope[-1] = 1.0
        for power, coefficient in enumerate(self.radial, start=1):
            slope[-1 - 2 * power] = (2 * power + 1) * coefficient
        roots = np.roots(slope)
        real = roots[(abs(roots.imag) < 1e-9) & (roots.real > 0)].real
        return float(real.min()) if len(real) else float("inf")


@dataclass(frozen=True, eq=False)
class Camera:
    """A calibrated camera.

    Attributes:
        matrix: ``[3, 3]`` pixels, pixel centres at integers.
        size: (height, width) of the images that it was calibrated at; None: not said.
        distortion: of its lens; None for a pinhole.
        source: the file that says so, for messages.
    """

    matrix: Array
    size: tuple[int, int] | None = None
    distortion: Distortion | None = None
    source: Path | None = None

    def scaled_to(self, size: tuple[int, int]) -> Camera:
        """The same camera with images of another size, which must be known."""
        assert self.size is not None
        if size == self.size:
            return self
        return Camera(_resized(self.matrix, self.size, size), size, self.distortion, self.source)


def pinhole_matrix(fx: float, fy: float, cx: float, cy: float) -> Array:
    """A camera matrix ``[3, 3]``."""
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def _resized(matrix: Array, old: tuple[int, int], new: tuple[int, int]) -> Array:
    """Camera matrix after an image was resized, pixel centres at integers."""
    y, x = new[0] / old[0], new[1] / old[1]
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1.0]]) @ matrix


@lru_cache(maxsize=8)
def _pinhole_map(camera: Camera, target: Camera) -> tuple[Array, Array]:
    """Column and row of ``camera``'s image for every pixel of ``target``, a pinhole beside it."""
    assert target.size is not None
    rows, columns = np.mgrid[: target.size[0], : target.size[1]].astype(np.float64)
    pixels = np.stack([columns, rows, np.ones_like(rows)], axis=-1)
    x, y, _ = np.moveaxis(pixels @ np.linalg.inv(target.matrix).T, -1, 0)
    if camera.distortion is not None:
        x, y = camera.distortion.distort(x, y)
    matrix = camera.matrix
    return matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2], matrix[1, 1] * y + matrix[1, 2]


def resample(image: NDArray[Any], camera: Camera, target: Camera, *, smooth: bool) -> NDArray[Any]:
    """See ``image`` of ``camera`` through ``target``, a pinhole with the same centre.

    Args:
        image: ``[H, W, ...]`` uint8 or float32.
        camera: of the image.
        target: a pinhole with a size.
        smooth: interpolate; else take the nearest pixel (depth).

    Returns:
        ``[h, w, ...]`` of the same dtype; 0 where ``camera`` does not see.
    """
    column, row = _pinhole_map(camera, target)
    height, width = image.shape[:2]
    with np.errstate(invalid="ignore"):
        sees = (column > -0.5) & (column < width - 0.5) & (row > -0.5) & (row < height - 0.5)
    column, row = np.where(sees, column, 0.0), np.where(sees, row, 0.0)
    if not smooth:
        taken = image[row.round().astype(int), column.round().astype(int)]
        return np.where(_beside(sees, taken), taken, 0).astype(image.dtype)
    left = np.clip(np.floor(column).astype(int), 0, max(0, width - 2))
    top = np.clip(np.floor(row).astype(int), 0, max(0, height - 2))
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    across, down = (
        _beside(np.clip(part, 0, 1).astype(np.float32), image)
        for part in (column - left, row - top)
    )
    upper = image[top, left] * (1 - across) + image[top, right] * across
    lower = image[bottom, left] * (1 - across) + image[bottom, right] * across
    mixed = upper * (1 - down) + lower * down
    return np.where(_beside(sees, mixed), mixed.round(), 0).astype(image.dtype)


def _beside(values: NDArray[Any], image: NDArray[Any]) -> NDArray[Any]:
    """Let ``values [H, W]`` broadcast over the channels of an image."""
    return values[..., None] if image.ndim == 3 else values
