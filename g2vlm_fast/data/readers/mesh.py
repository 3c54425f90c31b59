"""A given mesh of the scene, or of a part of it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.data.readers.errors import ScanError
from g2vlm_fast.data.readers.ply import read_ply

_CLEAN = "Repair it (for example trimesh.Trimesh(...).process(validate=True)) or leave --mesh out"

_FARTHEST = 1e8
"""Metres; beyond, a number is damage."""


@dataclass(frozen=True)
class GivenMesh:
    """A checked triangle mesh in the world of the scan."""

    vertices: NDArray[np.float32]  # [N, 3] metres
    faces: NDArray[np.int32]  # [F, 3]
    normals: NDArray[np.float32]  # [N, 3] unit, 0 at vertices without a face
    colors: NDArray[np.float32] | None  # [N, 3] in [0, 1]


def read_mesh(path: Path, *, drop_flat_faces: bool = False) -> GivenMesh:
    """Read a triangle mesh (PLY; OBJ, STL and GLB by Open3D) and check it.

    Args:
        path: the file.
        drop_flat_faces: leave out faces without area, of which reconstructed meshes have some;
            else they are refused.

    Raises:
        ScanError: unreadable; a header that promises more than the file holds; NaN vertices;
            faces out of range or without area.
    """
    if not path.is_file():
        raise ScanError(path, "is missing", "Restore the file, or leave the mesh out")
    vertices, faces, colors = _from_ply(path) if _is_ply(path) else _from_open3d(path)
    if len(vertices) == 0 or len(faces) == 0:
        raise ScanError(
            path,
            f"holds no triangle mesh ({len(vertices)} vertices, {len(faces)} faces), or is cut off",
            "Save it again as a binary PLY of triangles",
        )
    _check(path, vertices, faces)
    flat = _flat(vertices, faces)
    if flat.any() and not drop_flat_faces:
        first = int(flat.argmax())
        raise ScanError(
            path,
            f"{int(flat.sum())} faces are degenerate: they have no area (face {first} is "
            f"{faces[first].tolist()})",
            _CLEAN,
        )
    faces = faces[~flat]
    return GivenMesh(vertices, faces, _vertex_normals(vertices, faces), colors)


_Parts = tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.float32] | None]


def _is_ply(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(3) == b"ply" or path.suffix.lower() == ".ply"


def _from_ply(path: Path) -> _Parts:
    mesh = read_ply(path)
    # what float32 and int32 cannot hold is out of range, and is refused as such
    vertices = np.where(abs(mesh.vertices) < 1e30, mesh.vertices, np.nan).astype(np.float32)
    faces = mesh.faces.clip(-1, 2**31 - 1).astype(np.int32)
    return vertices, faces, None if mesh.colors is None else mesh.colors.astype(np.float32)


def _from_open3d(path: Path) -> _Parts:
    import open3d as o3d

    if path.suffix.lower() == ".stl":
        _check_stl_size(path)
    with o3d.utility.VerbosityContextManager(o3d.utility.VerbosityLevel.Error):
        mesh = o3d.io.read_triangle_mesh(path)
    colors = np.asarray(mesh.vertex_colors, dtype=np.float32).clip(0, 1)
    return (
        np.asarray(mesh.vertices, dtype=np.float32),
        np.asarray(mesh.triangles, dtype=np.int32),
        colors if len(colors) else None,
    )


def _check(path: Path, vertices: NDArray[np.float32], faces: NDArray[np.int32]) -> None:
    placed = (abs(vertices) < _FARTHEST).all(axis=1)  # False for NaN
    if not placed.all():
        raise ScanError(
            path, f"{int((~placed).sum())} vertices are NaN, infinite or light-seconds away", _CLEAN
        )
    outside = ((faces < 0) | (faces >= len(vertices))).any(axis=1)
    if outside.any():
        first = int(outside.argmax())
        raise ScanError(
            path,
            f"{int(outside.sum())} faces name vertices that do not exist (face {first} is "
            f"{faces[first].tolist()}, there are {len(vertices)} vertices)",
            _CLEAN,
        )


def _flat(vertices: NDArray[np.float32], faces: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which faces have no area."""
    corners = vertices[faces].astype(np.float64)
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return np.linalg.norm(cross, axis=1) <= 1e-12


def _vertex_normals(vertices: NDArray[np.float32], faces: NDArray[np.int32]) -> NDArray[np.float32]:
    """Mean of the face normals around each vertex, weighted by area."""
    corners = vertices[faces]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], cross)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.divide(normals, length, out=np.zeros_like(normals), where=length > 0)


def _check_stl_size(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(84)
    if start.startswith(b"solid") or len(start) < 84:
        return  # text, whose size is its own
    (count,) = struct.unpack("<I", start[80:])
    if 84 + 50 * count > path.stat().st_size:
        raise ScanError(path, f"is cut off: it promises {count:,} faces", "Copy the file again")
