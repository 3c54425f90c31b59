"""Furniture: whole, of real sizes, and nothing of it floats."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import combinations
from pathlib import Path
from statistics import median

import numpy as np
import pytest
import torch

from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.rendering.primitives import Primitives, Shape
from g2vlm_fast.data.rendering.tessellate import tessellate
from g2vlm_fast.data.rooms.furniture import (
    ROLE_COLORS,
    VARIANTS,
    Furniture,
    Mount,
    make_furniture,
    make_simple_furniture,
    mount_of,
)
from g2vlm_fast.data.rooms.furniture.pieces import (
    Part,
    around,
    assemble,
    box,
    leaning,
    needle,
    on_front,
    rod_x,
    rod_y,
    slab,
    stalk,
    upright,
)
from g2vlm_fast.data.rooms.turns import rotation_of
from g2vlm_fast.ontology import CLASSES, SIMPLE_CLASSES

EVERY_VARIANT = [(name, variant) for name, variants in VARIANTS.items() for variant in variants]
SEEDS = range(6)
TOUCHING = 1.0  # millimetres; turned parts are placed to whole millimetres

REAL_NAMES = {
    "trash bin": "bin",
    "trash can": "bin",
    "bookshelf": "shelf",
    "closet": "wardrobe",
    "tv": "television",
    "heater": "radiator",
    "computer tower": "computer",
    "cushion": "pillow",
    "table lamp": "lamp",
}
OTHERWISE_BOXED = {"counter"}  # real boxes hold the worktop alone, ours its cabinets too
ENOUGH_BOXES = 5


def pieces(class_name: str, variant: str) -> list[Furniture]:
    return [make_furniture(class_name, Draws(seed), variant=variant) for seed in SEEDS]


def solids(parts: tuple[Part, ...]) -> Primitives:
    """The parts in millimetres, in float64."""
    count = len(parts)
    return Primitives(
        shape=torch.tensor([int(part.shape) for part in parts]),
        center=torch.tensor([part.center for part in parts], dtype=torch.float64),
        rotation=torch.tensor(
            [rotation_of(part.yaw, part.tilt) for part in parts], dtype=torch.float64
        ),
        half_size=torch.tensor([part.size for part in parts], dtype=torch.float64) / 2,
        color=torch.zeros(count, 3),
        material=torch.zeros(count, dtype=torch.int64),
        instance=torch.arange(count),
    )


def floating(parts: tuple[Part, ...]) -> list[Part]:
    """Parts that do not hang together with the first one."""
    primitives = solids(parts)
    vertices, _, owner = tessellate(primitives, spacing=25.0, segments=48)
    distance = primitives.signed_distances(vertices.double())
    gap = torch.stack([distance[:, owner == row].amin(1) for row in range(len(parts))])
    touches = torch.minimum(gap, gap.T) <= TOUCHING
    reached = torch.zeros(len(parts), dtype=torch.bool)
    reached[0] = True
    for _ in parts:
        reached |= touches[reached].any(0)
    return [part for part, connected in zip(parts, reached.tolist(), strict=True) if not connected]


def test_every_class_can_be_built_and_nothing_else() -> None:
    assert set(VARIANTS) == set(CLASSES)
    assert len(CLASSES) >= 45
    assert CLASSES[: len(SIMPLE_CLASSES)] == SIMPLE_CLASSES
    assert all(len(set(variants)) == len(variants) >= 2 for variants in VARIANTS.values())


@pytest.mark.parametrize(("class_name", "variant"), EVERY_VARIANT)
def test_the_box_of_a_piece_is_the_bound_of_its_parts(class_name: str, variant: str) -> None:
    for piece in pieces(class_name, variant):
        reach = np.array([part.reach() for part in piece.parts])
        center = np.array([part.center for part in piece.parts])
        low, high = (center - reach).min(0), (center + reach).max(0)
        width, depth, height = piece.size
        if not any(part.yaw % 90 or part.tilt % 90 for part in piece.parts):
            np.testing.assert_allclose(low, (-width / 2, -depth / 2, 0), atol=1e-6)
            np.testing.assert_allclose(high, (width / 2, depth / 2, height), atol=1e-6)
            continue
        assert (low[:2] >= (-width / 2 - 1e-6, -depth / 2 - 1e-6)).all()
        assert (high[:2] <= (width / 2 + 1e-6, depth / 2 + 1e-6)).all()
        assert (high[:2] - low[:2] > (width - 3, depth - 3)).all()
        assert -1 < low[2] <= 1e-6
        assert 0 <= height - high[2] + 1e-6 < 1


@pytest.mark.parametrize(("class_name", "variant"), EVERY_VARIANT)
def test_no_part_of_a_piece_floats(class_name: str, variant: str) -> None:
    for piece in pieces(class_name, variant)[:3]:
        assert floating(piece.parts) == []


@pytest.mark.parametrize(("class_name", "variant"), EVERY_VARIANT)
def test_pieces_are_whole(class_name: str, variant: str) -> None:
    for piece in pieces(class_name, variant):
        assert (piece.class_name, piece.variant) == (class_name, variant)
        assert all(min(part.size) > 0 for part in piece.parts)
        assert any(part.role == "main" for part in piece.parts)
        assert {part.role for part in piece.parts} <= {"main", *ROLE_COLORS}
        assert 2 <= len(piece.parts) <= 30
        assert piece.mount == mount_of(class_name, variant)
        assert (piece.elevation > 0) <= (piece.mount == Mount.WALL)
        assert piece.size[2] + piece.elevation <= 2300
        for surface in piece.surfaces:
            assert surface.x1 - surface.x0 > 60
            assert surface.y1 - surface.y0 > 60
            assert -piece.size[0] / 2 <= surface.x0
            assert surface.x1 <= piece.size[0] / 2
            assert -piece.size[1] / 2 <= surface.y0
            assert surface.y1 <= piece.size[1] / 2
            assert 0 < surface.z <= piece.size[2]


@pytest.mark.parametrize(("class_name", "variant"), EVERY_VARIANT)
def test_surfaces_are_free_and_carried(class_name: str, variant: str) -> None:
    for piece in pieces(class_name, variant):
        primitives = solids(piece.parts)
        for surface in piece.surfaces:
            x, y = torch.meshgrid(
                torch.linspace(surface.x0 + 8, surface.x1 - 8, 15, dtype=torch.float64),
                torch.linspace(surface.y0 + 8, surface.y1 - 8, 15, dtype=torch.float64),
                indexing="ij",
            )
            over = torch.stack([x, y, torch.full_like(x, surface.z)], -1).flatten(0, 1)
            under = over - torch.tensor([0.0, 0.0, 2.0], dtype=torch.float64)
            assert (primitives.signed_distance(under) < 0).all(), surface
            for height in (2, 30, min(surface.room, 200) - 2):
                above = over + torch.tensor([0.0, 0.0, height], dtype=torch.float64)
                assert (primitives.signed_distance(above) > 0).all(), (surface, height)


@pytest.mark.parametrize(("class_name", "variant"), EVERY_VARIANT)
def test_no_two_faces_of_different_looks_share_a_plane(class_name: str, variant: str) -> None:
    """Whoever is seen there would be left to rounding."""
    for piece in pieces(class_name, variant)[:3]:
        level = [
            (np.subtract(part.center, part.reach()), np.add(part.center, part.reach()), part)
            for part in piece.parts
            if part.shape == Shape.BOX and not (part.yaw % 90 or part.tilt)
        ]
        for (low, high, one), (other_low, other_high, other) in combinations(level, 2):
            if (one.role, one.material) == (other.role, other.material):
                continue
            shared = np.minimum(high, other_high) - np.maximum(low, other_low)
            for axis in range(3):
                across = np.delete(shared, axis)
                if across.min() <= 0 or across.prod() <= 400:  # square millimetres
                    continue
                stands = axis == 2 and low[2] < 1  # on what carries it
                hangs = axis == 1 and high[1] > piece.size[1] / 2 - 1  # before a wall
                assert stands or low[axis] != other_low[axis], (one, other)
                assert hangs or high[axis] != other_high[axis], (one, other)


def test_pieces_are_made_of_few_parts() -> None:
    medians = [
        median(len(piece.parts) for piece in pieces(name, variant))
        for name, variant in EVERY_VARIANT
    ]
    assert 4 <= median(medians) <= 12


def test_the_variant_is_drawn_unless_it_is_given() -> None:
    drawn = {make_furniture("chair", Draws(seed)).variant for seed in range(60)}
    assert drawn == set(VARIANTS["chair"])
    assert make_furniture("chair", Draws(3)) == make_furniture("chair", Draws(3))
    office = [make_furniture("chair", Draws(seed), variant="office") for seed in SEEDS]
    assert {piece.variant for piece in office} == {"office"}
    assert len({piece.size for piece in office}) > 4


def test_unknown_furniture_is_refused() -> None:
    with pytest.raises(ValueError, match="class_name must be one of"):
        make_furniture("throne", Draws(0))
    with pytest.raises(ValueError, match=r"variant of 'chair' must be one of .*'rocking'"):
        make_furniture("chair", Draws(0), variant="rocking")
    with pytest.raises(ValueError, match=r"only .* are simple, got 'piano'"):
        make_simple_furniture("piano", Draws(0))


def test_furniture_has_the_sizes_of_real_rooms(shared_data: Path) -> None:
    real = real_sizes(shared_data)
    shared = [name for name in CLASSES if len(real[name]) >= ENOUGH_BOXES]
    assert len(shared) > 25
    strays = []
    for name in set(shared) - OTHERWISE_BOXED:
        low, high = 1000 * np.percentile(real[name], [5, 95], axis=0)
        for variant in VARIANTS[name]:
            made = np.array([sides(piece.size) for piece in pieces(name, variant)])
            if (made < low).any() or (made > high).any():
                strays.append((name, variant, made.min(0), made.max(0), low, high))
    assert not strays


def sides(size: tuple[float, float, float]) -> tuple[float, float, float]:
    """Longer and shorter side on the ground, and height."""
    return max(size[:2]), min(size[:2]), size[2]


def real_sizes(folder: Path) -> dict[str, list[tuple[float, float, float]]]:
    """Sides of the boxes of real rooms in metres; their axes come in any order."""
    sizes = defaultdict(list)
    for file in ("scannet.json", "scannetpp.json"):
        for room in json.loads((folder / "real_rooms" / file).read_text()).values():
            for name, boxes in room["object_bbox"].items():
                for real in boxes:
                    axes = np.reshape(real["normalizedAxes"], (3, 3))
                    upward = int(abs(axes[:, 2]).argmax())
                    lengths = list(real["axesLengths"])
                    height = lengths.pop(upward)
                    sizes[REAL_NAMES.get(name, name)].append(sides((*lengths, height)))
    return sizes


def test_parts_reach_as_far_as_their_surface() -> None:
    parts = [
        leaning(200, 40, 600, 10, 20, 30, 25),
        stalk((30, 20, 400), 70, 100, 50, -15),
        needle(300, 20, 10, 130, 0, 0, 0),
        rod_x(40, -100, 300, 20, 60),
        rod_y(40, -100, 300, 20, 60),
        Part(Shape.CYLINDER, (1, 2, 3), (120, 120, 500), yaw=33, tilt=48),
        Part(Shape.SPHERE, (1, 2, 3), (120, 120, 120), yaw=33, tilt=48),
    ]
    vertices, _, owner = tessellate(solids(tuple(parts)), spacing=1000.0, segments=720)
    for row, part in enumerate(parts):
        span = vertices[owner == row]
        middle = torch.tensor(part.center, dtype=torch.float32)
        reach = torch.tensor(part.reach(), dtype=torch.float32)
        torch.testing.assert_close(span.amax(0) - middle, reach, atol=0.02, rtol=0)
        torch.testing.assert_close(middle - span.amin(0), reach, atol=0.02, rtol=0)


def test_lying_rods_run_along_their_axis() -> None:
    assert rod_x(10, -100, 300, 20, 60).reach() == pytest.approx((200, 10, 10))
    assert rod_y(10, -100, 300, 20, 60).reach() == pytest.approx((10, 200, 10))
    assert rod_x(10, -100, 300, 20, 60).center == (100, 20, 60)


def test_boards_lean_backwards_and_plates_lie_on_their_front() -> None:
    board = leaning(200, 40, 600, 0, 0, 0, 30)
    assert board.center == (0, 150, 260)
    plate = on_front(board, 100, 10, 200, 400, "glass")
    outward = np.array([0, -np.cos(np.radians(30)), np.sin(np.radians(30))])
    np.testing.assert_allclose(np.subtract(plate.center, board.center), 20 * outward, atol=0.51)
    assert (plate.tilt, plate.size) == (-30, (100, 10, 200))


def test_hands_of_clocks_turn_clockwise_seen_from_the_front() -> None:
    assert needle(100, 8, 4, 0, 0, 0, 0).center == (0, 0, 50)
    assert needle(100, 8, 4, 90, 0, 0, 0).center == (50, 0, 0)
    assert needle(100, 8, 4, 180, 0, 0, 0).center == (0, 0, -50)


def test_legs_spread_towards_their_feet() -> None:
    leg = stalk((30, 30, 400), 90, 200, 0, -10)
    rotation = np.array(rotation_of(leg.yaw, leg.tilt))
    foot, top = (np.add(leg.center, rotation @ (0, 0, z)) for z in (-200, 200))
    np.testing.assert_allclose(foot, (*around(200, 90), 0), atol=1)
    assert 0 < top[1] < foot[1]


def test_assembling_moves_parts_and_surfaces_into_the_frame_of_the_piece() -> None:
    piece = assemble("box", [box(100, 300, 50, 150, 40, 240), upright(20, 240, 260, x=200, y=100)])
    assert piece.size == (200, 100, 220)
    assert piece.parts[0].center == (0, 0, 100)
    assert piece.parts[1].center == (0, 0, 210)


def test_centres_off_the_grid_are_refused() -> None:
    with pytest.raises(ValueError, match="box: opposite sides must add up to an even number"):
        box(0, 5, 0, 4, 0, 4)
    with pytest.raises(ValueError, match="slab: opposite sides"):
        slab(100, 100, 1, 4)
