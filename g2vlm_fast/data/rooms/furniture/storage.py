"""Cabinets, shelves, dressers and wardrobes."""

from __future__ import annotations

from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.rendering.materials import Material
from g2vlm_fast.data.rooms.furniture import open_storage
from g2vlm_fast.data.rooms.furniture.joinery import doors, drawer_fronts, even_steps
from g2vlm_fast.data.rooms.furniture.pieces import (
    Builder,
    Furniture,
    Mount,
    Part,
    assemble,
    box,
    even,
    four_legs,
    slab,
)
from g2vlm_fast.data.rooms.furniture.surfaces import Surface, whole_top


def _two_door_cabinet(draws: Draws) -> Furniture:
    width, depth = even(draws, 800, 1300), even(draws, 400, 500)
    height = even(draws, 720, 1060)
    x, y = width // 2, depth // 2
    parts = [
        slab(width, depth, height - 30, height, material=Material.WOOD),
        box(-x + 10, x - 10, -y + 40, y, 80, height - 30),
        box(-x + 30, x - 30, -y + 60, y - 20, 0, 80, "dark"),
        *doors(-x + 10, x - 10, -y + 40, 84, height - 36, 2),
    ]
    top = whole_top((width, depth, height))
    return assemble("cabinet", parts, surfaces=[top], has_front=True)


def _sideboard(draws: Draws) -> Furniture:
    width, depth = even(draws, 1200, 1800), even(draws, 380, 480)
    height = even(draws, 640, 820)
    x, y = width // 2, depth // 2
    middle = width // 6 // 2 * 2
    parts = [
        box(-x, x, -y + 30, y, 140, height, material=Material.GRAIN),
        *four_legs(width - 80, depth - 80, 140, 50, "dark"),
        *doors(-x + 10, -middle, -y + 30, 150, height - 10, 1),
        *doors(middle, x - 10, -y + 30, 150, height - 10, 1),
        *drawer_fronts(-middle, middle, -y + 30, even_steps(150, height - 10, 3), height - 10),
    ]
    surface = Surface(-x, x, -y + 30, y, height)
    return assemble("cabinet", parts, surfaces=[surface], has_front=True)


def _wall_cabinet(draws: Draws) -> Furniture:
    return open_storage.open_wall_cabinet(draws) if draws.chance(0.5) else _closed_up(draws)


def _closed_up(draws: Draws) -> Furniture:
    count = draws.integer(2, 3)
    width, height = count * even(draws, 400, 500), even(draws, 600, 800)
    x = width // 2
    parts = [
        box(-x, x, -140, 180, 0, height),
        box(-x - 10, x + 10, -170, 180, height, height + 30, "wood"),
        *doors(-x, x, -140, 0, height, count),
    ]
    elevation = even(draws, 1360, 1460)
    return assemble("cabinet", parts, mount=Mount.WALL, has_front=True, elevation=elevation)


def _filing_cabinet(draws: Draws) -> Furniture:
    width, depth = even(draws, 400, 480), even(draws, 500, 640)
    drawers = draws.integer(2, 4)
    height = drawers * even(draws, 300, 320) + 60
    x, y = width // 2, depth // 2
    parts = [
        box(-x, x, -y + 30, y, 0, height, material=Material.GRADIENT),
        *drawer_fronts(-x + 10, x - 10, -y + 30, even_steps(40, height - 20, drawers),
                       height - 20),
    ]  # fmt: skip
    surface = Surface(-x, x, -y + 30, y, height)
    return assemble("cabinet", parts, surfaces=[surface], has_front=True)


def _books(draws: Draws, x0: int, x1: int, y0: int, y1: int, z: int, room: int) -> list[Part]:
    """A row of books from the left end of a board, or a pile, or nothing."""
    width = x1 - x0
    kind = draws.integer(0, 3)
    if kind == 0 or width < 160 or room < 140:
        return []
    height = min(even(draws, 180, 300), (room - 20) // 20 * 20)
    if kind == 1:
        length = 2 * draws.integer(40, 60)
        start = x0 + 2 * draws.integer(0, (width - 2 * length) // 2)
        middle = start + length
        parts = [slab(2 * length - 20 * (step % 2), y1 - y0 - 20, z + 40 * step,
                      z + 40 * step + 40, draws.choice(("wood", "light", "dark")),
                      x=middle, y=(y0 + y1) // 2)
                 for step in range(min(2, room // 60))]  # fmt: skip
        return parts
    length = 2 * draws.integer(60, width // 2 - 10)
    return [box(x0, x0 + length, y0, y1, z, z + height, "light", Material.SPINES)]


def _open_rack(draws: Draws) -> Furniture:
    width, depth = even(draws, 700, 1100), even(draws, 300, 440)
    height, boards = even(draws, 1400, 2000), draws.integer(4, 5)
    x, y = width // 2, depth // 2
    levels = even_steps(80, height, boards)
    parts = [
        box(x0, x0 + 30, y0, y0 + 30, 0, height, "metal")
        for x0 in (-x, x - 30)
        for y0 in (-y, y - 30)
    ]
    surfaces = []
    for level, above in zip(levels, [*levels[1:], height], strict=True):
        parts.append(box(-x + 4, x - 4, -y + 4, y - 4, level, level + 30, material=Material.WOOD))
        parts += _books(draws, -x + 40, x - 40, -y + 40, y - 40, level + 30, above - level - 60)
        if len(parts) % 3 == 0:
            surfaces.append(Surface(-x + 30, x - 30, -y + 4, y - 4, level + 30, above - level - 40))
    surfaces = [] if any(p.material == Material.SPINES for p in parts) else surfaces
    return assemble("shelf", parts, surfaces=surfaces, has_front=True)


def _cube_shelf(draws: Draws) -> Furniture:
    columns, rows, depth = draws.integer(2, 3), draws.integer(3, 5), even(draws, 300, 400)
    cell, board = 340, 40
    width, height = columns * cell + board * (columns + 1), rows * cell + board * (rows + 1)
    x, y = width // 2, depth // 2
    parts = [box(-x, x, y - 20, y, 20, height - 20)]
    for row in range(rows + 1):
        parts.append(box(-x, x, -y, y - 20, row * (cell + board), row * (cell + board) + board))
    for column in range(columns + 1):
        x0 = -x + column * (cell + board)
        parts.append(box(x0, x0 + board, -y + 2, y - 20, board, height - board))
    for row in range(rows):
        for column in range(columns):
            x0, z = -x + column * (cell + board) + board, row * (cell + board) + board
            if draws.chance(0.25):
                role = draws.choice(("wood", "light", "dark"))
                parts.append(box(x0 + 20, x0 + cell - 20, -y + 20, y - 40, z, z + 280, role))
            else:
                parts += _books(draws, x0 + 10, x0 + cell, -y + 60, y - 20, z, cell)
    top = Surface(-x, x, -y, y - 20, height)
    return assemble("shelf", parts, surfaces=[top], has_front=True)


def _wall_shelf(draws: Draws) -> Furniture:
    width, depth, boards = even(draws, 700, 1200), even(draws, 260, 300), draws.integer(3, 4)
    gap = even(draws, 300, 340) if boards == 4 else even(draws, 380, 440)
    x, y = width // 2, depth // 2
    parts: list[Part] = []
    surfaces = []
    height = (boards - 1) * gap + 40
    for x0 in (-x + 100, x - 120):
        parts.append(box(x0, x0 + 20, y - 20, y, 0, height, "metal"))
    for board in range(boards):
        z = board * gap
        parts.append(box(-x, x, -y, y - 20, z, z + 30, material=Material.WOOD))
        if draws.chance(0.5):
            parts += _books(draws, -x + 20, x - 20, -y + 60, y - 20, z + 30, gap - 40)
        else:
            surfaces.append(Surface(-x, x, -y, y - 20, z + 30, gap - 40))
    elevation = even(draws, 900, 1100)
    return assemble("shelf", parts, mount=Mount.WALL, surfaces=surfaces, has_front=True,
                    elevation=elevation)  # fmt: skip


def _bookcase(draws: Draws) -> Furniture:
    width, depth = even(draws, 700, 1100), even(draws, 280, 360)
    height, boards = even(draws, 1400, 2100), draws.integer(4, 5)
    x, y = width // 2, depth // 2
    parts = [
        box(-x, -x + 30, -y, y, 0, height - 30, material=Material.GRAIN),
        box(x - 30, x, -y, y, 0, height - 30, material=Material.GRAIN),
        box(-x + 30, x - 30, y - 20, y, 0, height - 30),
        slab(width, depth, height - 30, height, material=Material.WOOD),
    ]
    levels = even_steps(60, height - 30, boards)
    for level, above in zip(levels, [*levels[1:], height - 30], strict=True):
        parts.append(box(-x + 30, x - 30, -y + 4, y - 20, level, level + 30))
        parts += _books(draws, -x + 30, x - 30, -y + 60, y - 20, level + 30, above - level - 40)
    top = whole_top((width, depth, height))
    return assemble("shelf", parts, surfaces=[top], has_front=True)


def _dresser(draws: Draws, columns: int, rows: int, width: int, height: int) -> Furniture:
    depth = even(draws, 420, 520)
    x, y = width // 2, depth // 2
    parts = [
        slab(width, depth, height - 30, height, material=Material.WOOD),
        box(-x + 10, x - 10, -y + 40, y, 80, height - 30),
        box(-x + 40, x - 40, -y + 60, y - 20, 0, 80, "dark"),
    ]
    bottoms = even_steps(90, height - 36, rows)
    step = (width - 20) // columns // 4 * 4
    for column in range(columns):
        x0 = -x + 10 + column * step
        x1 = x - 10 if column == columns - 1 else x0 + step
        parts += drawer_fronts(x0, x1, -y + 40, bottoms, height - 36)
    top = whole_top((width, depth, height))
    return assemble("dresser", parts, surfaces=[top], has_front=True)


def _tall_dresser(draws: Draws) -> Furniture:
    return _dresser(draws, 1, draws.integer(4, 5), even(draws, 600, 900), even(draws, 980, 1240))


def _wide_dresser(draws: Draws) -> Furniture:
    return _dresser(draws, 2, 3, even(draws, 1200, 1600), even(draws, 740, 860))


def _wardrobe(draws: Draws, leaves: int) -> Furniture:
    width, depth = leaves * even(draws, 460, 560), even(draws, 560, 640)
    height = even(draws, 1900, 2180)
    x, y = width // 2, depth // 2
    parts = [
        box(-x + 10, x - 10, -y + 30, y, 80, height - 40, material=Material.GRAIN),
        box(-x + 30, x - 30, -y + 60, y - 20, 0, 80, "dark"),
        box(-x, x, -y, y, height - 40, height),
        *doors(-x + 10, x - 10, -y + 30, 84, height - 44, leaves, Material.GRAIN),
    ]
    return assemble("wardrobe", parts, has_front=True)


def _sliding_wardrobe(draws: Draws) -> Furniture:
    width, height = even(draws, 1400, 1820), even(draws, 2000, 2180)
    x = width // 2
    parts = [
        box(-x, x, -240, 320, 0, height),
        box(-x, x, -320, -240, 0, 40, "metal"),
        box(-x, x, -320, -240, height - 40, height, "metal"),
        box(-x + 10, 40, -310, -280, 40, height - 40, material=Material.PANELS),
        box(-40, x - 10, -276, -246, 40, height - 40, "glass"),
        slab(20, 20, 900, 1200, "dark", x=-40, y=-314),
    ]
    return assemble("wardrobe", parts, has_front=True)


BUILDERS: dict[str, dict[str, Builder]] = {
    "cabinet": {
        "two doors": _two_door_cabinet,
        "sideboard": _sideboard,
        "wall": _wall_cabinet,
        "filing": _filing_cabinet,
        "compartments": open_storage.open_cabinet,
    },
    "shelf": {
        "bookcase": _bookcase,
        "rack": _open_rack,
        "cubes": _cube_shelf,
        "wall": _wall_shelf,
    },
    "dresser": {"tall": _tall_dresser, "wide": _wide_dresser},
    "wardrobe": {
        "two doors": lambda draws: _wardrobe(draws, 2),
        "three doors": lambda draws: _wardrobe(draws, 3),
        "sliding": _sliding_wardrobe,
        "doorless": open_storage.open_wardrobe,
    },
}
