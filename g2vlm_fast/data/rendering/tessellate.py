"""Triangle meshes of primitives, with texture coordinates.

Every face of a solid is a patch: a grid of vertices of its own, so that each has one normal, and a
chart that lays the patch flat. Charts keep areas: boxes, caps and mantles are unrolled, spheres
are laid flat by Lambert's cylindrical projection (Snyder, "Map projections: a working manual",
1987, section 10), where equal heights have equal areas.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from g2vlm_fast.data.rendering.atlas import pack
from g2vlm_fast.data.rendering.primitives import Primitives, Shape


@dataclass(frozen=True, kw_only=True, eq=False)
class TexturedMesh:
    """A mesh whose every face has a place of its own in one square texture."""

    vertices: Tensor  # [N, 3] float32 metres
    faces: Tensor  # [F, 3] int32, counter-clockwise seen from free space
    primitive: Tensor  # [N] int64, row of the primitives
    uv: Tensor  # [N, 2] float32 in [0, 1]; faces are counter-clockwise there too
    extent: float  # metres that the side of the texture stands for


@dataclass(frozen=True, eq=False)
class _Patch:
    """A piece of surface in the axes of its solid; its faces wind around the solid."""

    points: np.ndarray  # [n, 3] metres
    faces: np.ndarray  # [f, 3]
    chart: np.ndarray  # [n, 2] metres, from (0, 0) on; faces keep their sense of turning

    def inside_out(self) -> _Patch:
        chart = self.chart * (-1, 1) + (self.chart[:, 0].max(), 0)
        return _Patch(self.points, self.faces[:, ::-1], chart)


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
        shared between the faces of a solid, so each has one normal; the mesh of a solid is
        closed once vertices of equal position are merged.
    """
    return _join(primitives, _patches(primitives, spacing, segments))


def textured_mesh(
    primitives: Primitives, *, spacing: float = 0.25, segments: int = 24, margin: float = 0.01
) -> TexturedMesh:
    """Cover every primitive with triangles and lay them out in one texture.

    Areas in the texture are proportional to areas in space: exactly on flat faces and mantles,
    within a factor of 2.2 for each triangle of a sphere.

    Args:
        primitives: the solids.
        spacing: metres, upper bound of the edge length on flat faces and along mantles.
        segments: corners of the polygon that stands for a circle.
        margin: metres between charts and around them.
    """
    if margin < 0:
        raise ValueError(f"textured_mesh: margin must be >= 0, got {margin}")
    patches = _patches(primitives, spacing, segments)
    vertices, faces, owner = _join(primitives, patches)
    sizes = np.stack([patch.chart.max(0) for patch, _ in patches])
    places, turned, extent = pack(sizes, margin)
    laid = [
        place + (_quarter_turn(patch.chart) if turn else patch.chart)
        for (patch, _), place, turn in zip(patches, places, turned, strict=True)
    ]
    uv = torch.from_numpy(np.concatenate(laid) / extent).float()
    return TexturedMesh(vertices=vertices, faces=faces, primitive=owner, uv=uv, extent=extent)


def _quarter_turn(chart: np.ndarray) -> np.ndarray:
    return np.column_stack([chart[:, 1], chart[:, 0].max() - chart[:, 0]])


def _join(
    primitives: Primitives, patches: list[tuple[_Patch, int]]
) -> tuple[Tensor, Tensor, Tensor]:
    lengths = [len(patch.points) for patch, _ in patches]
    starts = np.cumsum([0, *lengths[:-1]])
    local = torch.from_numpy(np.concatenate([patch.points for patch, _ in patches]))
    faces = np.concatenate(
        [patch.faces + start for (patch, _), start in zip(patches, starts, strict=True)]
    )
    owner = torch.from_numpy(np.repeat([row for _, row in patches], lengths).astype("i8"))
    center, rotation = primitives.center.double().cpu(), primitives.rotation.double().cpu()
    points = center[owner] + (rotation[owner] * local[:, None, :]).sum(-1)
    return points.float(), torch.from_numpy(faces.astype(np.int32)), owner


def _patches(primitives: Primitives, spacing: float, segments: int) -> list[tuple[_Patch, int]]:
    """The patches of all solids, each with the row of its solid."""
    if spacing <= 0 or segments < 3:
        raise ValueError(
            f"tessellate: spacing must be > 0 and segments >= 3, got {spacing}, {segments}"
        )
    half_sizes = primitives.half_size.double().cpu().numpy()
    found = []
    for row, (shape, half_size) in enumerate(zip(primitives.shapes, half_sizes, strict=True)):
        if shape == Shape.CYLINDER:
            local = _cylinder_patches(half_size[0], half_size[2], spacing, segments)
        elif shape == Shape.SPHERE:
            local = iter([_sphere_patch(half_size[0], segments)])
        else:
            local = _box_patches(half_size, spacing)
        found += [(patch.inside_out() if shape == Shape.ROOM else patch, row) for patch in local]
    return found


@lru_cache(maxsize=512)
def _grid(columns: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Corner parameters ``[(rows+1)(columns+1), 2]`` in [-1, 1] and two triangles per cell."""
    u, v = np.meshgrid(np.linspace(-1, 1, columns + 1), np.linspace(-1, 1, rows + 1))
    corner = np.arange((rows + 1) * (columns + 1)).reshape(rows + 1, columns + 1)
    a, b = corner[:-1, :-1].ravel(), corner[:-1, 1:].ravel()
    c, d = corner[1:, 1:].ravel(), corner[1:, :-1].ravel()
    faces = np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)])
    return np.stack([u.ravel(), v.ravel()], -1), faces


def _cells(length: float, spacing: float) -> int:
    return max(math.ceil(length / spacing - 1e-9), 1)


def _box_patches(half_size: np.ndarray, spacing: float) -> Iterator[_Patch]:
    for axis in range(3):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        sides = half_size[[first, second]]
        parameters, faces = _grid(*(_cells(2 * side, spacing) for side in sides))
        chart = (parameters + 1) * sides
        for side in (-1, 1):
            points = np.empty((len(parameters), 3))
            points[:, axis] = side * half_size[axis]
            points[:, [first, second]] = parameters * sides
            patch = _Patch(points, faces, chart)
            yield patch if side > 0 else patch.inside_out()


def _cylinder_patches(
    radius: float, half_height: float, spacing: float, segments: int
) -> Iterator[_Patch]:
    parameters, faces = _grid(segments, _cells(2 * half_height, spacing))
    column = np.arange(len(parameters)) % (segments + 1)
    rim = radius * _rim(segments)
    perimeter = 2 * segments * radius * math.sin(math.pi / segments)
    yield _Patch(
        np.column_stack([rim[column], half_height * parameters[:, 1]]),
        faces,
        (parameters + 1) * (perimeter / 2, half_height),
    )
    disc = np.zeros((segments + 1, 3))
    disc[1:, :2] = rim[:-1]
    corner = np.arange(segments)
    fan = np.stack([0 * corner, 1 + corner, 1 + (corner + 1) % segments], -1)
    up = np.array([0.0, 0.0, half_height])
    chart = disc[:, :2] - disc[:, :2].min(0)
    yield _Patch(disc + up, fan, chart)
    yield _Patch(disc - up, fan, chart).inside_out()


def _sphere_patch(radius: float, segments: int) -> _Patch:
    """Circles of latitude; a pole is as many corners as triangles meet there."""
    bands = max(segments // 2, 2)
    parameters, faces = _grid(segments, bands)
    column = np.arange(len(parameters)) % (segments + 1)
    latitude = parameters[:, 1:] * (math.pi / 2)
    is_pole = np.abs(parameters[:, 1:]) == 1
    ring = np.where(is_pole, 0, np.cos(latitude))
    height = np.sin(latitude)
    points = radius * np.concatenate([ring * _rim(segments)[column], height], -1)
    corner = points[faces]
    side = corner[:, [1, 2, 0]] - corner
    is_flat = (np.abs(side).max(-1) == 0).any(-1)
    chart = radius * np.concatenate([(parameters[:, :1] + 1) * math.pi, height + 1], -1)
    used, faces = np.unique(faces[~is_flat], return_inverse=True)
    return _Patch(points[used], faces.reshape(-1, 3), chart[used])


@lru_cache(maxsize=8)
def _rim(segments: int) -> np.ndarray:
    """Corners ``[segments + 1, 2]`` of a polygon in the unit circle; the last is the first."""
    angle = 2 * math.pi * np.arange(segments) / segments
    rim = np.stack([np.cos(angle), np.sin(angle)], -1)
    return np.concatenate([rim, rim[:1]])
