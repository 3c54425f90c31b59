"""The drop-in for torch_scatter against loops over single values in float64."""

from __future__ import annotations

import inspect
import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from g2vlm_fast.compat import torch_scatter

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.uint8, torch.int8,
          torch.int16, torch.int32, torch.int64)  # fmt: skip
TOLERANCE = {torch.float16: 2e-3, torch.bfloat16: 1.6e-2, torch.float32: 1e-5, torch.float64: 1e-12}


def broadcast(index: Tensor, shape: torch.Size, dim: int) -> Tensor:
    if index.dim() == 1:
        index = index.reshape([-1 if axis == dim else 1 for axis in range(len(shape))])
    return index.reshape(*index.shape, *[1] * (len(shape) - index.dim())).expand(shape)


def looped(
    src: Tensor, index: Tensor, dim: int, size: int, reduce: str, out: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Reduce value by value; positions of extremes, the size of the axis where there is none."""
    dim %= src.dim()
    index = broadcast(index, src.shape, dim)
    shape = [*src.shape[:dim], size, *src.shape[dim + 1 :]]
    found = torch.zeros(shape, dtype=torch.float64)
    position = torch.full(shape, src.shape[dim])
    for place in itertools.product(*map(range, shape)):
        here = [src[(*place[:dim], d, *place[dim + 1 :])].item()
                for d in range(src.shape[dim])]  # fmt: skip
        bears = [d for d in range(src.shape[dim])
                 if index[(*place[:dim], d, *place[dim + 1 :])] == place[dim]]  # fmt: skip
        values = [here[d] for d in bears]
        before = None if out is None else out[place].item()
        if reduce in ("sum", "mean", "mul"):
            total = math.prod(values) if reduce == "mul" else sum(values)
            if before is not None:
                total = total * before if reduce == "mul" else total + before
            if reduce == "mean":
                total = total / max(len(values), 1)
                total = total if src.is_floating_point() else math.floor(total)
            found[place] = total
            continue
        best = before
        for d in bears:
            if best is None or (here[d] > best if reduce == "max" else here[d] < best):
                best, position[place] = here[d], d
        found[place] = 0 if best is None else best
    return found, position


def close(actual: Tensor, expected: Tensor) -> None:
    if not actual.is_floating_point():
        assert torch.equal(actual.double(), expected)
        return
    tolerance = TOLERANCE[actual.dtype]
    torch.testing.assert_close(actual.double(), expected, rtol=tolerance, atol=tolerance)


def drawn(generator: torch.Generator, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Values of which some are equal, small enough that no dtype overflows."""
    return (torch.randint(1, 4, shape, generator=generator)).to(dtype)


SHAPES = [  # src, index, dim, size
    ((6,), (6,), -1, 4),
    ((6, 3), (6,), 0, 4),
    ((3, 6), (6,), -1, 4),
    ((2, 5, 3), (5,), 1, 3),
    ((2, 5, 3), (2, 5), 1, 3),
    ((2, 5, 3), (2, 5, 1), 1, 3),
    ((2, 5, 3), (1, 5, 3), 1, 3),
    ((2, 5, 3), (2, 5, 3), 0, 4),
    ((2, 5, 3), (2, 5, 3), -1, 4),
    ((4, 3), (1, 1), 0, 2),
]


@pytest.mark.parametrize(("shape", "index_shape", "dim", "size"), SHAPES)
@pytest.mark.parametrize("reduce", ["sum", "add", "mean", "mul", "min", "max"])
@pytest.mark.parametrize("merged", [False, True])
def test_scatter_is_a_loop_over_its_values(
    shape, index_shape, dim, size, reduce, merged, generator
) -> None:  # type: ignore[no-untyped-def]
    function = getattr(torch_scatter, f"scatter_{reduce}")
    truth = reduce.replace("add", "sum")
    for dtype in (torch.float32, torch.int64):
        src = drawn(generator, shape, dtype)
        index = torch.randint(0, size, index_shape, generator=generator)
        axis = dim % len(shape)
        out = drawn(generator, (*shape[:axis], size, *shape[axis + 1 :]), dtype) if merged else None
        values, position = looped(src, index, dim, size, truth, out)
        options = {"dim_size": size} if out is None else {"out": out.clone()}
        found = function(src, index, dim, **options)
        by_name = torch_scatter.scatter(
            src, index, dim, out.clone() if merged else None, size, reduce=reduce
        )
        if reduce in ("min", "max"):
            assert torch.equal(found[1], position)
            found = found[0]
        if merged:
            assert found is options["out"]
        assert found.dtype == dtype
        assert found.is_contiguous()
        close(found, values)
        assert torch.equal(found, by_name)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduce", ["sum", "mean", "mul", "min", "max"])
def test_every_dtype_is_answered_in_kind(dtype, reduce, generator) -> None:  # type: ignore[no-untyped-def]
    src, index = drawn(generator, (7, 3), dtype), torch.tensor([0, 3, 0, 3, 3, 1, 1])
    expected, _ = looped(src, index, 0, 4, reduce)
    close(torch_scatter.scatter(src, index, 0, reduce=reduce), expected)
    if reduce != "mul":
        ordered = index.sort().values
        expected, _ = looped(src, ordered, 0, 4, reduce)
        pointers = torch.tensor([0, 2, 4, 4, 7])
        close(torch_scatter.segment_coo(src, ordered, reduce=reduce), expected)
        close(torch_scatter.segment_csr(src, pointers, reduce=reduce), expected)
    assert torch_scatter.gather_coo(src, index % 7).dtype == dtype


POINTERS = [  # src, pointers
    ((6, 2), [0, 2, 5, 5, 6]),
    ((2, 6), [[0, 2, 5, 5, 6], [0, 0, 1, 3, 6]]),
    ((2, 6, 3), [[0, 6, 6]]),
    ((2, 6, 3), [[1, 2, 4], [0, 3, 3]]),
    ((6,), [2, 4]),
    ((6,), [3]),
    ((2, 3, 4), [[[0, 1, 4]]]),
]


@pytest.mark.parametrize(("shape", "pointers"), POINTERS)
@pytest.mark.parametrize("reduce", ["sum", "add", "mean", "min", "max"])
def test_segment_csr_is_a_loop_over_its_runs(shape, pointers, reduce, generator) -> None:  # type: ignore[no-untyped-def]
    indptr = torch.tensor(pointers)
    dim, size = indptr.dim() - 1, indptr.shape[-1] - 1
    src = drawn(generator, shape, torch.float64)
    spread = indptr.expand(*shape[:dim], -1)
    place = torch.arange(shape[dim])
    index = (place[:, None] >= spread[..., None, :]).sum(-1) - 1  # -1 and N: in no run
    expected, position = looped(src, index, dim, size, reduce.replace("add", "sum"))
    found = getattr(torch_scatter, f"segment_{reduce}_csr")(src, indptr)
    if reduce in ("min", "max"):
        assert torch.equal(found[1], position)
        found = found[0]
    close(found, expected)
    out = torch.full_like(found, -7.0)
    assert torch_scatter.segment_csr(src, indptr, out, reduce) is out
    assert torch.equal(out, found)


@pytest.mark.parametrize(("shape", "pointers"), POINTERS)
def test_gather_csr_repeats_the_values_of_runs(shape, pointers, generator) -> None:  # type: ignore[no-untyped-def]
    indptr = torch.tensor(pointers)
    dim = indptr.dim() - 1
    last = int(indptr.flatten()[-1])
    indptr = indptr.clamp_max(last)
    src = drawn(generator, (*shape[:dim], indptr.shape[-1] - 1, *shape[dim + 1 :]), torch.float32)
    expected = torch.zeros(*shape[:dim], last, *shape[dim + 1 :])
    for lead in itertools.product(*map(range, shape[:dim])):
        runs = indptr.expand(*shape[:dim], -1)[lead].tolist()
        for n, (begin, end) in enumerate(itertools.pairwise(runs)):
            expected[lead][begin:end] = src[lead][n]
    assert torch.equal(torch_scatter.gather_csr(src, indptr), expected)
    out = torch.full_like(expected, 9.0)
    assert torch_scatter.gather_csr(src, indptr, out) is out
    assert torch.equal(out, expected)


@pytest.mark.parametrize("is_sorted", [True, False])
@pytest.mark.parametrize("index_shape", [(5,), (2, 5), (1, 5), (2, 5, 3)])
@pytest.mark.parametrize("merged", [False, True])
def test_segment_coo_is_scatter_along_the_last_axis_of_the_index(
    is_sorted, index_shape, merged, generator
) -> None:  # type: ignore[no-untyped-def]
    shape = (5, 3) if len(index_shape) == 1 else (2, 5, 3)
    dim = len(index_shape) - 1
    index = torch.randint(0, 4, index_shape, generator=generator)
    index = index.sort(-1).values if is_sorted else index
    src = drawn(generator, shape, torch.float64)
    full = index.reshape(*index_shape, *[1] * (len(shape) - dim - 1)).expand(shape)
    out_shape = (*shape[:dim], 4, *shape[dim + 1 :])
    for reduce in ("sum", "add", "mean", "min", "max"):
        out = drawn(generator, out_shape, torch.float64) if merged else None
        truth = looped(src, full, dim, 4, reduce.replace("add", "sum"), out)
        function = getattr(torch_scatter, f"segment_{reduce}_coo")
        found = function(src, index, None if out is None else out.clone(), 4)
        if reduce in ("min", "max"):
            assert torch.equal(found[1], truth[1])
            found = found[0]
        close(found, truth[0])
    values = drawn(generator, out_shape, torch.float32)
    expected = values.gather(dim, full)
    assert torch.equal(torch_scatter.gather_coo(values, index), expected)
    out = torch.zeros_like(expected)
    assert torch_scatter.gather_coo(values, index, out) is out
    assert torch.equal(out, expected)


def test_statistics_are_those_of_each_group(generator) -> None:  # type: ignore[no-untyped-def]
    src = torch.randn(4, 9, generator=generator, dtype=torch.float64) * 5
    index = torch.tensor([2, 0, 0, 2, 4, 2, 0, 5, 5])
    groups = {n: src[:, index == n] for n in range(6)}
    for unbiased in (True, False):
        found = torch_scatter.scatter_std(src, index, unbiased=unbiased)
        for n, group in groups.items():
            size = group.shape[1]
            expected = group.std(1, unbiased=unbiased and size > 1) if size else torch.zeros(4)
            torch.testing.assert_close(found[:, n], expected.double(), rtol=2e-6, atol=1e-12)
    softmax = torch_scatter.scatter_softmax(src, index)
    log_softmax = torch_scatter.scatter_log_softmax(src, index)
    total = torch_scatter.scatter_logsumexp(src, index)
    out = torch.randn(4, 6, generator=generator, dtype=torch.float64)
    merged = torch_scatter.scatter_logsumexp(src, index, out=out.clone())
    for n, group in groups.items():
        bears = index == n
        torch.testing.assert_close(softmax[:, bears], group.softmax(1))
        torch.testing.assert_close(log_softmax[:, bears], group.log_softmax(1))
        nothing = torch.zeros(4, dtype=torch.float64)
        torch.testing.assert_close(total[:, n], group.logsumexp(1) if group.numel() else nothing)
        both = torch.cat([group, out[:, n : n + 1]], 1).logsumexp(1)
        torch.testing.assert_close(merged[:, n], both)


def test_the_destination_of_std_holds_the_sums_of_squares() -> None:
    out = torch.tensor([2.0, 5.0])
    found = torch_scatter.scatter_std(torch.tensor([1.0, 3.0]), torch.tensor([0, 0]), out=out)
    assert out.tolist() == [4.0, 5.0]
    torch.testing.assert_close(found, torch.tensor([2.0, 5.0**0.5]))


@pytest.mark.parametrize("magnitude", [1e4, -1e4])
def test_softmax_of_large_scores_is_finite(magnitude: float) -> None:
    src = torch.tensor([magnitude, magnitude + 1, 3.0])
    index = torch.tensor([0, 0, 1])
    expected = torch.cat([src[:2].softmax(0), torch.ones(1)])
    torch.testing.assert_close(torch_scatter.scatter_softmax(src, index), expected)
    total = torch_scatter.scatter_logsumexp(src, index)
    torch.testing.assert_close(total[0], src[:2].logsumexp(0))


def test_infinities_are_values() -> None:
    inf = torch.inf
    src, index = torch.tensor([-inf, -inf, inf, 1.0, -inf, 2.0]), torch.tensor([0, 0, 1, 1, 2, 2])
    values, position = torch_scatter.scatter_max(src, index)
    assert values.tolist() == [-inf, inf, 2.0]
    assert position.tolist() == [0, 2, 5]
    assert torch_scatter.scatter_logsumexp(src, index).tolist() == [-inf, inf, 2.0]
    assert torch_scatter.scatter_softmax(src, index)[4:].tolist() == [0.0, 1.0]


@pytest.mark.parametrize("reduce", ["sum", "mean", "mul", "min", "max"])
def test_a_nan_reaches_its_group_and_no_other(reduce: str) -> None:
    src = torch.tensor([1.0, torch.nan, 3.0, 4.0])
    found = torch_scatter.scatter(src, torch.tensor([0, 1, 1, 2]), reduce=reduce)
    assert found.isnan().tolist() == [False, True, False]
    out = torch.tensor([9.0, 9.0, torch.nan])
    merged = torch_scatter.scatter(src, torch.tensor([0, 1, 1, 2]), out=out, reduce=reduce)
    assert merged.isnan().tolist() == [False, True, True]


def test_counts_and_sums_of_half_precision_are_those_of_float32() -> None:
    ones = torch.ones(5000, dtype=torch.bfloat16)
    index = torch.zeros(5000, dtype=torch.int64)
    assert torch_scatter.scatter_mean(ones, index).item() == 1
    assert torch_scatter.scatter_sum(ones, index).item() == torch.tensor(5000.0).bfloat16()
    large = torch.full((9,), 6e4, dtype=torch.float16)
    assert torch_scatter.scatter_mean(large, index[:9]).item() == large[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
def test_tensors_without_values_are_reduced_to_nothing(dtype: torch.dtype) -> None:
    x = torch.zeros(0, 0, 0, 16, dtype=dtype)
    none = torch.zeros(0, dtype=torch.int64)
    for reduce in ("sum", "mean", "min", "max"):
        assert torch_scatter.scatter(x, none, 0, dim_size=0, reduce=reduce).shape == x.shape
        assert torch_scatter.segment_coo(x, none, dim_size=0, reduce=reduce).shape == x.shape
        assert torch_scatter.segment_csr(x, none, reduce=reduce).shape == x.shape
        assert torch_scatter.scatter(x, none, 0, dim_size=2, reduce=reduce).shape == (2, 0, 0, 16)
    assert torch_scatter.gather_coo(x, none).shape == x.shape
    assert torch_scatter.gather_csr(x, none).shape == x.shape
    empty = torch_scatter.scatter_max(torch.zeros(0, 2, dtype=dtype), none, 0, dim_size=3)
    assert not empty[0].any()
    assert not empty[1].any(), "the size of the axis, which is 0"
    assert (
        torch_scatter.scatter_mul(torch.zeros(0, 2, dtype=dtype), none, 0, dim_size=3).eq(1).all()
    )
    assert torch_scatter.scatter_sum(torch.zeros(0, 2, dtype=dtype), none, 0).shape == (0, 2)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_shape_and_index_are_a_loop(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=4)))
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    size = data.draw(st.integers(1, 4))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    if data.draw(st.booleans()):
        index_shape: tuple[int, ...] = (shape[dim],)
    else:
        rank = data.draw(st.integers(2, max(2, len(shape))))
        index_shape = tuple(
            1 if data.draw(st.booleans()) else each for each in shape[: min(rank, len(shape))]
        )
    index = torch.randint(0, size, index_shape, generator=generator)
    if index.dim() == len(shape) and data.draw(st.booleans()):
        index = index.expand(shape)
    src = torch.randint(-3, 4, shape, generator=generator).double()
    if len(shape) > 1 and data.draw(st.booleans()):
        src = src.transpose(0, 1).contiguous().transpose(0, 1)
    reduce = data.draw(st.sampled_from(["sum", "mean", "mul", "min", "max"]))
    values, position = looped(src, index, dim, size, reduce)
    found = getattr(torch_scatter, f"scatter_{reduce}")(src, index, dim, dim_size=size)
    if reduce in ("min", "max"):
        assert torch.equal(found[1], position)
        found = found[0]
    close(found, values)


SIGNATURES = {
    "scatter": "(src, index, dim=-1, out=None, dim_size=None, reduce='sum')",
    **dict.fromkeys(
        [f"scatter_{each}" for each in ("sum", "add", "mul", "mean", "min", "max")],
        "(src, index, dim=-1, out=None, dim_size=None)",
    ),
    "segment_csr": "(src, indptr, out=None, reduce='sum')",
    "segment_coo": "(src, index, out=None, dim_size=None, reduce='sum')",
    **dict.fromkeys(
        [f"segment_{each}_csr" for each in ("sum", "add", "mean", "min", "max")],
        "(src, indptr, out=None)",
    ),
    **dict.fromkeys(
        [f"segment_{each}_coo" for each in ("sum", "add", "mean", "min", "max")],
        "(src, index, out=None, dim_size=None)",
    ),
    "gather_csr": "(src, indptr, out=None)",
    "gather_coo": "(src, index, out=None)",
    "scatter_std": "(src, index, dim=-1, out=None, dim_size=None, unbiased=True)",
    "scatter_logsumexp": "(src, index, dim=-1, out=None, dim_size=None, eps=1e-12)",
    "scatter_softmax": "(src, index, dim=-1, dim_size=None)",
    "scatter_log_softmax": "(src, index, dim=-1, eps=1e-12, dim_size=None)",
}


def test_names_arguments_and_defaults_are_those_of_the_original() -> None:
    assert set(torch_scatter.__all__) == set(SIGNATURES)
    for name, expected in SIGNATURES.items():
        signature = inspect.signature(getattr(torch_scatter, name))
        bare = [each.replace(annotation=inspect.Parameter.empty)
                for each in signature.parameters.values()]  # fmt: skip
        assert str(inspect.Signature(bare)) == expected, name
