"""``GraphConv`` and ``gather_scatter``, against what PyTorch3D documents, written out by hand."""

from __future__ import annotations

import gc

import pytest
import torch
from torch import Tensor

from g2vlm_fast.compat import _pytorch3d_graph as implementation
from g2vlm_fast.compat.pytorch3d import GraphConv, gather_scatter, gather_scatter_python

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def by_hand(x: Tensor, edges: Tensor, directed: bool, backward: bool = False) -> Tensor:
    out = torch.zeros_like(x, dtype=torch.float64)
    for first, second in edges.tolist():
        row, source = (second, first) if backward and directed else (first, second)
        out[row] += x[source].double()
        if not directed:
            out[source] += x[row].double()
    return out


def random_edges(generator: torch.Generator, vertices: int, count: int) -> Tensor:
    """Duplicates, loops and vertices without edges."""
    return torch.randint(0, vertices, (count, 2), generator=generator)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("directed", [False, True])
@pytest.mark.parametrize("backward", [False, True])
def test_neighbours_are_summed(
    generator: torch.Generator, dtype: torch.dtype, directed: bool, backward: bool
) -> None:
    edges = random_edges(generator, 12, 25)
    x = torch.randn(12, 5, generator=generator).to(dtype)
    found = gather_scatter(x, edges, directed, backward)
    assert found.dtype == dtype
    expected = by_hand(x, edges, directed, backward).to(dtype)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gather_scatter(x, edges.int(), directed, backward), expected)


def test_an_undirected_loop_and_a_repeated_edge_count_twice() -> None:
    x = torch.tensor([[1.0], [10.0]])
    edges = torch.tensor([[0, 0], [0, 1], [0, 1]])
    assert gather_scatter(x, edges).tolist() == [[2 + 20], [2]]
    assert gather_scatter(x, edges, True).tolist() == [[1 + 20], [0]]
    assert gather_scatter(x, edges, directed=True, backward=True).tolist() == [[1], [2]]
    assert gather_scatter_python(x, edges, True).tolist() == [[1 + 20], [0]]


@pytest.mark.parametrize("directed", [False, True])
def test_derivatives_of_every_order_are_right(generator: torch.Generator, directed: bool) -> None:
    edges = random_edges(generator, 6, 9)
    x = torch.randn(6, 2, generator=generator, dtype=torch.float64, requires_grad=True)

    def function(x: Tensor) -> Tensor:
        return gather_scatter(x, edges, directed).pow(3)

    assert torch.autograd.gradcheck(function, (x,))
    assert torch.autograd.gradgradcheck(function, (x,))


@pytest.mark.parametrize(("vertices", "count"), [(0, 0), (3, 0)])
def test_there_may_be_nothing_to_sum(vertices: int, count: int) -> None:
    x = torch.ones(vertices, 2, requires_grad=True)
    out = gather_scatter(x, torch.zeros(count, 2, dtype=torch.int64))
    out.sum().backward()
    assert out.tolist() == [[0.0, 0.0]] * vertices


@pytest.mark.parametrize(
    ("x", "edges", "message"),
    [
        (torch.ones(3), torch.zeros(1, 2).long(), "input can only have 2 dimensions."),
        (torch.ones(3, 2), torch.zeros(2).long(), "edges can only have 2 dimensions."),
        (torch.ones(3, 2), torch.zeros(1, 3).long(), r"edges must be of shape \(num_edges, 2\)."),
        (torch.ones(3, 2).long(), torch.zeros(1, 2).long(), "floating type, got torch.int64"),
        (torch.ones(3, 2), torch.zeros(1, 2), "int32 or int64, got torch.float32"),
        (torch.ones(3, 2), torch.tensor([[0, 3]]), r"edges must be from 0 to 2.* got 3"),
        (torch.ones(3, 2), torch.tensor([[-1, 0]]), r"edges must be from 0 to 2.* got -1"),
        (torch.ones(3, 2), torch.tensor([[0, 2**32]]), "edges must be from 0 to 2"),
        (torch.ones(3, 2), torch.zeros(1, 2, device="meta").long(), "must be on the same device."),
    ],
)
@pytest.mark.parametrize("directed", [False, True])
def test_bad_input_is_refused(x: Tensor, edges: Tensor, message: str, directed: bool) -> None:
    with pytest.raises(ValueError, match=message):
        gather_scatter(x, edges, directed)


@pytest.mark.parametrize("directed", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_graph_conv_is_its_formula(
    generator: torch.Generator, directed: bool, dtype: torch.dtype
) -> None:
    layer = GraphConv(4, 3, directed=directed).to(dtype)
    torch.nn.init.normal_(layer.w1.bias)
    edges = random_edges(generator, 9, 20)
    x = torch.randn(9, 4, generator=generator).to(dtype)
    expected = layer.w0(x) + by_hand(layer.w1(x), edges, directed).to(dtype)
    torch.testing.assert_close(layer(x, edges), expected)


def test_graph_conv_starts_as_documented() -> None:
    torch.manual_seed(0)
    layer = GraphConv(40, 50)
    for linear in (layer.w0, layer.w1):
        assert linear.weight.std().item() == pytest.approx(0.01, rel=0.1)
        assert (linear.bias == 0).all()
    zero = GraphConv(4, 5, init="zero")
    assert (zero.w0.weight == 0).all()
    assert (zero.w1.weight == 0).all()
    assert list(layer.state_dict()) == ["w0.weight", "w0.bias", "w1.weight", "w1.bias"]
    assert repr(GraphConv(32, 64, directed=True)) == "GraphConv(32 -> 64, directed=True)"
    with pytest.raises(ValueError, match='Invalid GraphConv initialization "ones"'):
        GraphConv(4, 5, init="ones")


def test_graph_conv_without_vertices_is_empty_and_differentiable() -> None:
    verts = torch.tensor([], requires_grad=True)
    out = GraphConv(3, 2)(verts, torch.tensor([]))
    assert out.shape == (0, 2)
    assert out.requires_grad
    with pytest.raises(ValueError, match="verts and edges tensors must be on"):
        GraphConv(3, 2)(torch.ones(2, 3), torch.zeros(1, 2, device="meta"))


def test_a_graph_is_kept_as_long_as_its_edges(generator: torch.Generator) -> None:
    edges, x = random_edges(generator, 6, 9), torch.randn(6, 2, generator=generator)
    x.requires_grad_()
    before = len(implementation._graphs._kept)
    gather_scatter(x, edges).sum().backward()
    kept = implementation._graphs._kept[edges][1]
    gather_scatter(x, edges).sum().backward()
    assert implementation._graphs._kept[edges][1] is kept
    assert len(kept) == 1, "an undirected graph is its own reverse"
    first = gather_scatter(x, edges)
    edges[0] = (edges[0] + 1) % 6
    assert not torch.equal(gather_scatter(x, edges), first)
    torch.testing.assert_close(gather_scatter(x, edges), by_hand(x, edges, False).float())
    del edges, first
    gc.collect()
    assert len(implementation._graphs._kept) == before


def test_results_have_the_same_bits_in_every_run(generator: torch.Generator) -> None:
    edges, x = random_edges(generator, 50, 4000), torch.randn(50, 8, generator=generator)
    first = gather_scatter(x, edges.clone())
    assert torch.equal(gather_scatter(x, edges.clone()), first)


def test_a_layer_is_compiled_without_a_break(generator: torch.Generator) -> None:
    layer, edges = GraphConv(4, 3), random_edges(generator, 9, 20)
    x = torch.randn(9, 4, generator=generator, requires_grad=True)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    (found,) = torch.autograd.grad(compiled(x, edges).square().sum(), x)
    (expected,) = torch.autograd.grad(layer(x, edges).square().sum(), x)
    torch.testing.assert_close(found, expected)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_on_the_gpu_are_those_on_the_cpu(
    generator: torch.Generator, dtype: torch.dtype
) -> None:
    edges, x = random_edges(generator, 500, 4000), torch.randn(500, 16, generator=generator)
    x = x.to(dtype)
    found = gather_scatter(x.cuda(), edges.cuda())
    torch.testing.assert_close(found.cpu(), gather_scatter(x, edges))
    assert torch.equal(gather_scatter(x.cuda(), edges.cuda().clone()), found)
