"""What is drawn about a room, in whole numbers: layout, cameras, and what is given of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.rooms.config import RoomConfig
from g2vlm_fast.data.rooms.held_out import Fact, held_out_facts
from g2vlm_fast.data.rooms.layout import Layout, draw_layout
from g2vlm_fast.data.rooms.partial_mesh import Scan
from g2vlm_fast.data.rooms.placement import Placed
from g2vlm_fast.data.rooms.programs import ESSENTIAL
from g2vlm_fast.data.rooms.solids import build_primitives
from g2vlm_fast.data.rooms.truth import objects_of, relations_of
from g2vlm_fast.data.rooms.viewpoints import Viewpoints, draw_viewpoints

_LAYOUT_STREAM = 0
_ATTEMPTS = 200
_ATTEMPTS_AT_WHOLE_ROOMS = 10  # after these a bathroom may be one whose toilet no view sees
_MOST_HOLES = 6


@dataclass(frozen=True)
class RoomRecord:
    """Everything that was drawn about a room."""

    seed: int
    layout: Layout
    viewpoints: Viewpoints
    depth_given: bool
    meshed: tuple[bool, ...] | None = None  # simple rooms: floor, then every object
    scan: Scan | None = None  # other rooms; None, as of ``meshed``: no mesh is given


def draw_room(seed: int, config: RoomConfig) -> RoomRecord:
    """Draw layout and cameras; furniture that no view sees is taken out of the room.

    Raises:
        ValueError: a negative seed, or a configuration in which nothing fits.
    """
    draws = Draws(seed, _LAYOUT_STREAM)
    for attempt in range(_ATTEMPTS):
        layout = draw_layout(draws, config)
        if not layout.placed:
            continue
        primitives = build_primitives(layout, torch.float64)
        viewpoints, visible = draw_viewpoints(draws, config, layout, primitives)
        if viewpoints is None:
            continue
        layout = _keep(layout, visible)
        facts = _held_out_facts(layout, viewpoints) if config.facts != "all" else {}
        if config.facts == "seen" and facts:
            subjects = set().union(*facts.values())
            layout = _keep(layout, set(range(len(layout.placed))) - subjects)
        shows_enough = bool(facts) or config.facts != "unseen" or layout.program == "simple"
        if attempt < _ATTEMPTS_AT_WHOLE_ROOMS and _lacks_essentials(layout, config):
            continue
        if len(layout.placed) >= min(2, config.objects[0]) and shows_enough:
            given = draws.chance(config.depth_probability)
            meshed, scan = _draw_given_mesh(draws, config, layout, viewpoints)
            return RoomRecord(seed, layout, viewpoints, given, meshed, scan)
    raise ValueError(f"generate_room: nothing fits into the rooms of this configuration, {config}")


def _keep(layout: Layout, visible: set[int]) -> Layout:
    """Take out what is not visible, and what stands on what is taken out."""
    moved: dict[int, int] = {}
    placed: list[Placed] = []
    for index, piece in enumerate(layout.placed):  # supports come before what they carry
        if index in visible and (piece.support is None or piece.support in moved):
            moved[index] = len(placed)
            support = None if piece.support is None else moved[piece.support]
            placed.append(replace(piece, support=support))
    return replace(layout, placed=tuple(placed))


def _lacks_essentials(layout: Layout, config: RoomConfig) -> bool:
    """Whether a space shows none of what its program is not believed without."""
    shown = [
        (piece.furniture.class_name, space)
        for space in layout.spaces
        for piece in layout.placed
        if space.contains(piece.x, piece.y)
    ]
    return any(
        name in config.classes and (name, space) not in shown
        for space in layout.spaces
        for name in ESSENTIAL.get(space.program, ())
    )


def _held_out_facts(layout: Layout, viewpoints: Viewpoints) -> dict[Fact, set[int]]:
    """The held-out facts that a room realises, with their subjects; none of simple rooms."""
    if layout.program == "simple" or not layout.placed:
        return {}
    objects = objects_of(layout, build_primitives(layout))
    relations = relations_of(objects, viewpoints.poses()[0].float())
    return held_out_facts([thing.class_name for thing in objects], relations)


def _draw_given_mesh(
    draws: Draws, config: RoomConfig, layout: Layout, viewpoints: Viewpoints
) -> tuple[tuple[bool, ...] | None, Scan | None]:
    if not draws.chance(config.mesh_probability):
        return None, None
    if layout.program == "simple":
        return tuple(draws.chance(0.6) for _ in range(len(layout.placed) + 1)), None
    views = draws.integer(1, len(viewpoints.eyes))
    holes = tuple(
        (draws.integer(0, views - 1), draws.integer(0, 1000), draws.integer(0, 1000),
         draws.integer(100, 450))
        for _ in range(draws.integer(0, _MOST_HOLES))
    )  # fmt: skip
    return None, Scan(views, holes)
