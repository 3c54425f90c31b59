"""How cameras move through rooms: they look about, go round a centre, or walk.

At the end they step up to a few containers and look into them.

A camera is carried over the free floor at eye height, so that each of its places is one that a
person can stand at. Places are whole millimetres, and so are the points that cameras look at.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.rooms.config import RoomConfig
from g2vlm_fast.data.rooms.free_floor import Cell, FreeFloor, free_floor
from g2vlm_fast.data.rooms.layout import Layout
from g2vlm_fast.data.rooms.outlines import Space
from g2vlm_fast.data.rooms.placement import Placed
from g2vlm_fast.data.rooms.support import is_in
from g2vlm_fast.data.rooms.turns import cosine_sine

Point = tuple[int, int, int]
View = tuple[Point, Point]  # eye and target

_CELL = 100  # millimetres
_UNDER_CEILING = 150
_AHEAD = 1500  # millimetres from an eye to what it looks at while walking
_NEAREST_TARGET = 900
_GLANCES = 4  # into containers, at most
_FROM_FRONT = 1200  # millimetres from the front of what is looked into
_EYES_TRIED = 4  # the one furthest from the target is taken: rooms are seen from their ends


def draw_views(draws: Draws, config: RoomConfig, layout: Layout, count: int) -> list[View]:
    """Draw candidates for the views of a room along one kind of trajectory.

    Args:
        draws: source of randomness.
        config: kinds of trajectories, heights of eyes and pitches.
        layout: the room; at least one piece of furniture.
        count: how many views, besides those into containers.

    Returns:
        Eyes and targets in the order in which the camera comes by; none where no one can stand.
    """
    floor = free_floor(
        layout.size, layout.spaces, layout.blocks, layout.placed, cell=_CELL
    ).reachable()
    cells = [(int(x), int(y)) for x, y in zip(*np.nonzero(floor.free), strict=True)]
    if not cells:
        return []
    kind = draws.choice(config.trajectories)
    drawers = {"look": _look_about, "orbit": _orbit, "walk": _walk}
    pairs = drawers[kind](draws, layout, floor, cells, count)
    pairs += _glances_into_containers(draws, layout, floor, cells)
    height = _draw_height(draws, config, layout)
    views = []
    for eye, target in pairs:
        sway = draws.integer(-60, 60)
        views.append(_level(draws, config, (*eye, height + sway), target))
    return views


def _draw_height(draws: Draws, config: RoomConfig, layout: Layout) -> int:
    low, high = (round(limit * 1000) for limit in config.eye_height)
    middle = (low + high) // 2
    height = draws.integer(min(low + 60, middle), max(high - 60, middle))
    return min(height, layout.size[2] - _UNDER_CEILING - 60)


def _level(draws: Draws, config: RoomConfig, eye: Point, target: Point) -> View:
    """Move a target up or down until the camera looks at it within the pitches allowed."""
    away = math.isqrt((target[0] - eye[0]) ** 2 + (target[1] - eye[1]) ** 2)
    if away == 0:
        target, away = (target[0] + 500, target[1], target[2]), 500
    rises = []
    for pitch in config.pitch:
        cosine, sine = cosine_sine(pitch)
        rises.append(round(away * sine / cosine))
    rise = min(max(target[2] - eye[2] + draws.integer(-200, 200), rises[0]), rises[1])
    return eye, (target[0], target[1], eye[2] + rise)


def _look_about(
    draws: Draws, layout: Layout, floor: FreeFloor, cells: Sequence[Cell], count: int
) -> list[tuple[tuple[int, int], Point]]:
    """From anywhere, rather far than near, at a piece of furniture."""
    pairs = []
    for _ in range(count):
        eyes = [floor.position(draws.choice(cells)) for _ in range(_EYES_TRIED)]
        target = _draw_target(draws, layout, eyes[0])
        here = next((space for space in layout.spaces if space.contains(*eyes[0])), None)
        eyes = [eye for eye in eyes if here is None or here.contains(*eye)]
        pairs.append((max(eyes, key=lambda eye: math.dist(eye, target[:2])), target))
    return pairs


def _orbit(
    draws: Draws, layout: Layout, floor: FreeFloor, cells: Sequence[Cell], count: int
) -> list[tuple[tuple[int, int], Point]]:
    """Round the middle of the furniture of each space, as far from it as the floor allows."""
    pairs: list[tuple[tuple[int, int], Point]] = []
    for index, space in enumerate(layout.spaces):
        share = count * (index + 1) // len(layout.spaces) - len(pairs)
        pairs += _orbit_space(draws, layout, floor, cells, share, space)
    return pairs


def _orbit_space(
    draws: Draws,
    layout: Layout,
    floor: FreeFloor,
    cells: Sequence[Cell],
    count: int,
    space: Space,
) -> list[tuple[tuple[int, int], Point]]:
    inside = [piece for piece in layout.placed if space.contains(piece.x, piece.y)]
    inside = inside or list(layout.placed)
    x = sum(piece.x for piece in inside) // len(inside) + draws.integer(-300, 300)
    y = sum(piece.y for piece in inside) // len(inside) + draws.integer(-300, 300)
    near = [cell for cell in cells if space.contains(*floor.position(cell))] or cells
    around = np.array([floor.position(cell) for cell in near]) - np.array([x, y])
    start = draws.integer(0, 359)
    pairs = []
    for step in range(count):
        cosine, sine = cosine_sine(start + 360 * step // count)
        along = around[:, 0] * cosine + around[:, 1] * sine
        across = abs(around[:, 1] * cosine - around[:, 0] * sine)
        best = int((along - 1.5 * across).round().argmax())
        target = (x + draws.integer(-200, 200), y + draws.integer(-200, 200), 700)
        pairs.append((floor.position(near[best]), target))
    return pairs


def _walk(
    draws: Draws, layout: Layout, floor: FreeFloor, cells: Sequence[Cell], count: int
) -> list[tuple[tuple[int, int], Point]]:
    """Along the way between two places far apart, looking ahead or at furniture."""
    steps = floor.steps_from(draws.choice(cells))
    start = (int(steps.argmax()) // steps.shape[1], int(steps.argmax()) % steps.shape[1])
    steps = floor.steps_from(start)
    far = [cell for cell in cells if 10 * steps[cell] >= 7 * steps.max()]
    way = [floor.position(cell) for cell in floor.path(start, draws.choice(far))]
    pairs = []
    for step in range(count):
        at = (len(way) - 1) * step // max(count - 1, 1)
        ahead = way[min(at + _AHEAD // _CELL, len(way) - 1)]
        eye = way[at]
        if draws.chance(0.6) or math.dist(eye, ahead) < _NEAREST_TARGET:
            pairs.append((eye, _draw_target(draws, layout, eye)))
        else:
            pairs.append((eye, (ahead[0], ahead[1], draws.integer(500, 1100))))
    return pairs


def _glances_into_containers(
    draws: Draws, layout: Layout, floor: FreeFloor, cells: Sequence[Cell]
) -> list[tuple[tuple[int, int], Point]]:
    """At things in containers, from where one stands before the container."""
    inside = [
        piece
        for piece in layout.placed
        if piece.support is not None and is_in(piece, layout.placed[piece.support])
    ]
    around = np.array([floor.position(cell) for cell in cells])
    pairs = []
    for piece in draws.shuffled(inside)[:_GLANCES]:
        assert piece.support is not None
        base = layout.placed[piece.support]
        x, y = base.to_world(0, -base.furniture.size[1] / 2 - _FROM_FRONT)
        away = ((around - np.array([round(x), round(y)])) ** 2).sum(1)
        eye = floor.position(cells[int(away.argmin())])
        pairs.append((eye, (piece.x, piece.y, piece.z + piece.furniture.size[2] // 2)))
    return pairs


def _draw_target(draws: Draws, layout: Layout, eye: tuple[int, int]) -> Point:
    """A point at a piece of furniture of the same space, not right before the eye."""
    here = next((space for space in layout.spaces if space.contains(*eye)), None)
    pieces: list[Placed] = [
        piece for piece in layout.placed
        if math.dist(eye, (piece.x, piece.y)) >= _NEAREST_TARGET
        and (here is None or here.contains(piece.x, piece.y))
    ] or list(layout.placed)  # fmt: skip
    piece = draws.choice(pieces)
    return (
        piece.x + draws.integer(-300, 300),
        piece.y + draws.integer(-300, 300),
        min(piece.z + piece.furniture.size[2] // 2, 1500),
    )
