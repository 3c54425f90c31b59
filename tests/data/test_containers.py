"""Things in containers: between their sides, seen, and said to be in them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch

from g2vlm_fast.data import PROGRAMS, RoomConfig, Scene, generate_room, room_config_of
from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.language.texts import queries
from g2vlm_fast.data.rooms.furniture import VARIANTS, Cavity, make_furniture
from g2vlm_fast.data.rooms.held_out import HELD_OUT_FACTS
from g2vlm_fast.data.rooms.layout import Layout, draw_layout
from g2vlm_fast.data.rooms.records import draw_room
from g2vlm_fast.data.rooms.support import is_in, put_in, put_on
from g2vlm_fast.geometry.cameras import unproject
from g2vlm_fast.ontology import CLASSES, CONTAINERS, RELATIONS

HOLLOW = [
    (name, variant)
    for name, variants in VARIANTS.items()
    for variant in variants
    if any(make_furniture(name, Draws(seed), variant=variant).cavities for seed in range(6))
]
ALL = RoomConfig(programs=PROGRAMS, views=(4, 8), variants="all", facts="all")


@pytest.fixture(scope="module")
def layouts() -> list[Layout]:
    return [
        draw_layout(Draws(seed, 0), replace(ALL, programs=(program,)))
        for program in PROGRAMS
        for seed in range(14)
    ]


_ASKING = ("relation", "direction", "existence", "count")


def contents(layout: Layout) -> list[tuple[int, int]]:
    """(thing, container) of a layout."""
    return [
        (index, piece.support)
        for index, piece in enumerate(layout.placed)
        if piece.support is not None and is_in(piece, layout.placed[piece.support])
    ]


def test_only_containers_are_hollow() -> None:
    hollow = {name for name, _ in HOLLOW}
    assert hollow <= set(CONTAINERS)
    assert len(hollow) >= 9


@pytest.mark.parametrize(("class_name", "variant"), HOLLOW)
def test_a_cavity_has_sides_all_round_but_one(class_name: str, variant: str) -> None:
    for seed in range(6):
        piece = make_furniture(class_name, Draws(seed), variant=variant)
        for cavity in piece.cavities:
            low, high = cavity.z + cavity.depth // 10, cavity.z + cavity.depth * 9 // 10
            middle = ((cavity.x0 + cavity.x1) / 2, (cavity.y0 + cavity.y1) / 2)
            closed = 0
            for axis, sign in ((0, -1), (0, 1), (1, -1), (1, 1)):
                along = (cavity.y0, cavity.y1) if axis == 0 else (cavity.x0, cavity.x1)
                rays = [
                    (across, z)
                    for across in torch.linspace(along[0] + 20, along[1] - 20, 7).tolist()
                    for z in torch.linspace(low, high, 7).tolist()
                ]
                hits = sum(
                    meets_part(piece, axis, sign, middle[axis], across, z) for across, z in rays
                )
                closed += hits >= 0.55 * len(rays)
            assert closed >= 3, cavity
            assert cavity.tallest >= 60, cavity


def meets_part(piece, axis: int, sign: int, start: float, across: float, z: float) -> bool:  # type: ignore[no-untyped-def]
    """Whether a level ray along an axis, from ``start`` on, meets the box of a part."""
    for part in piece.parts:
        half = part.reach()
        other = 1 - axis
        beside = abs(across - part.center[other]) <= half[other]
        level = abs(z - part.center[2]) <= half[2]
        if beside and level and sign * (part.center[axis] - start) + half[axis] > 0:
            return True
    return False


def test_things_in_containers_stand_between_their_sides(layouts: list[Layout]) -> None:
    count = 0
    for layout in layouts:
        for thing, container in contents(layout):
            piece, base = layout.placed[thing], layout.placed[container]
            solid = piece.solid()
            corners = [base.to_local(*corner) for corner in solid.corners()]
            holding = [
                cavity
                for cavity in base.furniture.cavities
                if piece.z == base.z + cavity.z
                and all(
                    cavity.x0 - 1 <= x <= cavity.x1 + 1 and cavity.y0 - 1 <= y <= cavity.y1 + 1
                    for x, y in corners
                )
            ]
            at = (piece.furniture.class_name, base.furniture.class_name)
            assert len(holding) == 1, at
            below_rim = min(base.z + holding[0].z + holding[0].depth, solid.top) - solid.bottom
            assert below_rim >= 0.66 * piece.furniture.size[2], at
            assert solid.top - piece.z <= holding[0].room, at
            assert not any(
                one.overlaps(other) for one in piece.part_solids() for other in base.part_solids()
            ), at
            count += 1
    assert count > 150


def test_many_things_are_in_many_containers(layouts: list[Layout]) -> None:
    found = Counter(
        (layout.placed[thing].furniture.class_name, layout.placed[base].furniture.class_name)
        for layout in layouts
        for thing, base in contents(layout)
    )
    assert len({thing for thing, _ in found}) >= 12
    assert {base for _, base in found} >= {
        "basket", "bin", "box", "cabinet", "nightstand", "sink", "suitcase", "wardrobe",
    }  # fmt: skip
    deep = [
        layout
        for layout in layouts
        if any(layout.placed[base].support is not None for _, base in contents(layout))
    ]
    assert deep  # a cup in a basket in a cabinet


def test_many_rooms_show_something_in_a_container() -> None:
    config = room_config_of("train")
    records = [draw_room(seed, config) for seed in range(24)]
    assert sum(bool(contents(record.layout)) for record in records) >= 6


@pytest.fixture(scope="module")
def rooms() -> list[Scene]:
    config = room_config_of("train", RoomConfig(views=(4, 8), image_size=(96, 128)))
    return [
        generate_room(seed, replace(config, programs=(program,)))
        for program in ("kitchen", "bathroom", "living room")
        for seed in range(3)
    ]


def test_what_is_in_a_container_is_seen_and_labelled(rooms: list[Scene]) -> None:
    count = 0
    for room in rooms:
        assert room.truth is not None
        pixels = room.truth.visible_pixels()
        within, on = (room.truth.relations[..., RELATIONS.index(name)] for name in ("in", "on"))
        for index, thing in enumerate(room.truth.objects):
            if not thing.inside:
                assert thing.support is None or on[index, thing.support] == 1
                continue
            assert thing.support is not None
            assert room.truth.objects[thing.support].class_name in CONTAINERS
            assert within[index, thing.support] == 1
            assert on[index, thing.support] == 0
            assert within[thing.support, index] != 1
            assert pixels[:, index].max() >= 4, thing.class_name
            count += 1
    assert count >= 5


def test_nothing_is_in_itself_or_in_what_it_contains(rooms: list[Scene]) -> None:
    for room in rooms:
        assert room.truth is not None
        within = room.truth.relations[..., RELATIONS.index("in")] == 1
        assert not (within & within.mT).any()
        twice = (within.float() @ within.float()) > 0
        assert not (twice & ~within).any()  # what is in what is in a thing is in the thing


def test_held_out_facts_speak_of_containers_too() -> None:
    facts = {(thing, base) for thing, relation, base in HELD_OUT_FACTS if relation == "in"}
    assert facts
    config = room_config_of("train")
    for seed in range(20):
        layout = draw_layout(Draws(seed, 0), config)
        for thing, base in contents(layout):
            names = tuple(layout.placed[i].furniture.class_name for i in (thing, base))
            assert names not in facts


def test_what_is_too_tall_or_too_wide_for_a_container_stays_out() -> None:
    for class_name, fits in (("stool", False), ("microwave", False), ("cup", True)):
        carton = make_furniture("box", Draws(1), variant="open carton")
        arrangement = empty_room()
        base = arrangement.stand(carton, 0, 0, 30)
        assert base is not None
        put = [put_in(arrangement, base, class_name) for _ in range(8)]
        assert any(index is not None for index in put) == fits, class_name
        assert put_on(arrangement, base, "cup") is None  # it has no top


def empty_room():  # type: ignore[no-untyped-def]
    from g2vlm_fast.data.rooms.arrangement import Arrangement
    from g2vlm_fast.data.rooms.programs import draw_outline

    draws = Draws(5)
    config = replace(ALL, classes=CLASSES)
    return Arrangement(draws, config, draw_outline(draws, config, "office"))


def test_a_cavity_without_ceiling_takes_things_that_look_out_of_it() -> None:
    basket = Cavity(-100, 100, -100, 100, 20, depth=200)
    assert not basket.has_ceiling
    assert basket.tallest == 300
    niche = Cavity(-100, 100, -100, 100, 20, room=200, depth=200)
    assert niche.has_ceiling
    assert niche.tallest == 200


def test_texts_ask_and_say_what_is_in_containers(rooms: list[Scene]) -> None:
    asked: Counter[str] = Counter()
    for seed, room in enumerate(rooms):
        assert room.truth is not None
        if not any(thing.inside for thing in room.truth.objects):
            continue
        for query in queries(room, seed, kinds=_ASKING * 20, style="training"):
            if query.program is None or all(step.value != "in" for step in query.program.walk()):
                continue
            asked[query.kind] += 1
            if query.kind == "relation" and query.program.value == "in":
                asked[str(query.answer)] += 1
            if query.kind == "direction" and query.program.inputs[0].value == "in":
                assert query.answer != "nothing"
    assert set(_ASKING) <= set(asked), asked
    assert min(asked["yes"], asked["no"]) >= 0.2 * (asked["yes"] + asked["no"]) > 0


def test_what_is_in_nothing_is_asked_of_what_holds_something(rooms: list[Scene]) -> None:
    for seed, room in enumerate(rooms):
        assert room.truth is not None
        within = room.truth.relations[..., RELATIONS.index("in")] == 1
        for query in queries(room, seed, kinds=("relation",) * 6, style="training"):
            if query.kind != "relation" or query.program is None or query.program.value != "in":
                continue
            indices = torch.tensor(query.objects)
            assert within[indices].any() or within[:, indices].any()


def test_masks_lie_on_the_surface_of_what_they_mask(rooms: list[Scene]) -> None:
    """Above all of what is seen through the mouth of a container."""
    for room in rooms[::3]:
        truth = room.truth
        assert truth is not None
        points = unproject(truth.depth, room.intrinsics, room.poses).flatten(0, 2)
        owner = truth.instance.flatten()
        for index in owner.unique().tolist():
            rows = (truth.primitives.instance == index).nonzero()[:, 0]
            solids = truth.primitives.rows(rows)
            distance = solids.signed_distance(points[owner == index][::5])
            assert distance.abs().max() < 2e-3, index
