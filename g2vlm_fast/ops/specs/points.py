"""Point sets that the specifications draw."""

from __future__ import annotations

import torch
from torch import Tensor

NOISE = 0.005  # metres


def offsets(*lengths: int) -> Tensor:
    """Return the int32 offsets of segments of these lengths."""
    return torch.tensor([0, *lengths]).cumsum(0).int()


def normal_points(generator: torch.Generator, n: int, dim: int = 3) -> Tensor:
    """Return ``[n, dim]`` points of a unit Gaussian, float64."""
    return torch.randn(n, dim, generator=generator, dtype=torch.float64)


def grid_points(generator: torch.Generator, n: int) -> Tensor:
    """Return ``[n, 3]`` points on a coarse grid: exact in every precision, full of ties."""
    return torch.randint(-2, 3, (n, 3), generator=generator).double() / 4


def room_boxes(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return sizes and centres ``[12, 3]`` of the boxes in a room, metres, float64.

    The first box is the room itself (8 x 6 x 3 m).
    """
    room = torch.tensor([8.0, 6.0, 3.0], dtype=torch.float64)
    size, center = torch.rand(2, 12, 3, generator=generator, dtype=torch.float64)
    size, center = 0.3 + 1.5 * size, center * room
    size[0], center[0] = room, room / 2
    return size, center


def points_on_boxes(generator: torch.Generator, size: Tensor, center: Tensor, n: int) -> Tensor:
    """Return ``[n, 3]`` points on the faces of boxes, shared out by area."""
    sides = size[:, [1, 0, 0]] * size[:, [2, 2, 1]]
    face = torch.multinomial(sides.flatten(), n, replacement=True, generator=generator)
    box, axis = face // 3, face % 3
    position = torch.rand(n, 3, generator=generator, dtype=torch.float64)
    position[torch.arange(n), axis] = torch.randint(0, 2, (n,), generator=generator).double()
    return center[box] + (position - 0.5) * size[box]


def room_points(generator: torch.Generator, n: int) -> Tensor:
    """Return ``[n, 3]`` points on the faces of the boxes in a room."""
    return points_on_boxes(generator, *room_boxes(generator), n)


def noisy(generator: torch.Generator, points: Tensor, sigma: float = NOISE) -> Tensor:
    """Return ``points`` with Gaussian noise of ``sigma`` metres on every coordinate."""
    return points + sigma * torch.randn(points.shape, generator=generator, dtype=points.dtype)
