"""Edge convolutions, beyond what every op promises (test_every_op.py)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from g2vlm_fast.nn import EdgeConv
from g2vlm_fast.ops import Graph, edge_conv, use_backend
from g2vlm_fast.ops.specs.graphs import random_graph, window_graph


class _LargestTensor(TorchDispatchMode):
    """Remembers how many elements the largest tensor has that any op returns."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        for each in pytree.tree_leaves(out):
            if isinstance(each, Tensor):
                self.elements = max(self.elements, each.numel())
        return out


@pytest.mark.parametrize("reduce", ["max", "mean", "sum"])
def test_the_layer_is_the_edge_convolution_of_its_paper(
    generator: torch.Generator, reduce: str
) -> None:
    graph = Graph.from_knn(torch.randint(0, 12, (12, 5), generator=generator))
    layer = EdgeConv(6, 7, geometry_channels=4, activation="leaky_relu", reduce=reduce).double()
    x = torch.randn(12, 6, generator=generator, dtype=torch.float64)
    position = torch.randn(12, 3, generator=generator, dtype=torch.float64)
    geometry = graph.edge_geometry(position)
    i, j = graph.edge_rows().long(), graph.columns.long()
    assert layer.geometry_weight is not None
    message = layer.center(x)[i] + layer.difference(x[j] - x[i]) + geometry @ layer.geometry_weight
    message = torch.nn.functional.leaky_relu(message, 0.2).view(12, 5, 7)
    expected = {"max": message.amax(1), "mean": message.mean(1), "sum": message.sum(1)}[reduce]
    torch.testing.assert_close(layer(x, graph, geometry), expected)


@pytest.mark.parametrize("reduce", ["max", "mean"])
def test_no_message_is_ever_stored(generator: torch.Generator, reduce: str) -> None:
    graph = random_graph(generator, 50, 50, 1000)
    inputs = [torch.randn(50, 32, generator=generator, requires_grad=True) for _ in range(2)]
    geometry = torch.randn(1000, 3, generator=generator, requires_grad=True)
    weight = torch.randn(3, 32, generator=generator, requires_grad=True)
    with _LargestTensor() as largest:
        edge_conv(*inputs, graph, geometry, weight, "silu", reduce).sum().backward()
    assert 0 < largest.elements <= max(graph.num_edges * 3, 50 * 32)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_of_equal_messages_the_first_edge_gets_the_gradient(backend: str) -> None:
    graph = Graph.from_edges(torch.tensor([2, 1]), torch.tensor([0, 0]), 1, 3, coalesce=False)
    a, b = torch.zeros(1, 2), torch.ones(3, 2, requires_grad=True)
    with use_backend(backend):
        edge_conv(a, b, graph).sum().backward()
    assert b.grad is not None
    assert b.grad.tolist() == [[0, 0], [0, 0], [1, 1]]


def test_the_same_tensor_may_serve_both_ends(generator: torch.Generator) -> None:
    graph = random_graph(generator, 8, 8, 30)
    x = torch.randn(8, 4, generator=generator, requires_grad=True)

    def convolve(x: Tensor) -> Tensor:
        return edge_conv(x, x, graph, activation="silu", reduce="mean")

    expected = torch.autograd.grad(convolve(x).sum(), x)[0]
    compiled = torch.compile(convolve, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(torch.autograd.grad(compiled(x).sum(), x)[0], expected)


def test_results_do_not_depend_on_the_number_of_threads(generator: torch.Generator) -> None:
    graph = random_graph(generator, 3000, 3000, 20_000)
    a = torch.randn(3000, 24, generator=generator, requires_grad=True)
    b = torch.randn(3000, 24, generator=generator, requires_grad=True)
    geometry = torch.randn(20_000, 4, generator=generator, requires_grad=True)
    weight = torch.randn(4, 24, generator=generator, requires_grad=True)
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            out = edge_conv(a, b, graph, geometry, weight, "silu", "mean")
            grads = torch.autograd.grad(out.square().sum(), (a, b, geometry, weight))
            found.append([out, *grads])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(x, y) for x, y in zip(*found, strict=True))


def test_small_offsets_survive_in_the_geometry_and_not_in_vertex_terms() -> None:
    """A millimetre between neighbours, a kilometre from the origin."""
    position = torch.tensor([[1000.0, 0, 0], [1000.0009765625, 0, 0]])
    graph = Graph.from_edges(torch.tensor([1]), torch.tensor([0]), 2)
    geometry = graph.edge_geometry(position, terms=("offset",))
    zero = torch.zeros(2, 1)
    out = edge_conv(zero, zero, graph, geometry, torch.ones(3, 1) * 1000, "none", "sum")
    assert out[0].item() == pytest.approx(0.9765625)


@pytest.mark.gpu
@pytest.mark.parametrize("reduce", ["max", "mean"])
@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_large_graphs_agree_with_the_cpu_and_fit_in_vertex_memory(
    generator: torch.Generator, activation: str, reduce: str
) -> None:
    graph = window_graph(500, 400, 16)
    shapes = [(200_000, 64), (200_000, 64), (graph.num_edges, 4), (4, 64)]
    here = [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]
    there = [each.detach().cuda().requires_grad_() for each in here]
    remote = graph.to("cuda")
    remote.transpose()
    grad = torch.randn(200_000, 64, generator=generator)

    def run(tensors: list[Tensor], graph: Graph) -> list[Tensor]:
        a, b, geometry, weight = tensors
        out = edge_conv(a, b, graph, geometry, weight, activation, reduce)
        return [out, *torch.autograd.grad(out, tensors, grad.to(out.device))]

    expected = run(here, graph)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    found = run(there, remote)
    used = torch.cuda.max_memory_allocated() - before
    assert used < graph.num_edges * 64 * 4 / 2, "half of what one tensor of messages would take"
    for a, b in zip(found, expected, strict=True):
        error = (a.cpu().double() - b.double()).norm() / b.double().norm()
        assert error < 1e-3, "but for maxima that are equal within rounding"


def test_the_gradient_of_the_weight_of_geometry_keeps_its_digits_at_a_hub() -> None:
    count = 300_000
    nobody = torch.zeros(count, dtype=torch.int32)
    hub = Graph.from_edges(nobody, nobody, 1, coalesce=False)
    weight, ones = torch.zeros(1, 1, requires_grad=True), torch.ones(1, 1)
    geometry = torch.full((count, 1), 0.1)
    edge_conv(ones, ones, hub, geometry, weight, "none", "sum").sum().backward()
    assert weight.grad is not None
    assert abs(weight.grad.item() / (0.1 * count) - 1) < 1e-4
