"""The solids of a room that was laid out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from g2vlm_fast.data.rendering.materials import Material
from g2vlm_fast.data.rendering.primitives import Primitives, Shape
from g2vlm_fast.data.rooms.furniture import ROLE_COLORS
from g2vlm_fast.data.rooms.layout import Layout
from g2vlm_fast.data.rooms.turns import rotation_of
from g2vlm_fast.ontology import COLORS

_FLOOR_DEPTH = 50  # millimetres; the floor is a slab of its own, so that it has its own look


def build_primitives(layout: Layout, dtype: torch.dtype = torch.float32) -> Primitives:
    """Build the solids of a building: row 0 the hull, then floors, walls and furniture.

    What belongs to the building has instance -1; the parts of a piece have its index.
    """
    length, width, height = (side / 1000 for side in layout.size)
    depth = _FLOOR_DEPTH / 1000
    middle = (height - depth) / 2
    wall = tuple(c / 1000 for c in layout.wall_color)
    level = rotation_of(0)
    hull = (length, width, height + depth)
    rows: list[tuple[Any, ...]] = [
        (Shape.ROOM, (0, 0, middle), level, hull, wall, Material.GRADIENT, -1),
    ]
    for floor in layout.floors:
        color = tuple(part / 1000 for part in floor.color)
        slab = _box(floor.x0, floor.x1, floor.y0, floor.y1, -_FLOOR_DEPTH, 0)
        rows.append((Shape.BOX, *slab, color, floor.material, -1))
    for block in layout.blocks:
        solid = _box(block.x0, block.x1, block.y0, block.y1, block.z0, block.z1)
        rows.append((Shape.BOX, *solid, wall, Material.GRADIENT, -1))
    for index, piece in enumerate(layout.placed):
        main = tuple(
            c * (1 + j / 1000) for c, j in zip(COLORS[piece.color], piece.jitter, strict=True)
        )
        for part in piece.furniture.parts:
            x, y = piece.to_world(part.center[0], part.center[1])
            center = (x / 1000, y / 1000, (piece.z + part.center[2]) / 1000)
            size = tuple(side / 1000 for side in part.size)
            color = ROLE_COLORS.get(part.role, main)
            rotation = rotation_of(piece.yaw + part.yaw, part.tilt)
            rows.append((part.shape, center, rotation, size, color, part.material, index))
    shape, center, rotation, size, color, material, instance = zip(*rows, strict=True)
    return Primitives(
        shape=torch.tensor(shape),
        center=torch.tensor(center, dtype=dtype),
        rotation=torch.tensor(rotation, dtype=dtype),
        half_size=torch.tensor(size, dtype=dtype) / 2,
        color=torch.tensor(color, dtype=dtype).clamp(0, 1),
        material=torch.tensor(material),
        instance=torch.tensor(instance),
    )


def _box(x0: int, x1: int, y0: int, y1: int, z0: int, z1: int) -> tuple[Any, ...]:
    """Center, rotation and size of a level box between two corners, in metres."""
    sides = ((x0, x1), (y0, y1), (z0, z1))
    center = tuple((low + high) / 2000 for low, high in sides)
    return center, rotation_of(0), tuple((high - low) / 1000 for low, high in sides)


def yaw_rotation(turns: Any, dtype: torch.dtype) -> Tensor:
    matrices = [[[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]] for c, s in turns]
    return torch.tensor(matrices, dtype=dtype)
