"""Samples of the truth of a room: surfaces, distances, what no view sees, and partial meshes."""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor

from g2vlm_fast.data.materials import normals_at, surface_at
from g2vlm_fast.data.primitives import Primitives, Shape
from g2vlm_fast.data.render import cast
from g2vlm_fast.data.tessellate import tessellate
from g2vlm_fast.geometry.cameras import project

_SAMPLING_ROUNDS = 64
_PROBE = 2e-3  # metres in front of a surface; free space there means that the surface is real
_NEAR_SURFACE = 0.06  # metres, spread of the queries that lie about surfaces
_BEHIND_SURFACE = 0.02  # metres below a seen surface that count as observed


def sample_surface(
    primitives: Primitives, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Sample the surface between free space and solids, uniformly by area.

    What lies inside or against another solid is no surface: a table leg has no sole.

    Args:
        primitives: the solids.
        count: how many points, S.
        generator: source of randomness.

    Returns:
        Points ``[S, 3]`` metres, unit normals ``[S, 3]`` into free space, colours ``[S, 3]``.
    """
    area = _face_areas(primitives)
    found: list[Tensor] = []
    rows: list[Tensor] = []
    missing = count
    for _ in range(_SAMPLING_ROUNDS):
        face = torch.multinomial(area.flatten(), missing * 3 // 2 + 16, True, generator=generator)
        row = face // 6
        points = _points_on_faces(primitives, row, face % 6, generator)
        exposed = _is_exposed(primitives, row, points)
        found.append(points[exposed][:missing])
        rows.append(row[exposed][:missing])
        missing -= len(found[-1])
        if not missing:
            break
    else:
        raise ValueError("sample_surface: nearly all of the surface lies inside other solids")
    points, row = torch.cat(found), torch.cat(rows)
    normal, color = surface_at(primitives, row, points)
    return points, normal, color


def sample_queries(
    primitives: Primitives,
    room_size: Tensor,
    intrinsics: Tensor,
    poses: Tensor,
    image_size: tuple[int, int],
    count: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Sample points with their signed distance: half about surfaces, half all over the room.

    Args:
        primitives: the solids.
        room_size: ``[3]`` metres.
        intrinsics: ``[V, 3, 3]`` pixels.
        poses: ``[V, 4, 4]`` camera to world.
        image_size: (height, width) in pixels.
        count: how many points, Q.
        generator: source of randomness.

    Returns:
        Points ``[Q, 3]``, signed distance ``[Q]`` in metres (positive in free space) and whether
        a view observes the point ``[Q]`` bool.
    """
    about = count // 2
    surface, _, _ = sample_surface(primitives, about, generator)
    surface = surface + _NEAR_SURFACE * torch.randn(about, 3, generator=generator)
    uniform = torch.rand(count - about, 3, generator=generator) - torch.tensor([0.5, 0.5, 0.0])
    points = torch.cat([surface, uniform * room_size])
    distance = primitives.signed_distance(points)
    return points, distance, observed(primitives, points, intrinsics, poses, image_size)


def observed(
    primitives: Primitives,
    points: Tensor,
    intrinsics: Tensor,
    poses: Tensor,
    image_size: tuple[int, int],
) -> Tensor:
    """Whether at least one view sees to each point ``[N]``.

    A view does if the point falls into its image and no solid stands between, where a point may
    lie up to 2 cm behind the surface that is seen, measured along the ray.
    """
    pixels, depth = project(points[None], intrinsics, poses)
    limit = pixels.new_tensor([image_size[1], image_size[0]]) - 0.5
    visible = (depth > 0) & ((pixels >= -0.5) & (pixels <= limit)).all(-1)
    view, index = visible.nonzero(as_tuple=True)
    eye = poses[view, :3, 3]
    ray = points[index] - eye
    reach, _ = cast(primitives, eye, ray)
    sees = (1 - reach) * ray.norm(dim=-1) <= _BEHIND_SURFACE
    seen = torch.zeros(len(points), dtype=torch.bool)
    seen[index[sees]] = True
    return seen


def partial_mesh(
    primitives: Primitives, kept: list[int], *, spacing: float = 0.25, segments: int = 12
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mesh the exposed surface of some of the primitives.

    Args:
        primitives: all solids of the room.
        kept: rows of the ones that the mesh covers.
        spacing: metres, upper bound of edge lengths on flat faces.
        segments: corners of the polygon that stands for a circle.

    Returns:
        Vertices ``[N, 3]`` metres, faces ``[F, 3]`` int32, unit normals ``[N, 3]`` and colours
        ``[N, 3]``; faces with a corner inside or against another solid are left out.
    """
    chosen = torch.tensor(kept, dtype=torch.int64)
    vertices, faces, owner = tessellate(primitives.rows(chosen), spacing=spacing, segments=segments)
    corner = vertices[faces.long()]
    row = chosen[owner[faces[:, 0].long()]]
    middle = corner.mean(1)
    exposed = _is_exposed(primitives, row, middle)
    faces, corner = faces[exposed], corner[exposed]
    used, faces = torch.unique(faces, return_inverse=True)
    normal = torch.linalg.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    vertex_normal = torch.zeros(len(used), 3).index_add_(
        0, faces.flatten(), normal.repeat_interleave(3, 0)
    )
    _, color = surface_at(primitives, chosen[owner[used.long()]], vertices[used.long()])
    return (
        vertices[used.long()],
        faces.to(torch.int32),
        torch.nn.functional.normalize(vertex_normal, dim=-1),
        color,
    )


def _is_exposed(primitives: Primitives, row: Tensor, points: Tensor) -> Tensor:
    normal = normals_at(primitives, row, points)
    return primitives.signed_distance(points + _PROBE * normal) > 0.5 * _PROBE


def _face_areas(primitives: Primitives) -> Tensor:
    """Area ``[P, 6]`` of the faces -x, +x, -y, +y, -z, +z; a mantle or sphere is face 0 alone."""
    x, y, z = (2 * primitives.half_size).unbind(-1)
    box = torch.stack([y * z, y * z, x * z, x * z, x * y, x * y], -1)
    cap, none = pi / 4 * x * x, torch.zeros_like(x)
    cylinder = torch.stack([pi * x * z, none, none, none, cap, cap], -1)
    sphere = torch.stack([pi * x * x, none, none, none, none, none], -1)
    shape = primitives.shape[:, None]
    round_area = torch.where(shape == Shape.SPHERE, sphere, cylinder)
    return torch.where(_is_round(shape), round_area, box)


def _is_round(shape: Tensor) -> Tensor:
    return (shape == Shape.CYLINDER) | (shape == Shape.SPHERE)


def _points_on_faces(
    primitives: Primitives, row: Tensor, face: Tensor, generator: torch.Generator
) -> Tensor:
    random = 2 * torch.rand(len(row), 3, generator=generator) - 1
    axis, side = face // 2, (face % 2) * 2.0 - 1
    on_box = torch.where(torch.nn.functional.one_hot(axis, 3).bool(), side[:, None], random)
    angle = pi * random[:, 0]
    radius = torch.where(axis == 0, torch.ones_like(angle), ((random[:, 1] + 1) / 2).sqrt())
    height = torch.where(axis == 2, side, random[:, 2])
    shape = primitives.shape[row]
    ring = (1 - height.square()).clamp_min(0).sqrt()  # equal heights of a sphere have equal areas
    radius = torch.where(shape == Shape.SPHERE, ring, radius)
    on_round = torch.stack([radius * angle.cos(), radius * angle.sin(), height], -1)
    local = torch.where(_is_round(shape)[:, None], on_round, on_box) * primitives.half_size[row]
    return primitives.center[row] + (primitives.rotation[row] * local[:, None, :]).sum(-1)
