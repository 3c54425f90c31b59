"""The drop-in for PyTorch3D's Chamfer distance against all pairs in plain torch."""

from __future__ import annotations

import inspect
from contextlib import nullcontext
from itertools import product

import pytest
import torch
from padded_clouds import batch, close, gradients
from torch import Tensor
from torch.nn import functional

from g2vlm_fast.compat.pytorch3d import chamfer_distance, knn_points

REDUCTIONS = [*product(("mean", "sum", "max"), ("mean", "sum", None)), (None, None)]


class Clouds:
    """What our functions read of ``pytorch3d.structures.Pointclouds``."""

    def __init__(self, points: Tensor, lengths: Tensor, normals: Tensor | None = None) -> None:
        self.points, self.lengths, self.normals = points, lengths, normals

    def points_padded(self) -> Tensor:
        return self.points

    def num_points_per_cloud(self) -> Tensor:
        return self.lengths

    def normals_padded(self) -> Tensor | None:
        return self.normals


def true_terms(
    x: Tensor, y: Tensor, x_lengths: Tensor, y_lengths: Tensor, norm: int
) -> tuple[Tensor, Tensor]:
    """Distances [N, P] of the nearest, 0 at padding, and their indices, -1 where there is none."""
    rows = []
    index = torch.full(x.shape[:2], -1)
    for n, (p, q) in enumerate(zip(x_lengths.tolist(), y_lengths.tolist(), strict=True)):
        nothing = x[n, :, 0] * 0
        if p and q:
            difference = x[n, :p, None] - y[n, None, :q]
            pairs = difference.square() if norm == 2 else difference.abs()
            value, index[n, :p] = pairs.sum(-1).min(1)
            nothing = functional.pad(value, (0, x.shape[1] - p))
        rows.append(nothing)
    return torch.stack(rows), index


def true_normal_terms(normals: Tensor, others: Tensor, index: Tensor, absolute: bool) -> Tensor:
    terms = torch.zeros(index.shape, dtype=normals.dtype)
    for n, p in (index >= 0).nonzero().tolist():
        a, b = normals[n, p], others[n, int(index[n, p])]
        cosine = a.dot(b) / (a.norm() * b.norm())
        terms[n, p] = 1 - (cosine.abs() if absolute else cosine)
    return terms


def true_reduction(terms, lengths, weights, point, batch):  # type: ignore[no-untyped-def]
    terms = [each if weights is None else each * weights[:, None] for each in terms]
    if point is None:
        return terms[0] if len(terms) == 1 else tuple(terms)
    if point == "max":
        loss = torch.stack([each.amax(1) for each in terms]).amax(0)
    else:
        sums = [each.sum(1) for each in terms]
        if point == "mean":
            pairs_of = zip(sums, lengths, strict=False)
            sums = [total / length.clamp_min(1) for total, length in pairs_of]
        loss = torch.stack(sums).sum(0)
    if batch is None:
        return loss
    divisor = 1 if batch == "sum" else len(loss) if weights is None else weights.sum()
    return loss.sum() / divisor


def test_the_signature_is_that_of_pytorch3d() -> None:
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(chamfer_distance).parameters.items()
    }
    assert list(defaults.items())[2:] == [
        ("x_lengths", None), ("y_lengths", None), ("x_normals", None), ("y_normals", None),
        ("weights", None), ("batch_reduction", "mean"), ("point_reduction", "mean"), ("norm", 2),
        ("single_directional", False), ("abs_cosine", True),
    ]  # fmt: skip


@pytest.mark.parametrize("clouds", [0, 2])
@pytest.mark.parametrize(("size1", "size2"), [(0, 0), (0, 3), (3, 0), (1, 1)])
def test_empty_batches_and_clouds_have_zero_loss(clouds, size1, size2) -> None:  # type: ignore[no-untyped-def]
    x = torch.ones(clouds, size1, 3, requires_grad=True)
    y = torch.ones(clouds, size2, 3)
    for norm, point, single in product((1, 2), ("mean", "sum", "max"), (False, True)):
        loss, _ = chamfer_distance(
            x, y, norm=norm, point_reduction=point, single_directional=single
        )
        assert loss.item() == 0
        assert loss.requires_grad
        assert not torch.autograd.grad(loss, x)[0].any()


def test_nan_in_padding_reaches_neither_loss_nor_gradients(generator) -> None:  # type: ignore[no-untyped-def]
    x, x_lengths = batch([3, 2], 4, generator)
    y, y_lengths = batch([2, 5], 5, generator)
    clean = [x, y, torch.rand_like(x).requires_grad_(), torch.rand_like(y).requires_grad_()]
    dirty = []
    for points, lengths in zip(clean, (x_lengths, y_lengths) * 2, strict=True):
        padding = torch.arange(points.shape[1]) >= lengths[:, None]
        filled = points.detach().masked_fill(padding[..., None], torch.nan)
        dirty.append(filled.requires_grad_())
    results = []
    for p, q, p_normals, q_normals in (clean, dirty):
        loss, normal = chamfer_distance(p, q, x_lengths, y_lengths, p_normals, q_normals)
        assert isinstance(normal, Tensor)
        leaves = (p, q, p_normals, q_normals)
        results.append((loss, normal, torch.autograd.grad(loss + normal, leaves)))
    close(results[1], results[0])


@pytest.mark.parametrize("norm", [1, 2])
@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("point", "over_batch"), REDUCTIONS)
def test_chamfer_and_gradients_are_those_of_all_pairs(
    norm,
    single,
    weighted,
    point,
    over_batch,
    generator,  # type: ignore[no-untyped-def]
) -> None:
    x, x_lengths = batch([6, 0, 1, 4], 6, generator)
    y, y_lengths = batch([3, 5, 0, 7], 7, generator)
    x_normals = torch.rand_like(x).requires_grad_()
    y_normals = (torch.rand_like(y) - 0.5).requires_grad_()
    weights = torch.tensor([0.3, 2.0, 0.0, 1.1], dtype=torch.float64, requires_grad=True)
    weights = weights if weighted else None  # type: ignore[assignment]
    normals = None if point == "max" else (x_normals, y_normals)
    absolute = not single
    ours = chamfer_distance(
        x, y, x_lengths, y_lengths, *(normals or (None, None)), weights=weights,
        batch_reduction=over_batch, point_reduction=point, norm=norm, single_directional=single,
        abs_cosine=absolute,
    )  # fmt: skip

    forth, forth_index = true_terms(x, y, x_lengths, y_lengths, norm)
    back, back_index = true_terms(y, x, y_lengths, x_lengths, norm)
    lengths = (x_lengths, y_lengths)
    count = 1 if single else 2
    loss = true_reduction([forth, back][:count], lengths, weights, point, over_batch)
    leaves = (x, y, *([weights] if weighted else []))
    close(ours[0], loss)
    close(gradients(ours[0], leaves), gradients(loss, leaves))
    if normals is None:
        assert ours[1] is None
        return
    terms = [
        true_normal_terms(x_normals, y_normals, forth_index, absolute),
        true_normal_terms(y_normals, x_normals, back_index, absolute),
    ]
    normal_loss = true_reduction(terms[:count], lengths, weights, point, over_batch)
    close(ours[1], normal_loss)
    leaves = (x_normals, y_normals, *leaves[2:])
    close(gradients(ours[1], leaves), gradients(normal_loss, leaves))


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize(("point", "over_batch"), REDUCTIONS)
def test_full_clouds_need_no_lengths(single, point, over_batch, generator) -> None:  # type: ignore[no-untyped-def]
    x, x_lengths = batch([6] * 3, 6, generator)
    y, y_lengths = batch([4] * 3, 4, generator)
    options = {
        "batch_reduction": over_batch, "point_reduction": point, "single_directional": single,
    }  # fmt: skip
    plain, nothing = chamfer_distance(x, y, **options)
    told, _ = chamfer_distance(x, y, x_lengths, y_lengths, **options)
    assert nothing is None
    close(plain, told)
    close(gradients(plain, (x, y)), gradients(told, (x, y)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_losses_have_at_least_single_precision(dtype, generator) -> None:  # type: ignore[no-untyped-def]
    x = torch.rand(2, 5, 3, generator=generator).to(dtype).requires_grad_()
    y = torch.rand(2, 6, 3, generator=generator).to(dtype)
    wide = torch.promote_types(dtype, torch.float32)
    for weights in (None, torch.ones(2), torch.zeros(2)):
        loss, _ = chamfer_distance(x, y, weights=weights)
        assert isinstance(loss, Tensor)
        assert loss.dtype == wide
        loss.backward()
    assert x.grad is not None
    assert x.grad.dtype == dtype


def test_objects_like_pointclouds_bring_lengths_and_normals(generator) -> None:  # type: ignore[no-untyped-def]
    x, x_lengths = batch([3, 5], 5, generator)
    y, y_lengths = batch([4, 1], 4, generator)
    x_normals, y_normals = torch.rand_like(x), torch.rand_like(y)
    objects = chamfer_distance(Clouds(x, x_lengths, x_normals), Clouds(y, y_lengths, y_normals))
    tensors = chamfer_distance(x, y, x_lengths, y_lengths, x_normals, y_normals)
    close(objects, tensors)
    mixed = chamfer_distance(Clouds(x, x_lengths, x_normals), y, y_lengths=y_lengths)
    close(mixed[0], tensors[0])
    assert mixed[1] is None


def test_an_empty_cloud_pays_nothing() -> None:
    x = Clouds(torch.zeros(2, 10, 3), torch.tensor([0, 10]))
    y = Clouds(torch.ones(2, 40, 3), torch.tensor([40, 40]))
    loss, _ = chamfer_distance(x, y, batch_reduction=None)
    assert isinstance(loss, Tensor)
    assert loss.tolist() == [0, 6]
    nothing = Clouds(torch.zeros(0, 0, 3), torch.zeros(0, dtype=torch.int64))
    loss, _ = chamfer_distance(nothing, nothing)
    assert isinstance(loss, Tensor)
    assert loss.item() == 0


def test_weights_that_sum_to_zero_give_zeros_with_gradient(generator) -> None:  # type: ignore[no-untyped-def]
    x, _ = batch([5] * 4, 5, generator)
    y, _ = batch([6] * 4, 6, generator)
    for over_batch, shape in (("mean", ()), ("sum", ()), (None, (4, 4))):
        for each in chamfer_distance(x, y, weights=torch.zeros(4), batch_reduction=over_batch):
            assert isinstance(each, Tensor)
            assert each.shape == shape
            assert not each.any()
            assert not torch.autograd.grad(each.sum(), x)[0].any()
    loss, normals = chamfer_distance(
        x, y, weights=torch.zeros(4), batch_reduction=None, point_reduction=None
    )
    assert isinstance(loss, tuple)
    assert isinstance(normals, tuple)


def test_gradients_of_the_l1_norm_are_zero_at_equality() -> None:
    x = torch.tensor([[[1.0, 2.0]]], requires_grad=True)
    y = torch.tensor([[[1.0, 5.0]]])
    chamfer_distance(x, y, norm=1, single_directional=True)[0].backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[[0, -1]]]


def test_compiled_in_one_graph_the_results_are_the_same(generator) -> None:  # type: ignore[no-untyped-def]
    x, _ = batch([7] * 2, 7, generator)
    y, _ = batch([9] * 2, 9, generator)

    def total(p: Tensor, q: Tensor) -> Tensor:
        loss, normals = chamfer_distance(p, q, x_normals=p, y_normals=q)
        return loss + normals + chamfer_distance(p, q)[0]  # type: ignore[operator]

    ours = torch.compile(total, backend="aot_eager", fullgraph=True)(x, y)
    close(ours, total(x, y))
    close(gradients(ours, (x, y)), gradients(total(x, y), (x, y)))


X, Y, LENGTHS = torch.rand(3, 5, 3), torch.rand(3, 6, 3), torch.tensor([1, 2, 5])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": [1, 1, 1]}, "Pointclouds objects or torch.Tensor"),
        ({"x": X[None]}, "Expected points to be of shape"),
        ({"y": Y[:2]}, "y does not have the correct shape"),
        ({"y": Y[..., :2]}, "y does not have the correct shape"),
        ({"x_lengths": LENGTHS[:2]}, "Expected lengths to be of shape"),
        ({"y_lengths": LENGTHS + 2}, "too long"),
        ({"y_lengths": LENGTHS - 2}, "negative"),
        ({"x_normals": X[None]}, "Expected normals to be of shape"),
        ({"y_normals": X}, "Expected normals to be of shape"),
        ({"y_normals": Y[..., :1], "x_normals": X}, "Expected normals to be of shape"),
        ({"weights": torch.ones(2)}, r"weights must have size 3"),
        ({"weights": torch.ones(3, 1)}, r"weights must have shape \[3\]"),
        ({"weights": -torch.ones(3)}, "weights cannot be negative"),
        ({"norm": 0}, "Support for 1 or 2 norm."),
        ({"norm": 3}, "Support for 1 or 2 norm."),
        ({"batch_reduction": "max"}, "batch_reduction must be one of"),
        ({"point_reduction": "min"}, "point_reduction must be one of"),
        ({"point_reduction": None}, "batch_reduction must be None if point_reduction is None"),
        ({"point_reduction": "max", "x_normals": X, "y_normals": Y}, "normals must be None"),
    ],
)
def test_chamfer_refuses(change, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        chamfer_distance(**{"x": X, "y": Y, **change})


@pytest.mark.parametrize("argument", ["x", "y", "x_normals", "y_normals", "weights"])
@pytest.mark.parametrize("value", [X.to(torch.complex64), X.to_sparse(), X.tolist(), X.numpy()])
def test_chamfer_takes_dense_tensors_of_numbers_alone(argument, value) -> None:  # type: ignore[no-untyped-def]
    good = {"x": X, "y": Y, "x_normals": X, "y_normals": Y, "weights": torch.ones(3)}
    with pytest.raises((TypeError, ValueError), match=rf"^chamfer_distance: .*\b{argument}\b"):
        chamfer_distance(**{**good, argument: value})


def test_lengths_are_integers() -> None:
    with pytest.raises(TypeError, match="x_lengths must be int32 or int64, got float32"):
        chamfer_distance(X, Y, LENGTHS.float())


@pytest.mark.gpu
def test_neither_lengths_nor_losses_stop_the_gpu(generator, waiting_raises) -> None:  # type: ignore[no-untyped-def]
    x = torch.rand(3, 50, 3, generator=generator).cuda().requires_grad_()
    y = torch.rand(3, 70, 3, generator=generator).cuda()
    lengths = torch.tensor([50, 0, 20], device="cuda")
    normals = torch.rand_like(x), torch.rand_like(y)
    for waiting in (nullcontext, waiting_raises):  # PyTorch itself may wait the first time
        with waiting():
            loss, normal = chamfer_distance(x, y, lengths, None, *normals)
            assert isinstance(loss, Tensor)
            assert isinstance(normal, Tensor)
            (loss + normal + chamfer_distance(x, y)[0]).backward()
    cpu = chamfer_distance(x.cpu(), y.cpu(), lengths.cpu(), None, *(n.cpu() for n in normals))
    torch.testing.assert_close((loss.cpu(), normal.cpu()), cpu)


@pytest.mark.gpu
def test_impossible_lengths_on_a_gpu_make_their_cloud_nan(generator) -> None:  # type: ignore[no-untyped-def]
    x = torch.rand(3, 5, 3, generator=generator).cuda()
    y = torch.rand(3, 6, 3, generator=generator).cuda()
    lengths = torch.tensor([6, 5, -1], device="cuda")
    loss, _ = chamfer_distance(x, y, lengths, batch_reduction=None)
    assert isinstance(loss, Tensor)
    assert loss.isnan().tolist() == [True, False, True]


@pytest.mark.gpu
def test_large_clouds_of_unequal_length_agree_with_each_alone(generator) -> None:  # type: ignore[no-untyped-def]
    """So large that trees are searched."""
    x = torch.rand(3, 60_000, 3, generator=generator).cuda()
    y = torch.rand(3, 50_000, 3, generator=generator).cuda()
    x_lengths = torch.tensor([60_000, 1, 40_000], device="cuda")
    y_lengths = torch.tensor([35_000, 50_000, 0], device="cuda")
    found, _ = chamfer_distance(x, y, x_lengths, y_lengths, None, None, None, None, None)
    assert isinstance(found, tuple)
    for n, (p, q) in enumerate(zip(x_lengths.tolist(), y_lengths.tolist(), strict=True)):
        assert not found[0][n, p:].any()
        assert not found[1][n, q:].any()
        if not q:
            assert not found[0][n].any()
            continue
        alone = (
            knn_points(x[n : n + 1, :p], y[n : n + 1, :q]),
            knn_points(y[n : n + 1, :q], x[n : n + 1, :p]),
        )
        assert torch.equal(found[0][n, :p], alone[0].dists[0, :, 0])
        assert torch.equal(found[1][n, :q], alone[1].dists[0, :, 0])


def test_second_derivatives_are_right(generator) -> None:  # type: ignore[no-untyped-def]
    clouds = [torch.rand(2, n, 3, generator=generator).double().requires_grad_() for n in (6, 5)]
    assert torch.autograd.gradgradcheck(lambda x, y: chamfer_distance(x, y)[0], clouds)
