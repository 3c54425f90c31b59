"""Graph attention layers: their paper's formula, and the weights of PyG's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from g2vlm_fast.nn import GATv2Conv
from g2vlm_fast.ops import Graph


def a_graph(generator: torch.Generator, rows: int = 9, sources: int | None = None) -> Graph:
    """Every edge once, no loops, and a row without edges."""
    sources = rows if sources is None else sources
    listens = torch.rand(rows, sources, generator=generator) < 0.4
    listens[rows // 2] = False
    listens.fill_diagonal_(False)
    row, source = listens.nonzero().unbind(1)
    return Graph.from_edges(source, row, rows, sources)


def draw(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("concat", [True, False])
def test_the_layer_is_the_attention_of_its_paper(generator: torch.Generator, concat: bool) -> None:
    graph = a_graph(generator)
    layer = GATv2Conv(5, 4, heads=3, concat=concat, negative_slope=0.1, edge_dim=2).double()
    assert layer.lin_edge is not None
    x, geometry = draw(generator, 9, 5), draw(generator, graph.num_edges, 2)
    rows, sources = graph.edge_rows().long(), graph.columns.long()
    mixed = layer.lin_l(x)[sources] + layer.lin_r(x)[rows] + layer.lin_edge(geometry)
    mixed = torch.nn.functional.leaky_relu(mixed, 0.1).view(-1, 3, 4)
    score = torch.full((9, 9, 3), -torch.inf, dtype=torch.float64)
    score[rows, sources] = (mixed * layer.att).sum(-1)
    weight = score.softmax(1).nan_to_num(0)  # rows without edges
    heads = torch.einsum("ijh,jhd->ihd", weight, layer.lin_l(x).view(9, 3, 4))
    expected = (heads.flatten(1) if concat else heads.mean(1)) + layer.bias
    torch.testing.assert_close(layer(x, graph, geometry), expected)


@pytest.mark.parametrize("concat", [True, False])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("edge_dim", [None, 3])
def test_weights_of_pyg_load_and_give_its_answers_and_gradients(
    generator: torch.Generator, concat: bool, shared: bool, edge_dim: int | None
) -> None:
    peer = pytest.importorskip("torch_geometric.nn", exc_type=ImportError)
    options = {"heads": 2, "concat": concat, "edge_dim": edge_dim, "share_weights": shared}
    theirs = peer.GATv2Conv(6, 5, residual=True, add_self_loops=False, **options).double()
    with torch.no_grad():
        for each in theirs.parameters():
            each.copy_(draw(generator, *each.shape))
    ours = GATv2Conv(6, 5, residual=True, **options).double()
    ours.load_state_dict(theirs.state_dict())
    graph = a_graph(generator)
    edge_index = torch.stack([graph.columns, graph.edge_rows()]).long()
    x, grad = draw(generator, 9, 6), draw(generator, 9, 10 if concat else 5)
    geometry = None if edge_dim is None else draw(generator, graph.num_edges, edge_dim)
    answers = (ours(x, graph, geometry), theirs(x, edge_index, geometry))
    torch.testing.assert_close(*answers)
    for answer in answers:
        answer.backward(grad)
    expected = dict(theirs.named_parameters())
    assert expected.keys() == dict(ours.named_parameters()).keys()
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name].grad, msg=name)


def test_loops_that_pyg_adds_by_itself_are_edges_of_the_graph(generator: torch.Generator) -> None:
    peer = pytest.importorskip("torch_geometric.nn", exc_type=ImportError)
    theirs = peer.GATv2Conv(6, 5, heads=2).double()
    ours = GATv2Conv(6, 5, heads=2).double()
    ours.load_state_dict(theirs.state_dict())
    graph = a_graph(generator)
    sources, rows, loops = graph.columns, graph.edge_rows(), torch.arange(9, dtype=torch.int32)
    looped = Graph.from_edges(torch.cat([sources, loops]), torch.cat([rows, loops]), 9)
    x = draw(generator, 9, 6)
    torch.testing.assert_close(ours(x, looped), theirs(x, torch.stack([sources, rows]).long()))


def test_sources_and_rows_may_be_different_things(generator: torch.Generator) -> None:
    graph = a_graph(generator, 6, 11)
    layer = GATv2Conv((4, 3), 5, heads=2, residual=True).double()
    assert layer.res is not None
    x = (draw(generator, 11, 4), draw(generator, 6, 3))
    out = layer(x, graph)
    assert out.shape == (6, 10)
    torch.testing.assert_close(out[3], layer.res(x[1])[3])  # it has no edges, and the bias is 0


@pytest.mark.parametrize("share_weights", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_a_layer_compiles_as_one_graph(
    generator: torch.Generator, share_weights: bool, bias: bool
) -> None:
    graph = a_graph(generator)
    layer = GATv2Conv(5, 4, heads=2, edge_dim=2, bias=bias, share_weights=share_weights).double()
    x, geometry = draw(generator, 9, 5), draw(generator, graph.num_edges, 2)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, graph, geometry), layer(x, graph, geometry))


def test_geometry_is_given_where_the_layer_was_made_for_it(generator: torch.Generator) -> None:
    graph = a_graph(generator)
    x, geometry = torch.zeros(9, 5), torch.zeros(graph.num_edges, 2)
    with pytest.raises(ValueError, match="made with edge_dim, and geometry is none"):
        GATv2Conv(5, 4, edge_dim=2)(x, graph)
    with pytest.raises(ValueError, match="made without edge_dim, and geometry is one of shape"):
        GATv2Conv(5, 4)(x, graph, geometry)
    with pytest.raises(ValueError, match=r"share_weights needs one number .*, got \(5, 6\)"):
        GATv2Conv((5, 6), 4, share_weights=True)


class _Doubled(nn.Module):
    """A wrapper that does more than its weight says, such as an adapter."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.weight, self.bias = base.weight, base.bias

    def forward(self, x: Tensor) -> Tensor:
        return 2 * self.base(x)


def _hooked(layer: GATv2Conv) -> None:
    layer.lin_l.register_forward_hook(lambda module, given, out: 2 * out)


def _wrapped(layer: GATv2Conv) -> None:
    layer.lin_r = _Doubled(layer.lin_r)


def _normalised(layer: GATv2Conv) -> None:
    nn.utils.parametrizations.weight_norm(layer.lin_l)


def _pruned(layer: GATv2Conv) -> None:
    prune.l1_unstructured(layer.lin_l, "weight", 0.5)


def _without_bias(layer: GATv2Conv) -> None:
    layer.lin_r = nn.Linear(5, 8, bias=False)


@pytest.mark.parametrize("change", [_hooked, _wrapped, _normalised, _pruned, _without_bias])
def test_what_is_done_to_the_maps_is_heeded(generator: torch.Generator, change) -> None:  # type: ignore[no-untyped-def]
    graph = a_graph(generator)
    layer = GATv2Conv(5, 4, heads=2)
    change(layer)
    x = draw(generator, 9, 5).float()
    for _ in range(2):  # pruned and normalised weights are made anew for each step
        together, apart = layer(x, graph), layer((x, x.clone()), graph)
        torch.testing.assert_close(together, apart)
        together.sum().backward()


def test_a_graph_of_other_vertices_is_refused_by_name(generator: torch.Generator) -> None:
    layer = GATv2Conv(5, 4)
    with pytest.raises(ValueError, match="axis 0 of"):
        layer(torch.zeros(9, 5), Graph.from_edges(torch.tensor([0]), torch.tensor([1]), 7, 9))
