"""The CUDA kernel of edge_mlp: rows of any length, what is out of range, when it is taken."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from g2vlm_fast.ops import BackendError, Graph, edge_mlp, use_backend
from g2vlm_fast.ops import _dispatch as dispatch
from g2vlm_fast.ops._edge_mlp_backends import _lacks_cuda
from g2vlm_fast.ops.reference.edge_conv import activate

HALVES = [torch.bfloat16, torch.float16]
NO_SLOT = 2**31 - 1


def _exact(generator: torch.Generator, *shape: int) -> Tensor:
    """Numbers whose sums and products with halves both halves of precision hold."""
    return torch.randint(-8, 9, shape, generator=generator).double() / 8


def _exact_map(generator: torch.Generator, hidden: int, channels: int) -> Tensor:
    """A map that adds halves of two of its inputs for each output."""
    places = torch.rand(channels, hidden, generator=generator).argsort(1)[:, :2]
    factors = torch.randint(0, 2, places.shape, generator=generator).double() - 0.5
    return (
        torch.zeros(channels, hidden, dtype=torch.float64)
        .scatter_(1, places, factors)
        .T.contiguous()
    )


def _graph(generator: torch.Generator, degrees: Tensor, sources: int) -> Graph:
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), degrees.cumsum(0)]).int()
    columns = torch.randint(0, sources, (int(offsets[-1]),), generator=generator)
    return Graph(row_offsets=offsets, columns=columns.int(), num_sources=sources)


def _degrees(generator: torch.Generator, kind: str) -> Tensor:
    some = torch.randint(0, 14, (301,), generator=generator)
    return {
        "six": torch.full((211,), 6),
        "four": torch.full((133,), 4),
        "mixed": some,
        "hubs": torch.cat([torch.tensor([0, 300, 1]), some % 3, torch.tensor([77])]),
        "one row": torch.tensor([3]),
        "no edges": torch.zeros(9, dtype=torch.int64),
    }[kind]


def _run(backend: str, dtype: torch.dtype, graph: Graph, tensors: list[Tensor], activation: str):  # type: ignore[no-untyped-def]
    device = "cuda" if backend == "cuda" else "cpu"
    a, b, weight, bias = (each.to(device, dtype) for each in tensors)
    edges = (graph.row_offsets.to(device), graph.columns.to(device))
    with use_backend(backend, "edge_mlp"):
        return torch.ops.g2vlm.edge_mlp(a, b, *edges, weight, bias, None, None, activation, 4)


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["six", "four", "mixed", "hubs", "one row", "no edges"])
@pytest.mark.parametrize("shape", [(128, 128), (64, 64), (8, 8), (72, 40), (104, 200)])
@pytest.mark.parametrize("dtype", HALVES)
def test_values_and_winners_are_those_of_the_cpu_where_nothing_is_rounded(
    generator: torch.Generator, dtype: torch.dtype, shape: tuple[int, int], kind: str
) -> None:
    graph = _graph(generator, _degrees(generator, kind), 97)
    tensors = [
        _exact(generator, graph.num_rows, shape[0]),
        _exact(generator, 97, shape[0]),
        _exact_map(generator, *shape),
        _exact(generator, shape[1]),
    ]
    for activation in ("none", "relu"):
        out, winner = _run("cuda", dtype, graph, tensors, activation)
        expected, first = _run("cpu", torch.float64, graph, tensors, activation)
        assert torch.equal(winner.cpu(), first)
        assert torch.equal(out.cpu().double(), expected)


@pytest.mark.gpu
@pytest.mark.parametrize("activation", ["none", "relu", "leaky_relu", "silu"])
@pytest.mark.parametrize("dtype", HALVES)
def test_any_numbers_agree_with_float64_of_the_rounded_hidden_rows(
    generator: torch.Generator, dtype: torch.dtype, activation: str
) -> None:
    graph = _graph(generator, _degrees(generator, "mixed"), 97)
    shapes = [(graph.num_rows, 120), (97, 120), (120, 136), (136,)]
    tensors = [torch.randn(each, generator=generator).to(dtype).double() for each in shapes]
    out, winner = (each.cpu() for each in _run("cuda", dtype, graph, tensors, activation))
    a, b, weight, bias = tensors
    sums = a.float()[graph.edge_rows().long()] + b.float()[graph.columns.long()]
    message = activate(sums, activation).to(dtype).double() @ weight + bias
    filled = graph.row_offsets.diff() > 0
    expected = torch.zeros_like(out, dtype=torch.float64)
    for row in filled.nonzero()[:, 0].tolist():
        expected[row] = message[graph.row_offsets[row] : graph.row_offsets[row + 1]].amax(0)
    error = (out.double() - expected).norm() / expected.norm()
    assert error < (3e-3 if dtype == torch.bfloat16 else 1e-3)
    assert (winner[~filled] == NO_SLOT).all()
    edge = graph.row_offsets[:-1, None][filled] + winner[filled]
    chosen = message.gather(0, edge.long())
    # Messages that are as near as hidden channels are rounded may change places.
    assert (chosen >= expected[filled] - 0.2).all()
    assert (chosen == expected[filled]).double().mean() > 0.99


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", HALVES)
def test_columns_out_of_range_are_skipped_and_a_nan_wins(
    generator: torch.Generator, dtype: torch.dtype
) -> None:
    degrees = _degrees(generator, "hubs")
    graph = _graph(generator, degrees, 97)
    bad = torch.rand(graph.num_edges, generator=generator) < 0.3
    outside = torch.tensor([-1, 97, 2**31 - 1, -(2**31)], dtype=torch.int32)
    columns = torch.where(bad, outside[torch.arange(graph.num_edges) % 4], graph.columns)
    a, b = _exact(generator, graph.num_rows, 32), _exact(generator, 97, 32)
    b[5, 3], b[6, 4], b[::9, 5] = math.nan, math.inf, -math.inf
    weight, bias = torch.full((32, 24), 0.5).double(), _exact(generator, 24)
    weight[:, ::2] = -0.5
    rows = graph.edge_rows()
    kept = Graph.from_edges(columns[~bad], rows[~bad], graph.num_rows, 97, coalesce=False)
    # Slots among all edges of those that are kept.
    slots = (torch.arange(graph.num_edges) - graph.row_offsets[rows.long()])[~bad]
    hostile = Graph(row_offsets=graph.row_offsets, columns=columns, num_sources=97)
    tensors = [a, b, weight, bias]
    out, winner = _run("cuda", dtype, hostile, tensors, "none")
    with use_backend("cpu", "edge_mlp"):
        expected, first = torch.ops.g2vlm.edge_mlp(
            a, b, kept.row_offsets, kept.columns, weight, bias, None, None, "none", 4
        )
    torch.testing.assert_close(out.cpu().double(), expected, rtol=1e-2, atol=0.1, equal_nan=True)
    none = first == NO_SLOT
    place = torch.where(none, 0, kept.row_offsets[:-1, None] + first)
    wanted = torch.where(none, NO_SLOT, slots[place.long()].int())
    assert torch.equal(winner.cpu(), wanted)


@pytest.mark.gpu
@pytest.mark.parametrize("winner_bytes", [0, 1, 4])
def test_winners_of_any_kind_go_with_the_same_values(
    generator: torch.Generator, winner_bytes: int
) -> None:
    graph = _graph(generator, _degrees(generator, "mixed"), 97).to("cuda")
    a = torch.randn(graph.num_rows, 128, generator=generator).bfloat16().cuda()
    b = torch.randn(97, 128, generator=generator).bfloat16().cuda()
    weight = torch.randn(128, 128, generator=generator).bfloat16().cuda()
    arguments = (a, b, graph.row_offsets, graph.columns, weight, None, None, None, "relu")
    expected, slots = torch.ops.g2vlm.edge_mlp(*arguments, 4)
    out, winner = torch.ops.g2vlm.edge_mlp(*arguments, winner_bytes)
    assert torch.equal(out, expected)
    if winner_bytes == 1:
        assert torch.equal(winner.int(), slots.clamp(max=255))


@pytest.mark.gpu
def test_the_last_rows_of_a_large_graph_are_those_of_triton(generator: torch.Generator) -> None:
    rows = 300_001
    columns = torch.arange(rows)[:, None] + torch.tensor([-3, -2, -1, 1, 2, 3])
    graph = Graph.from_knn(columns % rows).to("cuda")
    a = torch.randn(rows, 64, generator=generator).bfloat16().cuda()
    weight = torch.randn(64, 32, generator=generator).bfloat16().cuda()
    out = {}
    for backend in ("cuda", "triton"):
        with use_backend(backend, "edge_mlp"):
            out[backend] = edge_mlp(a, a.flip(0), graph, weight).float()
    error = (out["cuda"] - out["triton"]).norm() / out["triton"].norm()
    assert error < 1e-3


def _arguments(hidden: int = 16, channels: int = 8, shift: int = 0) -> tuple[object, ...]:
    a = torch.zeros(5 * hidden + shift, dtype=torch.bfloat16)[shift:].view(5, hidden)
    weight = torch.zeros(hidden, channels, dtype=torch.bfloat16)
    offsets, columns = torch.zeros(6, dtype=torch.int32), torch.zeros(0, dtype=torch.int32)
    return (a, a, offsets, columns, weight, None, None, None, "relu", None)


def test_the_kernel_is_for_multiples_of_8_up_to_128_hidden_channels() -> None:
    assert _lacks_cuda(*_arguments()) is None  # type: ignore[arg-type]
    assert _lacks_cuda(*_arguments(128, 4096)) is None  # type: ignore[arg-type]
    for hidden, channels in ((0, 8), (12, 8), (136, 8), (16, 12)):
        lacking = _lacks_cuda(*_arguments(hidden, channels))  # type: ignore[arg-type]
        assert lacking is not None
        assert lacking.startswith(f"{hidden} hidden channels")
    assert "multiples of 16 bytes" in str(_lacks_cuda(*_arguments(shift=1)))  # type: ignore[arg-type]
    with_geometry = (*_arguments()[:6], torch.zeros(0, 2), torch.zeros(2, 16), "relu", None)
    assert _lacks_cuda(*with_geometry) == "geometry"  # type: ignore[arg-type]


def test_what_the_cuda_kernel_lacks_runs_in_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "unavailable", lambda backend: None)
    dispatch._choose.cache_clear()
    entries = dispatch.table()["edge_mlp"]
    key = torch.empty(0, dtype=torch.bfloat16, device="meta")
    monkeypatch.setattr(dispatch, "_device_of", lambda key: "cuda")
    try:
        for arguments, backend in (
            (_arguments(), "cuda"),
            (_arguments(12), "triton"),
            (_arguments(shift=1), "triton"),
        ):
            assert dispatch.implementation("edge_mlp", key, arguments) is entries[backend].run
        assert dispatch.backend_of("edge_mlp", "cuda", torch.float32) == "triton"
        assert dispatch.backend_of("edge_mlp_backward", "cuda", torch.bfloat16) == "triton"
        with (
            use_backend("cuda", "edge_mlp"),
            pytest.raises(BackendError, match="the cuda backend has no kernel yet for 12 hidden"),
        ):
            dispatch.implementation("edge_mlp", key, _arguments(12))
    finally:
        dispatch._choose.cache_clear()
