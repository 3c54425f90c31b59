"""A coloured triangle mesh in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ColoredMesh:
    """A triangle mesh with a normal and a colour at each vertex."""

    vertices: NDArray[np.float32]  # [N, 3] metres, world
    faces: NDArray[np.int32]  # [F, 3]
    normals: NDArray[np.float32]  # [N, 3] unit, out of the surface
    colors: NDArray[np.float32]  # [N, 3] in [0, 1]

    @property
    def is_empty(self) -> bool:
        return len(self.faces) == 0

    def subset(self, keep: NDArray[np.bool_]) -> ColoredMesh:
        """The faces where ``keep [F]`` is true, with the vertices that they use."""
        faces = self.faces[keep]
        used, flat = np.unique(faces, return_inverse=True)
        renumbered = flat.reshape(faces.shape).astype(np.int32)
        return ColoredMesh(self.vertices[used], renumbered, self.normals[used], self.colors[used])

    def in_order(self) -> ColoredMesh:
        """The same triangles in an order that does not depend on how they came.

        Fusion and marching cubes on several threads list them differently from run to run.
        Vertices at one place are merged and take the normal and the colour of one of them.
        """
        order = in_order(self.vertices, self.normals, self.colors)
        vertices, first, place = np.unique(
            self.vertices[order], axis=0, return_index=True, return_inverse=True
        )
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        faces = place.reshape(-1)[rank][self.faces].astype(np.int32)
        turn = (faces.argmin(axis=1)[:, None] + np.arange(3)) % 3
        faces = np.take_along_axis(faces, turn, axis=1)
        faces = faces[np.lexsort(faces.T[::-1])]
        kept = order[first]
        return ColoredMesh(vertices, faces, self.normals[kept], self.colors[kept])

    def to_open3d(self) -> Any:
        """The same as an ``open3d.t.geometry.TriangleMesh``."""
        import open3d as o3d
        from open3d.core import Tensor

        mesh = o3d.t.geometry.TriangleMesh()
        mesh.vertex.positions = Tensor(np.ascontiguousarray(self.vertices))
        mesh.vertex.normals = Tensor(np.ascontiguousarray(self.normals))
        mesh.vertex.colors = Tensor(np.ascontiguousarray(self.colors))
        mesh.triangle.indices = Tensor(np.ascontiguousarray(self.faces))
        return mesh


def in_order(*columns: NDArray[np.float32]) -> NDArray[np.intp]:
    """Rows ``[N]`` sorted by all columns of arrays ``[N, C]``: of the same rows, the same order."""
    return np.lexsort(np.concatenate(columns, axis=1).T[::-1])


def from_open3d(mesh: Any) -> ColoredMesh:
    """Take over an ``open3d.t.geometry.TriangleMesh`` with colours and, if it has none, normals.

    Marching cubes may leave triangles without area; they are dropped.
    """
    if "indices" not in mesh.triangle or len(mesh.triangle.indices) == 0:
        empty = np.zeros((0, 3), dtype=np.float32)
        return ColoredMesh(empty, np.zeros((0, 3), dtype=np.int32), empty, empty)
    if "normals" not in mesh.vertex:
        mesh.compute_vertex_normals()
    result = ColoredMesh(
        mesh.vertex.positions.numpy().astype(np.float32),
        mesh.triangle.indices.numpy().astype(np.int32),
        mesh.vertex.normals.numpy().astype(np.float32),
        mesh.vertex.colors.numpy().astype(np.float32).clip(0, 1),
    )
    corners = result.vertices[result.faces].astype(np.float64)
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return result.subset(np.linalg.norm(cross, axis=1) > 1e-12)
