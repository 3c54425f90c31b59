"""What surfaces look like: the normal and the textured colour at points of primitives."""

from __future__ import annotations

from enum import IntEnum
from math import pi

import torch
from torch import Tensor

from g2vlm_fast.data.primitives import Primitives, Shape


class Material(IntEnum):
    """The texture of a primitive, as a function of position on its surface in metres."""

    PLAIN = 0
    CHECKER = 1
    STRIPES = 2
    WOOD = 3
    GRADIENT = 4


_CHECKER_SIZE = 0.30
_STRIPE_WIDTH = 0.08


def normals_at(primitives: Primitives, row: Tensor, points: Tensor) -> Tensor:
    """Unit normals ``[N, 3]`` into free space; arguments as in :func:`surface_at`."""
    return _surface_frame(primitives, row, points)[0]


def surface_at(primitives: Primitives, row: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Normals and colours at points on surfaces.

    Args:
        primitives: the solids.
        row: ``[N]`` int64, the primitive whose surface each point lies on.
        points: ``[N, 3]`` metres, world.

    Returns:
        Unit normals ``[N, 3]`` in the world, which point into free space (for a room, inwards),
        and colours ``[N, 3]`` in [0, 1] before shading.
    """
    normal, local, half_size, shape, axis = _surface_frame(primitives, row, points)
    coordinate = _surface_coordinates(local, half_size, axis, shape)
    material = primitives.material.index_select(0, row)
    brightness = _texture(coordinate, local[:, 2], half_size[:, 2], material)
    color = primitives.color.index_select(0, row) * brightness[:, None]
    return normal, color.clamp(0, 1)


def _surface_frame(
    primitives: Primitives, row: Tensor, points: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """World normal, local point, half size, shape, and axis of the face."""
    rotation = primitives.rotation.index_select(0, row)
    half_size = primitives.half_size.index_select(0, row)
    shape = primitives.shape.index_select(0, row)
    offset = points - primitives.center.index_select(0, row)
    local = _combine(rotation.unbind(1), offset)
    normal, axis = _local_normal(local, half_size, shape)
    normal = torch.where((shape == Shape.ROOM)[:, None], -normal, normal)
    return _combine(rotation.unbind(2), normal), local, half_size, shape, axis


def _combine(axes: tuple[Tensor, ...], amounts: Tensor) -> Tensor:
    """Combine three ``axes [N, 3]`` with ``amounts [N, 3]`` to ``[N, 3]``."""
    x, y, z = amounts.split(1, dim=-1)
    return axes[0] * x + axes[1] * y + axes[2] * z


def _local_normal(local: Tensor, half_size: Tensor, shape: Tensor) -> tuple[Tensor, Tensor]:
    """Outward normal in local axes and axis (0, 1, 2) of the face; what is curved is face 0."""
    excess = local.abs() - half_size
    radial = local[:, :2].norm(dim=-1)
    is_cylinder, is_sphere = shape == Shape.CYLINDER, shape == Shape.SPHERE
    mantle = torch.stack([radial - half_size[:, 0], torch.full_like(radial, -torch.inf)], -1)
    excess = torch.where(is_cylinder[:, None], torch.cat([mantle, excess[:, 2:]], -1), excess)
    axis = excess.argmax(-1).masked_fill(is_sphere, 0)
    flat = torch.nn.functional.one_hot(axis, 3) * torch.where(local < 0, -1.0, 1.0).to(local.dtype)
    around = torch.cat([local[:, :2] / radial.clamp_min(1e-9)[:, None], 0 * local[:, 2:]], -1)
    normal = torch.where((is_cylinder & (axis == 0))[:, None], around, flat)
    return torch.where(
        is_sphere[:, None], torch.nn.functional.normalize(local, dim=-1), normal
    ), axis


def _surface_coordinates(local: Tensor, half_size: Tensor, axis: Tensor, shape: Tensor) -> Tensor:
    """Two coordinates ``[N, 2]`` in metres along the face that a point lies on."""
    x, y, z = local.unbind(-1)
    arc = torch.atan2(y, x) * half_size[:, 0]
    is_round = (shape == Shape.CYLINDER) | (shape == Shape.SPHERE)
    first = torch.where(axis == 0, torch.where(is_round, arc, y), x)
    second = torch.where(axis == 2, y, z)
    return torch.stack([first, second], -1)


def _texture(coordinate: Tensor, height: Tensor, half_height: Tensor, material: Tensor) -> Tensor:
    """Brightness factor ``[N]`` of each material."""
    u, v = coordinate.unbind(-1)
    odd_square = ((u / _CHECKER_SIZE).floor() + (v / _CHECKER_SIZE).floor()) % 2
    odd_stripe = (u / _STRIPE_WIDTH).floor() % 2
    grain = torch.sin(2 * pi * (12.0 * v + 0.4 * torch.sin(2 * pi * 1.5 * u)))
    rising = (height / half_height.clamp_min(1e-6)).clamp(-1, 1)
    looks = torch.stack(
        [
            torch.ones_like(u),
            1.0 - 0.22 * odd_square,
            1.0 - 0.18 * odd_stripe,
            0.93 + 0.07 * grain,
            0.92 + 0.08 * rising,
        ]
    )
    return looks.gather(0, material[None])[0]
