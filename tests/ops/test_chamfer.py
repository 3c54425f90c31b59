"""What is particular to the Chamfer distance; the rest is in test_every_op.py."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from g2vlm_fast.nn import ChamferLoss
from g2vlm_fast.ops import BackendError, chamfer_distance


def test_two_points_a_known_distance_apart() -> None:
    x, y = torch.tensor([[0.0, 0.0, 0.0]]), torch.tensor([[3.0, 4.0, 0.0]])
    assert chamfer_distance(x, y).loss.item() == 50.0
    assert chamfer_distance(x, y, squared=False).loss.item() == 10.0
    assert chamfer_distance(x, y, one_sided=True).loss.item() == 25.0
    assert chamfer_distance(x, y, squared=False, reduction="max").loss.item() == 5.0


@pytest.mark.parametrize(
    ("robust", "near", "far"),
    [
        ("huber", 0.01, 2 * 2 * 0.5 - 0.25),
        ("geman_mcclure", 0.25 * 0.01 / 0.26, 0.25 * 4 / 4.25),
        ("truncated", 0.01, 0.25),
    ],
)
def test_robust_penalties_by_hand(robust: str, near: float, far: float) -> None:
    x = torch.zeros(1, 3, dtype=torch.float64)
    for distance, penalty in ((0.1, near), (2.0, far)):
        y = torch.tensor([[0.0, distance, 0.0]], dtype=torch.float64)
        result = chamfer_distance(x, y, robust=robust, scale=0.5, one_sided=True)
        assert result.loss.item() == pytest.approx(penalty, rel=1e-12)


def test_fscore_counts_points_closer_than_the_radius() -> None:
    x = torch.tensor([[0.0, 0, 0], [1, 0, 0], [9, 0, 0]])
    y = torch.tensor([[0.0, 0, 0.5], [1, 0, 0]])
    result = chamfer_distance(x, y, fscore_at=(0.5, 0.6, 100.0))
    precision, recall = 2 / 3, 1.0
    at_half = 2 * (1 / 3) * (1 / 2) / (1 / 3 + 1 / 2)
    assert result.fscore is not None
    assert result.fscore.tolist()[0] == pytest.approx(
        [at_half, 2 * precision * recall / (precision + recall), 1.0]
    )


def test_segments_with_an_empty_cloud_are_left_out_of_the_mean() -> None:
    x, y = torch.zeros(3, 3), torch.ones(4, 3)
    alone = chamfer_distance(x, y).loss
    result = chamfer_distance(
        x,
        y,
        x_offsets=torch.tensor([0, 2, 3, 3], dtype=torch.int32),
        y_offsets=torch.tensor([0, 4, 4, 4], dtype=torch.int32),
        fscore_at=(10.0,),
    )
    assert result.loss == alone
    assert result.x_index.tolist() == [0, 0, -1]
    assert result.fscore is not None
    assert result.fscore.flatten().tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("reduction", ["mean", "sum", "max"])
def test_empty_clouds_have_loss_and_gradient_zero(reduction: str) -> None:
    x, y = torch.zeros(0, 3, requires_grad=True), torch.ones(4, 3, requires_grad=True)
    loss = chamfer_distance(x, y, reduction=reduction).loss
    loss.backward()
    assert loss.item() == 0
    assert y.grad is not None
    assert not y.grad.any()


def test_a_nan_coordinate_shows_in_the_loss() -> None:
    x, y = torch.rand(5, 3), torch.rand(6, 3)
    y[2, 1] = torch.nan
    assert chamfer_distance(x, y).loss.isnan()


def test_coincident_points_have_finite_gradients_without_squares() -> None:
    x = torch.rand(6, 3, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    chamfer_distance(x, y, squared=False).loss.backward()
    assert x.grad is not None
    assert y.grad is not None
    assert not x.grad.any()
    assert not y.grad.any()


def test_normals_count_up_to_their_sign() -> None:
    x = torch.rand(8, 3)
    normals = torch.nn.functional.normalize(torch.randn(8, 3), dim=1)
    result = chamfer_distance(x, x, x_normals=normals, y_normals=-normals)
    assert result.normal_loss is not None
    assert result.normal_loss.abs() < 1e-6


@pytest.mark.parametrize("reduction", ["mean", "sum", "max", "none"])
@pytest.mark.parametrize("squared", [True, False])
def test_second_derivatives_of_ragged_clouds_are_right(
    generator: torch.Generator, reduction: str, squared: bool
) -> None:
    x, y, weights = (torch.rand(*size, generator=generator) for size in ((9, 3), (11, 3), (9,)))
    leaves = tuple(each.double().requires_grad_() for each in (x, y, weights))
    offsets = [torch.tensor(each, dtype=torch.int32) for each in ([0, 4, 4, 9], [0, 5, 7, 11])]

    def loss(*given: Tensor) -> Tensor:
        return chamfer_distance(
            given[0],
            given[1],
            x_offsets=offsets[0],
            y_offsets=offsets[1],
            x_weights=given[2],
            reduction=reduction,
            squared=squared,
        ).loss

    assert torch.autograd.gradcheck(loss, leaves)
    assert torch.autograd.gradgradcheck(loss, leaves)


@pytest.mark.parametrize("one_sided", [False, True])
def test_the_method_is_chosen_and_changes_nothing(
    generator: torch.Generator, one_sided: bool
) -> None:
    x, y = (torch.rand(n, 3, generator=generator) for n in (300, 200))
    auto, brute, tree = (
        chamfer_distance(x, y, one_sided=one_sided, method=method).loss
        for method in ("auto", "brute", "tree")
    )
    assert auto == brute == tree
    with pytest.raises(ValueError, match="method must be one of"):
        chamfer_distance(x, y, one_sided=one_sided, method="grid")
    with pytest.raises(BackendError, match="dimensions"):
        chamfer_distance(torch.rand(4, 5), torch.rand(4, 5), one_sided=one_sided, method="tree")


def test_the_module_adds_the_weighted_normal_loss() -> None:
    x, y, a, b = (torch.randn(7, 3) for _ in range(4))
    module = ChamferLoss(squared=False, normal_weight=0.5)
    result = chamfer_distance(x, y, x_normals=a, y_normals=b, squared=False)
    assert result.normal_loss is not None
    loss = module(x, y, x_normals=a, y_normals=b)
    torch.testing.assert_close(loss, result.loss + 0.5 * result.normal_loss)
    with pytest.raises(ValueError, match="x_normals"):
        module(x, y)
    assert "normal_weight=0.5" in repr(module)
