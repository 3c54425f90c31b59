"""What surfaces look like: the normal and the textured colour at points of primitives."""

from __future__ import annotations

from enum import IntEnum

import torch
from torch import Tensor

from g2vlm_fast.data import textures
from g2vlm_fast.data.primitives import Primitives, Shape


class Material(IntEnum):
    """The texture of a primitive, as a function of position on its surface in metres."""

    PLAIN = 0
    CHECKER = 1
    STRIPES = 2
    WOOD = 3
    GRADIENT = 4
    TILES = 5
    BRICKS = 6
    PLANKS = 7
    PANELS = 8
    CARPET = 9
    FABRIC = 10
    MARBLE = 11
    MOTTLED = 12
    FOLDS = 13
    SLATS = 14
    KEYS = 15
    SPINES = 16
    PAINTING = 17


_TEXTURES: dict[Material, textures.Texture] = {
    material: getattr(textures, material.name.lower()) for material in Material
}


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
    rise = (local[:, 2] / half_size[:, 2].clamp_min(1e-6)).clamp(-1, 1)
    place = textures.Place(*coordinate.unbind(-1), rise, row)
    factor = _texture(primitives, place, primitives.material.index_select(0, row))
    color = primitives.color.index_select(0, row) * factor
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


def _texture(primitives: Primitives, place: textures.Place, material: Tensor) -> Tensor:
    """Factor ``[N, 3]`` on the colour; only materials that occur are computed."""
    factor = torch.ones_like(place.u)[:, None].expand(-1, 3)
    for occurring in primitives.materials:
        if occurring != Material.PLAIN:
            look = _TEXTURES[Material(occurring)](place)
            look = look if look.ndim == 2 else look[:, None]
            factor = torch.where((material == occurring)[:, None], look, factor)
    return factor
