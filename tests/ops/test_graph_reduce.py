"""Reductions over neighbours, beyond what every op promises (test_every_op.py)."""

from __future__ import annotations

import pytest
import torch
from cuda_graphs import capture
from torch.utils.flop_counter import FlopCounterMode

from g2vlm_fast.nn import GraphConv
from g2vlm_fast.ops import Graph, edge_conv, graph_reduce, register_flop_formulas, use_backend
from g2vlm_fast.ops.specs.graphs import hub_graph, random_graph, window_graph

GRAPH = Graph.from_edges(torch.tensor([0, 2, 1, 1]), torch.tensor([0, 0, 0, 2]), 3, coalesce=False)


@pytest.mark.parametrize(
    ("reduce", "expected"),
    [
        ("sum", [3 + 8 - 1, 0, -1]),
        ("mean", [10 / 3, 0, -1]),
        ("max", [8, 0, -1]),
        ("min", [-1, 0, -1]),
    ],
)
def test_each_row_reduces_its_sources_and_a_row_without_edges_is_zero(
    reduce: str, expected: list[float]
) -> None:
    x = torch.tensor([[3.0], [-1.0], [8.0]])
    assert graph_reduce(x, GRAPH, reduce).flatten().tolist() == pytest.approx(expected)


def test_the_mean_divides_by_the_edges_not_by_their_weights() -> None:
    x = torch.tensor([[3.0], [-1.0], [8.0]])
    weight = torch.tensor([2.0, 0.5, 0.0, 1.0])
    assert graph_reduce(x, GRAPH, "mean", weight)[0].item() == pytest.approx((6 + 4) / 3)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("reduce", ["max", "min"])
def test_of_equal_extremes_the_first_edge_gets_the_gradient(backend: str, reduce: str) -> None:
    graph = Graph.from_edges(torch.tensor([2, 1, 2, 1]), torch.zeros(4).int().long(), 1, 3, False)
    x = torch.tensor([[9.0], [5.0], [5.0]], requires_grad=True)
    with use_backend(backend):
        graph_reduce(x, graph, reduce).sum().backward()
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [0, 0, 1]


@pytest.mark.parametrize("reduce", ["sum", "mean", "max", "min"])
def test_a_nan_reaches_its_row_and_channel_and_no_other(reduce: str) -> None:
    x = torch.ones(3, 4)
    x[2, 1] = torch.nan
    out = graph_reduce(x, GRAPH, reduce)
    assert out.isnan().nonzero().tolist() == [[0, 1]]


def test_winners_of_rows_too_long_for_a_byte_are_kept(generator: torch.Generator) -> None:
    graph = hub_graph(generator, 10, 400)
    assert not graph.short_rows
    x = torch.zeros(10, 1, requires_grad=True)
    weight = torch.full((graph.num_edges,), -1.0)
    hub = int(graph.row_offsets.diff().argmax())
    last = int(graph.row_offsets[hub + 1]) - 1
    weight[last] = 1.0
    with torch.no_grad():
        x += 1
    graph_reduce(x, graph, "max", weight).select(0, hub).sum().backward()
    assert x.grad is not None
    assert x.grad.nonzero()[:, 0].tolist() == [int(graph.columns[last])]


@pytest.mark.parametrize("reduce", ["mean", "max"])
def test_results_do_not_depend_on_the_number_of_threads(
    generator: torch.Generator, reduce: str
) -> None:
    graph = random_graph(generator, 3000, 3000, 20_000)
    x = torch.randn(3000, 40, generator=generator, requires_grad=True)
    weight = torch.randn(graph.num_edges, generator=generator, requires_grad=True)
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            out = graph_reduce(x, graph, reduce, weight)
            found.append([out, *torch.autograd.grad(out.square().sum(), (x, weight))])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_a_gradient_that_is_not_asked_for_is_not_computed(generator: torch.Generator) -> None:
    graph = random_graph(generator, 5, 6, 20)
    weight = torch.randn(20, generator=generator, requires_grad=True)
    graph_reduce(torch.ones(6, 2), graph, "sum", weight).sum().backward()
    assert graph.cached_transpose is None, "only the gradient of x needs it"
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, torch.full((20,), 2.0))


def test_a_column_that_was_never_checked_is_refused_on_the_cpu() -> None:
    graph = Graph(
        row_offsets=torch.tensor([0, 1], dtype=torch.int32),
        columns=torch.tensor([7], dtype=torch.int32),
        num_sources=2,
    )
    with pytest.raises(IndexError, match="columns must be from 0 to 1, got 7"):
        graph_reduce(torch.ones(2, 3), graph)


def test_half_precision_on_the_cpu_is_refused_by_name() -> None:
    with pytest.raises(RuntimeError, match="cpu backend takes float32, float64, got bfloat16"):
        graph_reduce(torch.ones(3, 4).bfloat16(), GRAPH)


def test_operations_are_counted(generator: torch.Generator) -> None:
    register_flop_formulas()
    graph = random_graph(generator, 10, 10, 50)
    x = torch.randn(10, 8, generator=generator, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        graph_reduce(x, graph).sum().backward()
    assert counter.get_total_flops() == 2 * 50 * 8
    geometry, weight = torch.ones(50, 3), torch.ones(3, 8)
    with FlopCounterMode(display=False) as counter:
        edge_conv(x.detach(), x.detach(), graph, geometry, weight)
    assert counter.get_total_flops() == 50 * 8 * (3 + 2 * 3)


def test_a_graph_convolution_is_its_formula(generator: torch.Generator) -> None:
    graph = random_graph(generator, 6, 6, 20)
    layer = GraphConv(4, 3, reduce="sum")
    x = torch.randn(6, 4, generator=generator)
    adjacency = torch.zeros(6, 6)
    adjacency.index_put_(
        (graph.edge_rows().long(), graph.columns.long()), torch.ones(20), accumulate=True
    )
    expected = layer.center(x) + adjacency @ x @ layer.neighbour.weight.T
    torch.testing.assert_close(layer(x, graph), expected)


@pytest.mark.filterwarnings("ignore:The AccumulateGrad node:UserWarning")
@pytest.mark.gpu
def test_kernels_can_be_captured_in_a_cuda_graph(generator: torch.Generator) -> None:
    graph = window_graph(40, 50, 6).to("cuda")
    graph.transpose()
    x = torch.randn(2000, 32, generator=generator).cuda().requires_grad_()
    grad = torch.randn(2000, 32, generator=generator).cuda()

    def step() -> tuple[torch.Tensor, ...]:
        out = graph_reduce(x, graph, "max")
        return (out, *torch.autograd.grad(out, x, grad))

    expected, found, captured = capture(step)
    captured.replay()
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)


@pytest.mark.gpu
@pytest.mark.parametrize("reduce", ["sum", "mean", "max", "min"])
def test_every_row_of_a_large_graph_is_written(generator: torch.Generator, reduce: str) -> None:
    graph = window_graph(1000, 1000, 6)
    x = torch.randn(1_000_000, 64, generator=generator)
    expected = graph_reduce(x, graph, reduce)
    found = graph_reduce(x.cuda(), graph.to("cuda"), reduce).cpu()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.slow
def test_more_elements_than_int32_can_count() -> None:
    rows = 17_000_000
    index = torch.arange(rows, device="cuda", dtype=torch.int32)[:, None].flip(0)
    graph = Graph.from_knn(index)
    x = torch.arange(rows, device="cuda").remainder(251).to(torch.bfloat16)
    x = x[:, None].expand(rows, 128).contiguous().requires_grad_()
    out = graph_reduce(x, graph, "max")
    assert torch.equal(out, x.detach().flip(0))
    out.backward(out.detach())
    assert x.grad is not None
    assert torch.equal(x.grad, x.detach())


@pytest.mark.gpu
def test_a_column_that_was_never_checked_is_skipped_on_the_gpu() -> None:
    graph = Graph(
        row_offsets=torch.tensor([0, 3], dtype=torch.int32, device="cuda"),
        columns=torch.tensor([1, 2**30, -7], dtype=torch.int32, device="cuda"),
        num_sources=2,
    )
    x = torch.ones(2, 8, device="cuda")
    assert graph_reduce(x, graph, "sum").tolist() == [[1.0] * 8]
    assert graph_reduce(x, graph, "max").tolist() == [[1.0] * 8]


@pytest.mark.gpu
@pytest.mark.parametrize("reduce", ["sum", "mean"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("channels", [3, 128, 136])
def test_each_thread_walks_several_rows_on_the_gpu(
    generator: torch.Generator, reduce: str, weighted: bool, channels: int
) -> None:
    graph = random_graph(generator, 400_000, 9000, 900_000)
    x = torch.randn(9000, channels, generator=generator)
    weight = torch.randn(graph.num_edges, generator=generator) if weighted else None
    expected = graph_reduce(x, graph, reduce, weight)
    on_gpu = graph.to("cuda")
    found = graph_reduce(x.cuda(), on_gpu, reduce, weight.cuda() if weighted else None)
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-5, atol=1e-5)
    expected = graph_reduce(x.bfloat16().float(), graph, reduce, weight)
    half = graph_reduce(x.cuda().bfloat16(), on_gpu, reduce, weight.cuda() if weighted else None)
    torch.testing.assert_close(half.cpu().float(), expected, rtol=4e-3, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("weighted", [False, True])
def test_columns_out_of_range_are_skipped_on_the_gpu(weighted: bool) -> None:
    columns = torch.tensor([1, 7, -1, 0, 2**31 - 1, -(2**31), 1, 2, 0], dtype=torch.int32)
    graph = Graph(
        row_offsets=torch.tensor([0, 4, 8, 9], dtype=torch.int32),
        columns=columns,
        num_sources=2,
    ).to("cuda")
    x = torch.tensor([[1.0], [10.0]]).repeat(1, 8).cuda()
    weight = torch.full((9,), 2.0, device="cuda") if weighted else None
    found = graph_reduce(x, graph, "sum", weight)[:, 0].tolist()
    assert found == ([22, 20, 2] if weighted else [11, 10, 1])
