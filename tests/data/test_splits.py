"""Splits of generated rooms: fixed by seed, and training never shows what is held out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from g2vlm_fast.data import (
    PROGRAMS,
    ROOM_SPLITS,
    RoomConfig,
    generate_room,
    room_config_of,
    seeds_of,
    split_of,
)
from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.rooms.furniture import VARIANTS, mount_of
from g2vlm_fast.data.rooms.held_out import (
    HELD_OUT_FACTS,
    HELD_OUT_VARIANTS,
    drawable_variants,
    held_out_facts,
)
from g2vlm_fast.data.rooms.layout import draw_layout
from g2vlm_fast.data.rooms.records import draw_room
from g2vlm_fast.data.rooms.solids import build_primitives
from g2vlm_fast.data.rooms.truth import objects_of, relations_of
from g2vlm_fast.ontology import RELATIONS


def test_every_split_has_rooms_and_only_training_has_training_seeds() -> None:
    for split in ROOM_SPLITS:
        config = room_config_of(split)
        assert config.programs == PROGRAMS
        seeds = seeds_of(split, 3)
        share = split if split in ("train", "validation") else "test"
        assert all(split_of(seed) == share for seed in seeds)
    with pytest.raises(ValueError, match="split must be one of"):
        room_config_of("unseen colours")
    with pytest.raises(ValueError, match="split must be one of"):
        seeds_of("tests", 1)


def test_a_split_changes_a_given_configuration_in_its_own_way_only() -> None:
    base = RoomConfig(programs=("office",), image_size=(24, 32))
    assert room_config_of("train", base) == base
    noisy = room_config_of("stronger noise", base)
    assert replace(noisy, noise_scale=1.0) == base
    assert noisy.noise_scale > 2


def test_every_class_keeps_variants_of_every_mount_for_training() -> None:
    held_out = 0
    for name, variants in VARIANTS.items():
        seen = drawable_variants(name, "seen")
        unseen = drawable_variants(name, "unseen")
        held_out += len(HELD_OUT_VARIANTS[name])
        assert set(seen).isdisjoint(HELD_OUT_VARIANTS[name])
        assert set(seen) | HELD_OUT_VARIANTS[name] == set(variants)
        mounts = {mount_of(name, variant) for variant in variants}
        assert {mount_of(name, variant) for variant in seen} == mounts
        assert {mount_of(name, variant) for variant in unseen} == mounts
        assert HELD_OUT_VARIANTS[name] <= set(unseen)
    assert held_out >= 40


def test_training_rooms_never_show_a_held_out_variant() -> None:
    config = room_config_of("train")
    for seed in seeds_of("train", 60):
        for piece in draw_layout(Draws(seed, 0), config).placed:
            name = piece.furniture.class_name
            assert piece.furniture.variant not in HELD_OUT_VARIANTS[name]


def test_rooms_of_unseen_furniture_show_held_out_variants() -> None:
    config = room_config_of("unseen furniture")
    shown = set()
    for seed in seeds_of("unseen furniture", 40):
        for piece in draw_layout(Draws(seed, 0), config).placed:
            name = piece.furniture.class_name
            assert piece.furniture.variant in drawable_variants(name, "unseen")
            if piece.furniture.variant in HELD_OUT_VARIANTS[name]:
                shown.add(name)
    assert len(shown) >= 30


def facts_of(seed: int, config: RoomConfig) -> set[tuple[str, str, str]]:
    record = draw_room(seed, config)
    objects = objects_of(record.layout, build_primitives(record.layout))
    labels = relations_of(objects, record.viewpoints.poses()[0].float())
    names = [thing.class_name for thing in objects]
    facts = set()
    for relation in ("left of", "in front of", "on", "in"):
        for subject, other in (labels[..., RELATIONS.index(relation)] == 1).nonzero().tolist():
            facts.add((names[subject], relation, names[other]))
    return facts


def test_training_rooms_never_realise_a_held_out_fact() -> None:
    config = room_config_of("train")
    for seed in seeds_of("train", 40):
        assert facts_of(seed, config).isdisjoint(HELD_OUT_FACTS)


def test_without_the_rule_some_rooms_would_realise_held_out_facts() -> None:
    config = replace(room_config_of("train"), facts="all")
    found = [bool(facts_of(seed, config) & HELD_OUT_FACTS) for seed in seeds_of("train", 30)]
    assert 2 <= sum(found) <= 25


def test_rooms_of_unseen_facts_realise_at_least_one_each() -> None:
    config = room_config_of("unseen facts")
    for seed in seeds_of("unseen facts", 6):
        assert facts_of(seed, config) & HELD_OUT_FACTS


def test_right_of_and_behind_cannot_bring_a_held_out_fact_in() -> None:
    labels = torch.zeros(2, 2, len(RELATIONS), dtype=torch.int8)
    subject, relation, other = next(f for f in sorted(HELD_OUT_FACTS) if f[1] == "left of")
    labels[0, 1, RELATIONS.index(relation)] = 1
    assert held_out_facts([subject, other], labels) == {(subject, relation, other): {0}}
    assert held_out_facts([other, subject], labels) == {}


def test_unseen_viewpoints_are_outside_the_heights_and_pitches_of_training() -> None:
    train = room_config_of("train")
    for split in ("unseen low viewpoints", "unseen high viewpoints"):
        config = room_config_of(split)
        for seed in seeds_of(split, 4):
            eyes = draw_room(seed, config).viewpoints.eyes
            for _, _, height in eyes:
                assert not train.eye_height[0] <= height / 1000 <= train.eye_height[1]


def test_unseen_sizes_are_larger_than_all_of_training() -> None:
    train, unseen = room_config_of("train"), room_config_of("unseen sizes")

    def sides(config: RoomConfig, split: str) -> list[int]:
        layouts = [draw_layout(Draws(seed, 0), config) for seed in seeds_of(split, 40)]
        return [max(x.size[:2]) for x in layouts if x.program != "flat"]

    assert min(sides(unseen, "unseen sizes")) > max(sides(train, "train"))


def test_stronger_noise_is_stated_in_sigma_and_found_in_depth() -> None:
    base = RoomConfig(programs=("office",), depth_probability=1.0, mesh_probability=0.0)
    errors, sigmas = [], []
    for split in ("test", "stronger noise"):
        room = generate_room(1, room_config_of(split, base))
        assert room.truth is not None
        assert room.depth is not None
        assert room.depth_sigma is not None
        given = room.depth > 0
        errors.append((room.depth - room.truth.depth)[given].std().item())
        sigmas.append(room.depth_sigma[given].mean().item())
    assert errors[1] > 1.6 * errors[0]
    assert sigmas[1] > 1.6 * sigmas[0]


def test_fewer_views_are_two() -> None:
    config = room_config_of("fewer views")
    assert all(len(draw_room(seed, config).viewpoints.eyes) == 2 for seed in (1, 2))


@pytest.mark.parametrize(
    "split", ["unseen furniture", "unseen facts", "unseen low viewpoints", "unseen high viewpoints"]
)
def test_splits_that_change_nothing_of_simple_rooms_are_refused(split: str) -> None:
    with pytest.raises(ValueError, match="simple rooms"):
        room_config_of(split, RoomConfig(programs=("simple",)))


@pytest.mark.parametrize(
    "fields",
    [
        {"noise_scale": float("nan")},
        {"l_shaped": float("nan")},
        {"l_shaped": 7.0},
        {"depth_probability": -1.0},
        {"eye_height": (1.0, 3.5)},
        {"side": (3.0, float("inf"))},
        {"views": (2.5, 3.5)},
        {"image_size": (16, 16, 16)},
    ],
)
def test_impossible_rooms_are_refused_by_name(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(fields))):
        RoomConfig(**fields)


def test_cameras_of_one_height_stand_there() -> None:
    config = RoomConfig(programs=("office",), eye_height=(1.5, 1.5), image_size=(16, 16))
    heights = generate_room(1, config).poses[:, 2, 3]
    assert (heights - 1.5).abs().max() <= 0.061
