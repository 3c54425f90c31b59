"""Partial meshes of rooms, as a scanner leaves them: what some views saw, with holes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from g2vlm_fast.data.rendering.materials import normals_at, surface_at
from g2vlm_fast.data.rendering.observation import observed
from g2vlm_fast.data.rendering.primitives import Primitives
from g2vlm_fast.data.rendering.tessellate import tessellate
from g2vlm_fast.geometry.cameras import unproject

Mesh = tuple[Tensor, Tensor, Tensor, Tensor]

_PROBE = 2e-3  # metres in front of a surface; free space there means that the surface is real
_SCAN_RANGE = 5.0  # metres; a depth camera sees no further
_GRAZING = 0.15  # cosine between normal and ray below which a scanner gets nothing back


@dataclass(frozen=True)
class Scan:
    """Which views a scanner has been at, and what it missed all the same."""

    views: int  # the first so many of the scene
    holes: tuple[tuple[int, int, int, int], ...]
    """View, column and row in thousandths of the image, radius in millimetres: nothing is kept
    around the surface that this pixel sees."""


def partial_mesh(
    primitives: Primitives, kept: list[int], *, spacing: float = 0.25, segments: int = 12
) -> Mesh:
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
    row = chosen[owner]
    exposed = is_exposed(primitives, row[faces[:, 0].long()], vertices[faces.long()].mean(1))
    return _compact(primitives, vertices, faces[exposed], row)


def scanned_mesh(
    primitives: Primitives,
    scan: Scan,
    intrinsics: Tensor,
    poses: Tensor,
    depth: Tensor,
    *,
    spacing: float = 0.25,
    segments: int = 12,
) -> Mesh:
    """Mesh what a depth camera saw from the first views of a scene.

    A triangle is kept where one of these views sees its middle and all three corners are seen
    too, within 5 m and not at a grazing angle, outside the holes. So the mesh has open borders,
    and each of its vertices lies on a true surface.

    Args:
        primitives: all solids of the room.
        scan: the views and the holes.
        intrinsics: ``[V, 3, 3]`` pixels.
        poses: ``[V, 4, 4]`` camera to world.
        depth: ``[V, H, W]`` metres, true depth of the views.
        spacing: metres, upper bound of edge lengths on flat faces.
        segments: corners of the polygon that stands for a circle.

    Returns:
        As of :func:`partial_mesh`; empty tensors where nothing was seen.
    """
    image_size = (depth.shape[1], depth.shape[2])
    intrinsics, poses, depth = (some[: scan.views] for some in (intrinsics, poses, depth))
    vertices, faces, row = tessellate(primitives, spacing=spacing, segments=segments)
    middle = vertices[faces.long()].mean(1)
    owner = row[faces[:, 0].long()]
    kept = _within_reach(primitives, owner, middle, poses) & ~_in_holes(
        middle, scan, unproject(depth, intrinsics, poses)
    )
    faces, middle, owner = faces[kept], middle[kept], owner[kept]
    cameras = (intrinsics, poses, image_size)
    kept = is_exposed(primitives, owner, middle) & observed(primitives, middle, *cameras)
    faces = faces[kept]
    used, place = torch.unique(faces, return_inverse=True)
    seen = observed(primitives, vertices[used.long()], *cameras)
    return _compact(primitives, vertices, faces[seen[place].all(-1)], row)


def is_exposed(primitives: Primitives, row: Tensor, points: Tensor) -> Tensor:
    """Whether free space lies before points ``[N, 3]`` on the surfaces of rows ``[N]``: ``[N]``."""
    normal = normals_at(primitives, row, points)
    return primitives.signed_distance(points + _PROBE * normal) > 0.5 * _PROBE


def _within_reach(primitives: Primitives, row: Tensor, points: Tensor, poses: Tensor) -> Tensor:
    """Points that face one of the cameras from near enough."""
    normal = normals_at(primitives, row, points)
    back = poses[:, None, :3, 3] - points
    distance = back.norm(dim=-1)
    facing = (back * normal).sum(-1) >= _GRAZING * distance
    return (facing & (distance <= _SCAN_RANGE)).any(0)


def _in_holes(points: Tensor, scan: Scan, seen: Tensor) -> Tensor:
    """Points around the surfaces ``seen [V, H, W, 3]`` at the pixels of the holes."""
    _, height, width, _ = seen.shape
    inside = torch.zeros(len(points), dtype=torch.bool)
    for view, column, row, radius in scan.holes:
        at = seen[view, row * (height - 1) // 1000, column * (width - 1) // 1000]
        inside |= (points - at).norm(dim=-1) <= radius / 1000
    return inside


def _compact(primitives: Primitives, vertices: Tensor, faces: Tensor, row: Tensor) -> Mesh:
    """Drop the vertices that no face uses; give the others normals and colours."""
    used, faces = torch.unique(faces, return_inverse=True)
    used = used.long()
    corner = vertices[used][faces]
    normal = torch.linalg.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    vertex_normal = torch.zeros(len(used), 3).index_add_(
        0, faces.flatten(), normal.repeat_interleave(3, 0)
    )
    _, color = surface_at(primitives, row[used], vertices[used])
    return (
        vertices[used],
        faces.to(torch.int32),
        torch.nn.functional.normalize(vertex_normal, dim=-1),
        color,
    )
