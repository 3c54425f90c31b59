"""The whole model: what comes out, however scenes are batched and whatever is missing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel

from g2vlm_fast.model import G2VLM, G2VLMConfig
from g2vlm_fast.records import Prediction, SceneBatch, Targets

Rooms = tuple[SceneBatch, Targets]

PACKED_BY = {
    "seed_offsets": ("seed_position", "seed_objectness", "seed_vote", "seed_class_logits"),
    "point_offsets": ("points", "point_colors"),
    "object_offsets": (
        "box_center", "box_size", "box_rotation", "objectness", "class_logits", "descriptor",
    ),
    "relation_offsets": ("relation_pairs", "relation_logits"),
    "grounding_offsets": ("grounding_logits",),
    "answer_offsets": ("answer_logits",),
}  # fmt: skip


def fields(prediction: Prediction) -> dict[str, Tensor]:
    """Return the fields whose rows belong to views, objects, texts, ..., not the offsets."""
    tensors = prediction.tensors()
    return {name: x for name, x in tensors.items() if x.dim() and not name.endswith("_offsets")}


def test_every_head_answers_in_the_shapes_of_the_records(model: G2VLM, rooms: Rooms) -> None:
    batch, targets = rooms
    prediction = model(batch, targets)
    views, _, height, width = batch.images.shape
    texts, tokens = len(batch.text_scene), len(batch.text_ids)
    config = model.config
    objects = len(prediction.box_center)
    wanted = {
        "depth": (views, height, width),
        "normal": (views, 3, height, width),
        "confidence": (views, height, width),
        "coarse_depth": (views, height // 4, width // 4),
        "query_distance": (len(targets.query_points),),
        "box_rotation": (objects, 3, 3),
        "class_logits": (objects, len(config.classes)),
        "descriptor": (objects, config.embedding_dim),
        "relation_logits": (len(prediction.relation_pairs), len(config.relations)),
        "scene_embedding": (2, config.embedding_dim),
        "text_embedding": (texts, config.embedding_dim),
        "answer_logits": (len(targets.answer_ids), len(config.answer_vocabulary)),
        "answer_value": (texts,),
        "anchor_position": (tokens, config.heads, 3),
        "anchor_spread": (tokens, config.heads),
    }
    for name, shape in wanted.items():
        assert tuple(getattr(prediction, name).shape) == shape, name
    for name, x in fields(prediction).items():
        assert x.dtype in (torch.float32, torch.int64), name
        if name != "answer_value":
            assert x.isfinite().all(), name
    assert torch.equal(prediction.answer_value.isnan(), targets.answer_value.isnan())


def test_everything_is_packed_by_its_offsets(model: G2VLM, rooms: Rooms) -> None:
    prediction = model(*rooms)
    for offsets_name, names in PACKED_BY.items():
        offsets = getattr(prediction, offsets_name)
        assert offsets.dtype == torch.int32
        assert offsets[0] == 0
        assert (offsets.diff() >= 0).all()
        for name in names:
            assert len(getattr(prediction, name)) == offsets[-1], name
    assert len(prediction.grounding_offsets) == len(rooms[0].text_scene) + 1
    per_scene = prediction.object_offsets.diff()
    assert torch.equal(prediction.grounding_offsets.diff(), per_scene[rooms[0].text_scene])
    for offsets in (prediction.object_offsets, prediction.seed_offsets, prediction.point_offsets):
        assert len(offsets) == 3


def test_directions_and_embeddings_have_unit_length(model: G2VLM, rooms: Rooms) -> None:
    prediction = model(*rooms)
    for name in ("descriptor", "scene_embedding", "text_embedding"):
        norm = getattr(prediction, name).norm(dim=-1)
        torch.testing.assert_close(norm, torch.ones_like(norm))
    norm = prediction.normal.norm(dim=1)
    torch.testing.assert_close(norm, torch.ones_like(norm))
    rotation = prediction.box_rotation
    eye = torch.eye(3).expand_as(rotation)
    torch.testing.assert_close(rotation @ rotation.mT, eye, atol=1e-5, rtol=0)
    torch.testing.assert_close(rotation[:, :, 2], eye[:, :, 2], atol=1e-6, rtol=0)
    assert (prediction.box_size > 0).all()


@pytest.mark.parametrize("mesh", [False, True])
def test_a_scene_alone_is_the_same_scene_in_a_batch(
    model: G2VLM, make_rooms: Callable[..., Rooms], mesh: bool
) -> None:
    batch, targets = make_rooms((0, 1, 2), mesh=mesh)
    together = model(batch, targets)
    for scene in range(3):
        alone_batch, alone_targets = select_scene(batch, targets, scene)
        alone = model(alone_batch, alone_targets)
        for offsets_name, names in PACKED_BY.items():
            offsets = getattr(together, offsets_name)
            step = (len(offsets) - 1) // 3
            rows = slice(int(offsets[step * scene]), int(offsets[step * (scene + 1)]))
            for name in names:
                shift = together.object_offsets[scene] if name == "relation_pairs" else 0
                torch.testing.assert_close(
                    getattr(together, name)[rows] - shift, getattr(alone, name),
                    atol=2e-4, rtol=2e-4, msg=lambda text, name=name: f"{name}: {text}",
                )  # fmt: skip
        views = slice(*batch.view_offsets[scene : scene + 2].tolist())
        torch.testing.assert_close(together.depth[views], alone.depth, atol=1e-4, rtol=1e-4)


def select_scene(batch: SceneBatch, targets: Targets, scene: int) -> Rooms:
    """Cut one scene out of a batch, as far as the model reads it."""

    def rows(offsets: Tensor) -> slice:
        return slice(int(offsets[scene]), int(offsets[scene + 1]))

    views = rows(batch.view_offsets)
    texts = (batch.text_scene == scene).nonzero()[:, 0]
    first, last = int(texts[0]), int(texts[-1]) + 1
    tokens = slice(int(batch.text_offsets[first]), int(batch.text_offsets[last]))
    answers = slice(int(targets.answer_offsets[first]), int(targets.answer_offsets[last]))
    queries = rows(targets.query_offsets)
    changes = {
        "images": batch.images[views], "intrinsics": batch.intrinsics[views],
        "poses": batch.poses[views], "depth": batch.depth[views],
        "depth_sigma": batch.depth_sigma[views], "gravity": batch.gravity[scene : scene + 1],
        "view_offsets": torch.tensor([0, views.stop - views.start], dtype=torch.int32),
        "text_ids": batch.text_ids[tokens], "text_scene": torch.zeros_like(texts),
        "text_offsets": batch.text_offsets[first : last + 1] - tokens.start,
    }  # fmt: skip
    if batch.vertices is not None:
        vertices = rows(batch.vertex_offsets)
        inside = (batch.faces[:, 0] >= vertices.start) & (batch.faces[:, 0] < vertices.stop)
        changes |= {
            "vertices": batch.vertices[vertices],
            "faces": batch.faces[inside] - vertices.start,
            "vertex_offsets": torch.tensor([0, vertices.stop - vertices.start]).int(),
        }
    return SceneBatch(**changes), Targets(
        query_points=targets.query_points[queries],
        query_offsets=torch.tensor([0, queries.stop - queries.start]).int(),
        answer_ids=targets.answer_ids[answers],
        answer_offsets=targets.answer_offsets[first : last + 1] - answers.start,
    )


def test_turning_the_world_turns_what_is_found(
    make_model: Callable[..., G2VLM], rooms: Rooms
) -> None:
    batch, targets = rooms
    model = make_model(depth_noise=[0.01, 0.0, 0.0]).eval()
    angle = torch.tensor(0.7)
    turn = torch.eye(4)
    turn[:2, :2] = torch.stack(
        [torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])]
    )
    turn[:3, 3] = torch.tensor([3.0, -2.0, 1.0])
    moved = dataclasses.replace(batch, poses=turn @ batch.poses)
    points = targets.query_points @ turn[:3, :3].T + turn[:3, 3]
    before = model(batch, targets)
    after = model(moved, dataclasses.replace(targets, query_points=points))
    torch.testing.assert_close(after.depth, before.depth, atol=1e-4, rtol=1e-4)
    wanted = before.box_center @ turn[:3, :3].T + turn[:3, 3]
    # a point on the border of two voxels may change sides, so that most but not all agree
    close = (after.box_center - wanted).norm(dim=-1) < 0.02
    assert close.float().mean() > 0.8
    torch.testing.assert_close(after.query_distance, before.query_distance, atol=2e-3, rtol=0)


@pytest.mark.parametrize(
    "case", ["no depth", "mesh", "one view", "no text", "no depth, mesh", "one scene"]
)
def test_every_input_but_images_may_be_missing(
    model: G2VLM, make_rooms: Callable[..., Rooms], case: str
) -> None:
    batch, targets = make_rooms(
        (3,) if case == "one scene" else (0, 1),
        depth="no depth" not in case,
        mesh="mesh" in case,
        views=1 if case == "one view" else 3,
        texts=0 if case == "no text" else 4,
    )
    prediction = model(batch, targets)
    for name, x in fields(prediction).items():
        if name != "answer_value":
            assert x.isfinite().all(), name
    assert (prediction.depth > 0).all()
    if case == "no text":
        assert prediction.grounding_logits is None
        assert prediction.text_embedding is None


@pytest.mark.parametrize("source", ["dense", "sparse", "both"])
def test_every_source_of_geometry_works(
    make_model: Callable[..., G2VLM], make_rooms: Callable[..., Rooms], source: str
) -> None:
    batch, targets = make_rooms(mesh=True)
    model = make_model(geometry_source=source).eval()
    encoded = model.encode(batch)
    count = len(encoded.geometry.vertices.position)
    if source == "sparse":
        assert count == len(batch.vertices)
    if source == "both":
        assert count > len(batch.vertices)
    assert model(batch, targets, encoded).query_distance.isfinite().all()


def test_what_is_encoded_is_used_again(model: G2VLM, rooms: Rooms) -> None:
    batch, targets = rooms
    encoded = model.encode(batch)
    kept, made = model(batch, targets, encoded), model(batch, targets)
    assert torch.equal(kept.grounding_logits, made.grounding_logits)
    assert torch.equal(kept.query_distance, made.query_distance)


def test_tokens_stand_in_the_world_within_the_budget(model: G2VLM, rooms: Rooms) -> None:
    batch, targets = rooms
    tokens = model.encode(dataclasses.replace(batch, depth=targets.depth)).tokens
    assert (tokens.offsets.diff() <= model.config.token_budget).all()
    low, high = torch.tensor([-2.0, -2.5, 0.0]), torch.tensor([2.0, 2.5, 2.5])  # of the rooms
    assert (tokens.position > low - 0.1).all()
    assert (tokens.position < high + 0.1).all()
    assert set(tokens.scale.tolist()) <= set(torch.tensor(model.config.voxel_sizes).tolist())


def test_answers_end(model: G2VLM, rooms: Rooms) -> None:
    prediction = model.answer(rooms[0])
    length = prediction.answer_offsets.diff()
    assert len(length) == len(rooms[0].text_scene)
    assert (length >= 1).all()
    assert (length <= model.config.maximum_answer_length).all()
    assert not (prediction.answer_ids[:, None] == torch.tensor([0, 1])).any()
    ends = prediction.answer_offsets[1:].long() - 1
    ended = prediction.answer_ids[ends] == 2
    assert (ended | (length == model.config.maximum_answer_length)).all()


def test_teacher_forcing_and_generation_agree(model: G2VLM, rooms: Rooms) -> None:
    batch, _ = rooms
    answer = model.answer(batch)
    forced = model(
        batch, Targets(answer_ids=answer.answer_ids, answer_offsets=answer.answer_offsets)
    )
    logits = forced.answer_logits.clone()
    logits[:, :2] = -torch.inf
    assert torch.equal(logits.argmax(-1), answer.answer_ids)
    torch.testing.assert_close(forced.answer_value, answer.answer_value, equal_nan=True)


def test_answering_without_a_text_says_so(model: G2VLM, make_rooms: Callable[..., Rooms]) -> None:
    batch, _ = make_rooms(texts=0)
    with pytest.raises(ValueError, match="has no text"):
        model.answer(batch)


def test_a_wrong_image_size_says_so(model: G2VLM, rooms: Rooms) -> None:
    batch = dataclasses.replace(rooms[0], images=rooms[0].images[:, :, :44])
    with pytest.raises(ValueError, match="multiple of 8 pixels"):
        model(batch)


def test_a_checkpoint_gives_the_same_model(model: G2VLM, rooms: Rooms, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").is_file()
    assert isinstance(AutoConfig.from_pretrained(tmp_path), G2VLMConfig)
    wanted = fields(model(*rooms))
    for kind in (G2VLM, AutoModel):
        loaded = kind.from_pretrained(tmp_path).eval()
        assert isinstance(loaded, G2VLM)
        for name, weight in loaded.state_dict().items():
            assert torch.equal(weight, model.state_dict()[name]), name
        # Loaded weights lie elsewhere in memory, where BLAS may add in another order.
        for name, x in fields(loaded(*rooms)).items():
            torch.testing.assert_close(x, wanted[name], rtol=1e-5, atol=1e-6, equal_nan=True)
