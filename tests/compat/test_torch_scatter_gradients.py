"""Gradients of the drop-in for torch_scatter, of both orders, repeatability and compilers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from g2vlm_fast.compat import torch_scatter as ts

INDEX = torch.tensor([3, 0, 3, 1, 0])
SORTED = torch.tensor([0, 0, 1, 3, 3])
POINTERS = torch.tensor([0, 2, 3, 3, 5])
SPREAD = torch.tensor([[3, 0, 3, 1, 0], [1, 1, 1, 0, 2]])
RUNS = torch.tensor([[1, 2, 4, 4, 5], [0, 0, 3, 3, 4]])

Differentiable = Callable[[Tensor], Tensor]
OF_VALUES: dict[str, Differentiable] = {  # of [2, 5, 3]
    "sum": lambda x: ts.scatter_sum(x, INDEX, 1),
    "sum_channels": lambda x: ts.scatter_sum(x, torch.tensor([1, 1, 0])),
    "mean": lambda x: ts.scatter_mean(x, SPREAD, 1),
    "mul": lambda x: ts.scatter_mul(x, INDEX, 1),
    "min": lambda x: ts.scatter_min(x, SPREAD, 1)[0],
    "max": lambda x: ts.scatter_max(x, INDEX, 1)[0],
    "std": lambda x: ts.scatter_std(x, SPREAD, 1),
    "biased_std": lambda x: ts.scatter_std(x, SPREAD, 1, unbiased=False),
    "logsumexp": lambda x: ts.scatter_logsumexp(x, INDEX, 1),
    "softmax": lambda x: ts.scatter_softmax(x, SPREAD, 1),
    "log_softmax": lambda x: ts.scatter_log_softmax(x, INDEX, 1),
    "segment_sum_csr": lambda x: ts.segment_sum_csr(x, POINTERS[None]),
    "segment_mean_csr": lambda x: ts.segment_mean_csr(x, RUNS),
    "segment_min_csr": lambda x: ts.segment_min_csr(x, RUNS)[0],
    "segment_max_csr": lambda x: ts.segment_max_csr(x, POINTERS[None])[0],
    "segment_sum_coo": lambda x: ts.segment_sum_coo(x, SORTED[None]),
    "segment_mean_coo": lambda x: ts.segment_mean_coo(x, SORTED.expand(2, 5)),
    "segment_min_coo": lambda x: ts.segment_min_coo(x, SORTED[None])[0],
    "segment_max_coo": lambda x: ts.segment_max_coo(x, SPREAD)[0],
}
OF_GROUPS: dict[str, Differentiable] = {  # of [2, 4, 3]
    "gather_csr": lambda x: ts.gather_csr(x, RUNS.clamp_max(4)),
    "gather_coo": lambda x: ts.gather_coo(x, SPREAD),
}
OF_DESTINATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    name: lambda x, out, function=function: function(x, INDEX, 1, out * 1)
    for name, function in {
        "sum": ts.scatter_sum,
        "mean": ts.scatter_mean,
        "mul": ts.scatter_mul,
        "min": lambda *arguments: ts.scatter_min(*arguments)[0],
        "max": lambda *arguments: ts.scatter_max(*arguments)[0],
        "logsumexp": ts.scatter_logsumexp,
        "std": ts.scatter_std,
    }.items()
}


def leaf(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


@pytest.mark.parametrize("name", [*OF_VALUES, *OF_GROUPS])
def test_gradients_of_both_orders_are_derivatives(name, generator) -> None:  # type: ignore[no-untyped-def]
    function = OF_VALUES.get(name) or OF_GROUPS[name]
    x = leaf(generator, 2, 5 if name in OF_VALUES else 4, 3)
    assert torch.autograd.gradcheck(function, (x,), fast_mode=True)
    assert torch.autograd.gradgradcheck(function, (x,), fast_mode=True)


@pytest.mark.parametrize("name", OF_DESTINATIONS)
def test_gradients_reach_values_and_destination(name, generator) -> None:  # type: ignore[no-untyped-def]
    out = leaf(generator, 2, 4, 3)
    if name == "std":
        out = out.detach().square().requires_grad_()
    x = leaf(generator, 2, 5, 3)
    assert torch.autograd.gradcheck(OF_DESTINATIONS[name], (x, out), fast_mode=True)


def test_the_first_of_equal_extremes_takes_the_gradient() -> None:
    src = torch.tensor([2.0, 7, 7, 2, 2], requires_grad=True)
    index = torch.tensor([1, 0, 0, 1, 1])
    values, position = ts.scatter_max(src, index)
    assert position.tolist() == [1, 0]
    values.sum().backward()
    assert src.grad is not None
    assert src.grad.tolist() == [1, 1, 0, 0, 0]


def test_the_gradient_of_a_product_with_zeros_is_the_product_of_the_others() -> None:
    src = torch.tensor([2.0, 0, 5, 0, 0, 3], requires_grad=True)
    ts.scatter_mul(src, torch.tensor([0, 0, 0, 1, 1, 1])).sum().backward()
    assert src.grad is not None
    assert src.grad.tolist() == [0, 10, 0, 0, 0, 0]


def test_second_derivatives_of_products_with_zeros_are_refused_by_name() -> None:
    src = torch.tensor([2.0, 0], requires_grad=True)
    product = ts.scatter_mul(src, torch.tensor([0, 0])).sum()
    with pytest.raises(NotImplementedError, match="scatter_mul: second derivatives"):
        torch.autograd.grad(product, src, create_graph=True)


def test_equal_values_have_standard_deviation_and_gradient_zero() -> None:
    src = torch.tensor([4.0, 4, 4, 9], requires_grad=True)
    found = ts.scatter_std(src, torch.tensor([0, 0, 0, 1]))
    assert found.tolist() == [0, 0]
    found.sum().backward()
    assert src.grad is not None
    assert not src.grad.any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_gradients_have_the_dtype_of_the_values(dtype: torch.dtype) -> None:
    for function in OF_VALUES.values():
        x = torch.rand(2, 5, 3).to(dtype).requires_grad_()
        function(x).sum().backward()
        assert x.grad is not None
        assert x.grad.dtype == dtype


def outcomes(x: Tensor, index: Tensor, channels: int) -> list[Tensor]:
    found = []
    for reduce in ("sum", "mean", "mul", "min", "max"):
        out = ts.scatter(x, index, 0, dim_size=channels, reduce=reduce)
        found += [out, *torch.autograd.grad(out.square().sum(), x)]
    out = ts.scatter_softmax(x, index, 0, dim_size=channels)
    return [*found, out, *torch.autograd.grad(out.square().sum(), x)]


def test_two_runs_and_any_number_of_threads_give_the_same_bits(generator) -> None:  # type: ignore[no-untyped-def]
    x = torch.randn(4000, 5, generator=generator, requires_grad=True)
    index = torch.randint(0, 60, (4000,), generator=generator)
    threads = torch.get_num_threads()
    try:
        found = []
        for count in (1, 1, 3):
            torch.set_num_threads(count)
            found.append(outcomes(x, index, 60))
    finally:
        torch.set_num_threads(threads)
    for one, *others in zip(*found, strict=True):
        assert all(torch.equal(one, other) for other in others)


FIXED: dict[str, Differentiable] = {  # sizes that no value decides
    "sum": lambda x: ts.scatter_sum(x, INDEX, 1, dim_size=4),
    "spread_mean": lambda x: ts.scatter_mean(x, SPREAD, 1, dim_size=4),
    "mul": lambda x: ts.scatter_mul(x, INDEX, 1, dim_size=4),
    "max": lambda x: ts.scatter_max(x, INDEX, 1, dim_size=4)[0],
    "std": lambda x: ts.scatter_std(x, INDEX, 1, dim_size=4),
    "softmax": lambda x: ts.scatter_softmax(x, INDEX, 1, dim_size=4),
    "logsumexp": lambda x: ts.scatter_logsumexp(x, INDEX, 1, dim_size=4),
    "coo": lambda x: ts.segment_coo(x, SPREAD, dim_size=4),
    "csr": lambda x: ts.segment_csr(x, RUNS, reduce="mean"),
    "gather_coo": lambda x: ts.gather_coo(x, SPREAD),
    "gather_csr": lambda x: ts.gather_csr(x[:, :4], RUNS, x.new_zeros(2, 5, 3)),
}


@pytest.mark.parametrize("name", FIXED)
def test_compiled_in_one_graph_values_and_gradients_are_the_same(name, generator) -> None:  # type: ignore[no-untyped-def]
    torch._dynamo.reset()
    function = FIXED[name]
    compiled = torch.compile(function, backend="aot_eager", fullgraph=True)
    x = torch.randn(2, 5, 3, generator=generator, requires_grad=True)
    results = []
    for each in (function, compiled):
        out = each(x)
        results.append([out, *torch.autograd.grad(out.square().sum(), x)])
    for eager, traced in zip(*results, strict=True):
        torch.testing.assert_close(eager, traced)


def test_compiled_code_refuses_an_index_out_of_range() -> None:
    torch._dynamo.reset()
    compiled = torch.compile(ts.scatter_sum, backend="aot_eager", fullgraph=True)
    with pytest.raises(ValueError, match="scatter_sum: index must be from 0 to 1, got 2"):
        compiled(torch.ones(3), torch.tensor([0, 2, 1]), dim_size=2)
    compiled = torch.compile(ts.segment_csr, backend="aot_eager", fullgraph=True)
    with pytest.raises(ValueError, match="segment_csr: indptr must never decrease"):
        compiled(torch.ones(3), torch.tensor([0, 2, 1]))


def test_the_ops_below_pass_opcheck() -> None:
    member = torch.ops.g2vlm.index_members.default
    runs = torch.ops.g2vlm.sorted_positions.default
    offsets = torch.ops.g2vlm.segment_offsets.default
    for index in (SPREAD, SPREAD.int(), SPREAD[:, :0]):
        torch.library.opcheck(member, (index, 4, "scatter"))
    for is_sorted in (True, False):
        torch.library.opcheck(runs, (SORTED.int(), 4, is_sorted, "scatter"))
    torch.library.opcheck(runs, (INDEX.int(), 4, False, "scatter"))
    torch.library.opcheck(offsets, (RUNS, 5, "segment_csr"))


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_scripted_functions_answer_as_they_do() -> None:
    src, index = torch.tensor([4.0, 1, 3, 3, 9]), SORTED
    assert torch.equal(torch.jit.script(ts.scatter)(src, index), ts.scatter(src, index))
    for name in (
        *("scatter_mul", "scatter_mean", "scatter_std", "scatter_logsumexp", "scatter_softmax"),
        *("scatter_log_softmax", "segment_coo", "gather_coo"),
    ):
        function = getattr(ts, name)
        assert torch.equal(torch.jit.script(function)(src, index), function(src, index)), name
    for name in ("segment_csr", "gather_csr"):
        function, values = getattr(ts, name), src[:4] if name == "gather_csr" else src
        assert torch.equal(torch.jit.script(function)(values, POINTERS), function(values, POINTERS))
    for name, argument in (("scatter_max", index), ("segment_min_csr", POINTERS)):
        function = getattr(ts, name)
        pairs = zip(torch.jit.script(function)(src, argument), function(src, argument), strict=True)
        assert all(torch.equal(one, two) for one, two in pairs)
