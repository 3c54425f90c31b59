"""Collation packs what it is given, resizes without mixing, and refuses what does not fit."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from g2vlm_fast.data import (
    AnswerVocabulary,
    Query,
    RoomBatches,
    RoomConfig,
    Scene,
    collate,
    draw_texts,
    generate_room,
    queries,
    seeds_of,
)
from g2vlm_fast.geometry.boxes import points_in_boxes
from g2vlm_fast.geometry.cameras import unproject
from g2vlm_fast.records import SceneBatch, Targets, Task

VOCABULARY = AnswerVocabulary()
SIZE = (48, 64)


def by_letters(texts: list[str]) -> list[list[int]]:
    return [[ord(letter) for letter in text] for text in texts]


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    config = RoomConfig(depth_probability=1.0)
    with_mesh = replace_config(config, mesh_probability=1.0)
    without = replace_config(config, mesh_probability=0.0)
    return [generate_room(0, with_mesh), generate_room(1, without), generate_room(5, with_mesh)]


def replace_config(config: RoomConfig, **changes: float) -> RoomConfig:
    return replace(config, **changes)


@pytest.fixture(scope="module")
def batch(scenes: list[Scene]) -> tuple[SceneBatch, Targets]:
    return collate(
        scenes,
        [queries(scene, 0) for scene in scenes],
        image_size=SIZE,
        tokenize=by_letters,
        answer_vocabulary=VOCABULARY,
    )


def plain_scene(name: str = "scan", **changes: object) -> Scene:
    fields: dict = {
        "name": name,
        "images": torch.zeros(1, 3, 6, 8, dtype=torch.uint8),
        "intrinsics": torch.tensor([[[6.0, 0, 3.5], [0, 6.0, 2.5], [0, 0, 1]]]),
        "poses": torch.eye(4)[None],
    }
    return Scene(**fields | changes)


def test_dtypes_are_those_of_the_records(batch: tuple[SceneBatch, Targets]) -> None:
    integers = {
        "faces": torch.int32, "text_ids": torch.int64, "text_scene": torch.int64,
        "instance": torch.int64, "query_observed": torch.bool, "object_class": torch.int64,
        "relation_pairs": torch.int64, "relation_labels": torch.int8, "text_task": torch.int64,
        "answer_ids": torch.int64, "referred_object": torch.int64,
    }  # fmt: skip
    for record in batch:
        fields = record.tensors()
        assert len(fields) == len(vars(record)), "every field is there"
        for name, value in fields.items():
            offsets = torch.int32 if name.endswith("offsets") else torch.float32
            assert value.dtype == integers.get(name, offsets), name
            assert value.is_contiguous(), name


def test_offsets_start_at_zero_and_end_at_the_length(
    batch: tuple[SceneBatch, Targets], scenes: list[Scene]
) -> None:
    inputs, targets = batch
    ends = {
        "view_offsets": len(inputs.images),
        "vertex_offsets": len(inputs.vertices),
        "text_offsets": len(inputs.text_ids),
        "surface_offsets": len(targets.surface_points),
        "query_offsets": len(targets.query_points),
        "object_offsets": len(targets.box_center),
        "relation_offsets": len(targets.relation_pairs),
        "answer_offsets": len(targets.answer_ids),
    }
    fields = inputs.tensors() | targets.tensors()
    for name, end in ends.items():
        offsets = fields[name].tolist()
        assert offsets[0] == 0
        assert offsets[-1] == end, name
        assert offsets == sorted(offsets)
    assert inputs.view_offsets.diff().tolist() == [scene.num_views for scene in scenes]
    assert inputs.num_scenes == 3


def test_a_scene_without_vertices_has_an_empty_segment_and_faces_are_shifted(
    batch: tuple[SceneBatch, Targets], scenes: list[Scene]
) -> None:
    inputs, _ = batch
    first, second, third = inputs.vertex_offsets.diff().tolist()
    assert second == 0
    assert first == len(scenes[0].vertices)
    faces = inputs.faces.long()
    assert faces.max() == first + third - 1
    own = faces[len(scenes[0].faces) :] - first
    assert torch.equal(own, scenes[2].faces.long())


def test_objects_pairs_and_references_are_packed_together(
    batch: tuple[SceneBatch, Targets], scenes: list[Scene]
) -> None:
    inputs, targets = batch
    starts = targets.object_offsets.tolist()
    for scene, start, end in zip(scenes, starts, starts[1:], strict=False):
        assert scene.truth is not None
        inside = (targets.relation_pairs >= start) & (targets.relation_pairs < end)
        assert inside.all(-1).sum() == (end - start) * (end - start - 1)
    row = 17
    subject, anchor = targets.relation_pairs[row].tolist()
    truth = scenes[0].truth
    assert truth is not None
    assert torch.equal(targets.relation_labels[row], truth.relations[subject, anchor])
    asked = [query for scene in scenes for query in queries(scene, 0)]
    for text, query in enumerate(asked):
        scene = int(inputs.text_scene[text])
        if query.referred is None:
            assert targets.referred_object[text] == -1
        else:
            assert targets.referred_object[text] == starts[scene] + query.referred


def test_texts_and_answers_can_be_read_back(
    batch: tuple[SceneBatch, Targets], scenes: list[Scene]
) -> None:
    inputs, targets = batch
    asked = [query for scene in scenes for query in queries(scene, 0)]
    for index, query in enumerate(asked):
        ids = inputs.text_ids[inputs.text_offsets[index] : inputs.text_offsets[index + 1]]
        assert "".join(map(chr, ids.tolist())) == query.text
        assert targets.text_task[index] == query.task
        span = slice(targets.answer_offsets[index], targets.answer_offsets[index + 1])
        answer = targets.answer_ids[span].tolist()
        assert answer == ([] if query.answer is None else VOCABULARY.encode(query.answer))
        value = targets.answer_value[index]
        assert value.isnan() if query.value is None else value == pytest.approx(query.value)


def test_instances_and_boxes_agree_after_packing(batch: tuple[SceneBatch, Targets]) -> None:
    inputs, targets = batch
    points = unproject(targets.depth, inputs.intrinsics, inputs.poses)
    inside = points_in_boxes(
        points.flatten(0, 2), targets.box_center, targets.box_size + 2e-3, targets.box_rotation
    ).view(-1, *targets.instance.shape)
    views = inputs.view_offsets.tolist()
    for scene, (first, last) in enumerate(pairwise(views)):
        owner = targets.instance[first:last]
        packed = (owner + targets.object_offsets[scene]).clamp_min(0)
        found = inside[:, first:last].gather(0, packed[None])[0]
        assert found[owner >= 0].all()


@pytest.mark.parametrize("size", [(24, 32), (30, 50), (96, 128), (5, 64)])
def test_resized_depth_still_lies_on_the_surfaces(size: tuple[int, int]) -> None:
    exact = RoomConfig(
        programs=("simple",), sensor_noise=False, depth_probability=1.0, image_size=(240, 320)
    )
    scene = generate_room(0, exact)
    assert scene.truth is not None
    inputs, targets = collate([scene], image_size=size, num_query_points=0, num_surface_points=0)
    assert inputs.images.shape[-2:] == inputs.depth.shape[-2:] == size
    points = unproject(inputs.depth, inputs.intrinsics, inputs.poses)
    error = scene.truth.primitives.signed_distance(points.flatten(0, 2)).abs()
    assert (error < 1e-4).float().mean() > 0.95  # edges are half a pixel off
    assert targets.query_points is None
    assert targets.surface_points is None


@pytest.mark.parametrize("size", [(3, 4), (12, 16), (5, 7), (2, 2)])
def test_resized_depth_makes_up_nothing_across_edges_and_holes(size: tuple[int, int]) -> None:
    depth = torch.full((1, 6, 8), 1.0)
    depth[..., 3:], depth[..., 6:] = 3.0, 0.0
    inputs, _ = collate([plain_scene(depth=depth)], image_size=size)
    values = inputs.depth.flatten()[:, None]
    assert ((values - torch.tensor([0.0, 1.0, 3.0])).abs().amin(1) < 1e-6).all()
    assert len(values.unique()) > 1


def test_shrunk_images_are_averages() -> None:
    board = (torch.arange(8)[:, None] + torch.arange(8)[None]) % 2 * 255
    scene = plain_scene(images=board.to(torch.uint8).expand(1, 3, 8, 8).contiguous())
    inputs, _ = collate([scene], image_size=(2, 2))
    torch.testing.assert_close(inputs.images, torch.full((1, 3, 2, 2), 0.5), atol=0.05, rtol=0)


def test_a_bare_scene_has_no_targets() -> None:
    inputs, targets = collate([plain_scene(), plain_scene()], image_size=(6, 8))
    assert targets.tensors() == {}
    assert inputs.depth is None
    assert inputs.vertices is None
    assert inputs.text_ids is None


def test_questions_can_be_put_to_scenes_without_truth() -> None:
    question = Query(text="what is left of the table?", task=Task.QUESTION)
    inputs, targets = collate(
        [plain_scene()],
        [[question]],
        image_size=(6, 8),
        tokenize=by_letters,
        answer_vocabulary=VOCABULARY,
    )
    assert inputs.text_scene.tolist() == [0]
    assert targets.answer_offsets.tolist() == [0, 0]
    assert targets.answer_value.isnan().all()


def test_missing_depth_is_zero_beside_scenes_that_have_it() -> None:
    depth, sigma = torch.full((1, 6, 8), 2.0), torch.full((1, 6, 8), 0.1)
    measured = plain_scene(depth=depth, depth_sigma=sigma)
    inputs, _ = collate([plain_scene(), measured], image_size=(6, 8))
    assert inputs.depth.amax((1, 2)).tolist() == [0, 2]
    assert inputs.depth_sigma[0].max() == 0


def test_a_tokenizer_may_return_a_mapping() -> None:
    inputs, _ = collate(
        [plain_scene()],
        [[Query(text="hi", task=Task.QUESTION)]],
        image_size=(6, 8),
        tokenize=lambda texts: {"input_ids": by_letters(texts)},
        answer_vocabulary=VOCABULARY,
    )
    assert inputs.text_ids.tolist() == [ord("h"), ord("i")]


def test_mixtures_that_would_mislead_are_refused(scenes: list[Scene]) -> None:
    with pytest.raises(ValueError, match=r"must have truth, or none; \['scan'\] lack it"):
        collate([scenes[0], plain_scene()], image_size=SIZE)
    depth = torch.ones(1, 6, 8)
    noisy = plain_scene("noisy", depth=depth, depth_sigma=0.1 * depth)
    with pytest.raises(ValueError, match=r"must have depth_sigma, or none; \['exact'\]"):
        collate([noisy, plain_scene("exact", depth=depth)], image_size=(6, 8))
    colored = plain_scene("colored", vertices=torch.zeros(2, 3), vertex_colors=torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"must have vertex_colors, or none; \['grey'\]"):
        collate([colored, plain_scene("grey", vertices=torch.zeros(2, 3))], image_size=(6, 8))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"queries": [[], []]}, r"one list per scene \(1\), got 2"),
        ({"queries": [[]], "answer_vocabulary": VOCABULARY}, "tokenize must be given"),
        ({"queries": [[]], "tokenize": by_letters}, "answer_vocabulary must be given"),
        (
            {
                "queries": [[Query(text="", task=Task.QUESTION)]],
                "tokenize": by_letters,
                "answer_vocabulary": VOCABULARY,
            },
            "at least one token",
        ),
        (
            {
                "queries": [[Query(text="the table", task=Task.REFERRING, referred=0)]],
                "tokenize": by_letters,
                "answer_vocabulary": VOCABULARY,
            },
            "refers to object 0, but scene 'scan' has truth about 0 objects",
        ),
    ],
)
def test_bad_texts_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        collate([plain_scene()], image_size=(6, 8), **arguments)


def test_no_scenes_are_refused() -> None:
    with pytest.raises(ValueError, match="scenes must not be empty"):
        collate([], image_size=(6, 8))


def room_batches(seed: int) -> RoomBatches:
    return RoomBatches(
        seeds_of("train", 5),
        2,
        seed=seed,
        tokenize=by_letters,
        answer_vocabulary=VOCABULARY,
        texts_per_scene=6,
        num_surface_points=64,
        num_query_points=32,
    )


def test_batches_are_a_function_of_seed_and_index() -> None:
    first, again = room_batches(3), room_batches(3)
    skipped = again.batch(3)
    stream = first.batches_from(0)
    fourth = [next(stream) for _ in range(4)][3]
    for ours, theirs in zip(fourth, skipped, strict=True):
        for name, value in ours.tensors().items():
            torch.testing.assert_close(
                value, theirs.tensors()[name], equal_nan=True, rtol=0, atol=0
            )
    assert room_batches(4).seeds_of_batch(0) != first.seeds_of_batch(0)


def test_an_epoch_shows_rooms_once_and_the_next_in_another_order() -> None:
    batches = room_batches(0)
    orders = [[batches.seeds_of_batch(2 * e), batches.seeds_of_batch(2 * e + 1)] for e in range(4)]
    for order in orders:
        flat = [seed for seeds in order for seed in seeds]
        assert len(set(flat)) == 4
    assert len({str(order) for order in orders}) > 1


def test_a_room_is_asked_other_things_in_another_epoch() -> None:
    room = generate_room(0)
    first, second = draw_texts(room, 6, seed=1), draw_texts(room, 6, seed=2)
    assert [query.kind for query in first[:2]] == ["statement", "caption"]
    assert len(first) == len(second) == 6
    assert first != second


def test_more_rooms_in_a_batch_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="scenes_per_batch must be 1 to 1"):
        RoomBatches([0], 2, seed=0, tokenize=by_letters, answer_vocabulary=VOCABULARY)
