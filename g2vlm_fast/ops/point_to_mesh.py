"""Distances between packed points and the triangles of packed meshes, either way."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from g2vlm_fast.ops import _dispatch
from g2vlm_fast.ops._checks import (
    check_number,
    check_offset_values,
    check_offsets,
    check_rows,
    check_tensor,
)
from g2vlm_fast.ops._flops import flop_formula
from g2vlm_fast.ops._nearest_arguments import checked_bound
from g2vlm_fast.ops._nearest_backends import empty_gradients
from g2vlm_fast.ops._point_to_mesh_backends import empty_found
from g2vlm_fast.ops._registration import define_op
from g2vlm_fast.ops.reference import point_to_mesh as reference


def point_to_mesh(
    points: Tensor,
    vertices: Tensor,
    faces: Tensor,
    *,
    point_offsets: Tensor | None = None,
    face_offsets: Tensor | None = None,
    min_triangle_area: float = 0.0,
    max_distance: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Find the nearest triangle of every point, and where on it, within each packed segment.

    The nearest of all points of a triangle: inside, on an edge or at a corner (the regions of C.
    Ericson, "Real-Time Collision Detection", 2005, 5.1.5, found in a way that holds for slivers).
    Triangles without area count as the segments or points that they are.

    Args:
        points: ``[P, 3]`` metres, float32 or float64 (float16 and bfloat16 are upcast exactly).
        vertices: ``[V, 3]`` metres, same dtype and device.
        faces: ``[F, 3]`` int32 rows of the packed vertices. A row out of range raises on the CPU;
            on a GPU nothing is read back, and such faces are never found.
        point_offsets: ``[B + 1]`` int32, the segments of the points; None for one segment.
        face_offsets: ``[B + 1]`` int32, the segments of the faces.
        min_triangle_area: square metres; of smaller triangles only the edges count.
        max_distance: metres; faces farther than this are left out. Its square is compared with
            the squared distance.

    Returns:
        ``distance [P]`` (squared, right to a few roundings of coordinates relative to the point),
        ``face_index [P]`` int32 into the packed faces, and ``barycentric [P, 3]``, the weights of
        the face's corners that give the nearest place: none negative, sum 1. Of equal computed
        distances the lower face is taken. Points without a face hold ``inf``, ``-1`` and 0; points
        with a NaN coordinate ``nan``, ``-1`` and ``nan``. Faces with a coordinate that is not
        finite are never found, nor is anything where the squared distance overflows. Offsets on a
        GPU are not read back: points that no segment covers hold ``nan``, ``-1`` and ``nan``.

    Differentiable in points and vertices through the distance, twice, too, in plain torch. By the
    envelope theorem the gradient is that of the distance to the place on the chosen triangle, held
    at its barycentric coordinates, which carry no gradient themselves.

    Raises:
        TypeError, ValueError: an argument has the wrong dtype, shape, device or value.
    """
    op = "point_to_mesh"
    _check_tensors(
        op,
        {"points": points, "vertices": vertices, "faces": faces},
        {"point_offsets": point_offsets, "face_offsets": face_offsets},
    )
    mesh = (points, vertices, faces, point_offsets, face_offsets)
    return _search(op, mesh, False, min_triangle_area, max_distance)


def mesh_to_point(
    vertices: Tensor,
    faces: Tensor,
    points: Tensor,
    *,
    face_offsets: Tensor | None = None,
    point_offsets: Tensor | None = None,
    min_triangle_area: float = 0.0,
    max_distance: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Find the nearest point of every triangle, and where on the triangle it is nearest to.

    As :func:`point_to_mesh`, but the faces search: the arguments and their meanings are the same.

    Args:
        vertices: ``[V, 3]`` metres, float32 or float64 (float16 and bfloat16 are upcast exactly).
        faces: ``[F, 3]`` int32 rows of the packed vertices.
        points: ``[P, 3]`` metres, same dtype and device.
        face_offsets: ``[B + 1]`` int32, the segments of the faces; None for one segment.
        point_offsets: ``[B + 1]`` int32, the segments of the points.
        min_triangle_area: square metres; of smaller triangles only the edges count.
        max_distance: metres; points farther than this are left out.

    Returns:
        ``distance [F]`` (squared), ``point_index [F]`` int32 into the packed points, and
        ``barycentric [F, 3]``. Faces without a point hold ``inf``, ``-1`` and 0; faces with a NaN
        coordinate, or on a GPU with a row out of range, ``nan``, ``-1`` and ``nan``. Points with a
        coordinate that is not finite are never found.

    Raises:
        TypeError, ValueError: an argument has the wrong dtype, shape, device or value.
    """
    op = "mesh_to_point"
    _check_tensors(
        op,
        {"vertices": vertices, "faces": faces, "points": points},
        {"face_offsets": face_offsets, "point_offsets": point_offsets},
    )
    mesh = (points, vertices, faces, point_offsets, face_offsets)
    return _search(op, mesh, True, min_triangle_area, max_distance)


def _check_tensors(op: str, tensors: dict[str, Tensor], offsets: dict[str, Tensor | None]) -> None:
    """Check tensors in the order of a function's arguments, of which the first decides."""
    sizes: dict[str, int] = {}
    dtypes: Collection[torch.dtype] = _dispatch.FLOATS
    device = None
    for name, tensor in tensors.items():
        wanted = (torch.int32,) if name == "faces" else dtypes
        check_tensor(op, name, tensor, (f"number of {name}", 3), wanted, sizes, device)
        check_rows(op, name, tensor)
        if device is None:
            dtypes, device = (tensor.dtype,), tensor.device
    if device is not None and any(each is not None for each in offsets.values()):
        for name, each in offsets.items():
            check_offsets(op, name, each, sizes, device)


def _search(
    op: str,
    mesh: tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None],
    from_mesh: bool,
    min_triangle_area: float,
    max_distance: float | None,
) -> tuple[Tensor, Tensor, Tensor]:
    points, vertices, *rest = mesh
    check_number(op, "min_triangle_area", min_triangle_area)
    if min_triangle_area < 0:
        raise ValueError(f"{op}: min_triangle_area must be at least 0, got {min_triangle_area}")
    bound = checked_bound(op, 2, max_distance)
    if points.dtype is torch.float16 or points.dtype is torch.bfloat16:
        points, vertices = points.float(), vertices.float()
    arguments = (points, vertices, *rest, from_mesh, float(min_triangle_area), bound)
    if (points.requires_grad or vertices.requires_grad) and torch.is_grad_enabled():
        return _PointToMesh.apply(*arguments)
    return _forward(*arguments)


class _PointToMesh(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
        distance, index, barycentric = _forward(*arguments)
        ctx.save_for_backward(*arguments[:3], index, barycentric)
        ctx.from_mesh = arguments[5]
        ctx.mark_non_differentiable(index, barycentric)
        return distance, index, barycentric

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        points, vertices, faces, index, barycentric = ctx.saved_tensors
        want_points, want_vertices = ctx.needs_input_grad[:2]
        backward: Any = _backward
        # Under create_graph the gradients need a graph of their own: plain torch has one.
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            backward = reference.point_to_mesh_backward
            barycentric = reference.differentiable_barycentric(
                points, vertices, faces, index, barycentric, ctx.from_mesh
            )
        found = (index, barycentric, ctx.from_mesh)
        grad_points, grad_vertices = backward(
            grads[0], points, vertices, faces, *found, want_points, want_vertices
        )
        return (
            grad_points if want_points else None,
            grad_vertices if want_vertices else None,
            *(None,) * 6,
        )


def _run_forward(
    points: Tensor,
    vertices: Tensor,
    faces: Tensor,
    point_offsets: Tensor | None,
    face_offsets: Tensor | None,
    from_mesh: bool,
    min_area: float,
    max_distance: float,
) -> tuple[Tensor, Tensor, Tensor]:
    op = "mesh_to_point" if from_mesh else "point_to_mesh"
    if point_offsets is not None or face_offsets is not None:
        check_offset_values(op, "point_offsets", point_offsets, points.shape[0])
        check_offset_values(op, "face_offsets", face_offsets, faces.shape[0])
    if faces.is_cpu and faces.numel():
        least, most = (int(each) for each in faces.aminmax())
        if least < 0 or most >= vertices.shape[0]:
            raise ValueError(
                f"{op}: faces must be rows of the vertices, from 0 to {vertices.shape[0] - 1}, got "
                f"{least if least < 0 else most}"
            )
    run = _dispatch.implementation("point_to_mesh", points)
    return run(
        points, vertices, faces, point_offsets, face_offsets, from_mesh, min_area, max_distance
    )


def _run_backward(grad_distance: Tensor, points: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:
    run = _dispatch.implementation("point_to_mesh_backward", points)
    return run(grad_distance, points, *arguments)


def _forward_flops(
    points: Sequence[int],
    vertices: Sequence[int],
    faces: Sequence[int],
    point_offsets: Sequence[int] | None,
    face_offsets: Sequence[int] | None,
    *options: Any,
    **_: Any,
) -> int:
    """All pairs of equally long segments: three edges and the inside, 84 operations a pair."""
    offsets = point_offsets or face_offsets
    segments = 1 if offsets is None else offsets[0] - 1
    return 84 * points[0] * faces[0] // segments


def _backward_flops(
    grad_distance: Sequence[int],
    points: Sequence[int],
    vertices: Sequence[int],
    faces: Sequence[int],
    index: Sequence[int],
    barycentric: Sequence[int],
    from_mesh: bool,
    want_points: bool,
    want_vertices: bool,
    **_: Any,
) -> int:
    """A difference and a multiply-add for each coordinate of each corner of each pair, a sum for
    each of the point, and a multiply-add for each of the corners."""
    return index[0] * (27 + 3 * want_points + 18 * want_vertices)


_forward = define_op(
    "point_to_mesh(Tensor points, Tensor vertices, Tensor faces, Tensor? point_offsets, "
    "Tensor? face_offsets, bool from_mesh, float min_area, float max_distance) "
    "-> (Tensor, Tensor, Tensor)",
    implementation=_run_forward,
    fake=lambda points, vertices, faces, point_offsets, face_offsets, from_mesh, *_: empty_found(
        points, faces, from_mesh
    ),
)
_backward = define_op(
    "point_to_mesh_backward(Tensor grad_distance, Tensor points, Tensor vertices, Tensor faces, "
    "Tensor index, Tensor barycentric, bool from_mesh, bool want_points, bool want_vertices) "
    "-> (Tensor, Tensor)",
    implementation=_run_backward,
    fake=lambda grad_distance, points, vertices, faces, index, barycentric, from_mesh, *want: (
        empty_gradients(points, vertices, *want)
    ),
)
flop_formula("point_to_mesh", _forward_flops)
flop_formula("point_to_mesh_backward", _backward_flops)
