"""Books, cups and bowls."""

from __future__ import annotations

from dataclasses import replace

from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.rendering.materials import Material
from g2vlm_fast.data.rooms.furniture.pieces import (
    Builder,
    Furniture,
    Mount,
    Part,
    assemble,
    ball,
    even,
    slab,
    upright,
)


def _book_parts(width: int, depth: int, z: int, thick: int, role: str = "main") -> list[Part]:
    """A closed book that lies on its back: two covers, the spine and the pages."""
    cover = 4
    return [
        slab(width, depth, z, z + cover, role),
        slab(width, depth, z + thick - cover, z + thick, role),
        slab(cover, depth, z, z + thick, role, x=-width // 2 + cover // 2),
        slab(width - 14, depth - 10, z + cover, z + thick - cover, "light", x=-2),
    ]


def _lying_book(draws: Draws) -> Furniture:
    width, depth = even(draws, 140, 220, 4), even(draws, 200, 300, 4)
    parts = _book_parts(width, depth, 0, even(draws, 20, 52, 4))
    return assemble("book", parts, mount=Mount.TOP)


def _pile_of_books(draws: Draws) -> Furniture:
    parts: list[Part] = []
    z = 0
    for index in range(draws.integer(2, 4)):
        width, depth = even(draws, 150, 210, 4), even(draws, 210, 280, 4)
        thick, yaw = even(draws, 24, 48, 4), draws.integer(-14, 14)
        role = "main" if index % 2 == 0 else draws.choice(("wood", "dark"))
        cover = slab(width, depth, z, z + thick, role)
        pages = slab(width - 6, depth + 2, z + 4, z + thick - 4, "light", x=0)
        parts += [replace(cover, yaw=yaw), replace(pages, yaw=yaw)]
        z += thick
    return assemble("book", parts, mount=Mount.TOP)


def _standing_books(draws: Draws) -> Furniture:
    parts: list[Part] = []
    x = 0
    for index in range(draws.integer(3, 6)):
        thick, height = even(draws, 20, 48, 4), even(draws, 180, 280, 4)
        depth = even(draws, 130, 180, 4)
        role = "main" if index % 2 == 0 else draws.choice(("wood", "dark", "light"))
        parts.append(slab(thick, depth, 0, height, role, x=x + thick // 2, y=-depth // 2))
        x += thick
    return assemble("book", parts, mount=Mount.TOP, has_front=True)


def _open_book(draws: Draws) -> Furniture:
    half, depth = even(draws, 140, 200, 4), even(draws, 200, 280, 4)
    parts = [
        slab(2 * half, depth, 0, 6),
        *(slab(half - 12, depth - 12, 6, 18, "white", x=s * (half // 2)) for s in (-1, 1)),
        *(slab(half - 50, depth - 50, 18, 20, "light", x=s * (half // 2), material=Material.SLATS)
          for s in (-1, 1)),
    ]  # fmt: skip
    return assemble("book", parts, mount=Mount.TOP, has_front=True)


def _mug(draws: Draws) -> Furniture:
    radius, height = even(draws, 38, 46, 2), even(draws, 84, 120, 4)
    parts = [
        upright(radius, 0, height),
        upright(radius - 6, height, height + 2, "dark"),
        slab(16, 12, height // 4 // 2 * 2, height * 3 // 4 // 2 * 2, x=radius + 20),
        *(slab(28, 12, z, z + 12, x=radius + 10)
          for z in (height // 4 // 2 * 2, height * 3 // 4 // 2 * 2 - 12)),
    ]  # fmt: skip
    return assemble("cup", parts, mount=Mount.TOP)


def _cup_on_saucer(draws: Draws) -> Furniture:
    radius = even(draws, 60, 72, 2)
    parts = [
        upright(radius - 24, 0, 8),
        upright(radius, 8, 16),
        upright(24, 16, 24),
        upright(34, 24, 40),
        upright(40, 40, 72),
        upright(34, 72, 74, "soil"),
        slab(12, 8, 44, 68, x=58),
        *(slab(24, 8, z, z + 8, x=50) for z in (44, 60)),
    ]
    return assemble("cup", parts, mount=Mount.TOP)


def _paper_cup(draws: Draws) -> Furniture:
    height = even(draws, 100, 132, 4)
    parts = [
        upright(36, 0, height // 4 * 2),
        upright(40, height // 4 * 2, height - 12),
        upright(44, height - 12, height, "white"),
    ]
    return assemble("cup", parts, mount=Mount.TOP)


def _deep_bowl(draws: Draws) -> Furniture:
    radius = even(draws, 76, 100, 2)
    parts = [
        upright(radius // 2, 0, 10),
        upright(radius * 3 // 4, 10, 26),
        upright(radius - 6, 26, 46, material=Material.GRADIENT),
        upright(radius, 46, 60),
        upright(radius - 10, 60, 62, "dark"),
    ]
    return assemble("bowl", parts, mount=Mount.TOP)


def _fruit_bowl(draws: Draws) -> Furniture:
    radius = even(draws, 90, 104, 2)
    parts = [
        upright(radius // 2, 0, 8),
        upright(radius - 20, 8, 24),
        upright(radius, 24, 40),
    ]
    for x, y in ((-34, -20), (34, -24), (0, 36)):
        role = draws.choice(("leaf", "glow", "wood"))
        parts.append(ball(28, x, y, 40, role))
    return assemble("bowl", parts, mount=Mount.TOP)


BUILDERS: dict[str, dict[str, Builder]] = {
    "book": {
        "lying": _lying_book,
        "pile": _pile_of_books,
        "standing": _standing_books,
        "open": _open_book,
    },
    "cup": {"mug": _mug, "saucer": _cup_on_saucer, "paper": _paper_cup},
    "bowl": {"deep": _deep_bowl, "fruit": _fruit_bowl},
}
