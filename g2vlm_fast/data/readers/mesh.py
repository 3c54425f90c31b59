"""A given mesh of the scene, or of a part of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.data.readers.errors import ScanError

_CLEAN = "Repair it (for example trimesh.Trimesh(...).process(validate=True)) or leave --mesh out"


@dataclass(frozen=True)
class GivenMesh:
    """A checked triangle mesh in the world of the scan."""

    vertices: NDArray[np.float32]  # [N, 3] metres
    faces: NDArray[np.int32]  # [F, 3]
    normals: NDArray[np.float32]  # [N, 3] unit, 0 at vertices without a face
    colors: NDArray[np.float32] | None  # [N, 3] in [0, 1]


def read_mesh(path: Path) -> GivenMesh:
    """Read a triangle mesh (PLY, OBJ, STL, GLB: what Open3D reads) and check it.

    Raises:
        ScanError: unreadable; NaN vertices; faces out of range or without area.
    """
    import open3d as o3d

    with o3d.utility.VerbosityContextManager(o3d.utility.VerbosityLevel.Error):
        mesh = o3d.io.read_triangle_mesh(path)
    vertices = np.asarray(mesh.vertices, dtype=np.float32)
    faces = np.asarray(mesh.triangles, dtype=np.int32)
    if len(vertices) == 0 or len(faces) == 0:
        raise ScanError(
            path,
            f"holds no triangle mesh ({len(vertices)} vertices, {len(faces)} faces), or is cut off",
            "Save it again as a binary PLY of triangles",
        )
    _check(path, vertices, faces)
    colors = np.asarray(mesh.vertex_colors, dtype=np.float32)
    return GivenMesh(
        vertices, faces, _vertex_normals(vertices, faces), colors if len(colors) else None
    )


def _check(path: Path, vertices: NDArray[np.float32], faces: NDArray[np.int32]) -> None:
    if not np.isfinite(vertices).all():
        bad = int((~np.isfinite(vertices)).any(axis=1).sum())
        raise ScanError(path, f"{bad} vertices are NaN or infinite", _CLEAN)
    outside = ((faces < 0) | (faces >= len(vertices))).any(axis=1)
    if outside.any():
        first = int(outside.argmax())
        raise ScanError(
            path,
            f"{int(outside.sum())} faces name vertices that do not exist (face {first} is "
            f"{faces[first].tolist()}, there are {len(vertices)} vertices)",
            _CLEAN,
        )
    corners = vertices[faces].astype(np.float64)
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    flat = np.linalg.norm(cross, axis=1) <= 1e-12
    if flat.any():
        first = int(flat.argmax())
        raise ScanError(
            path,
            f"{int(flat.sum())} faces are degenerate: they have no area (face {first} is "
            f"{faces[first].tolist()})",
            _CLEAN,
        )


def _vertex_normals(vertices: NDArray[np.float32], faces: NDArray[np.int32]) -> NDArray[np.float32]:
    """Mean of the face normals around each vertex, weighted by area."""
    corners = vertices[faces]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], cross)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.divide(normals, length, out=np.zeros_like(normals), where=length > 0)
