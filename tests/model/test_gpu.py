"""The model on a GPU: the same answers, and steps in mixed precision."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from g2vlm_fast.losses import total_loss
from g2vlm_fast.model import G2VLM
from g2vlm_fast.records import SceneBatch, Targets

pytestmark = pytest.mark.gpu

Rooms = tuple[SceneBatch, Targets]


def test_a_gpu_says_what_the_cpu_says(make_model: Callable[..., G2VLM], rooms: Rooms) -> None:
    batch, targets = rooms
    model = make_model().eval()
    with torch.no_grad():
        wanted = model(batch, targets)
        model = model.cuda()
        found = model(batch.to("cuda"), targets.to("cuda"))
    for name in ("depth", "normal", "query_distance", "scene_embedding", "text_embedding"):
        torch.testing.assert_close(
            getattr(found, name).cpu(), getattr(wanted, name), atol=5e-3, rtol=5e-3
        )
    assert torch.equal(found.object_offsets.cpu(), wanted.object_offsets)


@pytest.mark.slow  # compiles every variant of the attention kernels that a step needs
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_steps_on_a_gpu_lower_the_loss(
    make_model: Callable[..., G2VLM], rooms: Rooms, dtype: torch.dtype
) -> None:
    batch, targets = (record.to("cuda") for record in rooms)
    model = make_model().cuda()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    totals = []
    for _ in range(15):
        optimizer.zero_grad()
        with torch.autocast("cuda", dtype=dtype, enabled=dtype != torch.float32):
            prediction = model(batch, targets)
        report = total_loss(prediction, batch, targets)
        report.total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        totals.append(float(report.total.detach()))
    assert prediction.depth.dtype == torch.float32
    assert prediction.box_center.dtype == torch.float32
    assert sum(totals[-3:]) < 0.8 * sum(totals[:3])


def test_a_gpu_answers(make_model: Callable[..., G2VLM], rooms: Rooms) -> None:
    model = make_model().eval().cuda()
    prediction = model.answer(rooms[0].to("cuda"))
    assert prediction.answer_ids.is_cuda
    assert (prediction.answer_offsets.diff() >= 1).all()


def test_records_move_through_page_locked_memory() -> None:
    batch = SceneBatch(
        images=torch.rand(2, 3, 8, 8),
        intrinsics=torch.eye(3).repeat(2, 1, 1),
        poses=torch.eye(4).repeat(2, 1, 1),
        gravity=torch.tensor([[0.0, 0.0, -1.0]]),
        view_offsets=torch.tensor([0, 2], dtype=torch.int32),
    )
    pinned = batch.pin_memory()
    assert all(tensor.is_pinned() for tensor in pinned.tensors().values())
    moved = pinned.to("cuda", non_blocking=True)
    torch.cuda.synchronize()
    for name, tensor in moved.tensors().items():
        assert torch.equal(tensor.cpu(), getattr(batch, name)), name
