"""What all layouts are written with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def save_image(path: Path, pixels: np.ndarray) -> None:
    """Write colour or 16-bit depth; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"quality": 98, "subsampling": 0} if path.suffix.lower() in (".jpg", ".jpeg") else {}
    Image.fromarray(pixels).save(path, **options)


def quaternions(rotation: np.ndarray) -> np.ndarray:
    """Quaternions (x, y, z, w) of rotations ``[V, 3, 3]``, by SciPy."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_matrix(rotation).as_quat()


def rotation_vectors(rotation: np.ndarray) -> np.ndarray:
    """Axis times angle of rotations ``[V, 3, 3]``, by SciPy."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_matrix(rotation).as_rotvec()


def row(numbers: np.ndarray) -> str:
    """Numbers on one line."""
    return " ".join(repr(float(number)) for number in np.ravel(numbers))


def write_mesh(path: Path, vertices: np.ndarray, faces: np.ndarray) -> None:
    """Write an ASCII PLY with grey vertices."""
    lines = [
        "ply", "format ascii 1.0", f"element vertex {len(vertices)}", "property float x",
        "property float y", "property float z", "property uchar red", "property uchar green",
        "property uchar blue", f"element face {len(faces)}",
        "property list uchar int vertex_indices", "end_header",
        *(f"{row(vertex)} 128 128 128" for vertex in vertices),
        *(" ".join(map(str, [3, *face])) for face in faces),
    ]  # fmt: skip
    path.write_text("\n".join(lines) + "\n")


def box_mesh(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eight corners and twelve faces of a box."""
    corners = np.array([[(low, high)[i >> axis & 1][axis] for axis in range(3)] for i in range(8)])
    faces = [
        [0, 2, 1], [1, 2, 3], [4, 5, 6], [5, 7, 6], [0, 1, 4], [1, 5, 4], [2, 6, 3], [3, 6, 7],
        [0, 4, 2], [2, 4, 6], [1, 3, 5], [3, 7, 5],
    ]  # fmt: skip
    return corners, np.array(faces)
