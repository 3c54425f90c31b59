"""The drop-in for ``pytorch3d.loss.point_mesh_face_distance``."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from g2vlm_fast import ops
from g2vlm_fast.compat._padded import INDICES
from g2vlm_fast.ops._checks import INT32_MAX, check_instance, check_tensor

DEFAULT_MIN_TRIANGLE_AREA = 5e-3
_FUNCTION = "point_mesh_face_distance"


@runtime_checkable
class PackedMeshes(Protocol):
    """What is read of a ``pytorch3d.structures.Meshes``."""

    def __len__(self) -> int: ...
    def verts_packed(self) -> Tensor: ...
    def faces_packed(self) -> Tensor: ...
    def num_faces_per_mesh(self) -> Tensor: ...


@runtime_checkable
class PackedClouds(Protocol):
    """What is read of a ``pytorch3d.structures.Pointclouds``."""

    def __len__(self) -> int: ...
    def points_packed(self) -> Tensor: ...
    def num_points_per_cloud(self) -> Tensor: ...


def point_mesh_face_distance(
    meshes: PackedMeshes,
    pcls: PackedClouds,
    min_triangle_area: float = DEFAULT_MIN_TRIANGLE_AREA,
) -> Tensor:
    """Measure the distance of every cloud and its mesh: to the faces, and back to the points.

    Every point pays the squared distance to the nearest face of its mesh, every face the squared
    distance to the nearest point of its cloud; both are averaged over a cloud, or a mesh, and
    their sum over the batch.

    Args:
        meshes: N meshes, a ``pytorch3d.structures.Meshes`` or what has its packed methods;
            float32 or float64.
        pcls: N clouds, a ``pytorch3d.structures.Pointclouds`` or what has its packed methods.
        min_triangle_area: only the edges count of triangles that are smaller, in the square of
            the unit of the vertices. The default is PyTorch3D's, and large for a mesh in metres:
            in a mesh of small triangles the inside of none counts.

    Returns:
        The loss, without axes. Differentiable in vertices and points, twice, too.

    Different on purpose: points of a mesh without faces, and faces of a cloud without points, pay
    nothing, where PyTorch3D's pay the largest float32; of equal distances the lower face or point
    is taken; float64 stays float64; slivers are right; gradients are deterministic, and nothing is
    read back from a GPU.

    Raises:
        ValueError: not as many meshes as clouds, or a face that names no vertex (on the CPU; on a
            GPU such faces are never found).
        TypeError: one of them has no packed methods, or faces are no int32 or int64.
    """
    check_instance(_FUNCTION, "meshes", meshes, PackedMeshes)
    check_instance(_FUNCTION, "pcls", pcls, PackedClouds)
    count = len(meshes)
    if count != len(pcls):
        raise ValueError(
            f"{_FUNCTION}: meshes and pointclouds must be equal sized batches, got {count} meshes "
            f"and {len(pcls)} clouds"
        )
    points, vertices = pcls.points_packed(), meshes.verts_packed()
    if count == 0:
        return points.sum() + vertices.sum()
    lengths = pcls.num_points_per_cloud(), meshes.num_faces_per_mesh()
    options: Any = {
        "point_offsets": _offsets(lengths[0]),
        "face_offsets": _offsets(lengths[1]),
        "min_triangle_area": min_triangle_area,
    }
    faces = _rows(meshes.faces_packed())
    to_faces, face, _ = ops.point_to_mesh(points, vertices, faces, **options)
    to_points, point, _ = ops.mesh_to_point(vertices, faces, points, **options)
    return (
        _sum_of_means(to_faces, face, lengths[0]) + _sum_of_means(to_points, point, lengths[1])
    ) / count


def _rows(faces: Tensor) -> Tensor:
    """Return faces as int32; numbers that do not fit stay out of range instead of wrapping."""
    check_tensor(_FUNCTION, "faces_packed()", faces, ("F", 3), INDICES, {})
    return faces.clamp(-1, INT32_MAX).int()


def _offsets(lengths: Tensor) -> Tensor:
    return torch.nn.functional.pad(lengths.cumsum(0), (1, 0)).int()


def _sum_of_means(distance: Tensor, index: Tensor, lengths: Tensor) -> Tensor:
    """Return the sum of the means of packed distances; those to nothing are 0."""
    weights = 1 / lengths.clamp_min(1).to(distance.dtype)
    weights = weights.repeat_interleave(lengths, output_size=distance.shape[0])
    nothing = (index < 0) & distance.isinf()
    return (distance.masked_fill(nothing, 0) * weights).sum()
