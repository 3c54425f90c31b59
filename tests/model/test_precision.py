"""What is in metres stays float32 under every engine of mixed precision."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import pytest
import torch

from g2vlm_fast.losses import total_loss
from g2vlm_fast.model import G2VLM
from g2vlm_fast.ops import use_backend
from g2vlm_fast.records import Prediction, SceneBatch, Targets

Rooms = tuple[SceneBatch, Targets]

METRES = (
    "depth", "normal", "coarse_depth", "seed_position", "seed_vote", "points", "query_distance",
    "box_center", "box_size", "box_rotation", "anchor_position", "anchor_spread",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _half_precision_on_the_cpu() -> Iterator[None]:
    """The native CPU kernels take float32 and float64; the reference takes every float."""
    with use_backend("reference"):
        yield


def assert_geometry_is_exact(exact: Prediction, found: Prediction) -> None:
    for name in METRES:
        assert getattr(found, name).dtype == torch.float32, name
    # positions of points come from the input alone; in bfloat16 they would be centimetres off
    torch.testing.assert_close(found.seed_position, exact.seed_position, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.depth, exact.depth, atol=1e-5, rtol=0)


def given_depth(rooms: Rooms) -> Rooms:
    """The rooms with exact depth everywhere, so that lifted points do not depend on weights."""
    batch, targets = rooms
    sigma = torch.zeros_like(batch.depth)
    return dataclasses.replace(batch, depth=targets.depth, depth_sigma=sigma), targets


def test_geometry_is_float32_under_autocast(model: G2VLM, rooms: Rooms) -> None:
    batch, targets = given_depth(rooms)
    exact = model(batch, targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model(batch, targets)
    assert_geometry_is_exact(exact, found)


def test_geometry_is_float32_in_a_bfloat16_model(
    make_model: Callable[..., G2VLM], rooms: Rooms
) -> None:
    batch, targets = given_depth(rooms)
    exact = make_model().eval()(batch, targets)
    model = make_model().eval().bfloat16()
    assert next(model.parameters()).dtype == torch.bfloat16
    assert_geometry_is_exact(exact, model(batch, targets))
    assert model.answer(batch).answer_ids.numel()


def test_a_bfloat16_model_trains(make_model: Callable[..., G2VLM], rooms: Rooms) -> None:
    batch, targets = rooms
    model = make_model().bfloat16()
    report = total_loss(model(batch, targets), batch, targets)
    report.total.backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            assert parameter.grad.isfinite().all(), name
