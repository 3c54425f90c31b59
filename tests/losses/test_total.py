"""The total: zero for the truth, larger for any error, and weighted as asked."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from g2vlm_fast.losses import DEFAULT_WEIGHTS, total_loss
from g2vlm_fast.records import Prediction, SceneBatch, Targets


def test_the_truth_costs_nothing(perfect: Prediction, batch: SceneBatch, targets: Targets) -> None:
    parts = total_loss(perfect, batch, targets).parts
    allowed = {"smoothness.smoothness": torch.inf, "align.scene": 1e-3, "align.phrase": 1e-3}
    for name, value in parts.items():
        assert -1e-6 <= value <= allowed.get(name, 2e-3), (name, float(value))


def spoil(name: str, x: Tensor) -> Tensor:
    if name == "normal":
        return torch.nn.functional.normalize(x + 0.5, dim=1)
    if name == "box_rotation":
        turn = torch.tensor([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
        return turn @ x
    if name in ("descriptor", "scene_embedding", "text_embedding"):
        return x.roll(1, dims=0)
    if name.endswith("logits"):
        return -x
    if name == "confidence":
        return 1 - x
    return x + (1.0 if name == "answer_value" else 0.2)


@pytest.mark.parametrize(
    ("field", "part"),
    [
        ("depth", "depth.depth"),
        ("coarse_depth", "depth.coarse_depth"),
        ("confidence", "depth.confidence"),
        ("normal", "normal.normal"),
        ("points", "reconstruction.chamfer"),
        ("query_distance", "reconstruction.distance"),
        ("scene_embedding", "align.scene"),
        ("text_embedding", "align.phrase"),
        ("descriptor", "align.phrase"),
        ("seed_vote", "spatial.seed_vote"),
        ("seed_class_logits", "spatial.seed_class"),
        ("box_center", "spatial.center"),
        ("box_size", "spatial.size"),
        ("box_rotation", "spatial.yaw"),
        ("class_logits", "spatial.class"),
        ("relation_logits", "spatial.relation"),
        ("grounding_logits", "spatial.grounding"),
        ("anchor_position", "spatial.anchor"),
        ("answer_logits", "text.word"),
        ("answer_value", "text.number"),
    ],
)
def test_an_error_raises_its_own_part(
    perfect: Prediction, batch: SceneBatch, targets: Targets, field: str, part: str
) -> None:
    wrong = dataclasses.replace(perfect, **{field: spoil(field, getattr(perfect, field))})
    before = total_loss(perfect, batch, targets).parts
    after = total_loss(wrong, batch, targets).parts
    assert after[part] > before[part] + 0.02


def test_the_total_is_the_weighted_sum(
    perfect: Prediction, batch: SceneBatch, targets: Targets
) -> None:
    wrong = dataclasses.replace(perfect, depth=perfect.depth * 1.3, answer_logits=torch.zeros(2, 5))
    weights = {"depth": 3.0, "depth.coarse_depth": 0.25, "text": 0.0, "spatial.anchor": 0.0}
    report = total_loss(wrong, batch, targets, weights)
    assert "text" not in report.terms
    used = DEFAULT_WEIGHTS | weights
    wanted = sum(
        used[part.split(".")[0]] * used.get(part, 1.0) * value
        for part, value in report.parts.items()
    )
    torch.testing.assert_close(report.total, wanted)


def test_a_weight_of_nothing_is_refused(
    perfect: Prediction, batch: SceneBatch, targets: Targets
) -> None:
    with pytest.raises(ValueError, match="weights must name"):
        total_loss(perfect, batch, targets, {"colour": 1.0})
    with pytest.raises(ValueError, match="name no part"):
        total_loss(perfect, batch, targets, {"spatial.centre": 1.0})


def test_nothing_to_compare_is_refused(batch: SceneBatch) -> None:
    with pytest.raises(ValueError, match="know nothing"):
        total_loss(Prediction(), batch, Targets())
