"""Doors and drawers, which close the bodies of many pieces."""

from __future__ import annotations

from g2vlm_fast.data.rendering.materials import Material
from g2vlm_fast.data.rooms.furniture.pieces import Part, box, slab


def drawer_fronts(
    x0: int, x1: int, front: int, bottoms: list[int], top: int, role: str = "main"
) -> list[Part]:
    """Drawers one above the other, each with a front of 20 mm and a handle.

    Args:
        x0: left edge of the fronts.
        x1: right edge.
        front: y of the body that they close.
        bottoms: lower edge of each, rising.
        top: upper edge of the last.
        role: what colour the fronts have.
    """
    parts = []
    middle = (x0 + x1) // 2
    grip = (x1 - x0) // 8 * 2
    for low, high in zip(bottoms, [*bottoms[1:], top], strict=True):
        knob = (low + high) // 4 * 2
        parts += [
            box(x0 + 4, x1 - 4, front - 20, front, low + 4, high - 4, role),
            slab(grip, 20, knob - 8, knob + 8, "metal", x=middle, y=front - 30),
        ]
    return parts


def even_steps(low: int, high: int, count: int) -> list[int]:
    """The lower ends of ``count`` equal even steps from ``low`` towards ``high``."""
    step = (high - low) // count // 2 * 2
    return [low + step * index for index in range(count)]


def doors(
    x0: int, x1: int, front: int, z0: int, z1: int, count: int, look: Material = Material.PLAIN
) -> list[Part]:
    """Doors side by side, 20 mm in front of a body, each with a bar for a handle."""
    parts = []
    step = (x1 - x0) // count // 4 * 4
    for index in range(count):
        left = x0 + index * step
        right = x1 if index == count - 1 else left + step
        grip = right - 40 if index % 2 == 0 else left + 40
        middle = (z0 + z1) // 4 * 2
        parts += [
            box(left + 4, right - 4, front - 20, front, z0 + 4, z1 - 4, material=look),
            slab(16, 20, middle - 80, middle + 80, "metal", x=grip, y=front - 30),
        ]
    return parts
