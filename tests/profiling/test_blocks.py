from __future__ import annotations

import pytest
import torch

from g2vlm_fast.ops import Graph
from g2vlm_fast.ops.specs import all_specs
from g2vlm_fast.profiling import blocks
from g2vlm_fast.profiling.ties import tied_winners
from g2vlm_fast.profiling.truth import find_truth


@pytest.mark.parametrize("op", sorted(blocks.CHANNELS))
def test_channels_in_blocks_give_the_truth_of_all_at_once(
    monkeypatch: pytest.MonkeyPatch, generator: torch.Generator, op: str
) -> None:
    spec = all_specs()[op]
    name = "mean_geometry" if op == "edge_conv_layer" else next(iter(spec.small))
    inputs = spec.small[name](generator)
    whole = find_truth(spec, inputs, gradients=True)
    monkeypatch.setitem(blocks._ARRAY_BYTES, "cpu", 8 * 3 * inputs["graph"].num_edges)
    assert len(blocks.channel_blocks(op, inputs)) > 1
    cut = find_truth(spec, inputs, gradients=True)
    torch.testing.assert_close(whole.outputs, cut.outputs)
    torch.testing.assert_close(whole.gradients, cut.gradients)


def test_ops_without_channels_are_never_cut(generator: torch.Generator) -> None:
    inputs = all_specs()["nearest"].small["plain"](generator)
    assert blocks.channel_blocks("nearest", inputs) == [slice(None)]


def test_gradients_do_not_start_where_edges_tie_for_a_maximum() -> None:
    graph = Graph.from_edges(torch.tensor([0, 1, 2]), torch.tensor([0, 0, 1]), 3)
    x = torch.tensor([[1.0, 5.0], [1.0, 2.0], [4.0, 4.0]], dtype=torch.float64)
    inputs = {"x": x, "graph": graph, "reduce": "max"}
    ties = tied_winners("graph_reduce", inputs)
    assert ties is not None
    assert ties.tolist() == [[True, False], [False, False], [False, False]]
    truth = find_truth(all_specs()["graph_reduce"], inputs, gradients=True)
    assert truth.upstream is not None
    assert (truth.upstream[0] == 0).tolist() == ties.tolist()
    assert truth.gradients["x"][:2, 0].tolist() == [0, 0]
    assert truth.gradients["x"][0, 1] != 0
    assert tied_winners("graph_reduce", {**inputs, "reduce": "mean"}) is None
