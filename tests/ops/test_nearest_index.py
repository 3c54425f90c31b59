"""An index gives what a search without one gives, to the bit, wherever its points have gone."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from point_distributions import DISTRIBUTIONS
from torch import Tensor

from g2vlm_fast import _C
from g2vlm_fast.ops import (
    BackendError,
    NearestIndex,
    _nearest_index_backends,
    nearest,
    use_backend,
)
from g2vlm_fast.ops._nearest_index_backends import tree_bytes
from g2vlm_fast.ops.specs.clouds import room
from g2vlm_fast.ops.specs.points import offsets

DTYPES = (torch.float32, torch.float64)


def _assert_same(found: tuple[Tensor, Tensor], truth: tuple[Tensor, Tensor]) -> None:
    assert torch.equal(found[1], truth[1])
    torch.testing.assert_close(found[0], truth[0], rtol=0, atol=0, equal_nan=True)


def _brute(query: Tensor, index: NearestIndex, **options: Any) -> tuple[Tensor, Tensor]:
    ends = {"query_offsets": options.pop("offsets", None), "target_offsets": index.offsets}
    return nearest(query, index.target, method="brute", **ends, **options)


def _points(count: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 3, 64, 100])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_an_index_finds_what_comparing_all_pairs_finds(
    name: str, k: int, dtype: torch.dtype
) -> None:
    points = DISTRIBUTIONS[name](_points(1100, dtype))
    query, index = points[:400], NearestIndex(points[400:])
    for norm in (1, 2):
        for bound in (None, 0.2):
            options = {"k": k, "norm": norm, "max_distance": bound}
            _assert_same(index.query(query, **options), _brute(query, index, **options))


@pytest.mark.parametrize("before", DISTRIBUTIONS)
@pytest.mark.parametrize("after", ["plain", "half_unknown", "infinite", "all_identical"])
def test_a_refitted_index_is_exact_wherever_the_points_have_gone(before: str, after: str) -> None:
    query = _points(300, seed=1)
    old = NearestIndex(DISTRIBUTIONS[before](_points(900, seed=2)))
    new = old.refit(DISTRIBUTIONS[after](_points(900, seed=3)))
    for k in (1, 5, 100):
        _assert_same(new.query(query, k=k), _brute(query, new, k=k))
        _assert_same(old.query(query, k=k), _brute(query, old, k=k))


def test_many_refits_keep_every_point() -> None:
    index = NearestIndex(_points(2000))
    for step in range(5):
        points = _points(2000, seed=step)
        points[step::7] = torch.nan
        index = index.refit(points)
    distance, found = index.query(points)
    assert torch.equal(found[:, 0] < 0, points[:, 0].isnan())
    assert torch.equal(found[found >= 0], torch.arange(2000)[found[:, 0] >= 0].int())
    assert not distance[found >= 0].any()


def test_a_refit_where_nothing_has_moved_gives_the_same_bytes() -> None:
    points, ends = _points(3000), offsets(0, 17, 2000, 0, 983)
    built = NearestIndex(points, ends)
    assert torch.equal(built._tree, NearestIndex(points, ends)._tree)
    assert torch.equal(built._tree, built.refit(points.clone())._tree)


@st.composite
def _ragged(draw: st.DrawFn) -> dict[str, Any]:
    lengths = st.sampled_from([0, 0, 1, 16, 17, 60, 300, 900])
    count = draw(st.integers(1, 6))
    queries = draw(st.lists(lengths, min_size=count, max_size=count))
    targets = draw(st.lists(lengths, min_size=count, max_size=count))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    dim = draw(st.integers(1, 5))
    cells = draw(st.sampled_from([2, 30, 10**6]))

    def cloud(lengths: list[int]) -> Tensor:
        return 0.25 * torch.randint(-cells, cells, (sum(lengths), dim), generator=generator)

    return {
        "query": cloud(queries),
        "before": cloud(targets),
        "target": cloud(targets),
        "query_offsets": offsets(*queries),
        "target_offsets": offsets(*targets),
        "k": draw(st.sampled_from([1, 2, 64, 70])),
        "norm": draw(st.sampled_from([1, 2])),
        "max_distance": draw(st.sampled_from([None, 0.0, 1.0])),
    }


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(case=_ragged())
def test_ragged_segments_are_searched_each_on_its_own(case: dict[str, Any]) -> None:
    query, before, target, query_offsets, target_offsets = (
        case.pop(name) for name in list(case)[:5]
    )
    built = NearestIndex(target, target_offsets)
    moved = NearestIndex(before, target_offsets).refit(target)
    for index in (built, moved):
        found = index.query(query, offsets=query_offsets, **case)
        _assert_same(found, _brute(query, index, offsets=query_offsets, **case))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "lengths", [(0,), (1,), (16,), (17,), (257,), (4097,), (17,) * 40, (0,) * 9, (300, 1, 0, 273)]
)
def test_the_stated_size_holds_the_tree(lengths: tuple[int, ...], dtype: torch.dtype) -> None:
    points, ends = torch.rand(sum(lengths), 3, dtype=dtype), offsets(*lengths)
    needed = _C.nearest_index_bytes_cpu(points, ends)
    stated = tree_bytes(points, ends)
    assert needed <= stated
    assert len(lengths) > 1 or stated <= 1.2 * needed + 2000
    assert NearestIndex(points, ends)._tree.numel() == stated


@pytest.mark.parametrize("lengths", [(10**6,), (2**31 - 1,), (2**20 + 1,) * 900, (17,) * 100_000])
def test_the_stated_size_holds_trees_of_many_points(lengths: tuple[int, ...]) -> None:
    """No point is read for it, so none need be there."""
    needed = _C.nearest_index_bytes_cpu(torch.empty(0, 3), offsets(*lengths))
    assert needed <= _nearest_index_backends._bytes_cpu(sum(lengths), len(lengths), 4)


def test_a_target_changed_in_place_is_noticed() -> None:
    points, ends = _points(500), offsets(200, 300)
    index = NearestIndex(points, ends)
    points[7] += 1
    with pytest.raises(RuntimeError, match=r"query: target has been changed .* refit"):
        index.query(points, offsets=ends)
    index = index.refit(points)
    assert index.query(points, offsets=ends)[1].flatten().tolist() == list(range(500))
    ends[1] = 250
    for call in (lambda: index.query(points, offsets=ends), lambda: index.refit(points)):
        with pytest.raises(RuntimeError, match=r"offsets of the targets have been changed"):
            call()


def test_a_trained_target_is_refitted_after_each_step() -> None:
    target = _points(400).requires_grad_()
    index, query = NearestIndex(target), _points(600, seed=1)
    optimizer = torch.optim.SGD([target], lr=0.1)
    losses = []
    for _ in range(4):
        loss = index.query(query)[0].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        index = index.refit(target)
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]


def test_points_of_inference_mode_are_taken() -> None:
    with torch.inference_mode():
        points = _points(300)
        index = NearestIndex(points)
        assert index.query(points)[1].flatten().tolist() == list(range(300))


@pytest.mark.parametrize("norm", [1, 2])
def test_gradients_are_those_of_a_search_without_an_index(norm: int) -> None:
    query, target = _points(500), _points(700, seed=1)

    def gradients(search: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, ...]:
        leaves = [each.clone().requires_grad_() for each in (query, target)]
        return torch.autograd.grad(search(*leaves).sum(), leaves)

    options: dict[str, Any] = {"k": 3, "norm": norm, "max_distance": 0.5}
    found = gradients(lambda q, t: NearestIndex(t).query(q, **options)[0].nan_to_num(posinf=0))
    truth = gradients(lambda q, t: nearest(q, t, **options)[0].nan_to_num(posinf=0))
    for one, other in zip(found, truth, strict=True):
        assert torch.equal(one, other)


def test_second_derivatives_are_right() -> None:
    points = torch.randn(2, 30, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    leaves = tuple(each.clone().requires_grad_() for each in points)
    assert torch.autograd.gradgradcheck(
        lambda query, target: NearestIndex(target).query(query, k=2)[0], leaves
    )


def test_half_precision_is_indexed_in_float32() -> None:
    query, target = _points(300).bfloat16(), _points(400, seed=1).bfloat16().requires_grad_()
    index = NearestIndex(target)
    assert index.target is target
    distance, found = index.query(query, k=2)
    _assert_same((distance, found), nearest(query.float(), target.float(), k=2))
    (gradient,) = torch.autograd.grad(distance.sum(), target)
    assert gradient.dtype == torch.bfloat16


def test_more_than_three_dimensions_have_no_tree_and_the_same_answers() -> None:
    query, target = torch.rand(200, 5), torch.rand(900, 5)
    index = NearestIndex(target)
    assert index._tree.numel() == 0
    _assert_same(index.query(query, k=4), nearest(query, target, k=4))
    _assert_same(index.refit(target + 1).query(query), nearest(query, target + 1))


def test_strided_points_and_offsets_are_taken() -> None:
    points = torch.rand(3, 400).T
    ends = torch.stack([offsets(100, 300), offsets(1, 1)], 1)[:, 0]
    index = NearestIndex(points, ends)
    assert not points.is_contiguous()
    assert not ends.is_contiguous()
    _assert_same(index.query(points, offsets=ends, k=2), _brute(points, index, offsets=ends, k=2))
    moved = index.refit(torch.rand(3, 400).T)
    _assert_same(moved.query(points, offsets=ends), _brute(points, moved, offsets=ends))


def test_a_tree_that_lies_unaligned_is_read_all_the_same() -> None:
    points = _points(300)
    index = NearestIndex(points)
    room_for_it = torch.empty(index._tree.numel() + 1, dtype=torch.uint8)
    room_for_it[1:] = index._tree
    index._tree = room_for_it[1:]
    assert index._tree.data_ptr() % 64
    _assert_same(index.query(points, k=2), nearest(points, points, k=2))
    _assert_same(index.refit(points + 1).query(points), nearest(points, points + 1))


def test_any_number_of_threads_gives_the_same_tree_and_answers() -> None:
    query, target = (each.float() for each in room(torch.Generator().manual_seed(0), 40_000))
    trees = [torch.empty(tree_bytes(target, None), dtype=torch.uint8) for _ in range(3)]
    for threads, tree in enumerate(trees, 1):
        _C.nearest_index_build_cpu(target, None, tree, threads)
    assert torch.equal(trees[0], trees[1])
    assert torch.equal(trees[0], trees[2])
    _assert_same(NearestIndex(target).query(query, k=4), nearest(query, target, k=4))


def test_threads_query_one_index_at_the_same_time() -> None:
    target = _points(20_000)
    index = NearestIndex(target)
    clouds = [_points(3000, seed=seed) for seed in range(4)]
    truth = [index.query(cloud)[1] for cloud in clouds]
    wrong = []

    def search(number: int) -> None:
        for _ in range(5):
            if not torch.equal(index.query(clouds[number])[1], truth[number]):
                wrong.append(number)

    threads = [threading.Thread(target=search, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_an_index_is_pickled_and_copied_as_its_points() -> None:
    ends = offsets(100, 200)
    index = NearestIndex(_points(300), ends)
    query = _points(50)
    for other in (pickle.loads(pickle.dumps(index)), copy.deepcopy(index)):
        assert other.target is not index.target
        _assert_same(
            other.query(query, offsets=offsets(20, 30)), index.query(query, offsets=offsets(20, 30))
        )


def test_an_index_stays_on_the_backend_that_built_it() -> None:
    points = _points(400)
    index = NearestIndex(points)
    with use_backend("reference", "nearest_index"):
        for call in (lambda: index.query(points), lambda: index.refit(points)):
            with pytest.raises(BackendError, match=r"built on the cpu backend, .* on reference"):
                call()
        other = NearestIndex(points)
        truth = other.query(points)
    with pytest.raises(BackendError, match="built on the reference backend"):
        other.query(points)
    _assert_same(index.query(points), truth)


def test_a_tree_of_something_else_is_refused() -> None:
    points = _points(300)
    tree = NearestIndex(points)._tree
    search = torch.ops.g2vlm.nearest_index_query
    wrong = {
        "zeros": torch.zeros_like(tree),
        "too small": tree[:64].clone(),
        "of other points": NearestIndex(points[:200])._tree,
        "in other dimensions": NearestIndex(points[:, :2])._tree,
        "of another dtype": NearestIndex(points.double())._tree,
    }
    for each in wrong.values():
        with pytest.raises(ValueError, match="tree"):
            search(points, points, None, None, each, 1, 2, float("inf"))
        with pytest.raises(ValueError, match="tree"):
            torch.ops.g2vlm.nearest_index_refit(points, None, each)
    with pytest.raises(ValueError, match="tree"):
        search(points, points, offsets(300), offsets(10, 290), tree, 1, 2, float("inf"))


def test_a_compiled_function_queries_an_index_from_outside_and_refits_it() -> None:
    torch._dynamo.reset()
    target, query = _points(500), _points(300, seed=1).requires_grad_()
    index = NearestIndex(target)

    @torch.compile(fullgraph=True, backend="aot_eager")
    def search(query: Tensor, moved: Tensor) -> tuple[Tensor, Tensor]:
        return index.query(query)[0], index.refit(moved).query(query, k=2)[0]

    found = search(query, target + 1)
    truth = index.query(query)[0], nearest(query, target + 1, k=2)[0]
    for one, other in zip(found, truth, strict=True):
        assert torch.equal(one, other)
    (gradient,) = torch.autograd.grad(sum(each.sum() for each in found), query)
    (expected,) = torch.autograd.grad(sum(each.sum() for each in truth), query)
    torch.testing.assert_close(gradient, expected)


def test_sizes_that_vary_are_compiled_once() -> None:
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")

    @torch.compile(fullgraph=True, backend=counter, dynamic=True)
    def search(query: Tensor, target: Tensor) -> Tensor:
        return NearestIndex(target).query(query)[1]

    for count in (300, 411, 522):
        query, target = _points(count), _points(2 * count, seed=1)
        assert torch.equal(search(query, target), nearest(query, target)[1])
    assert counter.frame_count == 1


def test_memory_grows_with_the_points_alone() -> None:
    script = """
import resource, torch
from g2vlm_fast.ops import NearestIndex
torch.set_num_threads(2)
n = 400_000
query, target = torch.rand(n, 3), torch.rand(n, 3)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
index = NearestIndex(target)
for _ in range(3):
    index.query(query)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / (2 * n))
"""
    command = [sys.executable, "-W", "ignore", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert float(done.stdout) < 64
