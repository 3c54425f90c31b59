"""The drop-ins for Kaolin against brute force over all pairs in plain torch."""

from __future__ import annotations

import inspect
import re

import pytest
import torch
from torch import Tensor

from g2vlm_fast.compat.kaolin import chamfer_distance, f_score, sided_distance

DTYPES = [torch.float16, torch.float32, torch.float64]
TOLERANCE = {torch.float16: 2e-3, torch.float32: 1e-5, torch.float64: 1e-12}


def pairs(p1: Tensor, p2: Tensor) -> Tensor:
    return (p1[:, :, None] - p2[:, None]).square().sum(-1)


def clouds(generator, count=3, n=8, m=11, dtype=torch.float64):  # type: ignore[no-untyped-def]
    return (
        torch.rand(count, size, 3, generator=generator, dtype=torch.float64).to(dtype)
        for size in (n, m)
    )


def defaults(function) -> list:  # type: ignore[no-untyped-def, type-arg]
    return [(name, each.default) for name, each in inspect.signature(function).parameters.items()]


def test_signatures_are_those_of_kaolin() -> None:
    empty = inspect.Parameter.empty
    assert defaults(sided_distance) == [("p1", empty), ("p2", empty)]
    assert defaults(chamfer_distance)[2:] == [("w1", 1.0), ("w2", 1.0), ("squared", True)]
    assert defaults(f_score) == [
        ("gt_points", empty), ("pred_points", empty), ("radius", 0.01), ("eps", 1e-8),
    ]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
def test_sided_distances_are_those_of_all_pairs(dtype, generator) -> None:  # type: ignore[no-untyped-def]
    p1, p2 = clouds(generator, dtype=dtype)
    distance, index = sided_distance(p1, p2)
    expected = pairs(p1.double(), p2.double()).min(2)
    assert distance.dtype == dtype
    assert index.dtype == torch.int64
    assert torch.equal(index, expected.indices)
    tolerance = TOLERANCE[dtype]
    torch.testing.assert_close(distance.double(), expected.values, rtol=tolerance, atol=tolerance)


def test_sided_distances_have_the_gradients_of_all_pairs(generator) -> None:  # type: ignore[no-untyped-def]
    points = tuple(each.requires_grad_() for each in clouds(generator))
    assert torch.autograd.gradcheck(sided_distance, points)
    assert torch.autograd.gradgradcheck(lambda *p: sided_distance(*p)[0], points)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("squared", [True, False])
def test_chamfer_is_the_weighted_sum_of_both_means(dtype, squared, generator) -> None:  # type: ignore[no-untyped-def]
    p1, p2 = clouds(generator, dtype=dtype)
    square = pairs(p1.double(), p2.double())
    cost = square if squared else square.sqrt()
    forth, back = cost.amin(2).mean(1), cost.amin(1).mean(1)
    tolerance = TOLERANCE[dtype]
    for weights in ((), (1.3, 0.8)):
        ours = chamfer_distance(p1, p2, *weights, squared=squared)
        w1, w2 = weights or (1.0, 1.0)
        assert ours.dtype == dtype
        torch.testing.assert_close(
            ours.double(), w1 * forth + w2 * back, rtol=tolerance, atol=tolerance
        )


@pytest.mark.parametrize("squared", [True, False])
def test_chamfer_has_the_gradients_of_all_pairs(squared, generator) -> None:  # type: ignore[no-untyped-def]
    points = tuple(each.requires_grad_() for each in clouds(generator))
    assert torch.autograd.gradcheck(
        lambda *p: chamfer_distance(*p, w1=0.4, w2=2.0, squared=squared), points
    )


def test_coincident_points_have_distance_and_gradient_zero() -> None:
    p1 = torch.ones(1, 2, 3, requires_grad=True)
    distance = chamfer_distance(p1, torch.ones(1, 3, 3), squared=False)
    assert distance.tolist() == [0]
    distance.sum().backward()
    assert p1.grad is not None
    assert not p1.grad.any()


def test_known_distances_and_scores() -> None:
    gt = torch.tensor([[[0.0, 0, 0], [2, 0, 0]], [[0, 0, 0], [4, 0, 0]]])
    predicted = torch.tensor([[[0.0, 1, 0], [2, 1, 0], [9, 0, 0]], [[1, 0, 0]] * 3])
    distance, index = sided_distance(gt, predicted)
    assert distance.tolist() == [[1, 1], [1, 9]]
    assert index.tolist() == [[0, 1], [0, 0]]
    torch.testing.assert_close(chamfer_distance(gt, predicted), torch.tensor([1 + 51 / 3, 6.0]))
    torch.testing.assert_close(f_score(gt, predicted, radius=1), torch.tensor([0.8, 6 / 7]))
    assert f_score(gt, predicted, radius=0.5).tolist() == [0, 0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_scores_are_those_of_kaolins_formula(dtype, generator) -> None:  # type: ignore[no-untyped-def]
    gt, predicted = clouds(generator, n=9, m=14, dtype=dtype)
    distance = pairs(gt.double(), predicted.double()).sqrt()
    for radius in (0.05, 0.2, 0.3):
        false_negatives = (distance.amin(2) > radius).sum(1)
        false_positives = (distance.amin(1) > radius).sum(1)
        true_positives = 14.0 - false_positives
        precision = true_positives / (true_positives + false_positives)
        recall = true_positives / (true_positives + false_negatives)
        expected = (2 * precision * recall / (precision + recall + 1e-8)).double()
        ours = f_score(gt, predicted, radius=radius)
        assert ours.dtype == dtype
        torch.testing.assert_close(ours.double(), expected, rtol=1e-3, atol=1e-3)


def test_nan_is_no_hit_and_hides_no_other_point() -> None:
    p1 = torch.tensor([[[0.0, 0, 0], [torch.nan, 0, 0]]])
    p2 = torch.tensor([[[torch.nan, 0, 0], [0, 3, 4]]])
    distance, index = sided_distance(p1, p2)
    assert distance[0, 0] == 25
    assert distance[0, 1].isnan()
    assert index.tolist() == [[1, 0]]
    assert chamfer_distance(p1, p2).isnan()
    assert f_score(p1, p2, radius=10).item() == pytest.approx(0.5)


def test_without_targets_distances_are_zero_and_means_of_nothing_nan() -> None:
    some, none = torch.ones(2, 3, 3), torch.ones(2, 0, 3)
    distance, index = sided_distance(some, none)
    assert not distance.any()
    assert not index.any()
    assert sided_distance(none, some)[0].shape == (2, 0)
    for pair in ((some, none), (none, some)):
        assert chamfer_distance(*pair).isnan().all()
        assert f_score(*pair).isnan().all()
    assert chamfer_distance(some[:0], some[:0]).shape == (0,)
    assert f_score(some[:0], some[:0]).shape == (0,)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((3, 2, 3), (2, 3, 3)),
         "Expected tensor of size [3, 3, 3], but got tensor of size [2, 3, 3] for argument #2 'p2'"
         " (while checking arguments for sided_distance_forward_cuda)"),
        (((3, 2, 3, 4), (2, 3, 3)),
         "Expected 3-dimensional tensor, but got 4-dimensional tensor for argument #1 'p1'"
         " (while checking arguments for sided_distance_forward_cuda)"),
        (((2, 2, 2), (2, 3, 3)),
         "Expected tensor of size [2, 2, 3], but got tensor of size [2, 2, 2] for argument #1 'p1'"
         " (while checking arguments for sided_distance_forward_cuda)"),
    ],
)  # fmt: skip
def test_wrong_shapes_are_refused_as_kaolin_refuses_them(shapes, message) -> None:  # type: ignore[no-untyped-def]
    p1, p2 = (torch.ones(shape) for shape in shapes)
    with pytest.raises(RuntimeError, match=re.escape(message)):
        sided_distance(p1, p2)
    for function in (chamfer_distance, f_score):
        with pytest.raises(RuntimeError, match="Expected"):
            function(p1, p2)


@pytest.mark.gpu
def test_the_gpu_agrees_with_the_cpu(generator) -> None:  # type: ignore[no-untyped-def]
    p1, p2 = clouds(generator, n=300, m=200, dtype=torch.float32)
    on_cpu, on_gpu = sided_distance(p1, p2), sided_distance(p1.cuda(), p2.cuda())
    assert torch.equal(on_gpu[0].cpu(), on_cpu[0])
    assert torch.equal(on_gpu[1].cpu(), on_cpu[1])
    torch.testing.assert_close(
        chamfer_distance(p1.cuda(), p2.cuda()).cpu(), chamfer_distance(p1, p2)
    )
    assert torch.equal(f_score(p1.cuda(), p2.cuda(), 0.1).cpu(), f_score(p1, p2, 0.1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: sided_distance(p.tolist(), p), "p1 must be a torch.Tensor, got list"),
        (lambda p: sided_distance(p, p.double()), "p2 must be float32, got float64"),
        (lambda p: chamfer_distance(p.long(), p.long()), "p1 must be bfloat16 or"),
        (lambda p: chamfer_distance(p, p, w1=1j), "w1 must be a number, got 1j"),
        (lambda p: f_score(p, p.to_sparse()), "pred_points must be a dense tensor"),
        (lambda p: f_score(p, p, radius=float("nan")), "radius must be a number, got nan"),
    ],
)
def test_what_has_another_type_is_refused_by_its_name(call, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(TypeError, match=message):
        call(torch.rand(2, 4, 3))
