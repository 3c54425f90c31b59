"""Rooms and their furniture, laid out without collisions."""

from __future__ import annotations

from dataclasses import dataclass

from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.outlines import Block, Space
from g2vlm_fast.data.placement import Placed
from g2vlm_fast.data.room_config import RoomConfig
from g2vlm_fast.data.room_programs import draw_outline, furnish
from g2vlm_fast.data.simple_rooms import furnish_simply


@dataclass(frozen=True)
class Layout:
    """A furnished building, centred at x = y = 0 with its floor at z = 0."""

    size: tuple[int, int, int]  # millimetres, of the bounding box
    wall_color: tuple[int, int, int]  # thousandths
    floor_color: tuple[int, int, int]
    floor_material: int
    placed: tuple[Placed, ...]
    program: str = "simple"
    spaces: tuple[Space, ...] = ()  # its rooms
    blocks: tuple[Block, ...] = ()  # what is solid within the bounding box


def draw_layout(draws: Draws, config: RoomConfig) -> Layout:
    """Draw a building of one of the programs of the configuration, and its furniture."""
    only = len(config.programs) == 1
    program = config.programs[0] if only else draws.choice(config.programs)
    if program != "simple":
        outline = draw_outline(draws, config, program)
        look = _draw_look(draws)
        placed = furnish(draws, config, program, outline)
        return Layout(outline.size, *look, tuple(placed), program, outline.spaces, outline.blocks)
    side = config.side
    size = (
        _draw_length(draws, side),
        _draw_length(draws, side),
        _draw_length(draws, config.height),
    )
    look = _draw_look(draws)
    half_x, half_y = size[0] // 2, size[1] // 2
    space = Space(program, -half_x, half_x, -half_y, half_y)
    return Layout(size, *look, tuple(furnish_simply(draws, config, size)), program, (space,))


def _draw_length(draws: Draws, limits: tuple[float, float]) -> int:
    return 20 * draws.integer(round(limits[0] * 50), round(limits[1] * 50))


def _draw_look(draws: Draws) -> tuple[tuple[int, int, int], tuple[int, int, int], int]:
    """Colours of walls and floor, and the material of the floor."""
    shade = draws.integer(680, 860)
    wall = (
        shade + draws.integer(0, 60),
        shade + draws.integer(0, 40),
        shade + draws.integer(-40, 20),
    )
    tone = draws.integer(320, 560)
    floor = (
        tone + draws.integer(40, 120),
        tone + draws.integer(0, 40),
        tone - draws.integer(0, 100),
    )
    return wall, floor, draws.integer(0, 3)
