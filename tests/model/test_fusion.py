"""Fusion: where text looks, and how that moves its attention."""

from __future__ import annotations

import torch

from g2vlm_fast.model import G2VLM
from g2vlm_fast.model.fusion import Anchors
from g2vlm_fast.records import SceneBatch, Targets

Rooms = tuple[SceneBatch, Targets]


def test_a_wide_anchor_is_no_place(model: G2VLM) -> None:
    block = model.fusion.blocks[1]
    spread = torch.tensor([[0.0, 1.0, 1000.0]])
    gate = block.gate(Anchors(position=torch.zeros(1, 3, 3), spread=spread))
    torch.testing.assert_close(gate, torch.tensor([[1.0, 0.5, 0.0]]), atol=1e-5, rtol=0)
    assert model.fusion.blocks[0].gate(None) is None


def test_the_first_block_has_no_anchors_and_the_others_are_biased_by_theirs(model: G2VLM) -> None:
    first, second = model.fusion.blocks
    assert first.look.geometry_bias is None
    assert second.look.geometry_bias is not None
    assert not second.look.geometry_bias.parameters_per_head.any()


def test_anchors_lie_among_what_the_scene_holds(model: G2VLM, rooms: Rooms) -> None:
    batch, _ = rooms
    encoded = model.encode(batch)
    prediction = model(batch, encoded=encoded)
    memory, frame = encoded.memory, encoded.geometry.frame
    position = frame.points_to_world(memory.position, memory.offsets)
    text = torch.repeat_interleave(torch.arange(8), batch.text_offsets.diff().long())
    for scene in range(2):
        mine = position[memory.offsets[scene] : memory.offsets[scene + 1]]
        anchors = prediction.anchor_position[batch.text_scene[text] == scene]
        assert (anchors >= mine.amin(0) - 1e-4).all()
        assert (anchors <= mine.amax(0) + 1e-4).all()
    assert (prediction.anchor_spread > 0).all()


def test_a_learned_bias_draws_text_towards_its_anchor(model: G2VLM, rooms: Rooms) -> None:
    import copy

    near = copy.deepcopy(model)
    with torch.no_grad():
        near.fusion.blocks[1].look.geometry_bias.parameters_per_head[:, 0] = 20.0
        near.fusion.blocks[1].log_scale.fill_(5.0)
    before, after = model(rooms[0]), near(rooms[0])
    assert after.anchor_spread.median() < 0.5 * before.anchor_spread.median()


def test_texts_of_one_scene_do_not_hear_each_other(model: G2VLM, rooms: Rooms) -> None:
    batch, _ = rooms
    ids = batch.text_ids.clone()
    ids[: int(batch.text_offsets[1])] = 7
    import dataclasses

    before = model(batch)
    after = model(dataclasses.replace(batch, text_ids=ids))
    start = int(before.grounding_offsets[1])
    torch.testing.assert_close(after.grounding_logits[start:], before.grounding_logits[start:])
    assert not torch.equal(after.grounding_logits[:start], before.grounding_logits[:start])
