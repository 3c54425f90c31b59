"""Triangle meshes that the specifications draw, in metres."""

from __future__ import annotations

import torch
from torch import Tensor

from g2vlm_fast.ops.specs.points import noisy, normal_points, points_on_boxes, room_boxes

_CORNERS = torch.tensor([[0, 0], [1, 0], [1, 1], [0, 1]])


def soup(generator: torch.Generator, vertices: int, faces: int) -> tuple[Tensor, Tensor]:
    """Return Gaussian vertices ``[V, 3]`` and faces ``[F, 3]`` of three different ones each."""
    rows = torch.rand(faces, vertices, generator=generator).argsort(1)[:, :3]
    return normal_points(generator, vertices), rows.int()


def room_with_points(
    generator: torch.Generator, points: int, faces: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return points near the surface of a room of boxes, and a mesh of that surface.

    Points and vertices have 5 mm of noise on every coordinate, as two scans of one room do.

    Returns:
        points ``[P, 3]``, vertices ``[V, 3]`` and faces ``[F, 3]`` int32.
    """
    size, center = room_boxes(generator)
    cloud = noisy(generator, points_on_boxes(generator, size, center, points))
    vertices, triangles = _triangulated(size, center, faces)
    return cloud, noisy(generator, vertices), triangles


def _triangulated(size: Tensor, center: Tensor, faces: int) -> tuple[Tensor, Tensor]:
    """Cover boxes with ``faces`` triangles of about equal size, welded within each side."""
    least, most = 1e-4, 10.0
    for _ in range(60):
        spacing = (least + most) / 2
        least, most = (spacing, most) if _count(size, spacing) >= faces else (least, spacing)
    vertices: list[Tensor] = []
    triangles: list[Tensor] = []
    first = 0
    for box in range(len(size)):
        for axis in range(3):
            u, v = (axis + 1) % 3, (axis + 2) % 3
            grid, cells = _grid(*_cells(size[box, [u, v]], least).tolist())
            for side in (0, 1):
                place = torch.empty(len(grid), 3, dtype=torch.float64)
                place[:, u], place[:, v], place[:, axis] = grid[:, 0], grid[:, 1], side
                vertices.append(center[box] + (place - 0.5) * size[box])
                triangles.append(cells + first)
                first += len(grid)
    return torch.cat(vertices), torch.cat(triangles)[:faces].int()


def _cells(sides: Tensor, spacing: float) -> Tensor:
    return (sides / spacing).ceil().long()


def _count(size: Tensor, spacing: float) -> int:
    cells = _cells(size, spacing)
    return 4 * int((cells * cells.roll(1, -1)).sum())


def _grid(columns: int, rows: int) -> tuple[Tensor, Tensor]:
    """Return places ``[N, 2]`` in the unit square and two triangles a cell."""
    place = torch.cartesian_prod(torch.linspace(0, 1, columns + 1), torch.linspace(0, 1, rows + 1))
    cell = torch.cartesian_prod(torch.arange(columns), torch.arange(rows))
    corner = cell[:, None] + _CORNERS
    corner = corner[..., 0] * (rows + 1) + corner[..., 1]
    return place.double(), corner[:, [[0, 1, 2], [0, 2, 3]]].flatten(0, 1)
