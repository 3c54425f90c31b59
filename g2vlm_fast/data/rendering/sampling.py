"""Samples of the truth of a room: surfaces, distances, and what no view sees."""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor

from g2vlm_fast.data.rendering.materials import surface_at
from g2vlm_fast.data.rendering.observation import visibility
from g2vlm_fast.data.rendering.primitives import Primitives, Shape
from g2vlm_fast.data.rooms.partial_mesh import is_exposed

_SAMPLING_ROUNDS = 64
_NEAR_SURFACE = 0.06  # metres, spread of the queries that lie about surfaces


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
        exposed = is_exposed(primitives, row, points)
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
        Points ``[Q, 3]``, signed distance ``[Q]`` in metres (positive in free space) and what
        the views know of the point ``[Q]`` int8, a ``Visibility`` each.
    """
    about = count // 2
    surface, _, _ = sample_surface(primitives, about, generator)
    surface = surface + _NEAR_SURFACE * torch.randn(about, 3, generator=generator)
    uniform = torch.rand(count - about, 3, generator=generator) - torch.tensor([0.5, 0.5, 0.0])
    points = torch.cat([surface, uniform * room_size])
    distance = primitives.signed_distance(points)
    return points, distance, visibility(primitives, points, intrinsics, poses, image_size)


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
