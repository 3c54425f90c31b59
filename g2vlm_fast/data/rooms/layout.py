"""Rooms and their furniture, laid out without collisions."""

from __future__ import annotations

from dataclasses import dataclass

from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.rendering.materials import Material
from g2vlm_fast.data.rooms.config import RoomConfig
from g2vlm_fast.data.rooms.outlines import INNER_WALL, Block, Space
from g2vlm_fast.data.rooms.placement import Placed
from g2vlm_fast.data.rooms.programs import draw_outline, furnish
from g2vlm_fast.data.rooms.simple import furnish_simply


@dataclass(frozen=True)
class Floor:
    """The floor of one space."""

    x0: int  # millimetres
    x1: int
    y0: int
    y1: int
    color: tuple[int, int, int]  # thousandths
    material: Material


@dataclass(frozen=True)
class Layout:
    """A furnished building, centred at x = y = 0 with its floor at z = 0."""

    size: tuple[int, int, int]  # millimetres, of the bounding box
    wall_color: tuple[int, int, int]  # thousandths
    floors: tuple[Floor, ...]
    placed: tuple[Placed, ...]
    program: str = "simple"
    spaces: tuple[Space, ...] = ()  # its rooms
    blocks: tuple[Block, ...] = ()  # what is solid within the bounding box


def draw_layout(draws: Draws, config: RoomConfig) -> Layout:
    """Draw a building of one of the programs of the configuration, and its furniture."""
    only = len(config.programs) == 1
    program = config.programs[0] if only else draws.choice(config.programs)
    if program == "simple":
        return _draw_simple(draws, config)
    outline = draw_outline(draws, config, program)
    wall = _draw_wall_color(draws, hue=50)
    floors = tuple(_draw_floor(draws, space, outline.size) for space in outline.spaces)
    placed = furnish(draws, config, program, outline)
    size, spaces, blocks = outline.size, outline.spaces, outline.blocks
    return Layout(size, wall, floors, tuple(placed), program, spaces, blocks)


def _draw_simple(draws: Draws, config: RoomConfig) -> Layout:
    length, width, height = (
        20 * draws.integer(round(low * 50), round(high * 50))
        for low, high in (config.side, config.side, config.height)
    )
    size = (length, width, height)
    wall = _draw_wall_color(draws)
    color = _draw_floor_color(draws)
    space = Space("simple", -(length // 2), length // 2, -(width // 2), width // 2)
    area = (space.x0, space.x1, space.y0, space.y1)
    floor = Floor(*area, color, draws.choice(_SIMPLE_FLOORS))
    placed = furnish_simply(draws, config, size)
    return Layout(size, wall, (floor,), tuple(placed), "simple", (space,))


def _draw_wall_color(draws: Draws, hue: int = 0) -> tuple[int, int, int]:
    shade = draws.integer(680, 860)
    red, green, blue = (
        shade + draws.integer(low, high) for low, high in ((0, 60), (0, 40), (-40, 20))
    )
    if hue:
        red, green, blue = (
            min(part + draws.integer(-hue, hue), 940) for part in (red, green, blue)
        )
    return red, green, blue


def _draw_floor_color(draws: Draws) -> tuple[int, int, int]:
    tone = draws.integer(320, 560)
    return (
        tone + draws.integer(40, 120),
        tone + draws.integer(0, 40),
        tone - draws.integer(0, 100),
    )


def _draw_floor(draws: Draws, space: Space, size: tuple[int, int, int]) -> Floor:
    """The floor of a space reaches to the middle of the inner walls around it."""
    edges = (
        coordinate if abs(coordinate) == side // 2 else coordinate + outwards * INNER_WALL // 2
        for coordinate, side, outwards in (
            (space.x0, size[0], -1), (space.x1, size[0], 1),
            (space.y0, size[1], -1), (space.y1, size[1], 1),
        )
    )  # fmt: skip
    x0, x1, y0, y1 = edges
    is_wet = space.program in ("bathroom", "kitchen")
    material = draws.choice(_WET_FLOORS if is_wet else _DRY_FLOORS)
    color = _draw_floor_color(draws)
    if material in (Material.TILES, Material.CHECKER):
        light = draws.integer(600, 820)
        color = (light + draws.integer(0, 60), light + draws.integer(0, 50), light)
    return Floor(x0, x1, y0, y1, color, material)


_SIMPLE_FLOORS = (Material.PLAIN, Material.CHECKER, Material.STRIPES, Material.WOOD)
_WET_FLOORS = (Material.TILES, Material.TILES, Material.PLANKS, Material.CHECKER)
_DRY_FLOORS = (
    Material.PLANKS, Material.PLANKS, Material.WOOD, Material.CARPET, Material.PLAIN,
    Material.TILES,
)  # fmt: skip
