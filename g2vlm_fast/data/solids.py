"""The solids of a room that was laid out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from g2vlm_fast.data.furniture import ROLE_COLORS
from g2vlm_fast.data.layout import Layout
from g2vlm_fast.data.materials import Material
from g2vlm_fast.data.primitives import Primitives, Shape
from g2vlm_fast.data.turns import rotation_of
from g2vlm_fast.ontology import COLORS

_FLOOR_DEPTH = 0.05  # metres; the floor is a slab of its own, so that it has its own look
_FLOOR_MATERIALS = (Material.PLAIN, Material.CHECKER, Material.STRIPES, Material.WOOD)


def build_primitives(layout: Layout, dtype: torch.dtype = torch.float32) -> Primitives:
    """Build the solids of a building: row 0 the hull, row 1 the floor, then walls and furniture.

    What belongs to the building has instance -1; the parts of a piece have its index.
    """
    length, width, height = (side / 1000 for side in layout.size)
    middle = (height - _FLOOR_DEPTH) / 2
    wall, floor = (
        tuple(c / 1000 for c in color) for color in (layout.wall_color, layout.floor_color)
    )
    level = rotation_of(0)
    slab = (length, width, _FLOOR_DEPTH)
    hull = (length, width, height + _FLOOR_DEPTH)
    floor_material = _FLOOR_MATERIALS[layout.floor_material]
    rows: list[tuple[Any, ...]] = [
        (Shape.ROOM, (0, 0, middle), level, hull, wall, Material.GRADIENT, -1),
        (Shape.BOX, (0, 0, -_FLOOR_DEPTH / 2), level, slab, floor, floor_material, -1),
    ]
    for block in layout.blocks:
        low, high = (block.x0, block.y0, block.z0), (block.x1, block.y1, block.z1)
        center = tuple((a + b) / 2000 for a, b in zip(low, high, strict=True))
        size = tuple((b - a) / 1000 for a, b in zip(low, high, strict=True))
        rows.append((Shape.BOX, center, level, size, wall, Material.GRADIENT, -1))
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


def yaw_rotation(turns: Any, dtype: torch.dtype) -> Tensor:
    matrices = [[[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]] for c, s in turns]
    return torch.tensor(matrices, dtype=dtype)
