"""The drop-in for ``kaolin.metrics.trianglemesh.point_to_mesh_distance``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from g2vlm_fast import ops
from g2vlm_fast.compat._padded import check_points
from g2vlm_fast.ops._checks import check_tensor

_FUNCTION = "point_to_mesh_distance"
# By the corners that have weight, of which the first counts 1, the second 2 and the third 4; 0 for
# all others.
_TYPES = {1: 1, 2: 2, 4: 3, 3: 4, 6: 5, 5: 6}


def point_to_mesh_distance(
    pointclouds: Tensor, face_vertices: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Find the nearest face of every point, and which part of it is nearest.

    Args:
        pointclouds: ``[B, P, 3]`` float32 or float64 (half precision too).
        face_vertices: ``[B, F, 3, 3]`` corners of the faces, same dtype and device.

    Returns:
        ``distance [B, P]`` (squared) in the dtype of the points, ``face_idx [B, P]`` int64, and
        ``dist_type [B, P]`` int32: 0 for the inside of the face, 1 to 3 for its corners, 4, 5 and
        6 for the edges from the first to the second corner, from there to the third, and back.
        Without any face all are 0. A NaN coordinate in a point gives distance NaN, face and type 0;
        faces with a coordinate that is not finite are never found.

    Kaolin keeps distances in single precision; here they are in the precision of the points.
    Differentiable, twice too; gradients are deterministic.

    Raises:
        ValueError: a wrong shape or device.
        TypeError: no tensor, or a wrong dtype.
    """
    check_points(_FUNCTION, "pointclouds", pointclouds)
    count, size = pointclouds.shape[:2]
    dtypes, device = (pointclouds.dtype,), pointclouds.device
    check_tensor(_FUNCTION, "pointclouds", pointclouds, (count, size, 3), dtypes, {}, device)
    wanted = (count, "F", 3, 3)
    check_tensor(_FUNCTION, "face_vertices", face_vertices, wanted, dtypes, {}, device)
    faces = face_vertices.shape[1]
    if count == 0 or size == 0 or faces == 0:
        distance = pointclouds.new_zeros(count, size) + pointclouds.sum() * 0
        nothing = torch.zeros(count, size, dtype=torch.int64, device=device)
        return distance, nothing, nothing.int()
    steps = torch.arange(count + 1, dtype=torch.int32, device=device)
    corners = torch.arange(3 * count * faces, dtype=torch.int32, device=device)
    options: Any = {"point_offsets": steps * size, "face_offsets": steps * faces}
    distance, index, weights = ops.point_to_mesh(
        pointclouds.flatten(0, 1), face_vertices.flatten(0, 2), corners.view(-1, 3), **options
    )
    first, second, third = (weights > 0).int().unbind(1)
    corner = first + 2 * second + 4 * third
    kind = torch.zeros_like(index)
    for corners_with_weight, number in _TYPES.items():
        kind = kind.masked_fill(corner == corners_with_weight, number)
    shape = (count, size)
    face = index.view(shape).long() - steps[:-1, None].long() * faces
    return distance.view(shape).to(pointclouds.dtype), face.clamp_min(0), kind.view(shape)
