"""The CUDA kernels of nearest and the Chamfer distance: bits, streams, graphs, wrong offsets."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from cuda_graphs import capture
from torch import Tensor

from g2vlm_fast.ops import _nearest_choice, chamfer_distance, nearest, nearest_pair
from g2vlm_fast.ops.reference import nearest as reference
from g2vlm_fast.ops.specs.points import offsets as offsets_of

pytestmark = pytest.mark.gpu


def _bits(values: Tensor) -> Tensor:
    bits = {torch.float32: torch.int32, torch.float64: torch.int64}
    return values.cpu().view(bits.get(values.dtype, values.dtype))


def _assert_same_bits(query: Tensor, target: Tensor, **options: Any) -> None:
    on_device = {
        name: value.cuda() if isinstance(value, Tensor) else value
        for name, value in options.items()
    }
    distance, index = nearest(query, target, **options)
    found_distance, found_index = nearest(query.cuda(), target.cuda(), **on_device)
    assert torch.equal(found_index.cpu(), index)
    number = ~distance.isnan()
    assert torch.equal(found_distance.isnan().cpu(), ~number)
    assert torch.equal(_bits(found_distance)[number], _bits(distance)[number])


DISTRIBUTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "plain": lambda x: x,
    "duplicates": lambda x: (4 * x).round() / 4,
    "all_identical": torch.zeros_like,
    "a_kilometre_away": lambda x: x + 1000,
    "a_million_away": lambda x: x + 1e6,
    "mixed_scales": lambda x: x * torch.exp(8 * x[:, :1].sin()),
    "denormal": lambda x: x * 1e-21,
    "huge": lambda x: x * 1e19,
    "bfloat16": lambda x: x.bfloat16().float(),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize(
    ("queries", "targets"),
    [(1, 1), (100, 33), (129, 255), (1025, 257), (3000, 5000), (20000, 511), (6000, 4100)],
)
def test_distances_and_indices_are_those_of_the_cpu(name: str, queries: int, targets: int) -> None:
    generator = torch.Generator().manual_seed(queries + targets)
    query = DISTRIBUTIONS[name](torch.randn(queries, 3, generator=generator))
    target = DISTRIBUTIONS[name](torch.randn(targets, 3, generator=generator))
    _assert_same_bits(query, target)
    _assert_same_bits(query, target, max_distance=0.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("norm", [1, 2])
@pytest.mark.parametrize("k", [1, 3, 64])
@pytest.mark.parametrize("dim", [1, 2, 3, 5, 40])
def test_every_k_norm_and_dimension(dtype: torch.dtype, norm: int, k: int, dim: int) -> None:
    generator = torch.Generator().manual_seed(dim)
    query = torch.randn(300, dim, generator=generator, dtype=dtype)
    target = (8 * torch.randn(500, dim, generator=generator, dtype=dtype)).round() / 8
    _assert_same_bits(query, target, norm=norm, k=k)


def _with_what_is_no_number(x: Tensor) -> Tensor:
    marks = torch.rand(x.shape, generator=torch.Generator().manual_seed(5))
    return x.masked_fill(marks < 0.01, torch.nan).masked_fill(marks > 0.99, torch.inf)


def _only(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = (-1, 0) if method == "tree" else (2**62, 0)
    monkeypatch.setattr(_nearest_choice, "BRUTE_FORCE_UP_TO", limits)


@pytest.mark.parametrize("method", ["brute", "tree"])
@pytest.mark.parametrize("name", [*DISTRIBUTIONS, "not_finite", "plane"])
@pytest.mark.parametrize(
    ("first", "second"), [(1, 1), (1, 0), (0, 3), (100, 33), (1024, 1025), (9000, 40000)]
)
def test_both_directions_are_those_of_the_cpu(
    name: str, first: int, second: int, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _only(method, monkeypatch)
    flat = torch.tensor([1.0, 1.0, 0.0])
    others = {"not_finite": _with_what_is_no_number, "plane": lambda x: x * flat}
    change = (DISTRIBUTIONS | others)[name]
    generator = torch.Generator().manual_seed(first + second)
    x = change(torch.randn(first, 3, generator=generator))
    y = change(torch.randn(second, 3, generator=generator))
    _assert_same_pair(x, y + torch.tensor([50.0, -50.0, 20.0]))  # disjoint, most of them
    shared = min(first, second) // 3
    y[:shared] = x[:shared]
    _assert_same_pair(x, y)


@pytest.mark.parametrize("method", ["brute", "tree"])
def test_both_directions_of_many_ragged_segments(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _only(method, monkeypatch)
    x, y, offsets = _many_segments()
    y[::70, 0] = torch.nan
    _assert_same_pair(x, y, x_offsets=offsets[0], y_offsets=offsets[1])


@pytest.mark.parametrize("shares", [(), (0.2,), (0.3, 0.0, 0.05, 0.0, 0.4, 0.1)], ids=len)
@pytest.mark.parametrize("points", [2**19 - 1, 2**19, 2**19 + 1])
def test_either_sort_leads_to_what_the_cpu_finds(points: int, shares: tuple[float, ...]) -> None:
    """More than 2^19 points are sorted by CUB; at 2^19 so are two segments, as rows beside keys."""
    generator = torch.Generator().manual_seed(points)
    x, y = torch.rand(points, 3, generator=generator).split([points // 2, points - points // 2])
    y[:1000] = x[:1000]
    if not shares:
        _assert_same_pair(x, y)
        return
    x_lengths = [int(share * x.shape[0]) for share in shares]
    y_lengths = [int(share * y.shape[0]) for share in reversed(shares)]
    x_offsets = offsets_of(*x_lengths, x.shape[0] - sum(x_lengths))
    y_offsets = offsets_of(*y_lengths, y.shape[0] - sum(y_lengths))
    _assert_same_pair(x, y, x_offsets=x_offsets, y_offsets=y_offsets)


def _assert_same_pair(x: Tensor, y: Tensor, **offsets: Tensor) -> None:
    expected = nearest_pair(x, y, **offsets)
    on_device = {name: value.cuda() for name, value in offsets.items()}
    found = nearest_pair(x.cuda(), y.cuda(), **on_device)
    for one, two in zip(found, expected, strict=True):
        number = ~two.isnan()
        assert torch.equal(~one.isnan().cpu(), number)
        assert torch.equal(_bits(one)[number], _bits(two)[number])


@pytest.mark.parametrize("far", [1e3, 1e30, torch.inf])
def test_a_point_far_away_leaves_the_search_as_fast(far: float) -> None:
    """All points of a scan in one cell of the grid would be compared with all others."""
    x = torch.rand(400_000, 3, generator=torch.Generator().manual_seed(0)).cuda()
    y = x.flip(0).clone()

    def seconds() -> float:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        nearest_pair(x, y)
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1e3

    seconds()
    near = min(seconds() for _ in range(5))
    x[7], y[100] = far, -far
    assert min(seconds() for _ in range(5)) < 3 * near


@pytest.mark.parametrize(
    ("first", "second"),
    [(1000, 900), (60_000, 40_000), (400_000, 300_000), (600_000, 3), (3, 600_000), (300, 1)],
)
def test_gradients_of_both_directions_are_right_and_repeat(first: int, second: int) -> None:
    generator = torch.Generator().manual_seed(first)
    x = torch.randn(first, 3, generator=generator).cuda().requires_grad_()
    y = torch.randn(second, 3, generator=generator).cuda().requires_grad_()
    grads = [torch.randn(n, generator=generator).cuda() for n in (first, second)]

    def step() -> tuple[Tensor, ...]:
        x_distance, _, y_distance, _ = nearest_pair(x, y)
        return torch.autograd.grad([x_distance, y_distance], [x, y], grads)

    found = step()
    _, x_index, _, y_index = nearest_pair(x.detach(), y.detach())
    doubles = [each.detach().double() for each in (*grads, x, y)]
    truth = reference.nearest_pair_backward(*doubles, x_index, y_index, True, True)
    for one, again, true in zip(found, step(), truth, strict=True):
        assert torch.equal(one, again)
        assert (one.double() - true).norm() <= 1e-6 * true.norm()
    (alone,) = torch.autograd.grad(nearest_pair(x, y.detach())[::2], [x], grads)
    assert torch.equal(alone, found[0])


def _many_segments() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(0, 90, (2, 700), generator=generator)
    lengths[:, ::7] = 0
    lengths[0, 5], lengths[1, 9] = 3000, 4000
    offsets = torch.cat([torch.zeros(2, 1, dtype=torch.long), lengths.cumsum(1)], dim=1).int()
    x = torch.randn(int(offsets[0, -1]), 3, generator=generator)
    y = torch.randn(int(offsets[1, -1]), 3, generator=generator)
    x[::50, 1] = torch.nan
    return x, y, offsets


@pytest.mark.parametrize("k", [1, 4])
def test_many_ragged_segments(k: int) -> None:
    query, target, offsets = _many_segments()
    _assert_same_bits(query, target, k=k, query_offsets=offsets[0], target_offsets=offsets[1])


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize(
    "wrong", [(0, 10, 20), (5, 7, 40), (-9, 900, -3), (40, 20, 0), (2**31 - 1, 0, 2**31 - 1)]
)
@pytest.mark.parametrize("method", ["brute", "tree"])
def test_wrong_offsets_read_nothing_out_of_bounds(
    wrong: tuple[int, ...], k: int, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _only(method, monkeypatch)
    points = torch.rand(40, 3, device="cuda")
    offsets = torch.tensor(wrong, dtype=torch.int32, device="cuda")
    right = torch.tensor([0, 20, 40], dtype=torch.int32, device="cuda")
    for options in (
        {"query_offsets": offsets, "target_offsets": right},
        {"query_offsets": right, "target_offsets": offsets},
        {"query_offsets": offsets, "target_offsets": offsets},
    ):
        distance, index = nearest(points, points, k=k, **options)
        assert index.max() < 40
        assert index.min() >= -1
        assert torch.equal(distance.isfinite(), index >= 0)
    x = points.clone().requires_grad_()
    loss = chamfer_distance(x, points, x_offsets=offsets, y_offsets=right).loss
    loss.backward()
    torch.cuda.synchronize()
    assert loss.shape == ()


def test_queries_that_no_segment_covers_are_unknown() -> None:
    points = torch.rand(30, 3, device="cuda")
    offsets = torch.tensor([0, 10, 20], dtype=torch.int32, device="cuda")
    for k in (1, 2):
        distance, index = nearest(
            points, points, k=k, query_offsets=offsets, target_offsets=offsets
        )
        assert (index[20:] == -1).all()
        assert distance[20:].isnan().all()
        assert (index[:20, 0] == torch.arange(20, device="cuda")).all()


def test_a_target_hit_by_everyone_gets_the_whole_gradient_twice_the_same() -> None:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(100_000, 3, generator=generator).cuda()
    target = torch.tensor([[0.0, 0, 0], [99.0, 0, 0]], device="cuda", requires_grad=True)
    weight = torch.randn(100_000, 1, generator=generator).cuda()

    def gradient() -> Tensor:
        (found,) = torch.autograd.grad((nearest(query, target)[0] * weight).sum(), target)
        return found

    first = gradient()
    assert torch.equal(first, gradient())
    index = torch.zeros(100_000, 1, dtype=torch.int32, device="cuda")
    _, truth = reference.nearest_backward(
        weight.double(), query.double(), target.detach().double(), index, 2, False, True
    )
    assert (first[0].double() - truth[0]).norm() <= 1e-5 * truth[0].norm()
    assert not first[1].any()


def test_work_is_enqueued_on_the_current_stream() -> None:
    stream = torch.cuda.Stream()
    target = torch.rand(2000, 3, device="cuda")
    query = torch.full((1500, 3), 9.0, device="cuda")
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)
        query.copy_(target[:1500])
        query.requires_grad_()
        distance, index = nearest(query, target)
        (gradient,) = torch.autograd.grad(distance.sum(), query)
    stream.synchronize()
    assert (index.flatten() == torch.arange(1500, device="cuda")).all()
    assert not distance.any()
    assert not gradient.any()


def _loss_and_gradient(x: Tensor, y: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    loss = chamfer_distance(x, y, x_offsets=offsets, y_offsets=offsets, squared=False).loss
    return (loss, *torch.autograd.grad(loss, [x, y]))


def test_nothing_waits_for_the_device(waiting_raises: Callable[[], AbstractContextManager]) -> None:
    offsets = torch.tensor([0, 300, 1000], dtype=torch.int32, device="cuda")
    x, y = (torch.rand(1000, 3, device="cuda", requires_grad=True) for _ in range(2))
    with waiting_raises():
        _loss_and_gradient(x, y, offsets)
        chamfer_distance(
            x, y, x_normals=x, y_normals=y, x_weights=x[:, 0], fscore_at=(0.1,), reduction="mean"
        ).loss.backward()


@pytest.mark.filterwarnings("ignore:The AccumulateGrad node:UserWarning")
def test_forward_and_backward_replay_as_a_cuda_graph() -> None:
    offsets = torch.tensor([0, 300, 1000], dtype=torch.int32, device="cuda")
    x, y = (torch.rand(1000, 3, device="cuda", requires_grad=True) for _ in range(2))
    _, captured, graph = capture(lambda: _loss_and_gradient(x, y, offsets))
    with torch.no_grad():
        x.copy_(torch.rand_like(x))
        y.copy_(torch.rand_like(y))
    graph.replay()
    for replayed, eager in zip(captured, _loss_and_gradient(x, y, offsets), strict=True):
        assert torch.equal(replayed, eager)


def test_threads_with_streams_of_their_own() -> None:
    clouds = [torch.rand(3000, 3, device="cuda") for _ in range(4)]
    target = torch.rand(2000, 3, device="cuda")
    truth = [nearest(cloud, target)[1] for cloud in clouds]
    torch.cuda.synchronize()
    wrong: list[int] = []

    def search(i: int) -> None:
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            for _ in range(20):
                if not torch.equal(nearest(clouds[i], target)[1], truth[i]):
                    wrong.append(i)

    threads = [threading.Thread(target=search, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_a_second_device_is_served_while_the_first_is_current() -> None:
    generator = torch.Generator().manual_seed(0)
    query, target = (torch.randn(700, 3, generator=generator) for _ in range(2))
    there = [each.to("cuda:1").requires_grad_() for each in (query, target)]
    with torch.cuda.device(0):
        distance, index = nearest(*there)
        distance.sum().backward()
        assert torch.cuda.current_device() == 0
    assert index.device == torch.device("cuda:1")
    assert torch.equal(index.cpu(), nearest(query, target)[1])
    with pytest.raises(ValueError, match="target must be on cuda:1"):
        nearest(there[0], target.cuda(0))


def test_memory_grows_with_the_points_alone() -> None:
    n = 200_000
    x, y = (torch.rand(n, 3, device="cuda", requires_grad=True) for _ in range(2))
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    chamfer_distance(x, y).loss.backward()
    assert torch.cuda.max_memory_allocated() - before < 200 * 2 * n
