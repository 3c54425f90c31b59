"""The implementations of :func:`g2vlm_fast.ops.point_to_mesh`, one function per backend."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from g2vlm_fast import _C
from g2vlm_fast.ops import _dispatch
from g2vlm_fast.ops._nearest_backends import empty_gradients
from g2vlm_fast.ops.reference import point_to_mesh as reference

Found = tuple[Tensor, Tensor, Tensor]


def empty_found(points: Tensor, faces: Tensor, from_mesh: bool) -> Found:
    """Outputs of the search: distance, index and barycentric coordinates of those who search."""
    rows = (faces if from_mesh else points).shape[0]
    return (
        points.new_empty(rows),
        points.new_empty(rows, dtype=torch.int32),
        points.new_empty(rows, 3),
    )


def _dense(*tensors: Tensor | None) -> list[Any]:
    return [None if each is None else each.contiguous() for each in tensors]


def forward_cpu(
    points: Tensor,
    vertices: Tensor,
    faces: Tensor,
    point_offsets: Tensor | None,
    face_offsets: Tensor | None,
    from_mesh: bool,
    min_area: float,
    max_distance: float,
) -> Found:
    found = empty_found(points, faces, from_mesh)
    arguments = [
        *_dense(points, vertices, faces, point_offsets, face_offsets),
        from_mesh,
        min_area,
        max_distance,
        *found,
        torch.get_num_threads(),
    ]
    _C.point_to_mesh_cpu(*arguments)
    return found


def backward_cpu(
    grad_distance: Tensor,
    points: Tensor,
    vertices: Tensor,
    faces: Tensor,
    index: Tensor,
    barycentric: Tensor,
    from_mesh: bool,
    want_points: bool,
    want_vertices: bool,
) -> tuple[Tensor, Tensor]:
    gradients = empty_gradients(points, vertices, want_points, want_vertices)
    arguments = [
        *_dense(grad_distance, points, vertices, faces, index, barycentric),
        from_mesh,
        gradients[0] if want_points else None,
        gradients[1] if want_vertices else None,
        torch.get_num_threads(),
    ]
    _C.point_to_mesh_backward_cpu(*arguments)
    return gradients


def forward_cuda(
    points: Tensor,
    vertices: Tensor,
    faces: Tensor,
    point_offsets: Tensor | None,
    face_offsets: Tensor | None,
    from_mesh: bool,
    min_area: float,
    max_distance: float,
) -> Found:
    found = empty_found(points, faces, from_mesh)
    problem = [
        *_dense(points, vertices, faces, point_offsets, face_offsets),
        from_mesh,
        min_area,
        max_distance,
    ]
    space = _C.point_to_mesh_workspace_cuda(*problem)
    rest = [*found, points.new_empty(space, dtype=torch.uint8)]
    _C.point_to_mesh_cuda(*problem, *rest)
    return found


def backward_cuda(
    grad_distance: Tensor,
    points: Tensor,
    vertices: Tensor,
    faces: Tensor,
    index: Tensor,
    barycentric: Tensor,
    from_mesh: bool,
    want_points: bool,
    want_vertices: bool,
) -> tuple[Tensor, Tensor]:
    gradients = empty_gradients(points, vertices, want_points, want_vertices)
    problem: list[Any] = [
        *_dense(grad_distance, points, vertices, faces, index, barycentric),
        from_mesh,
        gradients[0] if want_points else None,
        gradients[1] if want_vertices else None,
    ]
    space = _C.point_to_mesh_backward_workspace_cuda(*problem)
    problem.append(points.new_empty(space, dtype=torch.uint8))
    _C.point_to_mesh_backward_cuda(*problem)
    return gradients


for _op, _backend, _devices, _run in (
    ("point_to_mesh", "cpu", ("cpu",), forward_cpu),
    ("point_to_mesh", "cuda", ("cuda",), forward_cuda),
    ("point_to_mesh", "reference", ("cpu", "cuda"), reference.point_to_mesh),
    ("point_to_mesh_backward", "cpu", ("cpu",), backward_cpu),
    ("point_to_mesh_backward", "cuda", ("cuda",), backward_cuda),
    ("point_to_mesh_backward", "reference", ("cpu", "cuda"), reference.point_to_mesh_backward),
):
    _dtypes = _dispatch.FLOAT32 if _backend == "cuda" else _dispatch.FLOAT32_64
    _dispatch.register_backend(_op, _backend, _run, devices=_devices, dtypes=_dtypes)
