"""Attention over edges, beyond what every op promises (test_every_op.py)."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from g2vlm_fast.ops import Graph, edge_attention, use_backend
from g2vlm_fast.ops.specs.graphs import hub_graph, random_graph, window_graph

OnBackend = Callable[[], AbstractContextManager[None]]


@pytest.fixture(params=["reference", "cpu", "triton"])
def on_backend(request: pytest.FixtureRequest) -> OnBackend:
    """A context that runs the op on each backend in turn, and all other ops on their own."""
    if request.param == "triton":
        pytest.importorskip("triton", reason="triton is not installed")
    return partial(use_backend, request.param, "edge_attention")


def draw(generator: torch.Generator, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=generator).to(dtype).requires_grad_()


def everyone(rows: int, sources: int) -> Graph:
    """Return the graph in which each row listens to every source, in order."""
    index = torch.arange(sources, dtype=torch.int32).expand(rows, sources)
    return Graph.from_knn(index, sources)


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


def test_dot_products_over_all_pairs_are_plain_attention(
    generator: torch.Generator, on_backend: OnBackend
) -> None:
    right, left, value = (draw(generator, count, 2, 8) for count in (5, 7, 7))
    with on_backend():
        out = edge_attention(left, right, everyone(5, 7), value=value)
    assert isinstance(out, Tensor)
    q, k, v = (each.transpose(0, 1) for each in (right, left, value))
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(0, 1)
    torch.testing.assert_close(out, expected)


@pytest.mark.parametrize("edges", [2, 63, 64, 65, 300])
def test_scores_that_rise_along_a_row_are_rescaled(edges: int, on_backend: OnBackend) -> None:
    """The last edges outweigh all before them, wherever a chunk of edges ends."""
    left = torch.arange(float(edges)).view(edges, 1, 1)
    with on_backend():
        out = edge_attention(left, torch.ones(1, 1, 1), everyone(1, edges))
    weight = left.double().flatten().softmax(0)
    torch.testing.assert_close(out, (weight @ left.double().flatten()).float().view(1, 1, 1))


@pytest.mark.parametrize("scale", [1e4, -1e4])
def test_scores_beyond_the_range_of_exponentials_are_no_trouble(
    scale: float, on_backend: OnBackend
) -> None:
    left = torch.tensor([3.0, -2.0, 1.0]).view(3, 1, 1).requires_grad_()
    right = torch.ones(1, 1, 1, requires_grad=True)
    with on_backend():
        out, lse = edge_attention(left, right, everyone(1, 3), scale=scale, return_lse=True)
        grads = torch.autograd.grad(out.sum(), (left, right))
    best = int((scale * left).argmax())
    assert out.item() == left[best].item()
    assert lse.item() == pytest.approx(scale * left[best].item())
    assert grads[0].flatten().tolist() == [float(at == best) for at in range(3)]
    assert grads[1].item() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_where_all_values_pull_alike_scores_have_no_gradient(
    generator: torch.Generator, dtype: torch.dtype, on_backend: OnBackend
) -> None:
    """The pull of the outputs, which are rounded, is not the mean of the pulls of the values."""
    graph = random_graph(generator, 6, 9, 60)
    left, right = draw(generator, 9, 2, 6, dtype=dtype), draw(generator, 6, 2, 6, dtype=dtype)
    attention = draw(generator, 2, 6)
    a, b = torch.randint(-8, 9, (2, 9, 2, 2), generator=generator).to(dtype)
    value = torch.cat([a, b, -a - b], -1)  # whose sums are exactly 0
    with on_backend():
        out = edge_attention(left, right, graph, attention, value=value)
        assert isinstance(out, Tensor)
        assert dtype == torch.float32 or out.sum(-1).abs().max() > 0
        grads = torch.autograd.grad(out.sum(), (left, right, attention))
    assert not any(each.count_nonzero() for each in grads)


@pytest.mark.parametrize("attends", ["gatv2", "dot"])
def test_two_halves_of_a_graph_are_merged_by_their_normalisers(
    generator: torch.Generator, attends: str
) -> None:
    source = torch.randint(0, 9, (80,), generator=generator)
    row = torch.arange(80) % 8  # ten edges each
    left, right = draw(generator, 9, 2, 4), draw(generator, 8, 2, 4)
    attention = draw(generator, 2, 4) if attends == "gatv2" else None

    def attend(edges: Tensor) -> tuple[Tensor, Tensor]:
        graph = Graph.from_edges(source[edges], row[edges], 8, 9, coalesce=False)
        out, lse = edge_attention(left, right, graph, attention, return_lse=True)
        return out, lse

    order = torch.arange(80)
    whole, whole_lse = attend(order)
    halves = [attend(order[:40]), attend(order[40:])]
    lse = torch.stack([each for _, each in halves])
    merged = (torch.stack([each for each, _ in halves]) * lse.softmax(0)[..., None]).sum(0)
    torch.testing.assert_close(merged, whole)
    torch.testing.assert_close(lse.logsumexp(0), whole_lse)
    inputs = [each for each in (left, right, attention) if each is not None]
    grads = [torch.autograd.grad(out.square().sum(), inputs) for out in (merged, whole)]
    torch.testing.assert_close(*grads)


def test_a_row_of_a_million_edges_is_right_and_takes_no_square_of_them(
    generator: torch.Generator,
) -> None:
    edges = 1_000_000
    source = torch.randint(0, 50, (edges,), generator=generator)
    graph = Graph.from_edges(source, torch.zeros_like(source), 3, 50, coalesce=False)
    left, right = draw(generator, 50, 1, 4), draw(generator, 3, 1, 4)
    attention = draw(generator, 1, 4)
    out, lse = edge_attention(left, right, graph, attention, return_lse=True)
    grads = torch.autograd.grad(out.sum(), (left, right, attention))
    ends = [each.detach().double().requires_grad_() for each in (left, right, attention)]
    mixed = torch.nn.functional.leaky_relu(ends[0] + ends[1][:1], 0.2)
    count = torch.bincount(source, minlength=50).double()
    score = (mixed * ends[2]).sum(-1).flatten() + count.log()  # each source counts so many times
    expected = score.softmax(0) @ ends[0][:, 0]
    torch.testing.assert_close(out[0, 0].double(), expected, rtol=1e-5, atol=1e-5)
    assert lse[0].item() == pytest.approx(score.logsumexp(0).item(), rel=1e-6)
    assert lse[1:].tolist() == [[-math.inf], [-math.inf]]
    for found, truth in zip(grads, torch.autograd.grad(expected.sum(), ends), strict=True):
        torch.testing.assert_close(found.double(), truth, rtol=1e-3, atol=1e-5)


def test_no_message_is_ever_stored(generator: torch.Generator) -> None:
    graph = random_graph(generator, 50, 50, 1000)
    left, right = draw(generator, 50, 2, 16), draw(generator, 50, 2, 16)
    geometry, weight = draw(generator, 1000, 3), draw(generator, 3, 2, 16)
    attention = draw(generator, 2, 16)
    with _LargestTensor() as largest:
        out = edge_attention(
            left, right, graph, attention, geometry=geometry, geometry_weight=weight
        )
        assert isinstance(out, Tensor)
        out.sum().backward()
    assert 0 < largest.elements <= max(graph.num_edges * 3, 50 * 32)


def test_results_do_not_depend_on_the_number_of_threads(generator: torch.Generator) -> None:
    graph = random_graph(generator, 3000, 3000, 20_000)
    left, right, value = (draw(generator, 3000, 2, 12) for _ in range(3))
    geometry, weight = draw(generator, 20_000, 4), draw(generator, 4, 2, 12)
    attention = draw(generator, 2, 12)
    inputs = (left, right, attention, value, geometry, weight)
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            out = edge_attention(
                *(left, right, graph, attention),
                value=value,
                geometry=geometry,
                geometry_weight=weight,
            )
            assert isinstance(out, Tensor)
            found.append([out, *torch.autograd.grad(out.square().sum(), inputs)])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(x, y) for x, y in zip(*found, strict=True))


def test_one_tensor_may_serve_everywhere(generator: torch.Generator) -> None:
    graph = random_graph(generator, 8, 8, 30)
    x = draw(generator, 8, 2, 4)

    def attend(x: Tensor) -> Tensor:
        out = edge_attention(x, x, graph, value=x)
        assert isinstance(out, Tensor)
        return out

    copies = [x.detach().clone().requires_grad_() for _ in range(3)]
    apart = edge_attention(copies[0], copies[1], graph, value=copies[2])
    assert isinstance(apart, Tensor)
    expected = sum(torch.autograd.grad(apart.square().sum(), copies))
    torch.testing.assert_close(torch.autograd.grad(attend(x).square().sum(), x)[0], expected)
    compiled = torch.compile(attend, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(torch.autograd.grad(compiled(x).square().sum(), x)[0], expected)


def test_a_value_that_shares_the_memory_of_left_keeps_its_own_gradient(
    generator: torch.Generator, on_backend: OnBackend
) -> None:
    graph = random_graph(generator, 5, 6, 20)
    left, right = draw(generator, 6, 2, 4), draw(generator, 5, 2, 4)

    def gradient(value: Tensor) -> Tensor:
        with on_backend():
            out = edge_attention(left, right, graph, value=value)
            assert isinstance(out, Tensor)
            return torch.autograd.grad(out.square().sum(), left)[0]

    torch.testing.assert_close(gradient(left.detach()), gradient(left.detach().clone()))


@pytest.mark.parametrize("wanted", range(6))
def test_each_gradient_can_be_had_alone(
    generator: torch.Generator, wanted: int, on_backend: OnBackend
) -> None:
    graph = random_graph(generator, 5, 6, 14)
    shapes = [(6, 1, 4), (5, 1, 4), (1, 4), (6, 1, 4), (14, 2), (2, 1, 4)]
    tensors = [torch.randn(shape, generator=generator) for shape in shapes]

    def gradient(*places: int) -> Tensor:
        leaves = [each.clone().requires_grad_(at in places) for at, each in enumerate(tensors)]
        left, right, attention, value, geometry, weight = leaves
        out = edge_attention(
            *(left, right, graph, attention),
            value=value,
            geometry=geometry,
            geometry_weight=weight,
        )
        assert isinstance(out, Tensor)
        return torch.autograd.grad(out.square().sum(), leaves[wanted])[0]

    with on_backend():
        alone = gradient(wanted)
    with use_backend("reference"):
        torch.testing.assert_close(alone, gradient(*range(6)), rtol=1e-4, atol=1e-5)


def test_a_head_too_wide_for_triton_is_refused_by_name() -> None:
    pytest.importorskip("triton", reason="triton is not installed")
    wide = torch.zeros(2, 1, 513)
    with (
        use_backend("triton", "edge_attention"),
        pytest.raises(RuntimeError, match=r"takes head dims up to 512, got 513"),
    ):
        edge_attention(wide, wide, everyone(2, 2))


@pytest.mark.gpu
@pytest.mark.parametrize("attends", ["gatv2", "dot"])
def test_large_graphs_agree_with_the_cpu_and_fit_in_vertex_memory(
    generator: torch.Generator, attends: str
) -> None:
    graph = window_graph(500, 400, 16)
    shapes = [(200_000, 2, 32), (200_000, 2, 32), (graph.num_edges, 4), (4, 2, 32), (2, 32)]
    here = [draw(generator, *shape) for shape in shapes]
    there = [each.detach().cuda().requires_grad_() for each in here]
    remote = graph.to("cuda")
    remote.transpose()
    grad = torch.randn(200_000, 2, 32, generator=generator)

    def run(tensors: list[Tensor], graph: Graph) -> list[Tensor]:
        left, right, geometry, weight, attention = tensors
        out = edge_attention(
            *(left, right, graph, attention if attends == "gatv2" else None),
            geometry=geometry,
            geometry_weight=weight,
        )
        assert isinstance(out, Tensor)
        inputs = tensors if attends == "gatv2" else tensors[:4]
        return [out.detach(), *torch.autograd.grad(out, inputs, grad.to(out.device))]

    expected = run(here, graph)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    found = run(there, remote)
    used = torch.cuda.max_memory_allocated() - before
    assert used < graph.num_edges * 64 * 4 / 2, "half of what one tensor of messages would take"
    for a, b in zip(found, expected, strict=True):
        error = (a.cpu().double() - b.double()).norm() / b.double().norm()
        assert error < 1e-4


@pytest.mark.gpu
def test_a_long_row_on_the_gpu_agrees_with_float64(generator: torch.Generator) -> None:
    source = torch.randint(0, 500, (1_000_000,), generator=generator)
    row = torch.where(torch.rand(1_000_000, generator=generator) < 0.9, 7, source % 40)
    graph = Graph.from_edges(source, row, 40, 500, coalesce=False)
    shapes = [(500, 2, 16), (40, 2, 16), (2, 16)]
    drawn = [draw(generator, *shape).detach() for shape in shapes]

    def run(tensors: list[Tensor], graph: Graph) -> list[Tensor]:
        tensors = [each.requires_grad_() for each in tensors]
        out = edge_attention(tensors[0], tensors[1], graph, tensors[2])
        assert isinstance(out, Tensor)
        return [out.detach(), *torch.autograd.grad(out.square().sum(), tensors)]

    found = run([each.cuda() for each in drawn], graph.to("cuda"))
    expected = run([each.double() for each in drawn], graph)
    rounding = math.sqrt(graph.num_edges) * 2**-24  # of a sum of so many in float32
    pairs = list(zip(found, expected, strict=True))
    pairs += [(a[7], b[7]) for a, b in (pairs[0], pairs[2])]  # of the long row alone
    for a, b in pairs:
        assert (a.cpu().double() - b).norm() < rounding * b.norm()


@pytest.mark.parametrize("attends", ["gatv2", "dot"])
@pytest.mark.parametrize("of", ["out", "lse", "both"])
def test_both_ends_in_one_tensor_are_the_same_as_two(
    generator: torch.Generator, on_backend: OnBackend, attends: str, of: str
) -> None:
    graph = hub_graph(generator, 30, 300)
    sizes = ((30, 2, 2, 16), (2, 16), (graph.num_edges, 3), (3, 2, 16))
    ends, attention, geometry, weight = (draw(generator, *size) for size in sizes)
    leaves = [ends, geometry, weight, *([attention] if attends == "gatv2" else [])]

    def run(left: Tensor, right: Tensor | None) -> list[Tensor]:
        results = edge_attention(
            *(left, right, graph, attention if attends == "gatv2" else None),
            geometry=geometry,
            geometry_weight=weight,
            return_lse=True,
        )
        taken = {"out": results[:1], "lse": results[1:], "both": results}[of]
        total = sum(each.nan_to_num(neginf=0).square().sum() for each in taken)
        found = torch.autograd.grad(total, leaves, allow_unused=True)
        return [*results, *(each for each in found if each is not None)]

    with on_backend():
        together, apart = run(ends, None), run(ends[:, 0], ends[:, 1])
    for a, b in zip(together, apart, strict=True):
        assert torch.equal(a, b)


def test_infinite_geometry_shuts_its_edge_alone(on_backend: OnBackend) -> None:
    """In heads of a size that kernels pad."""
    graph = Graph.from_knn(torch.tensor([[0, 1]]), 2)
    left, right, weight = torch.zeros(2, 1, 5), torch.ones(1, 1, 5), torch.ones(1, 1, 5)
    left[1] = 1
    geometry = torch.tensor([[-torch.inf], [0.0]])
    with on_backend():
        out, lse = edge_attention(
            left, right, graph, geometry=geometry, geometry_weight=weight, return_lse=True
        )
    assert torch.equal(out, torch.ones(1, 1, 5))
    assert lse.item() == pytest.approx(5**0.5)


def test_one_tensor_for_both_ends_has_two_of_them(generator: torch.Generator) -> None:
    graph = random_graph(generator, 5, 5, 9)
    with pytest.raises(ValueError, match="axis 1 of left must have size 2"):
        edge_attention(draw(generator, 5, 3, 2, 8), None, graph)
