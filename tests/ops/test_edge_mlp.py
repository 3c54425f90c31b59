"""Edge convolutions with two-layer messages, beyond what every op promises (test_every_op.py)."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from g2vlm_fast.nn import EdgeConv
from g2vlm_fast.ops import (
    BackendError,
    Graph,
    _edge_mlp_cpu,
    edge_mlp,
    register_flop_formulas,
    use_backend,
)
from g2vlm_fast.ops.specs.edge_mlp import by_messages
from g2vlm_fast.ops.specs.graphs import hub_graph, random_graph, window_graph


def _gradients(function, tensors: list[Tensor], graph: Graph, *options: str) -> list[Tensor]:  # type: ignore[no-untyped-def]
    a, b, weight, bias, geometry, geometry_weight = tensors
    out = function(a, b, graph, weight, bias, geometry, geometry_weight, *options)
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=out.dtype)
    return [out, *torch.autograd.grad(out, tensors, grad.to(out.device))]


def _draw(
    generator: torch.Generator, graph: Graph, hidden: int, channels: int, dtype: torch.dtype
) -> list[Tensor]:
    shapes = [(graph.num_rows, hidden), (graph.num_sources, hidden), (hidden, channels)]
    shapes += [(channels,), (graph.num_edges, 3), (3, hidden)]  # type: ignore[list-item]
    return [
        torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes
    ]


@pytest.mark.parametrize("reduce", ["max", "mean", "sum"])
@pytest.mark.parametrize("activation", ["none", "relu", "leaky_relu", "silu"])
def test_the_op_and_its_gradients_are_those_of_its_messages(
    generator: torch.Generator, activation: str, reduce: str
) -> None:
    graph = random_graph(generator, 30, 25, 120)
    tensors = _draw(generator, graph, 9, 11, torch.float64)
    found = _gradients(edge_mlp, tensors, graph, activation, reduce)
    expected = _gradients(by_messages, tensors, graph, activation, reduce)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("reduce", ["max", "mean", "sum"])
def test_the_layer_is_the_two_layer_edge_convolution_of_its_paper(
    generator: torch.Generator, reduce: str
) -> None:
    graph = Graph.from_knn(torch.randint(0, 12, (12, 5), generator=generator))
    layer = EdgeConv(6, 7, reduce=reduce, hidden_channels=9).double()
    x = torch.randn(12, 6, generator=generator, dtype=torch.float64)
    i, j = graph.edge_rows().long(), graph.columns.long()
    assert layer.second is not None
    message = layer.second((layer.center(x)[i] + layer.difference(x[j] - x[i])).relu())
    message = message.view(12, 5, 7)
    expected = {"max": message.amax(1), "mean": message.mean(1), "sum": message.sum(1)}[reduce]
    torch.testing.assert_close(layer(x, graph), expected)


@pytest.mark.parametrize("most", [1, 7, 64])
def test_tiles_own_whole_rows_or_a_part_of_one_and_leave_no_edge_out(
    generator: torch.Generator, most: int
) -> None:
    graph = hub_graph(generator, 40, 200)
    offsets = graph.row_offsets.tolist()
    end_row = end = 0
    for tile in _edge_mlp_cpu.tiles_of(graph.row_offsets, most):
        assert tile.edges.stop - tile.edges.start <= most
        assert tile.edges.start == end
        assert tile.row_begin == offsets[tile.rows.start]
        whole = tile.edges.start == tile.row_begin and tile.edges.stop == offsets[tile.rows.stop]
        assert whole or tile.rows.stop == tile.rows.start + 1
        assert tile.rows.start in (end_row, end_row - 1)
        end_row, end = tile.rows.stop, tile.edges.stop
    assert end == graph.num_edges
    assert all(degree == 0 for degree in graph.row_offsets.diff().tolist()[end_row:])


@pytest.mark.parametrize("most", [1, 5, 64])
def test_cut_rows_have_the_results_of_whole_ones(
    monkeypatch: pytest.MonkeyPatch, generator: torch.Generator, most: int
) -> None:
    graph = hub_graph(generator, 30, 300)
    tensors = _draw(generator, graph, 8, 6, torch.float64)
    tensors[0].data[3, 2] = torch.nan
    whole = _gradients(edge_mlp, tensors, graph)
    monkeypatch.setattr(_edge_mlp_cpu, "TILE_EDGES", most)
    for cut, one in zip(_gradients(edge_mlp, tensors, graph), whole, strict=True):
        torch.testing.assert_close(cut, one, rtol=1e-11, atol=1e-11, equal_nan=True)


@pytest.mark.parametrize("backend", ["cpu", "reference", "triton"])
def test_of_equal_messages_the_first_edge_gets_the_gradient(backend: str) -> None:
    if backend == "triton":
        pytest.importorskip("triton", reason="triton is not installed")
    graph = Graph.from_edges(torch.tensor([2, 1]), torch.tensor([0, 0]), 1, 3, coalesce=False)
    device = "cuda" if backend == "triton" and torch.cuda.is_available() else "cpu"
    a, weight = torch.zeros(1, 2, device=device), torch.eye(2, device=device)
    b = torch.ones(3, 2, device=device, requires_grad=True)
    with use_backend(backend, "edge_mlp"):
        edge_mlp(a, b, graph.to(device), weight).sum().backward()
    assert b.grad is not None
    assert b.grad.tolist() == [[0, 0], [0, 0], [1, 1]]


@pytest.mark.parametrize("backend", ["cpu", "reference", "triton"])
def test_a_nan_wins_its_row_and_no_other(backend: str) -> None:
    if backend == "triton":
        pytest.importorskip("triton", reason="triton is not installed")
    graph = Graph.from_edges(torch.tensor([0, 1, 2, 2]), torch.tensor([0, 0, 0, 1]), 3, 3)
    device = "cuda" if backend == "triton" and torch.cuda.is_available() else "cpu"
    b = torch.tensor([[1.0], [torch.nan], [-torch.inf]], device=device)
    a, weight = torch.zeros(3, 1, device=device), torch.ones(1, 1, device=device)
    with use_backend(backend, "edge_mlp"):
        out = edge_mlp(a, b, graph.to(device), weight, activation="none")
    assert out.isnan().tolist() == [[True], [False], [False]]
    assert out[1:].tolist() == [[-torch.inf], [0]]


@pytest.mark.parametrize("reduce", ["max", "mean", "sum"])
def test_rows_without_edges_are_zero_whatever_the_bias(reduce: str) -> None:
    graph = Graph.from_edges(torch.tensor([0]), torch.tensor([1]), 3)
    zeros = torch.zeros(3, 2)
    bias = torch.tensor([torch.nan, 5.0])
    out = edge_mlp(zeros, zeros, graph, torch.ones(2, 2), bias, reduce=reduce)
    assert out[[0, 2]].tolist() == [[0, 0], [0, 0]]
    assert out[1, 1] == 5


@pytest.mark.parametrize("reduce", ["max", "mean", "sum"])
def test_the_same_tensor_may_serve_both_ends(generator: torch.Generator, reduce: str) -> None:
    graph = random_graph(generator, 8, 8, 30)
    x = torch.randn(8, 4, generator=generator, requires_grad=True)
    weight = torch.randn(4, 5, generator=generator)

    def convolve(x: Tensor) -> Tensor:
        return edge_mlp(x, x, graph, weight, activation="silu", reduce=reduce)

    expected = torch.autograd.grad(convolve(x).sum(), x)[0]
    compiled = torch.compile(convolve, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(torch.autograd.grad(compiled(x).sum(), x)[0], expected)


def test_a_source_of_many_edges_keeps_the_digits_of_its_gradient() -> None:
    rows = 300_000
    index = torch.zeros(rows, 1, dtype=torch.int32)
    b = torch.ones(1, 1, requires_grad=True)
    weight = torch.full((1, 1), 0.1)
    edge_mlp(torch.zeros(rows, 1), b, Graph.from_knn(index, 1), weight).sum().backward()
    assert b.grad is not None
    assert b.grad.item() == pytest.approx(rows * weight.item(), rel=1e-6)


def test_offsets_that_no_graph_has_are_refused_before_anything_is_read() -> None:
    columns = torch.zeros(4, dtype=torch.int32)
    offsets = torch.tensor([0, 9, 4], dtype=torch.int32)
    graph = Graph(row_offsets=offsets, columns=columns, num_sources=1)
    with pytest.raises(ValueError, match="edge_mlp: graph must start at 0, never decrease"):
        edge_mlp(torch.zeros(2, 3), torch.zeros(1, 3), graph, torch.zeros(3, 3))


def test_half_precision_on_the_cpu_names_what_can_run_it() -> None:
    graph = window_graph(5, 5, 6)
    x, weight = torch.zeros(25, 4).bfloat16(), torch.zeros(4, 4).bfloat16()
    with pytest.raises(BackendError, match="edge_mlp: the cpu backend takes float32, float64"):
        edge_mlp(x, x, graph, weight)
    with use_backend("reference", "edge_mlp"):
        assert edge_mlp(x, x, graph, weight).dtype == torch.bfloat16


def test_flops_are_the_hidden_rows_and_the_products(generator: torch.Generator) -> None:
    register_flop_formulas()
    graph = random_graph(generator, 10, 10, 40)
    tensors = _draw(generator, graph, 6, 5, torch.float32)
    a, b, weight, bias, geometry, geometry_weight = tensors
    with FlopCounterMode(display=False) as counter:
        out = edge_mlp(a, b, graph, weight, bias, geometry, geometry_weight)
        forward = counter.get_total_flops()
        out.sum().backward()
    hidden, products = 40 * 6 * (2 + 2 * 3), 40 * 2 * 6 * 5
    assert forward == hidden + products + 40 * 5
    sums = 40 * (6 * (2 + 2 * 2 * 3) + 5)
    assert counter.get_total_flops() - forward == hidden + 2 * products + sums


@pytest.mark.gpu
@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_large_graphs_agree_with_the_cpu_and_fit_in_vertex_memory(
    generator: torch.Generator, activation: str
) -> None:
    graph = window_graph(300, 200, 16)
    here = _draw(generator, graph, 64, 48, torch.float32)
    there = [each.detach().cuda().requires_grad_() for each in here]
    remote = graph.to("cuda")
    remote.transpose()
    expected = _gradients(edge_mlp, here, graph, activation)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    found = _gradients(edge_mlp, there, remote, activation)
    used = torch.cuda.max_memory_allocated() - before
    assert used < graph.num_edges * 64 * 4 / 2, "half of what one tensor of hidden rows would take"
    errors = [
        (a.cpu().double() - b.double()).norm() / b.double().norm()
        for a, b in zip(found, expected, strict=True)
    ]
    assert errors[0] < 1e-5
    assert errors[4] < 1e-5  # the bias: every maximum counts, whoever won it
    # Of many maxima a few are equal within rounding, and pass their gradients on to other sources.
    other_winners = 1e-5
    assert max(errors[1:]) < math.sqrt(2 * other_winners)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("reduce", ["max", "sum"])
def test_autocast_rounds_nothing_inside(
    backend: str, reduce: str, generator: torch.Generator
) -> None:
    graph = random_graph(generator, 9, 9, 40)
    tensors = _draw(generator, graph, 6, 4, torch.float32)
    with use_backend(backend):
        expected = _gradients(edge_mlp, tensors, graph, "relu", reduce)
        with torch.autocast("cpu", torch.bfloat16):
            found = _gradients(edge_mlp, tensors, graph, "relu", reduce)
    # The second map of a sum is a product of torch, whose backward pass obeys autocast.
    count = None if reduce == "max" else 1
    for one, other in zip(found[:count], expected[:count], strict=True):
        assert torch.equal(one, other)
