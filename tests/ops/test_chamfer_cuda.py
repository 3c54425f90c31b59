"""The Chamfer distance on a GPU: its fused loss, offsets on one side, trees under graphs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from cuda_graphs import capture
from torch import Tensor

from g2vlm_fast.ops import chamfer_distance, nearest, nearest_pair

pytestmark = pytest.mark.gpu


def _clouds(first: int, second: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(first)
    x = torch.randn(first, 3, generator=generator)
    y = torch.randn(second, 3, generator=generator)
    return x, y, torch.rand(first, generator=generator), torch.rand(second, generator=generator)


def _result(
    clouds: tuple[Tensor, ...], device: str, dtype: torch.dtype, **options: Any
) -> list[Tensor]:
    leaves = [each.to(device, dtype).requires_grad_() for each in clouds]
    x, y, x_weights, y_weights = leaves
    offsets = {
        name: value.to(device) if isinstance(value, Tensor) else value
        for name, value in options.items()
    }
    loss = chamfer_distance(x, y, x_weights=x_weights, y_weights=y_weights, **offsets).loss
    gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
    return [loss.detach(), *(each for each in gradients if each is not None)]


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"squared": False},
        {"robust": "huber", "scale": 0.1},
        {"robust": "truncated", "scale": 0.2, "squared": False},
        {"robust": "geman_mcclure", "scale": 0.1, "squared": False},
    ],
)
@pytest.mark.parametrize("segments", ["one", "across chunks", "many in a chunk"])
def test_loss_and_gradients_agree_with_float64(
    segments: str, options: dict[str, Any], reduction: str
) -> None:
    offsets = {
        "one": {},
        "across chunks": {
            "x_offsets": torch.tensor([0, 10, 10, 4999, 5000], dtype=torch.int32),
            "y_offsets": torch.tensor([0, 100, 500, 500, 7000], dtype=torch.int32),
        },
        "many in a chunk": {
            "x_offsets": torch.arange(0, 5001, 5, dtype=torch.int32),
            "y_offsets": torch.arange(0, 7001, 7, dtype=torch.int32),
        },
    }[segments]
    clouds = _clouds(5000, 7000)
    found = _result(clouds, "cuda", torch.float32, reduction=reduction, **offsets, **options)
    truth = _result(clouds, "cpu", torch.float64, reduction=reduction, **offsets, **options)
    for one, two in zip(found, truth, strict=True):
        # Where every term is cut off, the truth is zero but for what float64 rounds.
        assert (one.cpu().double() - two).norm() <= 2e-5 * two.norm() + 1e-15


def test_one_sided_loss_and_gradients_agree_with_float64() -> None:
    x, y, x_weights, _ = _clouds(5000, 7000)

    def result(device: str, dtype: torch.dtype) -> list[Tensor]:
        leaves = [each.to(device, dtype).requires_grad_() for each in (x, y, x_weights)]
        loss = chamfer_distance(*leaves[:2], x_weights=leaves[2], one_sided=True).loss
        return [loss.detach(), *torch.autograd.grad(loss, leaves)]

    truth = result("cpu", torch.float64)
    for one, two in zip(result("cuda", torch.float32), truth, strict=True):
        assert (one.cpu().double() - two).norm() <= 2e-6 * two.norm()


@pytest.mark.parametrize("method", ["brute", "tree"])
@pytest.mark.parametrize("given", ["x_offsets", "y_offsets"])
def test_offsets_of_one_segment_may_be_left_out_on_one_side(given: str, method: str) -> None:
    x, y, *_ = (each.cuda() for each in _clouds(3000, 4000))
    length = 3000 if given == "x_offsets" else 4000
    offsets = {given: torch.tensor([0, length], dtype=torch.int32, device="cuda")}
    found = nearest_pair(x, y, method=method, **offsets)
    for one, two in zip(found, nearest_pair(x, y), strict=True):
        assert torch.equal(one, two)
    x.requires_grad_()
    chamfer_distance(x, y, **offsets).loss.backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_trees_leave_out_what_is_too_far() -> None:
    x, y, *_ = _clouds(20_000, 30_000)
    distance, index = nearest(x, y, max_distance=0.05)
    found_distance, found_index = nearest(x.cuda(), y.cuda(), max_distance=0.05)
    assert (index < 0).any()
    assert torch.equal(found_index.cpu(), index)
    assert torch.equal(found_distance.cpu(), distance)


@pytest.mark.filterwarnings("ignore:The AccumulateGrad node:UserWarning")
def test_losses_of_large_clouds_replay_as_a_cuda_graph(
    waiting_raises: Callable[[], AbstractContextManager],
) -> None:
    x, y, *_ = (each.cuda() for each in _clouds(400_000, 300_000))
    x.requires_grad_()

    def step() -> tuple[Tensor, Tensor]:
        loss = chamfer_distance(x, y).loss
        return loss.detach(), *torch.autograd.grad(loss, [x])

    _, captured, graph = capture(step, around=waiting_raises)
    with torch.no_grad():
        x.copy_(torch.randn_like(x))
    graph.replay()
    for replayed, eager in zip(captured, step(), strict=True):
        assert torch.equal(replayed, eager)


@pytest.mark.parametrize("points", [2000, 60_000, 600_000])
def test_twenty_runs_give_the_same_bits(points: int) -> None:
    x, y, x_weights, y_weights = (each.cuda() for each in _clouds(points, points // 2))
    y[::3] = y[0]  # one that many others hit
    x.requires_grad_()
    y.requires_grad_()

    def run() -> list[Tensor]:
        weights = {"x_weights": x_weights, "y_weights": y_weights}
        loss = chamfer_distance(x, y, squared=False, **weights).loss
        return [loss.detach(), *torch.autograd.grad(loss, [x, y])]

    first = run()
    for _ in range(19):
        for one, two in zip(run(), first, strict=True):
            assert torch.equal(one, two)


def test_points_that_many_others_hit_do_not_slow_the_gradient() -> None:
    x, y, *_ = (each.cuda() for each in _clouds(400_000, 20_000))
    x.requires_grad_()
    y.requires_grad_()
    x_distance, _, y_distance, _ = nearest_pair(x, y)

    def seconds() -> float:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        torch.autograd.grad(x_distance.sum() + y_distance.sum(), [x, y], retain_graph=True)
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1e3

    assert min(seconds() for _ in range(5)) < 2e-3
