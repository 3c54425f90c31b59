"""Triangle meshes of primitives."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from g2vlm_fast.data.primitives import Primitives, Shape


def tessellate(
    primitives: Primitives, *, spacing: float = 0.25, segments: int = 24
) -> tuple[Tensor, Tensor, Tensor]:
    """Cover every surface of every primitive with triangles.

    Args:
        primitives: the solids.
        spacing: metres, upper bound of the edge length on flat faces and along mantles.
        segments: corners of the polygon that stands for a circle.

    Returns:
        Vertices ``[N, 3]`` float32 metres, faces ``[F, 3]`` int32 that wind counter-clockwise
        seen from free space, and the primitive of every vertex ``[N]`` int64. Vertices are not
        shared between the faces of a solid, so each has one normal.
    """
    if spacing <= 0 or segments < 3:
        raise ValueError(
            f"tessellate: spacing must be > 0 and segments >= 3, got {spacing}, {segments}"
        )
    patches: list[tuple[np.ndarray, np.ndarray, int]] = []
    half_sizes = primitives.half_size.double().cpu().numpy()
    for row, shape in enumerate(primitives.shapes):
        _, radius, half_height = half_sizes[row]
        if shape == Shape.CYLINDER:
            local = _cylinder_patches(radius, half_height, spacing, segments)
        elif shape == Shape.SPHERE:
            local = [_sphere_patch(radius, segments)]
        else:
            local = _box_patches(half_sizes[row], spacing)
        flip = shape == Shape.ROOM
        patches += [(points, faces[:, ::-1] if flip else faces, row) for points, faces in local]
    starts = np.cumsum([0, *(len(points) for points, _, _ in patches)])
    local_points = np.concatenate([np.zeros((0, 3)), *(points for points, _, _ in patches)])
    faces = np.concatenate(
        [np.zeros((0, 3)), *(f + s for (_, f, _), s in zip(patches, starts, strict=False))]
    )
    owner = torch.from_numpy(
        np.repeat([row for _, _, row in patches], np.diff(starts)).astype("i8")
    )
    center, rotation = primitives.center.double().cpu(), primitives.rotation.double().cpu()
    offset = torch.from_numpy(local_points)
    points = center[owner] + (rotation[owner] * offset[:, None, :]).sum(-1)
    return points.float(), torch.from_numpy(faces.astype(np.int32)), owner


@lru_cache(maxsize=512)
def _grid(columns: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Corner parameters ``[(rows+1)(columns+1), 2]`` in [-1, 1] and two triangles per cell."""
    u, v = np.meshgrid(np.linspace(-1, 1, columns + 1), np.linspace(-1, 1, rows + 1))
    corner = np.arange((rows + 1) * (columns + 1)).reshape(rows + 1, columns + 1)
    a, b = corner[:-1, :-1].ravel(), corner[:-1, 1:].ravel()
    c, d = corner[1:, 1:].ravel(), corner[1:, :-1].ravel()
    faces = np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)])
    return np.stack([u.ravel(), v.ravel()], -1), faces


def _box_patches(half_size: np.ndarray, spacing: float) -> list[tuple[np.ndarray, np.ndarray]]:
    patches = []
    for axis in range(3):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        columns = math.ceil(2 * half_size[first] / spacing - 1e-9)
        rows = math.ceil(2 * half_size[second] / spacing - 1e-9)
        parameters, faces = _grid(max(columns, 1), max(rows, 1))
        for side in (-1, 1):
            points = np.empty((len(parameters), 3))
            points[:, axis] = side * half_size[axis]
            points[:, first] = parameters[:, 0] * half_size[first]
            points[:, second] = parameters[:, 1] * half_size[second]
            patches.append((points, faces if side > 0 else faces[:, ::-1]))
    return patches


def _cylinder_patches(
    radius: float, half_height: float, spacing: float, segments: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    parameters, faces = _grid(segments, max(math.ceil(2 * half_height / spacing - 1e-9), 1))
    column = np.arange(len(parameters)) % (segments + 1)
    rim = _rim(segments)
    mantle = np.column_stack([radius * rim[column], half_height * parameters[:, 1]])
    disc = np.zeros((segments + 1, 3))
    disc[1:, :2] = radius * rim[:-1]
    corner = np.arange(segments)
    fan = np.stack([0 * corner, 1 + corner, 1 + (corner + 1) % segments], -1)
    up = np.array([0.0, 0.0, half_height])
    return [(mantle, faces), (disc + up, fan), (disc - up, fan[:, ::-1])]


def _sphere_patch(radius: float, segments: int) -> tuple[np.ndarray, np.ndarray]:
    """Circles of latitude; a pole is as many corners as there are meridians."""
    bands = max(segments // 2, 2)
    parameters, faces = _grid(segments, bands)
    column = np.arange(len(parameters)) % (segments + 1)
    latitude = parameters[:, 1:] * (math.pi / 2)
    is_pole = np.abs(parameters[:, 1:]) == 1
    ring = np.where(is_pole, 0, np.cos(latitude))
    points = radius * np.concatenate([ring * _rim(segments)[column], np.sin(latitude)], -1)
    corner = points[faces]
    side = corner[:, [1, 2, 0]] - corner
    is_flat = (np.abs(side).max(-1) == 0).any(-1)
    return points, faces[~is_flat]


@lru_cache(maxsize=8)
def _rim(segments: int) -> np.ndarray:
    """Corners ``[segments + 1, 2]`` of a polygon in the unit circle; the last is the first."""
    angle = 2 * math.pi * np.arange(segments) / segments
    rim = np.stack([np.cos(angle), np.sin(angle)], -1)
    return np.concatenate([rim, rim[:1]])
