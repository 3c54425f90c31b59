"""Simple rooms: the same everywhere, furnished without collisions, seen and truthful."""

from __future__ import annotations

import hashlib
import json
from collections import Counter

import numpy as np
import pytest
import torch

from g2vlm_fast.data import RoomConfig, Scene, generate_room, room_record, seeds_of, split_of
from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.rendering.sensor import axial_sigma, sense_depth
from g2vlm_fast.data.rooms.furniture import SMALL_CLASSES, make_simple_furniture
from g2vlm_fast.geometry.boxes import box_corners, footprint_overlap, points_in_boxes
from g2vlm_fast.geometry.cameras import unproject
from g2vlm_fast.ontology import SIMPLE_CLASSES

RECORD_OF_SEED_0 = "e2ef47312753e69ba6ee1848975765103e280e117afa24a79293dd6eae075fc6"
DRAWS_OF_SEED_0 = [271, 617, 24, 533, 971]
SPLITS_OF_FIRST_SEEDS = [
    "train",
    "validation",
    "validation",
    "validation",
    "train",
    "train",
    "train",
    "train",
    "train",
    "train",
    "train",
    "train",
]
SEEDS = range(12)
SIMPLE = RoomConfig(programs=("simple",))


@pytest.fixture(scope="module")
def rooms() -> list[Scene]:
    return [generate_room(seed, SIMPLE) for seed in SEEDS]


def digest(seed: int) -> str:
    return hashlib.sha256(
        json.dumps(room_record(seed, SIMPLE), sort_keys=True).encode()
    ).hexdigest()


def test_the_record_of_seed_0_is_the_same_on_every_machine() -> None:
    assert digest(0) == RECORD_OF_SEED_0


def test_draws_do_not_change_with_the_version_of_numpy() -> None:
    draws = Draws(0)
    assert [draws.integer(0, 999) for _ in range(5)] == DRAWS_OF_SEED_0


def test_equal_seeds_give_equal_rooms_and_other_seeds_others(rooms: list[Scene]) -> None:
    again = generate_room(1, SIMPLE)
    assert torch.equal(again.images, rooms[1].images)
    assert again.depth is not None
    assert rooms[1].depth is not None
    assert torch.equal(again.depth, rooms[1].depth)
    assert len({digest(seed) for seed in SEEDS}) == len(SEEDS)


def test_splits_are_fixed_disjoint_and_of_the_stated_shares() -> None:
    shares = Counter(split_of(seed) for seed in range(5000))
    assert shares["train"] / 5000 == pytest.approx(0.8, abs=0.02)
    assert shares["validation"] / 5000 == pytest.approx(0.1, abs=0.02)
    assert [split_of(seed) for seed in range(12)] == SPLITS_OF_FIRST_SEEDS
    assert all(split_of(seed) == "test" for seed in seeds_of("test", 20, start=100))
    assert seeds_of("test", 5, start=100)[0] >= 100


def test_furniture_stands_in_the_room_without_overlap(rooms: list[Scene]) -> None:
    for room in rooms:
        assert room.truth is not None
        center, size, rotation = room.truth.boxes()
        corners = box_corners(center, size, rotation)
        half = room.truth.room_size / 2
        assert (corners[..., :2].abs() <= half[:2]).all(), room.name
        assert corners[..., 2].min() >= -1e-6
        assert (corners[..., 2] <= room.truth.room_size[2]).all()
        overlap = footprint_overlap((center, size, rotation), (center, size, rotation))
        for i, first in enumerate(room.truth.objects):
            for j, second in enumerate(room.truth.objects):
                if i < j and first.support == second.support:
                    assert overlap[i, j] == 0, (room.name, i, j)


def test_what_stands_on_furniture_touches_its_top(rooms: list[Scene]) -> None:
    carried = 0
    for room in rooms:
        assert room.truth is not None
        for thing in room.truth.objects:
            bottom = thing.center[2] - thing.size[2] / 2
            top = torch.tensor(0.0)
            if thing.support is not None:
                base = room.truth.objects[thing.support]
                top = base.center[2] + base.size[2] / 2
                carried += 1
            assert bottom.item() == pytest.approx(top.item(), abs=1e-5)
    assert carried > 2


def test_every_object_is_seen_by_a_view(rooms: list[Scene]) -> None:
    for room in rooms:
        assert room.truth is not None
        pixels = torch.bincount(room.truth.instance.flatten() + 1)[1:]
        assert len(pixels) == len(room.truth.objects), room.name
        assert (pixels > 0).all(), room.name


def test_cameras_stand_in_free_space_inside_the_room(rooms: list[Scene]) -> None:
    for room in rooms:
        assert room.truth is not None
        assert 2 <= room.num_views <= 4
        assert room.truth.primitives.signed_distance(room.poses[:, :3, 3]).min() > 0.1


def test_boxes_enclose_exactly_what_they_are_made_of(rooms: list[Scene]) -> None:
    for room in rooms:
        assert room.truth is not None
        primitives = room.truth.primitives
        corners = box_corners(primitives.center, 2 * primitives.half_size, primitives.rotation)
        for index, thing in enumerate(room.truth.objects):
            rows = list(thing.primitives)
            assert (primitives.instance[rows] == index).all()
            local = (corners[rows].flatten(0, 1) - thing.center) @ thing.rotation
            torch.testing.assert_close(local.amax(0), thing.size / 2, atol=1e-4, rtol=0)
            torch.testing.assert_close(local.amin(0), -thing.size / 2, atol=1e-4, rtol=0)


def test_the_pixels_of_an_object_lie_in_its_box(rooms: list[Scene]) -> None:
    for room in rooms[:4]:
        assert room.truth is not None
        points = unproject(room.truth.depth, room.intrinsics, room.poses).flatten(0, 2)
        center, size, rotation = room.truth.boxes()
        inside = points_in_boxes(points, center, size + 2e-3, rotation)
        owner = room.truth.instance.flatten()
        on_object = owner >= 0
        assert inside[owner[on_object], on_object.nonzero()[:, 0]].all()


@pytest.mark.parametrize("class_name", SIMPLE_CLASSES)
def test_furniture_parts_stand_on_the_floor_and_fill_the_box(class_name: str) -> None:
    forms = (False, True) if class_name in SMALL_CLASSES else (False,)
    for seed in range(20):
        for small in forms:
            piece = make_simple_furniture(class_name, Draws(seed), small=small)
            low = [
                min(part.center[axis] - part.size[axis] / 2 for part in piece.parts)
                for axis in range(3)
            ]
            high = [
                max(part.center[axis] + part.size[axis] / 2 for part in piece.parts)
                for axis in range(3)
            ]
            width, depth, height = piece.size
            assert low == [-width / 2, -depth / 2, 0]
            assert high == [width / 2, depth / 2, height]
            assert all(min(part.size) > 0 for part in piece.parts)
            assert any(part.role == "main" for part in piece.parts)


def test_only_lamps_and_boxes_have_a_small_form() -> None:
    with pytest.raises(ValueError, match=r"only .* are small, got 'bed'"):
        make_simple_furniture("bed", Draws(0), small=True)
    with pytest.raises(ValueError, match=r"only .* are simple, got 'piano'"):
        make_simple_furniture("piano", Draws(0))


def test_all_classes_and_colors_occur() -> None:
    records = [room_record(seed, SIMPLE) for seed in range(60)]
    placed = [piece for record in records for piece in record["layout"]["placed"]]
    assert {piece["furniture"]["class_name"] for piece in placed} == set(SIMPLE_CLASSES)
    assert len({piece["color"] for piece in placed}) == 8


def test_measured_depth_has_the_stated_noise() -> None:
    depth = torch.full((4, 200, 200), 2.5)
    measured, sigma = sense_depth(
        depth, torch.ones_like(depth), np.random.Generator(np.random.PCG64(0))
    )
    given = measured > 0
    assert given.float().mean() > 0.8  # patches without returns
    error = (measured - depth)[given]
    assert error.mean().abs() < 1e-3
    assert error.std().item() == pytest.approx(sigma[given].mean().item(), rel=0.05)
    assert axial_sigma(torch.tensor(0.4)).item() == pytest.approx(0.0012)
    assert (error.abs() <= 3 * sigma[given]).float().mean() > 0.99


def test_holes_come_at_edges_and_not_along_slanted_planes() -> None:
    column = torch.arange(64.0)
    slanted = (1 / (0.2 + 0.012 * column)).expand(40, 64)  # a plane, with steps of up to 6 %
    step = torch.where(column < 32, 2.0, 3.0).expand(40, 64)
    depth = torch.stack([slanted, step])
    lost = torch.zeros_like(depth)
    for seed in range(30):
        generator = np.random.Generator(np.random.PCG64(seed))
        measured, _ = sense_depth(depth, torch.ones_like(depth), generator)
        lost += (measured == 0).float() / 30
    assert (lost[1, :, 31:33].mean() - lost[1, :, :20].mean()).item() > 0.3
    assert (lost[0].mean() - lost[1, :, :20].mean()).abs().item() < 0.1


def test_noise_free_rooms_give_exact_depth() -> None:
    room = generate_room(
        0, RoomConfig(programs=("simple",), sensor_noise=False, depth_probability=1.0)
    )
    assert room.truth is not None
    assert room.depth is not None
    assert torch.equal(room.depth, room.truth.depth)
    assert room.depth_sigma is None


def test_depth_and_mesh_are_given_with_their_probability() -> None:
    config = RoomConfig(programs=("simple",), depth_probability=0.5, mesh_probability=0.5)
    rooms = [room_record(seed, config) for seed in range(40)]
    assert 10 < sum(room["depth_given"] for room in rooms) < 30
    assert 10 < sum(room["meshed"] is not None for room in rooms) < 30
    always = generate_room(0, RoomConfig(programs=("simple",), mesh_probability=1.0))
    assert always.vertices is not None
    assert always.faces is not None
    assert len(always.faces) > 20
    never = generate_room(
        0, RoomConfig(programs=("simple",), depth_probability=0.0, mesh_probability=0.0)
    )
    assert never.depth is None
    assert never.vertices is None


def test_larger_images_show_the_same_room() -> None:
    small = generate_room(2, RoomConfig(programs=("simple",), sensor_noise=False))
    large = generate_room(
        2, RoomConfig(programs=("simple",), sensor_noise=False, image_size=(96, 128))
    )
    assert small.truth is not None
    assert large.truth is not None
    shrunk = torch.nn.functional.avg_pool2d(large.images.float(), 2)
    assert (shrunk - small.images.float()).abs().mean() < 4


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"objects": (5, 3)}, "objects must be 0 < low <= high"),
        ({"side": (1.0, 3.0)}, "at least 2.5 m wide"),
        ({"image_size": (4, 64)}, "image_size must be >= 8"),
        ({"classes": ("table", "spoon")}, "classes must be some of"),
        ({"colors": ()}, "colors must be some of"),
    ],
)
def test_impossible_configurations_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RoomConfig(**fields)


def test_negative_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match="seeds must be 0 or larger"):
        generate_room(-1)
