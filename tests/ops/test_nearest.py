"""The contract of the nearest search; what every op promises is in test_every_op.py."""

from __future__ import annotations

from fractions import Fraction

import hypothesis.strategies as st
import numpy
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from g2vlm_fast.ops import BackendError, nearest, nearest_pair, use_backend


def _rounded(value: Fraction) -> Fraction:
    return Fraction(float(numpy.float32(float(value))))


def _chain(a: list[float], b: list[float], norm: int) -> float:
    """The distance with the roundings that the contract prescribes, in exact arithmetic."""
    total = Fraction(0)
    for x, y in zip(a, b, strict=True):
        difference = _rounded(Fraction(x) - Fraction(y))
        term = difference * difference if norm == 2 else abs(difference)
        total = _rounded(total + term)
    return float(total)


@pytest.mark.parametrize("norm", [1, 2])
@pytest.mark.parametrize("dim", [1, 3, 5])
def test_distances_are_one_chain_of_fused_roundings(norm: int, dim: int) -> None:
    generator = torch.Generator().manual_seed(dim)
    query = 10 * torch.randn(20, dim, generator=generator)
    target = 10 * torch.randn(30, dim, generator=generator)
    distance, index = nearest(query, target, norm=norm)
    for i in range(20):
        chain = [_chain(query[i].tolist(), each, norm) for each in target.tolist()]
        assert distance[i].item() == min(chain)
        assert index[i].item() == chain.index(min(chain))


def test_equal_distances_go_to_the_lower_index() -> None:
    target = torch.zeros(1000, 3)
    target[:100] = 5
    distance, index = nearest(torch.zeros(2, 3), target, k=4)
    assert index.tolist() == [[100, 101, 102, 103]] * 2
    assert not distance.any()


@pytest.mark.parametrize("count", [1, 15, 16, 17, 255, 256, 257, 513])
def test_the_only_near_target_is_found_wherever_it_lies(count: int) -> None:
    for place in {0, count // 2, count - 1}:
        target = torch.full((count, 3), 9.0)
        target[place] = 1
        assert nearest(torch.zeros(1, 3), target)[1].item() == place


def test_a_neighbour_exactly_at_the_bound_counts() -> None:
    target = torch.tensor([[2.0, 0, 0], [0, 3.0, 0]])
    distance, index = nearest(torch.zeros(1, 3), target, k=2, max_distance=2.0)
    assert index.tolist() == [[0, -1]]
    assert distance.tolist() == [[4.0, float("inf")]]
    assert nearest(torch.zeros(1, 3), target, max_distance=1.9)[1].item() == -1
    at_zero = nearest(torch.zeros(1, 3), torch.zeros(1, 3), norm=1, max_distance=-0.0)
    assert at_zero[1].item() == 0


def test_infinite_and_overflowing_distances_still_have_a_neighbour() -> None:
    target = torch.tensor([[float("nan")] * 3, [float("inf"), 0, 0], [3e38, 0, 0]])
    distance, index = nearest(torch.tensor([[-3e38, 0, 0]]), target, k=3)
    assert distance.tolist() == [[float("inf")] * 3]
    assert index.tolist() == [[1, 2, -1]]


@pytest.mark.parametrize("norm", [1, 2])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_every_method_gives_the_same_bits(dim: int, norm: int) -> None:
    generator = torch.Generator().manual_seed(dim)
    query = torch.randint(-9, 9, (150, dim), generator=generator).float()
    target = torch.randint(-9, 9, (90, dim), generator=generator).float()
    ends = {
        "query_offsets": torch.tensor([0, 40, 40, 149, 150], dtype=torch.int32),
        "target_offsets": torch.tensor([0, 0, 7, 89, 90], dtype=torch.int32),
    }
    for k in (1, 3, 70):
        brute, tree, auto = (
            nearest(query, target, k=k, norm=norm, method=method, **ends)
            for method in ("brute", "tree", "auto")
        )
        for one, other in zip((*tree, *auto), (*brute, *brute), strict=True):
            assert torch.equal(one, other)


def test_a_method_that_is_not_there_is_refused_by_its_name() -> None:
    points = torch.rand(5, 4)
    with pytest.raises(BackendError, match="method='tree' needs at most 3 dimensions, got 4"):
        nearest(points, points, method="tree")
    nearest(points, points, method="brute")
    with (
        use_backend("reference", "nearest"),
        pytest.raises(BackendError, match="method='tree' needs another backend than reference"),
    ):
        nearest(points[:, :3], points[:, :3], method="tree")


@pytest.mark.parametrize("method", ["brute", "tree"])
@pytest.mark.parametrize("k", [64, 65, 499, 500, 501, 1200])
def test_any_number_of_neighbours_comes_sorted_with_ties_by_index(k: int, method: str) -> None:
    generator = torch.Generator().manual_seed(k)
    query = torch.randint(-2, 3, (40, 3), generator=generator).float()
    target = torch.randint(-2, 3, (500, 3), generator=generator).float()
    target[11] = torch.nan
    distance, index = nearest(query, target, k=k, method=method)
    pairs = (query[:, None] - target).square().sum(-1)
    order = pairs.sort(dim=1, stable=True)  # which puts NaN last
    found = min(k, 499)
    assert torch.equal(distance[:, :found], order.values[:, :found])
    assert torch.equal(index[:, :found], order.indices[:, :found].int())
    assert (index[:, found:] == -1).all()
    assert distance[:, found:].isinf().all()


def test_queries_with_a_nan_are_unknown() -> None:
    query = torch.zeros(3, 2)
    query[1, 0] = torch.nan
    distance, index = nearest(query, torch.ones(4, 2), k=2)
    assert index[1].tolist() == [-1, -1]
    assert distance[1].isnan().all()
    assert not distance[[0, 2]].isnan().any()


@st.composite
def _ragged_grids(draw: st.DrawFn) -> dict[str, object]:
    lengths = st.lists(st.integers(0, 40), min_size=1, max_size=12)
    queries = draw(lengths)
    targets = draw(st.lists(st.integers(0, 300), min_size=len(queries), max_size=len(queries)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    dim = draw(st.integers(1, 4))

    def grid(count: int) -> torch.Tensor:
        return torch.randint(-3, 4, (count, dim), generator=generator).float() / 2

    def ends(counts: list[int]) -> torch.Tensor:
        return torch.tensor([0, *counts]).cumsum(0).int()

    return {
        "query": grid(sum(queries)),
        "target": grid(sum(targets)),
        "query_offsets": ends(queries),
        "target_offsets": ends(targets),
        "k": draw(st.sampled_from([1, 2, 7, 64, 100])),
        "norm": draw(st.sampled_from([1, 2])),
        "max_distance": draw(st.sampled_from([None, 0.0, 1.0, 2.5])),
    }


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(arguments=_ragged_grids())
def test_ragged_grids_full_of_ties_agree_to_the_bit(arguments: dict[str, object]) -> None:
    distance, index = nearest(**arguments)  # type: ignore[arg-type]
    with use_backend("reference"):
        true_distance, true_index = nearest(**arguments)  # type: ignore[arg-type]
    assert torch.equal(index, true_index)
    assert torch.equal(distance, true_distance)


def test_gradients_reach_only_the_chosen_pairs() -> None:
    query = torch.tensor([[0.0, 0, 0], [10.0, 0, 0]], requires_grad=True)
    target = torch.tensor([[1.0, 0, 0], [1.0, 0, 0], [50.0, 0, 0]], requires_grad=True)
    distance, _ = nearest(query, target, max_distance=3.0)
    distance.backward(torch.full_like(distance, 0.5))
    assert query.grad is not None
    assert target.grad is not None
    assert query.grad.tolist() == [[-1, 0, 0], [0, 0, 0]]
    assert target.grad.tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize(("of_query", "of_target"), [(True, False), (False, True)])
def test_gradients_that_are_not_asked_for_are_not_made(of_query: bool, of_target: bool) -> None:
    query = torch.rand(40, 3, requires_grad=of_query)
    target = torch.rand(50, 3, requires_grad=of_target)
    nearest(query, target, k=3)[0].sum().backward()
    assert (query.grad is not None) == of_query
    assert (target.grad is not None) == of_target


def test_indices_carry_no_gradient() -> None:
    query = torch.rand(4, 3, requires_grad=True)
    assert not nearest(query, torch.rand(5, 3))[1].requires_grad


@pytest.mark.parametrize("norm", [1, 2])
def test_second_derivatives_are_right(norm: int) -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(2, 9, 3, generator=generator, dtype=torch.float64)
    query, target = (each.clone().requires_grad_() for each in points)
    assert torch.autograd.gradgradcheck(
        lambda query, target: nearest(query, target, k=2, norm=norm)[0], (query, target)
    )


def test_second_derivatives_pass_over_neighbours_that_are_missing(
    generator: torch.Generator,
) -> None:
    query, target = (torch.randn(n, 3, generator=generator).double() for n in (9, 4))
    query[2] = torch.nan
    leaves = (query.requires_grad_(), target.requires_grad_())
    offsets = torch.tensor([0, 5, 9], dtype=torch.int32), torch.tensor([0, 4, 4]).int()

    def far(*points: Tensor) -> Tensor:
        distance, index = nearest(
            *points, k=3, query_offsets=offsets[0], target_offsets=offsets[1], max_distance=2.0
        )
        return distance[index >= 0].square().sum()

    first = torch.autograd.grad(far(*leaves), leaves, create_graph=True)
    plain = torch.autograd.grad(far(*leaves), leaves)
    second = torch.autograd.grad(sum(each.square().sum() for each in first), leaves)
    for a, b, twice in zip(first, plain, second, strict=True):
        torch.testing.assert_close(a, b)
        assert twice.isfinite().all()
    assert not second[0][5:].any()


def test_second_derivatives_of_no_targets_are_zero() -> None:
    leaves = (torch.rand(4, 3, requires_grad=True), torch.rand(0, 3, requires_grad=True))
    distance, _ = nearest(*leaves)
    first = torch.autograd.grad(distance.sum(), leaves, create_graph=True)
    assert not first[0].any()
    assert first[1].shape == (0, 3)


@pytest.mark.gpu
def test_second_derivatives_on_the_gpu_repeat_and_wait_for_nothing(
    generator: torch.Generator,
    waiting_raises,  # type: ignore[no-untyped-def]
) -> None:
    query, target = (torch.rand(n, 3, generator=generator).cuda() for n in (20_000, 50))
    leaves = (query.requires_grad_(), target.requires_grad_())

    def second() -> tuple[Tensor, ...]:
        distance, _ = nearest(*leaves)
        first = torch.autograd.grad(distance.sum(), leaves, create_graph=True)
        return torch.autograd.grad(sum(each.square().sum() for each in first), leaves)

    expected = second()
    with waiting_raises():
        found = second()
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("dim", range(1, 9))
def test_distances_are_within_the_stated_error(dim: int, generator: torch.Generator) -> None:
    query, target = (torch.randn(n, dim, generator=generator) for n in (2000, 40))
    distance, index = nearest(query, target)
    exact = (query.double() - target[index[:, 0].long()].double()).square().sum(1)
    assert ((distance[:, 0].double() - exact).abs() <= (dim + 2) * 2**-24 * exact).all()


def test_function_transforms_are_refused() -> None:
    with pytest.raises(RuntimeError, match="transforms"):
        torch.func.grad(lambda query: nearest(query, torch.rand(5, 3))[0].sum())(torch.rand(4, 3))


def test_lazily_negated_tensors_are_read_with_their_sign() -> None:
    points = torch.randn(6, 3, dtype=torch.complex64).conj().imag
    assert points.is_neg()
    target = torch.randn(7, 3)
    assert torch.equal(nearest(points, target)[1], nearest(points.resolve_neg(), target)[1])


def test_more_rows_than_int32_counts_are_refused() -> None:
    many = torch.empty(2**31, 1, device="meta")
    with pytest.raises(ValueError, match="target must have at most 2147483647 rows"):
        nearest(torch.empty(1, 1, device="meta"), many)


def test_half_precision_is_searched_in_float32() -> None:
    query, target = torch.randn(9, 3).bfloat16(), torch.randn(8, 3).bfloat16()
    distance, index = nearest(query, target)
    wide_distance, wide_index = nearest(query.float(), target.float())
    assert distance.dtype == torch.float32
    assert torch.equal(distance, wide_distance)
    assert torch.equal(index, wide_index)


@pytest.mark.parametrize("dim", [2, 3])
def test_pairs_are_the_same_by_either_method(dim: int, generator: torch.Generator) -> None:
    x, y = torch.randn(300, dim, generator=generator), torch.randn(200, dim, generator=generator)
    brute = nearest_pair(x, y, method="brute")
    for one, two in zip(nearest_pair(x, y, method="tree"), brute, strict=True):
        assert torch.equal(one, two)


def test_pairs_in_many_dimensions_have_no_tree(generator: torch.Generator) -> None:
    x = torch.randn(30, 5, generator=generator)
    with pytest.raises(BackendError, match="method='tree' needs at most 3 dimensions, got 5"):
        nearest_pair(x, x, method="tree")
