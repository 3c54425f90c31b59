"""Camera matrices and poses from text files, checked number by number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.data.readers.errors import FrameError, ScanError
from g2vlm_fast.data.readers.lens import Camera
from g2vlm_fast.data.readers.safe_files import read_text

INTRINSICS_NAMES = (
    "intrinsics.K.txt",
    "camera-intrinsics.txt",
    "intrinsics.txt",
    "intrinsic.txt",
    "camera_intrinsics.txt",
)

_LARGEST = 1e15
"""A number beyond this is damage, not a place."""

_ORTHONORMAL_TOLERANCE = 1e-2
"""How far ``R^T R`` of a pose may be from the identity and still be rounded to a rotation."""


def read_numbers(path: Path) -> NDArray[np.float64]:
    """All numbers of a text file, row by row; commas count as spaces, a byte order mark as nothing.

    Raises:
        ScanError: the file cannot be read, or holds something that is not a number.
    """
    numbers = []
    for word in read_text(path).replace(",", " ").split():
        try:
            numbers.append(float(word))
        except ValueError as error:
            raise ScanError(
                path, f"holds {word[:40]!r}, which is not a number", "Write plain numbers"
            ) from error
    return np.array(numbers, dtype=np.float64)


def read_intrinsics(path: Path) -> NDArray[np.float64]:
    """A pinhole camera matrix ``[3, 3]`` in pixels from a 3x3 or 4x4 text file.

    Raises:
        ScanError: wrong count of numbers, or no camera matrix.
    """
    numbers = read_numbers(path)
    if numbers.size not in (9, 16):
        raise ScanError(
            path,
            f"expected the 9 numbers of a 3x3 camera matrix, got {numbers.size}",
            "Write it as three rows: fx 0 cx / 0 fy cy / 0 0 1",
        )
    side = 3 if numbers.size == 9 else 4
    return check_matrix(path, numbers.reshape(side, side)[:3, :3].copy())


def check_matrix(path: Path, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take ``matrix [3, 3]`` for a pinhole camera's.

    Raises:
        ScanError: it is none.
    """
    focal_positive = matrix[0, 0] > 0 and matrix[1, 1] > 0
    if not (abs(matrix) < _LARGEST).all() or not focal_positive or not _is_upper(matrix):
        raise ScanError(
            path,
            f"is no pinhole camera matrix: {matrix.round(3).tolist()}",
            "Write it as three rows: fx 0 cx / 0 fy cy / 0 0 1, in pixels, focal lengths positive",
        )
    return matrix


def camera_from_file(path: Path) -> Camera:
    """The pinhole camera of a 3x3 or 4x4 text file; raises as :func:`read_intrinsics`."""
    return Camera(read_intrinsics(path), source=path)


def camera_beside(folder: Path) -> Camera | None:
    """The camera of the file in ``folder`` that holds the camera matrix, if one does."""
    file = find_intrinsics(folder)
    return None if file is None else camera_from_file(file)


def _is_upper(matrix: NDArray[np.float64]) -> bool:
    lower = abs(matrix[[1, 2, 2], [0, 0, 1]]).max()
    return bool(lower < 1e-6 and abs(matrix[2, 2] - 1) < 1e-6)


def check_intrinsics_fit(path: Path, matrix: NDArray[np.float64], height: int, width: int) -> None:
    """Refuse a camera matrix that was made for images of another size.

    Raises:
        ScanError: the principal point lies outside the image, or the field of view is absurd.
    """
    column, row = matrix[0, 2], matrix[1, 2]
    inside = 0 < column < width and 0 < row < height
    plausible = all(
        0.1 * side < focal < 20 * side
        for side, focal in ((width, matrix[0, 0]), (height, matrix[1, 1]))
    )
    if not (inside and plausible):
        raise ScanError(
            path,
            f"focal lengths {matrix[0, 0]:.1f}, {matrix[1, 1]:.1f} px and principal point "
            f"({column:.1f}, {row:.1f}) do not belong to images of {width}x{height}",
            "Rescale the matrix to the size of the images, or name the right file with "
            "--intrinsics FILE",
        )


def find_intrinsics(folder: Path) -> Path | None:
    """The file in ``folder`` that holds the camera matrix, if one has a known name."""
    return next((folder / name for name in INTRINSICS_NAMES if (folder / name).is_file()), None)


def rigid_pose(path: Path, label: str, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Check that ``matrix [4, 4]`` is a rigid motion and round its rotation to an exact one.

    Args:
        path: the file that it came from, for the message.
        label: which pose of that file ("the pose", "pose 17").
        matrix: camera to world, metres.

    Raises:
        FrameError: NaN or infinite.
        ScanError: singular, mirrored, scaled, or not homogeneous.
    """
    drop = "Remove this frame, or write its camera-to-world pose in metres"
    if not np.isfinite(matrix).all():
        raise FrameError(
            path,
            f"{label} holds NaN or infinite numbers: the camera was lost there",
            drop,
            reason="whose pose is NaN or infinite",
        )
    if abs(matrix).max() > _LARGEST:
        raise ScanError(path, f"{label} holds the number {abs(matrix).max():.3g}", drop)
    if abs(matrix[3] - (0, 0, 0, 1)).max() > 1e-6:
        raise ScanError(path, f"the last row of {label} is not 0 0 0 1", drop)
    rotation = matrix[:3, :3]
    error = abs(rotation.T @ rotation - np.eye(3)).max()
    determinant = np.linalg.det(rotation)
    if not error <= _ORTHONORMAL_TOLERANCE or determinant < 0:
        kind = "singular" if abs(determinant) < 1e-6 else "not a rigid motion"
        raise ScanError(
            path,
            f"{label} is {kind} (its rotation has determinant {determinant:.3g} and is off an "
            f"orthonormal matrix by {error:.2g})",
            drop,
        )
    left, _, right = np.linalg.svd(rotation)
    exact = matrix.copy()
    exact[:3, :3] = left @ right
    return exact
