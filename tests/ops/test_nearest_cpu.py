"""The tree of the CPU search gives what comparing all pairs gives, to the bit."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from g2vlm_fast import _C
from g2vlm_fast.ops import nearest
from g2vlm_fast.ops._nearest_backends import METHODS
from g2vlm_fast.ops.reference import nearest as reference
from g2vlm_fast.ops.specs.clouds import room

DISTRIBUTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "plain": lambda x: x,
    "grid": lambda x: (4 * x).round() / 4,
    "all_identical": torch.zeros_like,
    "a_million_away": lambda x: x + 1e6,
    "spaced_1e-20": lambda x: x * 1e-20,
    "denormal": lambda x: x * 1e-39,
    "overflowing": lambda x: x * 1e38,
    "one_huge_outlier": lambda x: torch.where(torch.arange(len(x))[:, None] == 7, 1e30, x),
    "many_huge_outliers": lambda x: torch.where(x[:, :1] > 2, x * 1e25, x),
    "mixed_scales": lambda x: x * torch.exp2((40 * x[:, :1].sin()).round()),
    "two_far_clusters": lambda x: x * 1e-3 + 1e5 * (x[:, :1] > 0),
    "on_a_line": lambda x: x * torch.tensor([1.0, 0, 0]).to(x)[: x.shape[1]],
}


def _search(query: Tensor, target: Tensor, threads: int = 2, **options: Any) -> list[Tensor]:
    k = options.get("k", 1)
    found = [query.new_empty(len(query), k), torch.empty(len(query), k, dtype=torch.int32)]
    ends = [options.get(name) for name in ("query_offsets", "target_offsets")]
    rest = (options.get("norm", 2), options.get("bound", float("inf")))
    method = METHODS.index(options.get("method", "auto"))
    _C.nearest_cpu(query, target, *ends, *found, *rest, method, threads)
    return found


def _all_pairs(query: Tensor, target: Tensor, **options: Any) -> list[Tensor]:
    return _search(query, target, **options, method="brute")


def _bits(distance: Tensor) -> Tensor:
    number = distance.nan_to_num(nan=-1.0, posinf=float("inf"))
    return number.view(torch.int32 if distance.dtype == torch.float32 else torch.int64)


def _assert_same(found: list[Tensor], truth: list[Tensor]) -> None:
    assert torch.equal(found[1], truth[1])
    assert torch.equal(_bits(found[0]), _bits(truth[0]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("k", [1, 5, 64, 90])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_tree_finds_what_comparing_all_pairs_finds(name: str, k: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(k)
    points = torch.randn(1100, 3, generator=generator, dtype=dtype)
    query = DISTRIBUTIONS[name](points[:400])
    target = DISTRIBUTIONS[name](points[400:])
    for norm in (1, 2):
        for bound in (float("inf"), 0.05):
            options = {"k": k, "norm": norm, "bound": bound}
            _assert_same(_search(query, target, **options), _all_pairs(query, target, **options))


@pytest.mark.parametrize("k", [1, 3, 64])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_tree_finds_what_comparing_all_pairs_finds_in_a_cloud_far_away(name: str, k: int) -> None:
    points = DISTRIBUTIONS[name](torch.randn(1100, 3, generator=torch.Generator().manual_seed(k)))
    away = 4 * points.abs().nan_to_num(posinf=0).max()  # overflows where the points nearly do
    query, target = points[:400], points[400:] + away * torch.tensor([1.0, -1.0, 0.5])
    for norm in (1, 2):
        options = {"k": k, "norm": norm}
        _assert_same(_search(query, target, **options), _all_pairs(query, target, **options))


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_points_that_are_not_finite_are_found_as_by_all_pairs(dim: int, k: int) -> None:
    generator = torch.Generator().manual_seed(dim)
    points = torch.randn(1000, dim, generator=generator)
    special = torch.tensor([torch.nan, torch.inf, -torch.inf])
    chosen = torch.randint(0, 20, points.shape, generator=generator)
    points = torch.where(chosen < 3, special[chosen.clamp_max(2)], points)
    for query in (points[:400], torch.full((400, dim), torch.inf)):
        for target in (points[400:], torch.full((600, dim), torch.inf), points[:0]):
            found = _search(query, target, k=k)
            _assert_same(found, _all_pairs(query, target, k=k))
    assert (_search(points[:400], torch.full((600, dim), torch.nan), k=k)[1] == -1).all()


@st.composite
def _ragged_clouds(draw: st.DrawFn) -> dict[str, Any]:
    """Segments large and small, many of them empty, on grids from coarse to fine."""
    lengths = st.sampled_from([0, 0, 1, 7, 60, 300, 900])
    count = draw(st.integers(1, 5))
    queries = draw(st.lists(lengths, min_size=count, max_size=count))
    targets = draw(st.lists(lengths, min_size=count, max_size=count))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    dim = draw(st.integers(1, 3))
    cells = draw(st.sampled_from([2, 30, 10**6]))
    scale = draw(st.sampled_from([1e-20, 0.25, 1e18]))

    def cloud(lengths: list[int]) -> Tensor:
        return scale * torch.randint(-cells, cells, (sum(lengths), dim), generator=generator)

    return {
        "query": cloud(queries),
        "target": cloud(targets),
        "query_offsets": torch.tensor([0, *queries]).cumsum(0).int(),
        "target_offsets": torch.tensor([0, *targets]).cumsum(0).int(),
        "k": draw(st.sampled_from([1, 2, 5, 64, 200])),
        "norm": draw(st.sampled_from([1, 2])),
        "bound": draw(st.sampled_from([float("inf"), 0.0, 3 * scale])),
    }


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(arguments=_ragged_clouds())
def test_ragged_segments_are_searched_each_on_its_own(arguments: dict[str, Any]) -> None:
    found = _search(**arguments)
    _assert_same(_search(**arguments, threads=1), found)
    query, target, *ends = (arguments.pop(name) for name in list(arguments)[:4])
    for segment in range(len(ends[0]) - 1):
        (begin, end), (first, last) = (each[segment : segment + 2].tolist() for each in ends)
        distance, index = (
            _all_pairs(query[begin:end], target[first:last], **arguments)
            if (end > begin)
            else (found[0][:0], found[1][:0])
        )
        packed = torch.where(index < 0, index, index + first)
        _assert_same([each[begin:end] for each in found], [distance, packed])


@pytest.mark.parametrize("k", [1, 4])
def test_a_large_room_is_searched_exactly_by_any_number_of_threads(k: int) -> None:
    query, target = (each.float() for each in room(torch.Generator().manual_seed(0), 40_000))
    found = _search(query, target, k=k)
    for threads in (1, 3):
        _assert_same(_search(query, target, k=k, threads=threads), found)
    some = torch.arange(0, len(query), 400)
    _assert_same([each[some] for each in found], _all_pairs(query[some], target, k=k))


def test_targets_that_are_all_unknown_cost_nothing() -> None:
    """Comparing all of these pairs would take a minute."""
    query = torch.rand(200_000, 3)
    begin = time.perf_counter()
    distance, index = nearest(query, query * torch.nan)
    assert time.perf_counter() - begin < 5
    assert (index == -1).all()
    assert distance.isinf().all()


def test_duplicates_in_a_tree_go_to_the_lowest_index() -> None:
    sites = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    index = nearest(sites.repeat(40, 1), sites.repeat(40, 1), k=3)[1]
    expected = torch.arange(50)[:, None] + 50 * torch.arange(3)
    assert torch.equal(index, expected.repeat(40, 1).int())


def test_flushing_denormals_changes_nothing() -> None:
    points = 1e-39 * torch.randn(900, 3, generator=torch.Generator().manual_seed(0))
    truth = _all_pairs(points[:300], points[300:], norm=1)
    assert torch.set_flush_denormal(True)
    try:
        found = _search(points[:300], points[300:], norm=1)
    finally:
        torch.set_flush_denormal(False)
    _assert_same(found, truth)


def test_memory_grows_with_the_points_alone() -> None:
    script = """
import resource, torch
from g2vlm_fast.ops import nearest
torch.set_num_threads(2)
n = 400_000
query, target = torch.rand(n, 3), torch.rand(n, 3)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
nearest(query, target)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / (2 * n))
"""
    command = [sys.executable, "-W", "ignore", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert float(done.stdout) < 96


def _gradients(threads: int, index: Tensor, *points: Tensor) -> list[Tensor]:
    found = [torch.empty_like(each) for each in points[1:]]
    _C.nearest_backward_cpu(*points, index, *found, 2, threads)
    return found


@pytest.mark.parametrize("hit", ["everywhere", "few", "one"])
def test_gradients_are_right_and_the_same_on_any_number_of_threads(hit: str) -> None:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(50_000, 3, generator=generator)
    target = torch.randn(9_000, 3, generator=generator)
    weight = torch.randn(50_000, 2, generator=generator)
    last = {"everywhere": 9_000, "few": 3, "one": 1}[hit]
    index = torch.randint(-1, last, weight.shape, generator=generator).int()
    alone = _gradients(1, index, weight, query, target)
    for threads in (2, 3):
        for a, b in zip(alone, _gradients(threads, index, weight, query, target), strict=True):
            assert torch.equal(a, b)
    truth = reference.nearest_backward(
        weight.double(), query.double(), target.double(), index, 2, True, True
    )
    for found, exact in zip(alone, truth, strict=True):
        assert (found.double() - exact).norm() <= 2e-6 * exact.norm()
