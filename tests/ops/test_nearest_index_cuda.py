"""Indices on the GPU: bits, refits, streams, graphs, and nothing that waits."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from cuda_graphs import capture
from point_distributions import DISTRIBUTIONS
from torch import Tensor

from g2vlm_fast.ops import BackendError, NearestIndex, nearest, use_backend
from g2vlm_fast.ops._nearest_index_backends import tree_bytes
from g2vlm_fast.ops.specs.clouds import room
from g2vlm_fast.ops.specs.points import offsets

pytestmark = pytest.mark.gpu


def _points(count: int, seed: int = 0, dim: int = 3) -> Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))


def _assert_same(found: tuple[Tensor, Tensor], truth: tuple[Tensor, Tensor]) -> None:
    assert torch.equal(found[1].cpu(), truth[1].cpu())
    torch.testing.assert_close(found[0].cpu(), truth[0].cpu(), rtol=0, atol=0, equal_nan=True)


def _on_the_cpu(query: Tensor, index: NearestIndex, **options: Any) -> tuple[Tensor, Tensor]:
    ends = options.pop("offsets", None)
    return nearest(
        query.cpu(),
        index.target.detach().cpu(),
        query_offsets=None if ends is None else ends.cpu(),
        target_offsets=None if index.offsets is None else index.offsets.cpu(),
        **options,
    )


@pytest.mark.parametrize("k", [1, 3, 32, 64, 100])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_an_index_finds_what_the_cpu_finds(name: str, k: int) -> None:
    points = DISTRIBUTIONS[name](_points(5000))
    query, index = points[:2000], NearestIndex(points[2000:].cuda())
    for norm in (1, 2):
        for bound in (None, 0.2):
            options = {"k": k, "norm": norm, "max_distance": bound}
            _assert_same(index.query(query.cuda(), **options), _on_the_cpu(query, index, **options))


@pytest.mark.parametrize(("queries", "targets"), [(1, 1), (1, 0), (0, 3), (3, 33), (700, 100_000)])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_any_number_of_points_and_up_to_three_dimensions(
    queries: int, targets: int, dim: int
) -> None:
    query, index = _points(queries, 1, dim).cuda(), NearestIndex(_points(targets, 2, dim).cuda())
    for k in (1, 5):
        _assert_same(index.query(query, k=k), _on_the_cpu(query, index, k=k))


@pytest.mark.parametrize("before", DISTRIBUTIONS)
@pytest.mark.parametrize("after", ["plain", "half_unknown", "infinite", "all_identical"])
def test_a_refitted_index_is_exact_wherever_the_points_have_gone(before: str, after: str) -> None:
    query = _points(1000, seed=1).cuda()
    old = NearestIndex(DISTRIBUTIONS[before](_points(4000, seed=2)).cuda())
    new = old.refit(DISTRIBUTIONS[after](_points(4000, seed=3)).cuda())
    for k in (1, 5):
        _assert_same(new.query(query, k=k), _on_the_cpu(query, new, k=k))
        _assert_same(old.query(query, k=k), _on_the_cpu(query, old, k=k))


def _ragged(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    lengths = torch.randint(0, 90, (2, 700), generator=torch.Generator().manual_seed(seed))
    lengths[:, ::7] = 0
    lengths[0, 5], lengths[1, 9], lengths[1, 11] = 3000, 4000, 1
    query_offsets, target_offsets = (offsets(*each) for each in lengths.tolist())
    query, target = _points(int(query_offsets[-1])), _points(int(target_offsets[-1]), 1)
    query[::50, 1] = torch.nan
    target[::70, 0] = torch.nan
    return query.cuda(), target.cuda(), query_offsets.cuda(), target_offsets.cuda()


@pytest.mark.parametrize("k", [1, 4, 100])
def test_many_ragged_segments(k: int) -> None:
    query, target, query_offsets, target_offsets = _ragged(0)
    built = NearestIndex(target, target_offsets)
    moved = NearestIndex(target.flip(0).clone(), target_offsets).refit(target)
    for index in (built, moved):
        found = index.query(query, offsets=query_offsets, k=k)
        _assert_same(found, _on_the_cpu(query, index, offsets=query_offsets, k=k))


@pytest.mark.parametrize(
    "wrong", [(0, 10, 20), (5, 7, 40), (-9, 900, -3), (40, 20, 0), (2**31 - 1, 0, 2**31 - 1)]
)
def test_wrong_offsets_read_nothing_out_of_bounds(wrong: tuple[int, ...]) -> None:
    points = torch.rand(40, 3, device="cuda")
    bad = torch.tensor(wrong, dtype=torch.int32, device="cuda")
    good = offsets(20, 20).cuda()
    for targets, queries in ((bad, good), (good, bad), (bad, bad)):
        for index in (NearestIndex(points, targets), NearestIndex(points, targets).refit(points)):
            for k in (1, 3):
                distance, found = index.query(points, offsets=queries, k=k)
                assert found.max() < 40
                assert found.min() >= -1
                assert torch.equal(distance.isfinite(), found >= 0)


@pytest.mark.parametrize("count", [1, 31, 32, 33, 1024, 1025, 40_000])
@pytest.mark.parametrize("segments", [1, 3, 500])
def test_the_stated_size_holds_the_tree(count: int, segments: int) -> None:
    from g2vlm_fast import _C

    points = torch.rand(count, 3, device="cuda")
    ends = torch.arange(segments + 1, device="cuda").mul(count).div(segments).int()
    needed, _ = _C.nearest_index_bytes_cuda(points, ends)
    assert needed <= tree_bytes(points, ends)


def test_float64_and_more_dimensions_have_no_tree_and_the_same_answers() -> None:
    for points in (_points(900).double(), _points(900, dim=5)):
        query, index = points[:200].cuda(), NearestIndex(points[200:].cuda())
        assert index._tree.numel() == 0
        _assert_same(index.query(query, k=4), _on_the_cpu(query, index, k=4))
        moved = index.refit(index.target + 1)
        _assert_same(moved.query(query), _on_the_cpu(query, moved))


def test_a_large_room_is_searched_exactly_before_and_after_it_moves() -> None:
    target, query = (
        each.float().cuda() for each in room(torch.Generator().manual_seed(0), 300_000)
    )
    index = NearestIndex(target)
    moved = index.refit(target + 0.05 * torch.randn_like(target))
    for each in (index, moved):
        for k in (1, 8):
            _assert_same(each.query(query, k=k), nearest(query, each.target, k=k))


@pytest.mark.parametrize("norm", [1, 2])
def test_gradients_are_those_of_a_search_without_an_index(norm: int) -> None:
    query, target = _points(5000).cuda(), _points(7000, seed=1).cuda()

    def gradients(search: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, ...]:
        leaves = [each.clone().requires_grad_() for each in (query, target)]
        return torch.autograd.grad(search(*leaves).sum(), leaves)

    options: dict[str, Any] = {"k": 3, "norm": norm}
    found = gradients(lambda q, t: NearestIndex(t).query(q, **options)[0])
    truth = gradients(lambda q, t: nearest(q, t, **options)[0])
    for one, other in zip(found, truth, strict=True):
        assert torch.equal(one, other)


def test_two_builds_and_a_refit_in_place_give_the_same_answers_twice() -> None:
    query, target = _points(3000).cuda(), _points(4000, seed=1).cuda()
    first, second = NearestIndex(target), NearestIndex(target)
    again = first.refit(target.clone())
    truth = first.query(query, k=2)
    for index in (first, second, again):
        _assert_same(index.query(query, k=2), truth)


def test_several_streams_query_one_index() -> None:
    target = _points(50_000).cuda()
    index = NearestIndex(target)
    clouds = [_points(20_000, seed=seed).cuda() for seed in range(4)]
    truth = [index.query(cloud, k=2) for cloud in clouds]
    streams = [torch.cuda.Stream() for _ in clouds]
    torch.cuda.synchronize()
    found: list[list[tuple[Tensor, Tensor]]] = [[] for _ in clouds]
    for _ in range(20):
        for stream, cloud, kept in zip(streams, clouds, found, strict=True):
            with torch.cuda.stream(stream):
                kept.append(index.query(cloud, k=2))
    torch.cuda.synchronize()
    for kept, expected in zip(found, truth, strict=True):
        for each in kept:
            _assert_same(each, expected)


def test_work_is_enqueued_on_the_current_stream() -> None:
    stream = torch.cuda.Stream()
    source = _points(3000).cuda()
    target = torch.full_like(source, 9.0)
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)
        target.copy_(source)
        index = NearestIndex(target)
        first = index.query(source)[1]
        target.add_(1)
        index = index.refit(target)
        second = index.query(source + 1)[1]
    stream.synchronize()
    rows = torch.arange(3000, device="cuda", dtype=torch.int32)
    assert torch.equal(first.flatten(), rows)
    assert torch.equal(second.flatten(), rows)


def test_nothing_waits_for_the_device(waiting_raises: Callable[[], AbstractContextManager]) -> None:
    query, target, query_offsets, target_offsets = _ragged(1)
    query.requires_grad_()
    with waiting_raises():
        index = NearestIndex(target, target_offsets)
        for k in (1, 4):
            distance, _ = index.query(query, offsets=query_offsets, k=k)
            distance.nan_to_num().sum().backward()
        index.refit(target + 1).query(query, offsets=query_offsets)


def test_queries_replay_as_a_cuda_graph() -> None:
    target, query = _points(20_000).cuda(), _points(5000, seed=1).cuda()
    index = NearestIndex(target)
    _, captured, graph = capture(lambda: [index.query(query, k=k) for k in (1, 4)])
    query.copy_(_points(5000, seed=2))
    graph.replay()
    for k, replayed in zip((1, 4), captured, strict=True):
        _assert_same(replayed, nearest(query, target, k=k))


@pytest.mark.filterwarnings("ignore:The AccumulateGrad node:UserWarning")
def test_refit_and_query_replay_as_a_cuda_graph() -> None:
    target, query = _points(20_000).cuda(), _points(5000, seed=1).cuda()
    index = NearestIndex(target)
    _, captured, graph = capture(lambda: index.refit(target).query(query))
    target.copy_(_points(20_000, seed=3))
    graph.replay()
    _assert_same(captured, nearest(query, target))


def test_a_target_changed_in_place_is_noticed() -> None:
    points = _points(500).cuda()
    index = NearestIndex(points)
    points[7] += 1
    with pytest.raises(RuntimeError, match=r"query: target has been changed .* refit"):
        index.query(points)
    found = index.refit(points).query(points)[1]
    assert torch.equal(found.flatten(), torch.arange(500, device="cuda", dtype=torch.int32))


def test_an_index_stays_on_the_backend_that_built_it() -> None:
    points = _points(400).cuda()
    with use_backend("reference", "nearest_index"):
        index = NearestIndex(points)
    with pytest.raises(BackendError, match="built on the reference backend"):
        index.query(points)


def test_a_compiled_function_queries_an_index() -> None:
    torch._dynamo.reset()
    target, query = _points(5000).cuda(), _points(3000, seed=1).cuda().requires_grad_()
    index = NearestIndex(target)

    @torch.compile(fullgraph=True)
    def search(query: Tensor) -> Tensor:
        return index.query(query)[0].sqrt().sum()

    found = search(query)
    torch.testing.assert_close(found, nearest(query, target)[0].sqrt().sum())
    (gradient,) = torch.autograd.grad(found, query)
    (truth,) = torch.autograd.grad(nearest(query, target)[0].sqrt().sum(), query)
    torch.testing.assert_close(gradient, truth)


def test_memory_grows_with_the_points_alone() -> None:
    n = 200_000
    target, query = (torch.rand(n, 3, device="cuda") for _ in range(2))
    assert tree_bytes(target, None) < 20 * n
    index = NearestIndex(target)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    index.query(query)
    assert torch.cuda.max_memory_allocated() - before < 64 * n
