"""Model and losses together: every parameter learns, every loss falls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from g2vlm_fast.losses import total_loss
from g2vlm_fast.model import G2VLM
from g2vlm_fast.ops import _dispatch
from g2vlm_fast.records import SceneBatch, Targets

Rooms = tuple[SceneBatch, Targets]

HOT_PATH = {  # what the design has a step spend its time in, forward and backward
    *("nearest_pair", "nearest_pair_backward"),
    *("faces_to_csr", "graph_transpose", "voxel_clusters"),
    *("graph_reduce", "graph_reduce_backward", "edge_conv", "edge_conv_backward"),
    *("geometry_attention", "geometry_attention_backward"),
}


def train(model: G2VLM, batch: SceneBatch, targets: Targets, steps: int) -> None:
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        total_loss(model(batch, targets), batch, targets).total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


@pytest.mark.parametrize("mesh", [False, True])
def test_every_trained_parameter_receives_a_gradient(
    make_model: Callable[..., G2VLM], make_rooms: Callable[..., Rooms], mesh: bool
) -> None:
    batch, targets = make_rooms(mesh=mesh)
    model = make_model(train_text_encoder=True)
    train(model, batch, targets, steps=2)  # what starts at zero lets no gradient past at first
    model.zero_grad()
    total_loss(model(batch, targets), batch, targets).total.backward()
    idle = [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and (parameter.grad is None or not parameter.grad.any())
    ]
    # the pooler of the encoder, its padding word and its unused places have no part in this
    assert [name for name in idle if ".pooler." not in name] == []


@pytest.mark.slow
@pytest.mark.timeout(900)  # threads that share busy cores wait for each other
def test_some_steps_lower_every_loss(
    make_model: Callable[..., G2VLM], make_rooms: Callable[..., Rooms]
) -> None:
    batch, targets = make_rooms()
    model = make_model()
    with torch.no_grad():
        before = total_loss(model(batch, targets), batch, targets)
    train(model, batch, targets, steps=70)  # spatial, the largest, falls first: then the others
    with torch.no_grad():
        after = total_loss(model(batch, targets), batch, targets)
    assert set(before.terms) == {
        "depth", "normal", "smoothness", "reconstruction", "align", "spatial", "text",
    }  # fmt: skip
    risen = {name for name in before.terms if after.terms[name] >= before.terms[name]}
    assert risen == set()
    assert after.total < 0.6 * before.total


def test_training_without_texts_or_without_truth_about_objects_works(
    make_model: Callable[..., G2VLM], make_rooms: Callable[..., Rooms]
) -> None:
    batch, targets = make_rooms(texts=0)
    model = make_model()
    report = total_loss(model(batch, targets), batch, targets)
    assert "text" not in report.terms
    assert "align" not in report.terms
    only_depth = Targets(depth=targets.depth)
    report = total_loss(model(batch, only_depth), batch, only_depth)
    assert set(report.terms) == {"depth", "smoothness", "reconstruction"}
    report.total.backward()


def test_a_training_step_runs_the_hot_path_on_kernels(
    make_model: Callable[..., G2VLM],
    make_rooms: Callable[..., Rooms],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran: set[tuple[str, str]] = set()
    choose = _dispatch._choose

    def noted(op: str, *rest: Any) -> str:
        backend = choose(op, *rest)
        ran.add((op, backend))
        return backend

    batch, targets = make_rooms(mesh=True)
    monkeypatch.setattr(_dispatch, "_choose", noted)
    train(make_model(), batch, targets, steps=1)
    assert {op for op, backend in ran if backend == "reference"} == set()
    assert {op for op, _ in ran} >= HOT_PATH
