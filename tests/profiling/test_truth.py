"""The truth of large searches, and what is done about close calls."""

from __future__ import annotations

import itertools

import pytest
import torch

from g2vlm_fast.ops.specs import Inputs, OpSpec, all_specs, cast_inputs
from g2vlm_fast.profiling import mesh_tree, tree
from g2vlm_fast.profiling.calls import BoundCall
from g2vlm_fast.profiling.truth import Truth, find_truth

pytest.importorskip("scipy")


def both_truths(
    monkeypatch: pytest.MonkeyPatch, spec: OpSpec, inputs: Inputs
) -> tuple[Truth, Truth]:
    plain = find_truth(spec, inputs, gradients=True)
    monkeypatch.setattr(tree, "_ABOVE_PAIRS", 0)
    monkeypatch.setattr(mesh_tree, "_ABOVE_PAIRS", 0)
    return plain, find_truth(spec, inputs, gradients=True)


@pytest.mark.parametrize(
    ("op", "case"),
    [
        ("nearest", "plain"),
        ("nearest", "ragged"),
        ("nearest", "bounded"),
        ("nearest", "two_dimensions"),
        ("chamfer", "plain"),
        ("chamfer", "ragged"),
        *itertools.product(
            ("point_to_mesh", "mesh_to_point"),
            ("plain", "ragged", "slivers", "without_area", "edges_only", "bounded"),
        ),
    ],
)
def test_tree_and_all_pairs_find_the_same(
    monkeypatch: pytest.MonkeyPatch, generator: torch.Generator, op: str, case: str
) -> None:
    spec = all_specs()[op]
    inputs = cast_inputs(spec.small[case](generator), torch.float32, "cpu")
    plain, by_tree = both_truths(monkeypatch, spec, inputs)
    for mine, theirs in zip(plain.outputs, by_tree.outputs, strict=True):
        torch.testing.assert_close(mine, theirs)
    assert plain.gradients.keys() == by_tree.gradients.keys()
    for name, gradient in plain.gradients.items():
        torch.testing.assert_close(gradient, by_tree.gradients[name])


def test_close_calls_may_go_either_way_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = all_specs()["chamfer"]
    x = torch.tensor([[0.0, 0, 0], [5, 0, 0]])
    y = torch.tensor([[-1.0, 0, 0], [1 + 1e-8, 0, 0], [5.5, 0, 0]])  # the first two tie for x[0]
    inputs = {"x": x, "y": y}
    monkeypatch.setattr(tree, "_ABOVE_PAIRS", 0)
    truth = find_truth(spec, inputs, gradients=True)
    call = BoundCall(spec.function, inputs, spec.grad_inputs)
    outputs, gradients = call.forward_backward()
    flipped = [
        each if each.is_floating_point() or len(each) != 2 else torch.tensor([1, 2]).int()
        for each in outputs
    ]
    assert truth.errors(spec, inputs, outputs, gradients).largest < 1e-6
    assert truth.errors(spec, inputs, flipped, gradients).largest < 1e-6
    wrong = [
        each if each.is_floating_point() or len(each) != 2 else torch.tensor([0, 1]).int()
        for each in outputs
    ]
    assert truth.errors(spec, inputs, wrong, gradients).largest == float("inf")
    assert truth.rows["x"].tolist() == [True, False]
    assert truth.rows["y"].tolist() == [True, True, False]


def test_a_point_between_two_faces_may_go_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = all_specs()["point_to_mesh"]
    corners = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    inputs = {
        "points": torch.tensor([[0.2, 0.2, 1.0], [0.2, 0.2, 0.1], [9.0, 0, 0]]),
        "vertices": torch.cat([corners, corners + torch.tensor([0, 0, 2 + 1e-7])]),
        "faces": torch.arange(6, dtype=torch.int32).view(2, 3),
    }
    monkeypatch.setattr(mesh_tree, "_ABOVE_PAIRS", 0)
    truth = find_truth(spec, inputs, gradients=True)
    assert truth.rows["points"].tolist() == [True, False, False]
    assert truth.rows["vertices"].all()
