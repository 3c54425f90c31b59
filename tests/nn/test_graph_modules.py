"""Modules of graphs and meshes: their formulas, and the weights of other libraries in them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from g2vlm_fast.nn import EdgeConv, GATv2Conv, GraphConv, MeshConv, PointConv
from g2vlm_fast.ops import Graph, MeshEdges, use_backend
from g2vlm_fast.ops.specs.graphs import random_graph, torus_faces


def randn(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.fixture
def graph(generator: torch.Generator) -> Graph:
    """Duplicate edges, loops, rows without edges."""
    return random_graph(generator, 12, 12, 40)


@pytest.fixture
def edge_index(graph: Graph) -> Tensor:
    return torch.stack([graph.columns, graph.edge_rows()]).long()


@pytest.fixture
def pyg():  # type: ignore[no-untyped-def]
    return pytest.importorskip("torch_geometric.nn")


def pair(generator: torch.Generator) -> tuple[Graph, Tensor, tuple[Tensor, Tensor]]:
    """Nine sources and six rows."""
    graph = random_graph(generator, 6, 9, 30)
    edge_index = torch.stack([graph.columns, graph.edge_rows()]).long()
    return graph, edge_index, (randn(generator, 9, 4), randn(generator, 6, 4))


@pytest.mark.parametrize("network", ["linear", "sequential", "mlp"])
@pytest.mark.parametrize("reduce", ["max", "mean", "sum"])
def test_edge_conv_loads_from_pyg(pyg, generator, graph, edge_index, network, reduce) -> None:  # type: ignore[no-untyped-def]
    mlp = {
        "linear": lambda: nn.Linear(8, 5),
        "sequential": lambda: nn.Sequential(nn.Linear(8, 5), nn.ReLU()),
        "mlp": lambda: pyg.MLP([8, 5], norm=None),
    }[network]()
    theirs = pyg.EdgeConv(mlp, aggr=reduce).double()
    activation = "relu" if network == "sequential" else "none"
    ours = EdgeConv(4, 5, activation=activation, reduce=reduce).double()
    ours.load_state_dict(theirs.state_dict())
    x = randn(generator, 12, 4)
    torch.testing.assert_close(ours(x, graph), theirs(x, edge_index))
    graph, edge_index, both = pair(generator)
    torch.testing.assert_close(ours(both, graph), theirs(both, edge_index))


@pytest.mark.parametrize(
    ("reduce", "last"),
    [("max", nn.Identity()), ("mean", nn.Identity()), ("sum", nn.Identity()), ("max", nn.ReLU())],
)
def test_two_layers_load_from_pyg(pyg, generator, graph, edge_index, reduce, last) -> None:  # type: ignore[no-untyped-def]
    x, position = randn(generator, 12, 4), randn(generator, 12, 3)

    def network(channels: int) -> nn.Module:
        return nn.Sequential(nn.Linear(channels, 6), nn.SiLU(), nn.Linear(6, 5), last)

    theirs = pyg.EdgeConv(network(8), aggr=reduce).double()
    ours = EdgeConv(4, 5, activation="silu", reduce=reduce, hidden_channels=6).double()
    ours.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(last(ours(x, graph)), theirs(x, edge_index))
    theirs = pyg.PointNetConv(network(7), aggr=reduce).double()
    ours = PointConv(4, 5, "silu", reduce, last, hidden_channels=6).double()
    ours.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(
        ours(x, position, graph.with_loops()), theirs(x, position, edge_index)
    )


@pytest.mark.parametrize("channels", [0, 4])
@pytest.mark.parametrize("reduce", ["max", "mean", "sum"])
def test_point_conv_loads_from_pyg(pyg, generator, graph, edge_index, channels, reduce) -> None:  # type: ignore[no-untyped-def]
    local = nn.Sequential(nn.Linear(channels + 3, 5), nn.SiLU())
    theirs = pyg.PointNetConv(local, nn.Linear(5, 2), aggr=reduce).double()
    ours = PointConv(channels, 5, "silu", reduce, global_nn=nn.Linear(5, 2)).double()
    ours.load_state_dict(theirs.state_dict())
    x = randn(generator, 12, channels) if channels else None
    position = randn(generator, 12, 3)
    found = ours(x, position, graph.with_loops())
    torch.testing.assert_close(found, theirs(x, position, edge_index))


def test_point_conv_between_two_sets_is_that_of_pyg(pyg, generator) -> None:  # type: ignore[no-untyped-def]
    graph, edge_index, (x, _) = pair(generator)
    positions = randn(generator, 9, 3), randn(generator, 6, 3)
    theirs = pyg.PointNetConv(nn.Linear(7, 5), add_self_loops=False).double()
    ours = PointConv(4, 5, "none").double()
    ours.load_state_dict(theirs.state_dict())
    expected = theirs((x, None), positions, edge_index)
    torch.testing.assert_close(ours(x, positions, graph), expected)


def test_a_graph_with_loops_has_one_at_every_point(graph: Graph, generator) -> None:  # type: ignore[no-untyped-def]
    looped = graph.with_loops()
    rows, columns = looped.edge_rows(), looped.columns
    assert torch.equal(columns[looped.row_offsets[1:].long() - 1], torch.arange(12).int())
    assert int((rows == columns).sum()) == 12
    proper = graph.edge_rows() != graph.columns
    assert torch.equal(columns[rows != columns], graph.columns[proper])
    assert random_graph(generator, 6, 4, 0).with_loops().degree().tolist() == [1, 1, 1, 1, 0, 0]


@pytest.mark.parametrize("reduce", ["sum", "mean", "max", "min"])
@pytest.mark.parametrize("channels", [3, 7])
@pytest.mark.parametrize("bias", [True, False])
def test_graph_conv_loads_from_pyg(pyg, generator, graph, edge_index, reduce, channels, bias):  # type: ignore[no-untyped-def]
    aggr = {"sum": "add"}.get(reduce, reduce)
    theirs = pyg.GraphConv(4, channels, aggr=aggr, bias=bias).double()
    ours = GraphConv(4, channels, reduce=reduce, bias=bias).double()
    ours.load_state_dict(theirs.state_dict())
    x, weight = randn(generator, 12, 4), randn(generator, 40)
    torch.testing.assert_close(ours(x, graph), theirs(x, edge_index))
    torch.testing.assert_close(ours(x, graph, weight), theirs(x, edge_index, weight))


@pytest.mark.parametrize("aggr", ["mean", "max"])
def test_graph_conv_loads_from_the_sage_conv_of_pyg(pyg, generator, aggr: str) -> None:  # type: ignore[no-untyped-def]
    graph, edge_index, both = pair(generator)
    theirs = pyg.SAGEConv((4, 4), 5, aggr=aggr).double()
    ours = GraphConv((4, 4), 5, reduce=aggr).double()
    ours.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(ours(both, graph), theirs(both, edge_index))


def test_graph_conv_loads_from_pytorch3d(generator: torch.Generator) -> None:
    """There, ``w0`` and ``w1`` are linear layers, and each neighbour adds the bias of w1."""
    w0, w1 = nn.Linear(4, 5).double(), nn.Linear(4, 5).double()
    state = nn.ModuleDict({"w0": w0, "w1": w1}).state_dict()
    ours = GraphConv(4, 5, reduce="sum", neighbour_bias=True).double()
    ours.load_state_dict(state)
    faces, x = torus_faces(3, 4), randn(generator, 12, 4)
    expected = w0(x)
    for a, b in MeshEdges.from_faces(faces, 12).vertices.tolist():
        expected[a] = expected[a] + w1(x[b])
        expected[b] = expected[b] + w1(x[a])
    torch.testing.assert_close(ours(x, Graph.from_faces(faces, 12)), expected)


def test_biases_of_messages_are_for_sums_alone() -> None:
    with pytest.raises(ValueError, match="neighbour_bias needs reduce='sum', got 'mean'"):
        GraphConv(4, 5, neighbour_bias=True)


def test_mesh_conv_loads_from_pyg(pyg, generator: torch.Generator) -> None:  # type: ignore[no-untyped-def]
    edges = MeshEdges.from_faces(torus_faces(3, 4), 12)
    neighbours = edges.neighbours()
    theirs, ours = pyg.MeshCNNConv(4, 5), MeshConv(4, 5)
    ours.load_state_dict(theirs.state_dict())
    x = randn(generator, edges.num_edges, 4).float()
    each = torch.arange(edges.num_edges).repeat_interleave(4)
    edge_index = torch.stack([neighbours.flatten().long(), each])
    torch.testing.assert_close(ours(x, neighbours), theirs(x, edge_index))


def test_mesh_conv_loads_from_meshcnn(generator: torch.Generator) -> None:
    """There, a convolution of kernel [1, 5] runs over x, a + c, b + d, |a - c|, |b - d|."""
    conv = nn.Conv2d(4, 5, kernel_size=(1, 5)).double()
    ours = MeshConv(4, 5).double()
    ours.load_state_dict({f"conv.{name}": value for name, value in conv.state_dict().items()})
    neighbours = torch.randint(-1, 9, (9, 4), generator=generator)
    x = randn(generator, 9, 4)
    a, b, c, d = torch.where(neighbours[..., None] < 0, 0, x[neighbours]).unbind(1)
    image = torch.stack([x, a + c, b + d, (a - c).abs(), (b - d).abs()], -1)  # [U, C, 5]
    expected = conv(image.permute(1, 0, 2)[None])[0, :, :, 0].T
    torch.testing.assert_close(ours(x, neighbours), expected)


def test_mesh_conv_does_not_tell_the_two_faces_of_an_edge_apart(generator) -> None:  # type: ignore[no-untyped-def]
    layer, x = MeshConv(4, 5).double(), randn(generator, 9, 4)
    neighbours = torch.randint(0, 9, (9, 4), generator=generator)
    torch.testing.assert_close(layer(x, neighbours), layer(x, neighbours[:, [2, 3, 0, 1]]))


@pytest.mark.parametrize(
    ("layer", "prefix"),
    [(lambda: EdgeConv(4, 5), "nn"), (lambda: PointConv(4, 5), "local_nn")],
)
def test_a_network_that_does_not_fit_is_refused_by_name(layer, prefix: str) -> None:  # type: ignore[no-untyped-def]
    width = 8 if prefix == "nn" else 7
    two = nn.Sequential(nn.Linear(width, 6), nn.ReLU(), nn.Linear(6, 5))
    state = {f"{prefix}.{name}": value for name, value in two.state_dict().items()}
    with pytest.raises(RuntimeError, match=f"linear layers of {prefix}: expected 1, got 2"):
        layer().load_state_dict(state)
    normed = nn.Sequential(nn.Linear(width, 5), nn.BatchNorm1d(5))
    state = {f"{prefix}.{name}": value for name, value in normed.state_dict().items()}
    with pytest.raises(RuntimeError, match="Unexpected key"):
        layer().load_state_dict(state)
    state = {f"{prefix}.weight": torch.zeros(5, width + 2)}
    with pytest.raises(RuntimeError, match="size mismatch"):
        layer().load_state_dict(state)


def test_weights_load_inside_of_a_model_and_round_trip(pyg, generator) -> None:  # type: ignore[no-untyped-def]
    theirs = nn.ModuleDict(
        {
            "edge": pyg.EdgeConv(nn.Linear(8, 4, bias=False)),
            "graph": pyg.GraphConv(4, 4),
        }
    )
    ours = nn.ModuleDict({"edge": EdgeConv(4, 4, bias=False), "graph": GraphConv(4, 4, "sum")})
    before = dict(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    assert theirs.state_dict().keys() == before.keys()
    assert torch.equal(ours["graph"].neighbour.weight, theirs["graph"].lin_rel.weight)
    assert torch.equal(ours["edge"].difference.weight, theirs["edge"].nn.weight[:, 4:])
    again = nn.ModuleDict({"edge": EdgeConv(4, 4, bias=False), "graph": GraphConv(4, 4, "sum")})
    again.load_state_dict(ours.state_dict())
    for name, value in again.state_dict().items():
        assert torch.equal(value, ours.state_dict()[name])


def test_point_conv_needs_features_where_it_has_channels_for_them(graph: Graph) -> None:
    position = torch.zeros(12, 3)
    with pytest.raises(ValueError, match=r"x must have 4 channels .*got None"):
        PointConv(4, 5)(None, position, graph)
    with pytest.raises(ValueError, match=r"x must have 0 channels .*got shape"):
        PointConv(0, 5)(position, position, graph)


@pytest.mark.parametrize("kind", ["edge", "edge two", "point", "point two", "graph", "mesh"])
def test_every_gradient_is_right(generator: torch.Generator, graph: Graph, kind: str) -> None:
    x, position = randn(generator, 12, 2).requires_grad_(), randn(generator, 12, 3).requires_grad_()
    neighbours = torch.randint(-1, 12, (12, 4), generator=generator)
    layer, run = {
        "edge": (EdgeConv(2, 3, activation="silu"), lambda m: m(x, graph)),
        "edge two": (EdgeConv(2, 3, hidden_channels=4), lambda m: m(x, graph)),
        "point": (PointConv(2, 3, "silu"), lambda m: m(x, position, graph)),
        "point two": (PointConv(2, 3, hidden_channels=4), lambda m: m(x, position, graph)),
        "graph": (GraphConv(2, 3, "max"), lambda m: m(x, graph)),
        "mesh": (MeshConv(2, 3), lambda m: m(x, neighbours)),
    }[kind]
    layer.double()
    inputs = (x, position, *layer.parameters())

    def function(*_: Tensor) -> Tensor:
        out: Tensor = run(layer)
        return out + 0 * position.sum()

    assert torch.autograd.gradcheck(function, inputs)


@pytest.mark.parametrize("reduce", ["max", "mean"])
def test_two_layers_run_under_autocast(reduce: str, generator: torch.Generator) -> None:
    graph, x = random_graph(generator, 9, 9, 40), torch.randn(9, 6, generator=generator)
    position = torch.rand(9, 3, generator=generator)
    convolve = EdgeConv(6, 4, reduce=reduce, hidden_channels=5)
    gather = PointConv(6, 4, reduce=reduce, hidden_channels=5)
    with use_backend("reference"):  # the CPU has no half precision
        expected = convolve(x, graph), gather(x, position, graph)
        with torch.autocast("cpu", torch.bfloat16):
            found = convolve(x, graph), gather(x, position, graph)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.bfloat16
        torch.testing.assert_close(one.float(), other, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("wrong", [5, 6, -2])
def test_a_neighbour_that_is_no_edge_is_refused_by_name(wrong: int) -> None:
    neighbours = torch.zeros(5, 4, dtype=torch.int64)
    neighbours[2, 1] = wrong
    with pytest.raises(
        ValueError, match=rf"MeshConv: neighbours must be from -1 to 4, got {wrong}"
    ):
        MeshConv(3, 2)(torch.randn(5, 3), neighbours)


@pytest.mark.parametrize(
    ("layer", "options", "name"),
    [
        (EdgeConv, {"in_channels": 0}, "in_channels"),
        (EdgeConv, {"out_channels": 2.0}, "out_channels"),
        (EdgeConv, {"geometry_channels": 9}, "geometry_channels"),
        (EdgeConv, {"activation": "gelu"}, "activation"),
        (EdgeConv, {"reduce": "min"}, "reduce"),
        (EdgeConv, {"hidden_channels": -1}, "hidden_channels"),
        (PointConv, {"in_channels": -1}, "in_channels"),
        (PointConv, {"activation": None}, "activation"),
        (PointConv, {"reduce": "add"}, "reduce"),
        (PointConv, {"bias": 1}, "bias"),
        (GATv2Conv, {"in_channels": (4, 0)}, "in_channels"),
        (GATv2Conv, {"heads": 0}, "heads"),
        (GATv2Conv, {"edge_dim": 9}, "edge_dim"),
        (GATv2Conv, {"negative_slope": "0.2"}, "negative_slope"),
        (GATv2Conv, {"concat": 4}, "concat"),
    ],
)
def test_options_are_refused_by_name_where_a_layer_is_made(layer, options, name: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises((TypeError, ValueError), match=f"{layer.__name__}: {name} must"):
        layer(**{"in_channels": 4, "out_channels": 4, **options})
