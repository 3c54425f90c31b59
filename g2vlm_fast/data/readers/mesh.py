"""A given mesh of the scene, or of a part of it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.data.readers.errors import ScanError

_CLEAN = "Repair it (for example trimesh.Trimesh(...).process(validate=True)) or leave --mesh out"

_LONGEST_HEADER = 65536

_PLY_BYTES = {
    "char": 1, "uchar": 1, "int8": 1, "uint8": 1, "short": 2, "ushort": 2, "int16": 2, "uint16": 2,
    "int": 4, "uint": 4, "int32": 4, "uint32": 4, "float": 4, "float32": 4, "double": 8,
    "float64": 8,
}  # fmt: skip


@dataclass(frozen=True)
class GivenMesh:
    """A checked triangle mesh in the world of the scan."""

    vertices: NDArray[np.float32]  # [N, 3] metres
    faces: NDArray[np.int32]  # [F, 3]
    normals: NDArray[np.float32]  # [N, 3] unit, 0 at vertices without a face
    colors: NDArray[np.float32] | None  # [N, 3] in [0, 1]


def read_mesh(path: Path, *, drop_flat_faces: bool = False) -> GivenMesh:
    """Read a triangle mesh (PLY, OBJ, STL, GLB: what Open3D reads) and check it.

    Args:
        path: the file.
        drop_flat_faces: leave out faces without area, of which reconstructed meshes have some;
            else they are refused.

    Raises:
        ScanError: unreadable; a header that promises more than the file holds; NaN vertices;
            faces out of range or without area.
    """
    import open3d as o3d

    if not path.is_file():
        raise ScanError(path, "is missing", "Restore the file, or leave the mesh out")
    if path.suffix.lower() == ".ply":
        check_ply_size(path)
    elif path.suffix.lower() == ".stl":
        _check_stl_size(path)
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
    colors = np.asarray(mesh.vertex_colors, dtype=np.float32).clip(0, 1)
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


def check_ply_size(path: Path) -> None:
    """Hold the counts in a PLY header against the size of the file.

    Source: Turk, *The PLY Polygon File Format*, 1994.

    Raises:
        ScanError: no PLY header, or one that promises more than the file holds.
    """
    broken = ScanError(path, "has no readable PLY header", "Save it again as a binary PLY")
    try:
        with path.open("rb") as file:
            start = file.read(_LONGEST_HEADER)
            size = path.stat().st_size
    except OSError as error:
        raise ScanError(path, f"cannot be read ({error.strerror})", "Grant permission") from error
    header, found, _ = start.partition(b"end_header")
    if not start.startswith(b"ply") or not found:
        raise broken
    ascii_file, promised, element_size, count = b"format ascii" in header, 0, 0, 0
    for line in header.decode("ascii", errors="replace").splitlines():
        words = line.split()
        if words[:1] == ["element"]:
            promised += count * element_size
            if len(words) != 3 or not words[2].isdecimal():
                raise broken
            count, element_size = int(words[2]), 0
        elif words[:2] == ["property", "list"]:
            # a count and, in a face, three indices; the count alone is sure
            element_size += (
                1 if ascii_file else _PLY_BYTES.get(words[2] if len(words) > 2 else "", 1)
            )
        elif words[:1] == ["property"]:
            element_size += (
                2 if ascii_file else _PLY_BYTES.get(words[1] if len(words) > 1 else "", 1)
            )
    promised += count * element_size
    if promised > size:
        raise ScanError(
            path,
            f"is cut off: its header promises at least {promised:,} bytes, it has {size:,}",
            "Copy the file again",
        )


def _check_stl_size(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(84)
    if start.startswith(b"solid") or len(start) < 84:
        return  # text, whose size is its own
    (count,) = struct.unpack("<I", start[80:])
    if 84 + 50 * count > path.stat().st_size:
        raise ScanError(path, f"is cut off: it promises {count:,} faces", "Copy the file again")
