"""Outlines, footprints and free floor: walls close, doorways connect, overlaps are exact."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.rooms.footprints import Footprint
from g2vlm_fast.data.rooms.free_floor import free_floor
from g2vlm_fast.data.rooms.outlines import Outline, draw_flat_outline, draw_room_outline
from g2vlm_fast.geometry.boxes import footprint_overlap

FLAT = ("living room", "bedroom", "kitchen", "bathroom")


def flats() -> list[Outline]:
    return [
        draw_flat_outline(Draws(seed), (6000 + 20 * seed, 8000 - 20 * seed, 2600), FLAT[:count])
        for seed in range(30)
        for count in (2, 3, 4)
    ]


def test_rooms_of_a_flat_do_not_overlap_and_fill_it_up_to_its_walls() -> None:
    for outline in flats():
        area = sum(space.area for space in outline.spaces)
        walls = sum((b.x1 - b.x0) * (b.y1 - b.y0) for b in outline.blocks) / 1e6
        assert area + walls - outline.size[0] * outline.size[1] / 1e6 == pytest.approx(0, abs=0.1)
        for block in outline.blocks:
            assert not any(space.holds(block.footprint()) for space in outline.spaces)
        assert [space.program for space in outline.spaces] == list(FLAT[: len(outline.spaces)])
        assert outline.spaces[0].area == max(space.area for space in outline.spaces)


def test_doorways_connect_all_rooms_of_a_flat() -> None:
    for outline in flats():
        floor = free_floor(outline.size, outline.spaces, outline.blocks, [], cell=50)
        assert floor.free.sum() == floor.reachable().free.sum()
        for doorway in outline.doorways:
            assert 800 <= doorway.width <= 960
            above = [b for b in outline.blocks if b.z0 > 0 and b.footprint().distance_to(
                doorway.x, doorway.y) == 0]  # fmt: skip
            assert len(above) == 1  # its lintel


def test_walls_of_an_l_go_all_the_way_round() -> None:
    for seed in range(40):
        outline = draw_room_outline(Draws(seed), "office", (5000, 4000, 2600), l_shaped=True)
        (space,) = outline.spaces
        (block,) = outline.blocks
        walls = space.walls(outline.size)
        assert sum(wall.length for wall in walls) == 2 * (5000 + 4000)
        assert space.area == pytest.approx(20 - (block.x1 - block.x0) * (block.y1 - block.y0) / 1e6)
        for wall in walls:
            ahead, behind = wall.at(0, 50), wall.at(0, -50)
            assert space.contains(*ahead)
            assert not space.contains(*behind)
            assert wall.is_outer


def test_inner_walls_are_no_outer_ones() -> None:
    for outline in flats():
        for space in outline.spaces:
            for wall in space.walls(outline.size):
                x, y = wall.at(0, -200)
                outside = abs(x) > outline.size[0] / 2 or abs(y) > outline.size[1] / 2
                assert wall.is_outer == outside


def test_impossible_flats_are_refused() -> None:
    with pytest.raises(ValueError, match="a flat has 2 to 4 rooms"):
        draw_flat_outline(Draws(0), (8000, 8000, 2600), ("bedroom",))
    with pytest.raises(ValueError, match="too small for several rooms"):
        draw_flat_outline(Draws(0), (3000, 8000, 2600), FLAT)


rectangles = st.builds(
    Footprint,
    st.integers(-1500, 1500), st.integers(-1500, 1500), st.integers(0, 359),
    st.integers(50, 900), st.integers(50, 900), st.just(0), st.integers(1, 9),
)  # fmt: skip


@settings(deadline=None, max_examples=120)
@given(rectangles, rectangles)
def test_overlap_agrees_with_the_area_that_two_boxes_share(one: Footprint, two: Footprint) -> None:
    def box(solid: Footprint) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        center = torch.tensor([[solid.x, solid.y, 0.5]], dtype=torch.float64)
        size = torch.tensor([[2 * solid.half_width, 2 * solid.half_depth, 1.0]]).double()
        c, s = solid.cosine, solid.sine
        rotation = torch.tensor([[[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]]).double()
        return center, size, rotation

    shared = footprint_overlap(box(one), box(two)).item()
    assert one.overlaps(two) == two.overlaps(one)
    if one.overlaps(two):
        assert shared > -1e-6
    if shared > 1.0:  # square millimetre
        assert one.overlaps(two)
    if not one.overlaps(two):
        assert shared < 1.0


@settings(deadline=None, max_examples=80)
@given(rectangles, st.integers(-3000, 3000), st.integers(-3000, 3000))
def test_distance_is_that_of_the_nearest_point(solid: Footprint, x: int, y: int) -> None:
    along = np.linspace(-1, 1, 41)
    u, v = np.meshgrid(along * solid.half_width, along * solid.half_depth)
    world = np.array([solid.to_world(a, b) for a, b in zip(u.ravel(), v.ravel(), strict=True)])
    sampled = np.hypot(world[:, 0] - x, world[:, 1] - y).min()
    exact = solid.distance_to(x, y)
    step = math.hypot(solid.half_width, solid.half_depth) / 20
    assert exact - 1e-6 <= sampled <= exact + step


def test_round_solids_overlap_by_their_radius() -> None:
    disc = Footprint(0, 0, 0, 500, 500, 0, 1, True)
    corner = Footprint(600, 600, 0, 200, 200, 0, 1)  # its corner at (400, 400), 566 mm away
    assert not disc.overlaps(corner)
    assert not corner.overlaps(disc)
    assert disc.overlaps(Footprint(500, 500, 0, 200, 200, 0, 1))
    assert not disc.overlaps(Footprint(0, 0, 0, 10, 10, 1, 2))  # above it
    assert disc.overlaps(Footprint(900, 0, 0, 450, 450, 0, 1, True))


def test_free_floor_keeps_its_distance_from_everything() -> None:
    outline = draw_room_outline(Draws(3), "office", (4000, 3000, 2600), l_shaped=True)
    floor = free_floor(outline.size, outline.spaces, outline.blocks, [], cell=50, radius=250)
    block = outline.blocks[0].footprint()
    for cell in zip(*np.nonzero(floor.free), strict=True):
        x, y = floor.position((int(cell[0]), int(cell[1])))
        assert outline.spaces[0].contains(x, y, 0)
        assert block.distance_to(x, y) >= 250
        assert abs(x) <= 1750
        assert abs(y) <= 1250


def test_ways_are_shortest_and_walk_on_free_cells_only() -> None:
    outline = draw_flat_outline(Draws(1), (7000, 6000, 2600), FLAT)
    floor = free_floor(outline.size, outline.spaces, outline.blocks, [], cell=100).reachable()
    cells = [(int(x), int(y)) for x, y in zip(*np.nonzero(floor.free), strict=True)]
    start, goal = cells[0], cells[-1]
    way = floor.path(start, goal)
    assert (way[0], way[-1]) == (start, goal)
    assert len(way) == floor.steps_from(start)[goal] + 1
    assert all(floor.free[cell] for cell in way)
    assert all(abs(a[0] - b[0]) + abs(a[1] - b[1]) == 1 for a, b in pairwise(way))
    assert floor.path(start, (0, 0)) == []  # the wall
