"""What surfaces look like: the normal and the textured colour at points of primitives."""

from __future__ import annotations

from dataclasses import replace
from enum import IntEnum

import torch
from torch import Tensor

from g2vlm_fast.data.rendering import textures
from g2vlm_fast.data.rendering.primitives import Primitives, Shape


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
    GRAIN = 18


_NEVER = 1e9  # metres; no point lies so far beyond a face
_TINY = 1e-20
_HUGE = 1e25

_TEXTURES: dict[Material, textures.Texture] = {
    material: getattr(textures, material.name.lower()) for material in Material
}


def normals_at(primitives: Primitives, row: Tensor, points: Tensor) -> Tensor:
    """Unit normals ``[N, 3]`` into free space; arguments as in :func:`surface_at`."""
    return _face_at(primitives, row, points.mT.contiguous())[0].mT.contiguous()


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
    normal, color = surface_by_axis(primitives, row, points.mT.contiguous())
    return normal.mT.contiguous(), color.mT.contiguous()


def surface_by_axis(
    primitives: Primitives, row: Tensor, points: Tensor, salt: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Do as :func:`surface_at` with points, normals and colours of shape ``[3, N]``.

    ``salt [N]`` int64 tells the randomness of one solid from another's; None for ``row``.
    """
    normal, place = _face_at(primitives, row, points)
    if salt is not None:
        place = replace(place, salt=salt)
    color = primitives.color.mT.index_select(1, row)
    return normal, _textured(primitives, place, row, color).clamp_(0, 1)


def _face_at(primitives: Primitives, row: Tensor, points: Tensor) -> tuple[Tensor, textures.Place]:
    """World normals ``[3, N]`` and where on their faces points ``[3, N]`` lie.

    Cases are told apart by factors of 0 and 1, for which the CPU has vectorised code.
    """
    shape = primitives.shape
    is_sphere, is_room = (shape == kind for kind in (Shape.SPHERE, Shape.ROOM))
    is_round = is_sphere | (shape == Shape.CYLINDER)
    kinds = torch.stack([is_round, is_sphere, is_room]).to(points)
    by_row = torch.cat(
        [primitives.rotation.permute(1, 2, 0).flatten(0, 1), primitives.center.mT,
         primitives.half_size.mT, kinds]
    ).index_select(1, row)  # fmt: skip
    rotation, center, half_size, kinds = by_row.split([9, 3, 3, 3])
    curved, spherical, inverted = kinds
    offset = points - center
    x, y, z = (
        rotation[k] * offset[0] + rotation[3 + k] * offset[1] + rotation[6 + k] * offset[2]
        for k in range(3)
    )
    ground = x.square() + y.square()
    beyond_x = x.abs() + curved * (ground.sqrt() - x.abs()) - half_size[0]
    beyond_y = y.abs() - half_size[1] - curved * _NEVER
    beyond_z = z.abs() - half_size[2] - spherical * _NEVER
    on_x, on_y, on_z = _one_hot_of_largest(beyond_x, beyond_y, beyond_z)
    bent = on_x * curved
    inverse = (ground + spherical * z.square()).clamp_min(_TINY).rsqrt()
    flat = on_x - bent
    local = (
        bent * x * inverse + flat * _sign(x),
        bent * y * inverse + on_y * _sign(y),
        bent * spherical * z * inverse + on_z * _sign(z),
    )
    outward = 1 - 2 * inverted
    normal = torch.stack(
        [
            outward * (rotation[k] * local[0] + rotation[k + 1] * local[1]
                       + rotation[k + 2] * local[2])
            for k in (0, 3, 6)
        ]
    )  # fmt: skip
    place = textures.Place(
        u=bent * torch.atan2(y, x) * half_size[0] + flat * y + (1 - on_x) * x,
        v=on_z * y + (1 - on_z) * z,
        rise=(z / half_size[2].clamp_min(_TINY)).clamp_(-1, 1),
        salt=row,
    )
    return normal, place


def _one_hot_of_largest(x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Factors of 1 at the largest of three values, the first of equals, and 0 elsewhere."""
    largest = torch.maximum(torch.maximum(x, y), z)
    on_x, on_y = ((1 - (largest - value) * _HUGE).clamp_(0, 1) for value in (x, y))
    on_y = on_y * (1 - on_x)
    return on_x, on_y, 1 - on_x - on_y


def _sign(value: Tensor) -> Tensor:
    return torch.copysign(torch.ones_like(value), value)


def _textured(primitives: Primitives, place: textures.Place, row: Tensor, color: Tensor) -> Tensor:
    """Apply to ``color [3, N]`` the textures that occur, each where it does."""
    material = primitives.material.index_select(0, row)
    for occurring in primitives.materials:
        if occurring != Material.PLAIN:
            where = (material == occurring).nonzero()[:, 0]
            look = _TEXTURES[Material(occurring)](place.at(where))
            color.index_copy_(1, where, color.index_select(1, where) * look)
    return color
