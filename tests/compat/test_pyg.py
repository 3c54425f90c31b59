"""The layers of PyG, patched: the same results and gradients, and nothing in silence."""

from __future__ import annotations

import copy
import gc
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

pyg_nn = pytest.importorskip("torch_geometric.nn")

from g2vlm_fast.compat import _edge_graphs, pyg  # noqa: E402

SOURCES, ROWS, EDGES, CHANNELS = 11, 7, 40, 4


@pytest.fixture(autouse=True)
def unpatched() -> Iterator[None]:
    yield
    pyg.unpatch()


def randn(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def edges(generator: torch.Generator, sources: int, rows: int, flow: str) -> Tensor:
    """Duplicate edges, loops, points without edges; the upper row is of the first set."""
    index = torch.stack(
        [
            torch.randint(0, sources, (EDGES,), generator=generator),
            torch.randint(0, rows, (EDGES,), generator=generator),
        ]
    )
    return index if flow == "source_to_target" else index.flip(0)


def two(activation: nn.Module, last: nn.Module | None = None) -> Callable[[int], nn.Module]:
    tail = [] if last is None else [last]
    return lambda width: nn.Sequential(nn.Linear(width, 6), activation, nn.Linear(6, 5), *tail)


NETWORKS: dict[str, tuple[Callable[[int], nn.Module], tuple[str, ...]]] = {
    "linear": (lambda width: nn.Linear(width, 5), ("max", "mean", "add")),
    "no bias": (lambda width: pyg_nn.Linear(width, 5, bias=False), ("max", "add")),
    "relu": (
        lambda width: nn.Sequential(nn.Linear(width, 5), nn.ReLU(inplace=True)),
        ("max", "mean", "add"),
    ),
    "silu": (lambda width: nn.Sequential(nn.Linear(width, 5), nn.SiLU()), ("max", "mean")),
    "leaky 0.2": (lambda width: nn.Sequential(nn.Linear(width, 5), nn.LeakyReLU(0.2)), ("mean",)),
    "leaky 0.01": (lambda width: nn.Sequential(nn.Linear(width, 5), nn.LeakyReLU()), ("max",)),
    "elu": (lambda width: nn.Sequential(nn.Linear(width, 5), nn.ELU(inplace=True)), ("max",)),
    "two": (two(nn.ReLU()), ("max", "mean", "add")),
    "two and tanh": (two(nn.SiLU(), nn.Tanh()), ("max",)),
    "mlp": (lambda width: pyg_nn.MLP([width, 6, 5], norm=None, act="relu"), ("max", "mean")),
    "nested": (
        lambda width: nn.Sequential(nn.Sequential(nn.Linear(width, 5)), nn.Identity(), nn.ReLU()),
        ("max",),
    ),
}
CASES = [(name, aggr) for name, (_, aggrs) in NETWORKS.items() for aggr in aggrs]


def assert_same(module: nn.Module, *inputs: Any, **options: Any) -> None:
    """Patched and not: the same outputs, and gradients of all inputs and parameters."""
    module.double()
    leaves = [
        each
        for value in (*inputs, *options.values())
        for each in (value if isinstance(value, tuple) else (value,))
        if isinstance(each, Tensor) and each.is_floating_point()
    ]
    for leaf in leaves:
        leaf.requires_grad_()
    leaves += list(module.parameters())

    def run() -> tuple[Tensor, ...]:
        out = module(*inputs, **options)
        factor = torch.arange(out.numel(), dtype=out.dtype).view_as(out).cos()
        gradients = torch.autograd.grad((out * factor).sum(), leaves, allow_unused=True)
        return (out, *gradients)

    expected = run()
    with pyg.patch() as patched:
        found = run()
    assert not patched.refusals
    for a, b in zip(found, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(("network", "aggr"), CASES)
def test_edge_conv_is_the_same(generator: torch.Generator, network: str, aggr: str) -> None:
    module = pyg_nn.EdgeConv(NETWORKS[network][0](2 * CHANNELS), aggr=aggr)
    x = randn(generator, SOURCES, CHANNELS)
    assert_same(module, x, edges(generator, SOURCES, SOURCES, "source_to_target"))


def test_edge_conv_between_two_sets_is_the_same(generator: torch.Generator) -> None:
    module = pyg_nn.EdgeConv(nn.Linear(2 * CHANNELS, 5))
    pair = randn(generator, SOURCES, CHANNELS), randn(generator, ROWS, CHANNELS)
    assert_same(module, pair, edges(generator, SOURCES, ROWS, "source_to_target"))


def test_messages_may_flow_from_target_to_source(generator: torch.Generator) -> None:
    flow = "target_to_source"
    index, x = edges(generator, SOURCES, SOURCES, flow), randn(generator, SOURCES, CHANNELS)
    assert_same(pyg_nn.EdgeConv(nn.Linear(2 * CHANNELS, 5), flow=flow), x, index)
    assert_same(pyg_nn.PointNetConv(nn.Linear(CHANNELS + 4, 5), flow=flow), x, x.clone(), index)
    assert_same(pyg_nn.GraphConv(CHANNELS, 5, flow=flow), x, index, randn(generator, EDGES))
    assert_same(pyg_nn.SAGEConv(CHANNELS, 5, flow=flow), x, index)


@pytest.mark.parametrize(("network", "aggr"), CASES)
@pytest.mark.parametrize("loops", [True, False])
def test_point_conv_is_the_same(
    generator: torch.Generator, network: str, aggr: str, loops: bool
) -> None:
    local = NETWORKS[network][0](CHANNELS + 3)
    module = pyg_nn.PointNetConv(local, nn.Linear(5, 2), add_self_loops=loops, aggr=aggr)
    x, position = randn(generator, SOURCES, CHANNELS), randn(generator, SOURCES, 3)
    assert_same(module, x, position, edges(generator, SOURCES, SOURCES, "source_to_target"))


@pytest.mark.parametrize("axes", [2, 5])
@pytest.mark.parametrize("loops", [True, False])
def test_point_conv_between_two_sets_is_the_same(
    generator: torch.Generator, axes: int, loops: bool
) -> None:
    index = edges(generator, SOURCES, ROWS, "source_to_target")
    positions = randn(generator, SOURCES, axes), randn(generator, ROWS, axes)
    module = pyg_nn.PointNetConv(nn.Linear(axes, 5), add_self_loops=loops)
    assert_same(module, None, positions, index)
    module = pyg_nn.PointNetConv(nn.Linear(axes + 4, 5), add_self_loops=loops)
    assert_same(module, (randn(generator, SOURCES, 4), None), positions, index)


@pytest.mark.parametrize("aggr", ["add", "mean", "max", "min"])
@pytest.mark.parametrize("weighted", [False, True])
def test_graph_conv_is_the_same(generator: torch.Generator, aggr: str, weighted: bool) -> None:
    x, weight = randn(generator, SOURCES, CHANNELS), randn(generator, EDGES)
    module = pyg_nn.GraphConv(CHANNELS, 5, aggr=aggr)
    index = edges(generator, SOURCES, SOURCES, "source_to_target")
    assert_same(module, x, index, *([weight] if weighted else []))
    sets = pyg_nn.GraphConv((CHANNELS, 3), 5, aggr=aggr)
    index = edges(generator, SOURCES, ROWS, "source_to_target")
    assert_same(sets, (x, randn(generator, ROWS, 3)), index)


def test_graph_conv_without_rows_of_its_own_takes_their_number(generator: torch.Generator) -> None:
    module = pyg_nn.GraphConv((CHANNELS, CHANNELS), 5)
    index = edges(generator, SOURCES, ROWS, "source_to_target")
    x = randn(generator, SOURCES, CHANNELS)
    assert_same(module, (x, None), index, size=(SOURCES, ROWS + 2))
    assert_same(module, (x, None), index)


@pytest.mark.parametrize("aggr", ["mean", "max"])
@pytest.mark.parametrize(
    "options", [{}, {"normalize": True}, {"project": True}, {"root_weight": False, "bias": False}]
)
def test_sage_conv_is_the_same(
    generator: torch.Generator, aggr: str, options: dict[str, bool]
) -> None:
    module = pyg_nn.SAGEConv(CHANNELS, 5, aggr=aggr, **options)
    x = randn(generator, SOURCES, CHANNELS)
    assert_same(module, x, edges(generator, SOURCES, SOURCES, "source_to_target"))
    pair = x, randn(generator, ROWS, CHANNELS)
    assert_same(module, pair, edges(generator, SOURCES, ROWS, "source_to_target"))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"heads": 3},
        {"heads": 3, "concat": False, "negative_slope": 0.1},
        {"heads": 2, "residual": True, "share_weights": True},
        {"add_self_loops": False, "bias": False},
    ],
)
def test_gatv2_conv_is_the_same(generator: torch.Generator, options: dict[str, Any]) -> None:
    module = pyg_nn.GATv2Conv(CHANNELS, 5, **options)
    x = randn(generator, SOURCES, CHANNELS)
    assert_same(module, x, edges(generator, SOURCES, SOURCES, "source_to_target"))
    sets = pyg_nn.GATv2Conv((CHANNELS, 3), 5, **{**options, "share_weights": False})
    pair = x, randn(generator, ROWS, 3)
    assert_same(sets, pair, edges(generator, SOURCES, ROWS, "source_to_target"))


def test_gatv2_conv_with_features_of_edges_is_the_same(generator: torch.Generator) -> None:
    x, index = (
        randn(generator, SOURCES, CHANNELS),
        edges(generator, SOURCES, SOURCES, "source_to_target"),
    )
    module = pyg_nn.GATv2Conv(CHANNELS, 5, heads=2, edge_dim=3, add_self_loops=False)
    assert_same(module, x, index, edge_attr=randn(generator, EDGES, 3))
    module = pyg_nn.GATv2Conv(CHANNELS, 5, edge_dim=1, add_self_loops=False)
    assert_same(module, x, index, edge_attr=randn(generator, EDGES))


def test_a_graph_without_edges_or_points_is_the_same(generator: torch.Generator) -> None:
    module = pyg_nn.EdgeConv(nn.Linear(2 * CHANNELS, 5))
    none = torch.zeros(2, 0, dtype=torch.long)
    assert_same(module, randn(generator, SOURCES, CHANNELS), none)
    assert_same(module, randn(generator, 0, CHANNELS), none)
    assert_same(pyg_nn.GraphConv(CHANNELS, 5), randn(generator, SOURCES, CHANNELS), none)
    assert_same(pyg_nn.GATv2Conv(CHANNELS, 5), randn(generator, SOURCES, CHANNELS), none)


class _OwnMessage(pyg_nn.EdgeConv):  # type: ignore[misc, name-defined]
    def message(self, x_i: Tensor, x_j: Tensor) -> Tensor:
        return 2 * super().message(x_i, x_j)


class _Renamed(pyg_nn.EdgeConv):  # type: ignore[misc, name-defined]
    pass


def _with_hook() -> nn.Module:
    module = pyg_nn.EdgeConv(nn.Linear(2 * CHANNELS, 5))
    module.register_message_forward_hook(lambda module, inputs, out: 3 * out)
    return module


def _with_hooked_network() -> nn.Module:
    network = nn.Linear(2 * CHANNELS, 5)
    network.register_forward_hook(lambda module, inputs, out: 3 * out)
    return pyg_nn.EdgeConv(network)


def _with_weight_norm() -> nn.Module:
    network = nn.utils.parametrizations.weight_norm(nn.Linear(2 * CHANNELS, 5))
    return pyg_nn.EdgeConv(network)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: _OwnMessage(nn.Linear(8, 5)), "_OwnMessage has its own message"),
        (_with_hook, "it has hooks inside of propagate"),
        (_with_hooked_network, "Linear has hooks, or a forward of its own"),
        (_with_weight_norm, r"messages are made by \(ParametrizedLinear\)"),
        (lambda: pyg_nn.EdgeConv(nn.Linear(8, 5), aggr="mul"), "aggregation MulAggregation"),
        (lambda: pyg_nn.EdgeConv(nn.Linear(8, 5), aggr="min"), "aggregation MinAggregation"),
        (lambda: pyg_nn.EdgeConv(nn.Linear(8, 5), aggr=["max", "mean"]), "MultiAggregation"),
        (
            lambda: pyg_nn.EdgeConv(nn.Sequential(nn.Linear(8, 5), nn.BatchNorm1d(5))),
            "no kernel for BatchNorm1d",
        ),
        (
            lambda: pyg_nn.EdgeConv(nn.Sequential(nn.Linear(8, 5), nn.Tanh()), aggr="mean"),
            r"no kernel for Tanh\(\) behind the last linear layer and mean",
        ),
        (
            lambda: pyg_nn.EdgeConv(
                nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 5)), aggr="mean"
            ),
            r"no kernel with Tanh\(\) between two linear layers",
        ),
        (lambda: pyg_nn.EdgeConv(pyg_nn.MLP([8, 6, 5])), "an MLP with normalisation"),
        (
            lambda: pyg_nn.EdgeConv(pyg_nn.MLP([8, 6, 5], norm=None, dropout=0.5)).eval(),
            "an MLP with dropout",
        ),
        (
            lambda: pyg_nn.EdgeConv(
                nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 6), nn.Linear(6, 5))
            ),
            "not by one or two Linear",
        ),
        (lambda: pyg_nn.GATv2Conv(CHANNELS, 5, edge_dim=9), "edges have 9 features"),
        (lambda: pyg_nn.GATv2Conv(CHANNELS, 5, flow="target_to_source"), "from target to source"),
        (lambda: pyg_nn.GATv2Conv(CHANNELS, 5, aggr="max"), "aggregation MaxAggregation"),
    ],
)
def test_what_ours_cannot_do_runs_on_the_original_and_says_so(
    generator: torch.Generator, caplog: pytest.LogCaptureFixture, make: Any, reason: str
) -> None:
    module = make()
    x, index = (
        torch.randn(SOURCES, CHANNELS),
        edges(generator, SOURCES, SOURCES, "source_to_target"),
    )
    expected = module(x, index)
    with caplog.at_level(logging.INFO, "g2vlm_fast"), pyg.patch(module) as patched:
        torch.testing.assert_close(module(x, index), expected, rtol=0, atol=0)
        module(x, index)
    (told,) = patched.modules
    assert told.refusal is not None
    assert re.search(reason, told.refusal)
    assert dict(patched.refusals) == {(type(module).__name__, told.refusal): 2}
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2, "report and call"


def _sparse(index: Tensor) -> Tensor:
    size = (SOURCES, SOURCES)
    ones = torch.ones(EDGES)
    return torch.sparse_coo_tensor(index.flip(0), ones, size, check_invariants=True).coalesce()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda x, index: (x[None].expand(2, -1, -1), index), "no dense matrix of floats"),
        (lambda x, index: (x, _sparse(index)), "edge_index is torch.sparse_coo"),
        (lambda x, index: (x.bfloat16(), index), "backend takes float32, float64"),
    ],
)
def test_inputs_that_ours_cannot_take_go_to_the_original(
    generator: torch.Generator, spoil: Any, reason: str
) -> None:
    x, index = spoil(
        torch.randn(SOURCES, CHANNELS), edges(generator, SOURCES, SOURCES, "source_to_target")
    )
    module = pyg_nn.EdgeConv(nn.Linear(2 * CHANNELS, 5)).to(x.dtype)
    expected = module(x, index)
    with pyg.patch() as patched:
        assert torch.equal(module(x, index), expected)
    ((_, told),) = patched.refusals
    assert reason in told


@pytest.mark.parametrize("wrong", [-1, SOURCES, 2**32 + 1])
def test_an_edge_to_nowhere_is_refused_as_the_original_refuses_it(
    generator: torch.Generator, wrong: int
) -> None:
    module = pyg_nn.EdgeConv(nn.Linear(2 * CHANNELS, 5))
    index = edges(generator, SOURCES, SOURCES, "source_to_target")
    index[0, 3] = wrong
    with pyg.patch(), pytest.raises(IndexError, match="'edge_index'"):
        module(torch.randn(SOURCES, CHANNELS), index)


def _model() -> nn.Module:
    return pyg_nn.Sequential(
        "x, edge_index",
        [
            (pyg_nn.EdgeConv(nn.Linear(2 * CHANNELS, CHANNELS)), "x, edge_index -> x"),
            (pyg_nn.GATv2Conv(CHANNELS, CHANNELS), "x, edge_index -> x"),
            (pyg_nn.GCNConv(CHANNELS, 2), "x, edge_index -> x"),
        ],
    )


def test_a_report_names_every_layer_of_a_model(generator: torch.Generator) -> None:
    model = _model()
    with pyg.patch(model) as patched:
        kinds = [(each.kind, each.refusal) for each in patched.modules]
    assert kinds == [
        ("EdgeConv", None),
        ("GATv2Conv", None),
        ("GCNConv", "there is nothing that stands for its class"),
    ]
    assert "(EdgeConv): runs on g2vlm_fast\n" in str(patched)
    assert str(patched).endswith("runs on PyG: there is nothing that stands for its class")


def test_layers_share_one_graph_until_the_edges_change(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []
    build = _edge_graphs.Graph.from_edges
    monkeypatch.setattr(
        _edge_graphs.Graph, "from_edges", lambda *a, **k: (built.append(1), build(*a, **k))[1]
    )
    first, second = (pyg_nn.EdgeConv(nn.Linear(2 * CHANNELS, CHANNELS)) for _ in range(2))
    x, index = (
        torch.randn(SOURCES, CHANNELS),
        edges(generator, SOURCES, SOURCES, "source_to_target"),
    )
    with pyg.patch() as patched:
        before = second(first(x, index), index)
        assert len(built) == 1
        index[0] = index[0].flip(0)
        after = second(first(x, index), index)
        assert len(built) == 2
        pyg_nn.EdgeConv(nn.Linear(2 * CHANNELS, 3), flow="target_to_source")(x, index)
        assert len(built) == 3
        kept = patched._graphs._kept
        assert len(kept) == 1
        with torch.inference_mode():
            inside = index.clone()
            torch.testing.assert_close(second(first(x, inside), inside), after)
        assert len(built) == 5, "changes of inference tensors are not counted, so none is kept"
    assert not torch.equal(before, after)
    torch.testing.assert_close(second(first(x, index), index), after)
    del index
    gc.collect()
    assert len(kept) == 0, "a graph lives as long as its edges"


def test_edges_that_are_made_in_every_call_are_complained_about_once(
    generator: torch.Generator, caplog: pytest.LogCaptureFixture
) -> None:
    module = pyg_nn.GraphConv(CHANNELS, 5)
    x, index = (
        torch.randn(SOURCES, CHANNELS),
        edges(generator, SOURCES, SOURCES, "source_to_target"),
    )
    with pyg.patch():
        for _ in range(60):
            module(x, index)
        assert not caplog.records
        for _ in range(120):
            module(x, index.clone())
    assert [
        "a graph was built for each of the last 50 calls" in each.message for each in caplog.records
    ] == [True]


def test_unpatching_puts_everything_back() -> None:
    before = {kind: kind.forward for kind in pyg._stand_ins()}
    patched = pyg.patch()
    assert all(kind.forward is not forward for kind, forward in before.items())
    with pytest.raises(RuntimeError, match="call unpatch"):
        pyg.patch()
    pyg.unpatch()
    pyg.unpatch()
    assert all(kind.forward is forward for kind, forward in before.items())
    with pytest.raises(ZeroDivisionError), pyg.patch():
        1 / 0  # noqa: B018
    assert all(kind.forward is forward for kind, forward in before.items())
    with patched:
        pass
    with pyg.patch() as again, patched:
        pass
    assert not again.refusals


def test_modules_made_and_copied_under_the_patch_work(generator: torch.Generator) -> None:
    x, index = (
        torch.randn(SOURCES, CHANNELS),
        edges(generator, SOURCES, SOURCES, "source_to_target"),
    )
    with pyg.patch() as patched:

        class Fresh(pyg_nn.EdgeConv):  # type: ignore[misc, name-defined]
            def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
                out: Tensor = super().forward(x, edge_index) + 1
                return out

        module = Fresh(nn.Linear(2 * CHANNELS, 5))
        found = copy.deepcopy(module)(x, index)
        assert isinstance(_Renamed(nn.Linear(8, 5))(x, index), Tensor)
        assert not patched.refusals
    torch.testing.assert_close(found, module(x, index))


def test_lazy_networks_run_on_the_original_until_they_know_their_size(
    generator: torch.Generator,
) -> None:
    module = pyg_nn.EdgeConv(pyg_nn.Linear(-1, 5))
    x, index = (
        torch.randn(SOURCES, CHANNELS),
        edges(generator, SOURCES, SOURCES, "source_to_target"),
    )
    with pyg.patch() as patched:
        first = module(x, index)
        assert sum(patched.refusals.values()) == 1
        torch.testing.assert_close(module(x, index), first)
        assert sum(patched.refusals.values()) == 1


def test_the_original_is_compiled(generator: torch.Generator) -> None:
    module = pyg_nn.EdgeConv(nn.Linear(2 * CHANNELS, 5))
    x, index = (
        torch.randn(SOURCES, CHANNELS),
        edges(generator, SOURCES, SOURCES, "source_to_target"),
    )
    with pyg.patch() as patched:
        compiled = torch.compile(module, backend="eager")
        torch.testing.assert_close(compiled(x, index), module(x, index))
        assert not patched.refusals


def test_of_equal_messages_the_first_edge_gets_the_gradient() -> None:
    module = pyg_nn.GraphConv(1, 1, aggr="max", bias=False)
    nn.init.ones_(module.lin_rel.weight)
    x = torch.tensor([[0.0], [5.0], [5.0]], requires_grad=True)
    index = torch.tensor([[2, 1], [0, 0]])
    with pyg.patch():
        (module((x, None), index)[0]).sum().backward()
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [0, 0, 1]


def test_a_graph_that_inference_built_may_be_trained_on(generator: torch.Generator) -> None:
    layer, index = pyg_nn.GATv2Conv(6, 4), edges(generator, 9, 9, "source_to_target")
    x = torch.randn(9, 6, generator=generator)
    expected = layer(x, index)
    with pyg.patch():
        with torch.inference_mode():
            layer(x, index)
        found = layer(x, index)
        found.sum().backward()
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("make", [pyg_nn.EdgeConv, pyg_nn.PointNetConv])
def test_autocast_runs_as_without_the_patch(
    make: Callable[..., nn.Module], generator: torch.Generator
) -> None:
    index = edges(generator, 9, 9, "source_to_target")
    x, position = torch.randn(9, 5, generator=generator), torch.rand(9, 3, generator=generator)
    inputs = (x, index) if make is pyg_nn.EdgeConv else (x, position, index)
    width = 10 if make is pyg_nn.EdgeConv else 8
    layer = make(nn.Sequential(nn.Linear(width, 6), nn.ReLU(), nn.Linear(6, 4)))
    with torch.autocast("cpu", torch.bfloat16):
        expected = layer(*inputs)
        with pyg.patch():
            found = layer(*inputs)
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0.05)
