"""The drop-ins for PyTorch3D's neighbours against brute force over all pairs in plain torch."""

from __future__ import annotations

import inspect
from contextlib import nullcontext

import pytest
import torch
from padded_clouds import batch, close, gradients
from torch import Tensor
from torch.nn import functional

from g2vlm_fast.compat.pytorch3d import _KNN, knn_gather, knn_points


def pairs(x: Tensor, y: Tensor, norm: int) -> Tensor:
    difference = x[:, None] - y[None]
    return difference.square().sum(-1) if norm == 2 else difference.abs().sum(-1)


def true_neighbours(
    x: Tensor, y: Tensor, x_lengths: Tensor, y_lengths: Tensor, k: int, norm: int
) -> tuple[Tensor, Tensor]:
    rows = []
    index = torch.zeros(x.shape[0], x.shape[1], k, dtype=torch.int64)
    for n, (p, q) in enumerate(zip(x_lengths.tolist(), y_lengths.tolist(), strict=True)):
        value, order = pairs(x[n, :p], y[n, :q], norm).sort(dim=1, stable=True)
        found = min(k, q)
        index[n, :p, :found] = order[:, :found]
        rows.append(functional.pad(value[:, :found], (0, k - found, 0, x.shape[1] - p)))
    return torch.stack(rows), index


def test_signatures_are_those_of_pytorch3d() -> None:
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(knn_points).parameters.items()
    }
    assert list(defaults.items())[2:] == [
        ("lengths1", None), ("lengths2", None), ("norm", 2), ("K", 1), ("version", -1),
        ("return_nn", False), ("return_sorted", True),
    ]  # fmt: skip
    assert list(inspect.signature(knn_gather).parameters) == ["x", "idx", "lengths"]
    assert _KNN._fields == ("dists", "idx", "knn")


@pytest.mark.parametrize("norm", [1, 2])
@pytest.mark.parametrize("k", [1, 3, 20])
@pytest.mark.parametrize("dim", [1, 3, 5])
def test_neighbours_and_gradients_are_those_of_all_pairs(norm, k, dim, generator) -> None:  # type: ignore[no-untyped-def]
    x, x_lengths = batch([9, 0, 1, 5], 9, generator, dim)
    y, y_lengths = batch([12, 7, 0, 1], 12, generator, dim)
    ours = knn_points(x, y, x_lengths, y_lengths, norm=norm, K=k)
    distance, index = true_neighbours(x, y, x_lengths, y_lengths, k, norm)
    close(ours.dists, distance)
    assert torch.equal(ours.idx, index)
    assert ours.idx.dtype == torch.int64
    assert ours.knn is None
    close(gradients(ours.dists, (x, y)), gradients(distance, (x, y)))


@pytest.mark.parametrize("given", ["neither", "first", "second"])
def test_lengths_that_are_left_out_are_full(given, generator) -> None:  # type: ignore[no-untyped-def]
    x, x_lengths = batch([4, 2], 6, generator)
    y, y_lengths = batch([3, 5], 5, generator)
    first = x_lengths if given == "first" else None
    second = y_lengths if given == "second" else None
    full = [torch.full((2,), 6), torch.full((2,), 5)]
    ours = knn_points(x, y, first, second, K=4)
    distance, index = true_neighbours(
        x, y, full[0] if first is None else first, full[1] if second is None else second, 4, 2
    )
    close(ours.dists, distance)
    assert torch.equal(ours.idx, index)


@pytest.mark.parametrize("norm", [1, 2])
@pytest.mark.parametrize("k", [65, 101, 200])
def test_many_neighbours_are_exact(norm, k, generator) -> None:  # type: ignore[no-untyped-def]
    x, x_lengths = batch([5, 3, 4], 5, generator)
    y, y_lengths = batch([150, 70, 10], 150, generator)
    ours = knn_points(x, y, x_lengths, y_lengths, K=k, norm=norm)
    distance, index = true_neighbours(x, y, x_lengths, y_lengths, k, norm)
    close(ours.dists, distance)
    assert torch.equal(ours.idx, index)
    close(gradients(ours.dists, (x, y)), gradients(distance, (x, y)))


def test_equal_distances_go_to_the_lower_index() -> None:
    assert knn_points(torch.zeros(1, 1, 2), torch.ones(1, 5, 2), K=3).idx.tolist() == [[[0, 1, 2]]]


def test_slots_past_the_targets_hold_zero_distance_index_and_neighbour(generator) -> None:  # type: ignore[no-untyped-def]
    x, y = torch.rand(2, 4, 3, generator=generator), torch.rand(2, 6, 3, generator=generator) + 9
    found = knn_points(x, y, lengths2=torch.tensor([2, 0]), K=8, return_nn=True)
    assert found.knn is not None
    for slots in (slice(2, None), slice(None)):
        cloud = 0 if slots.start else 1
        assert not found.dists[cloud, :, slots].any()
        assert not found.idx[cloud, :, slots].any()
        assert not found.knn[cloud, :, slots].any()
    assert (found.dists[0, :, :2] > 0).all()


def test_returned_neighbours_are_the_named_points(generator) -> None:  # type: ignore[no-untyped-def]
    x, y = torch.rand(3, 4, 2, generator=generator), torch.rand(3, 9, 2, generator=generator)
    found = knn_points(x, y, K=5, return_nn=True)
    expected = torch.stack([y[n][found.idx[n]] for n in range(3)])
    assert torch.equal(found.knn, expected)
    distance = (x[:, :, None] - found.knn).square().sum(-1)
    torch.testing.assert_close(distance, found.dists)


def test_unsorted_neighbours_are_the_same_set_but_not_sorted(generator) -> None:  # type: ignore[no-untyped-def]
    x, x_lengths = batch([4, 6], 6, generator)
    y, y_lengths = batch([9, 3], 9, generator)
    for lengths, k in ((y_lengths, 5), (None, 5), (None, 12)):
        by_distance = knn_points(x, y, x_lengths, lengths, K=k)
        free = knn_points(x, y, x_lengths, lengths, K=k, return_sorted=False)
        assert not torch.allclose(free.dists, by_distance.dists)
        available = y_lengths if lengths is not None else torch.tensor([9, 9])
        for n, (rows, count) in enumerate(zip((4, 6), available.clamp_max(k), strict=True)):
            assert torch.equal(
                free.dists[n, :rows, :count].sort(-1).values, by_distance.dists[n, :rows, :count]
            )
            assert torch.equal(
                free.idx[n, :rows, :count].flip(-1), by_distance.idx[n, :rows, :count]
            )
            assert not free.dists[n, :, count:].any()


def test_gathering_zeroes_slots_past_the_length_and_carries_gradients(generator) -> None:  # type: ignore[no-untyped-def]
    x = torch.rand(2, 5, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    idx = torch.randint(0, 5, (2, 3, 4), generator=generator)
    gathered = knn_gather(x, idx, torch.tensor([2, 4]))
    expected = torch.stack([x[n][idx[n]] for n in range(2)])
    expected = torch.cat([functional.pad(expected[:1, :, :2], (0, 0, 0, 2)), expected[1:]])
    assert torch.equal(gathered, expected)
    close(gradients(gathered, (x,)), gradients(expected, (x,)))
    assert not knn_gather(x, idx.repeat(1, 1, 2))[:, :, 5:].any()
    assert knn_gather(x[:, :0], idx).shape == (2, 3, 4, 4)
    assert not knn_gather(x[:, :0], idx).any()


@pytest.mark.parametrize("clouds", [0, 2])
@pytest.mark.parametrize(("size1", "size2"), [(0, 0), (0, 3), (3, 0), (1, 1)])
def test_empty_batches_and_clouds_have_zero_distances(clouds, size1, size2) -> None:  # type: ignore[no-untyped-def]
    x = torch.ones(clouds, size1, 3)
    y = torch.ones(clouds, size2, 3)
    for k in (1, 70):
        found = knn_points(x, y, K=k, return_nn=True)
        assert found.dists.shape == found.idx.shape == (clouds, size1, k)
        assert found.knn is not None
        assert found.knn.shape == (clouds, size1, k, 3)
        assert not found.dists.any()


@pytest.mark.parametrize("k", [2, 70])
def test_nan_hides_neighbours_but_poisons_nothing_else(k) -> None:  # type: ignore[no-untyped-def]
    x = torch.tensor([[[0.0], [torch.nan]], [[0.0], [1.0]]], requires_grad=True)
    y = torch.tensor([[[torch.nan], [2.0]], [[torch.nan], [torch.nan]]], requires_grad=True)
    found = knn_points(x, y, K=k)
    assert found.dists[0, 0, 0] == 4
    assert found.idx[0, 0, 0] == 1
    assert found.dists[0, 0, 1].isnan()
    assert found.dists[0, 1, :2].isnan().all()
    assert found.dists[1, :, :2].isnan().all()
    assert not found.idx[1].any()
    assert not found.dists[:, :, 2:].any()
    x_grad, y_grad = torch.autograd.grad(found.dists[0, 0, 0], (x, y))
    assert x_grad.flatten().tolist() == [-4, 0, 0, 0]
    assert y_grad.flatten().tolist() == [0, 4, 0, 0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_distances_have_at_least_single_precision(dtype, generator) -> None:  # type: ignore[no-untyped-def]
    x = torch.rand(2, 5, 3, generator=generator).to(dtype)
    y = torch.rand(2, 6, 3, generator=generator).to(dtype)
    wide = torch.promote_types(dtype, torch.float32)
    for k in (1, 70):
        found = knn_points(x, y, K=k, return_nn=True)
        assert found.dists.dtype == wide
        assert found.knn is not None
        assert found.knn.dtype == dtype


def test_second_derivatives_are_right(generator) -> None:  # type: ignore[no-untyped-def]
    x, lengths = batch([4, 2], 4, generator)
    y, _ = batch([5, 5], 5, generator)
    assert torch.autograd.gradcheck(lambda p, q: knn_points(p, q, lengths, K=2).dists, (x, y))
    assert torch.autograd.gradgradcheck(lambda p, q: knn_points(p, q, lengths, K=2).dists, (x, y))


def test_compiled_in_one_graph_the_results_are_the_same(generator) -> None:  # type: ignore[no-untyped-def]
    x, _ = batch([7] * 2, 7, generator)
    y, _ = batch([9] * 2, 9, generator)

    def total(p: Tensor, q: Tensor) -> Tensor:
        found = knn_points(p, q, K=3, return_nn=True)
        return found.dists.sum() + found.knn.square().sum()  # type: ignore[union-attr]

    ours = torch.compile(total, backend="aot_eager", fullgraph=True)(x, y)
    close(ours, total(x, y))
    close(gradients(ours, (x, y)), gradients(total(x, y), (x, y)))


X, Y, LENGTHS = torch.rand(3, 5, 3), torch.rand(3, 6, 3), torch.tensor([1, 2, 5])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"p1": X[0]}, "Expected points to be of shape"),
        ({"p2": Y[:2]}, "same batch dimension"),
        ({"p2": Y[..., :2]}, "same point dimension"),
        ({"lengths1": LENGTHS + 1}, "too long"),
        ({"lengths2": LENGTHS[:2]}, "Expected lengths to be of shape"),
        ({"norm": 0}, "Support for 1 or 2 norm."),
        ({"K": 0}, "K must be"),
    ],
)
def test_knn_refuses(change, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        knn_points(**{"p1": X, "p2": Y, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"p1": X.tolist()}, "p1 must be a torch.Tensor, got list"),
        ({"p1": X.long()}, "p1 must be bfloat16 or float16 or float32 or float64, got int64"),
        ({"p2": Y.double()}, "p2 must be float32, got float64"),
        ({"p2": Y.to_sparse()}, "p2 must be a dense tensor, got sparse_coo"),
        ({"lengths1": LENGTHS.float()}, "lengths1 must be int32 or int64, got float32"),
        ({"K": 1.5}, "K must be an int, got 1.5"),
    ],
)
def test_knn_refuses_what_has_another_type(change, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(TypeError, match=f"knn_points: {message}"):
        knn_points(**{"p1": X, "p2": Y, **change})


def test_gathering_refuses_what_is_no_index() -> None:
    with pytest.raises(TypeError, match=r"idx must be int64 or int32, got torch\.bool"):
        knn_gather(X, torch.ones(3, 4, 1, dtype=torch.bool))
    with pytest.raises(TypeError, match=r"x must be a torch\.Tensor, got list"):
        knn_gather(X.tolist(), torch.zeros(3, 4, 1, dtype=torch.int64))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="idx must be from 0 to 4, got 5"):
        knn_gather(X, torch.full((3, 4, 1), 5))


def test_gathering_refuses_indices_of_another_batch() -> None:
    with pytest.raises(ValueError, match="same batch dimension"):
        knn_gather(X, torch.zeros(2, 4, 1, dtype=torch.int64))


def test_gathering_refuses_negative_indices() -> None:
    with pytest.raises(ValueError, match="idx must be from 0 to 4, got -1"):
        knn_gather(X, torch.full((3, 4, 1), -1))


@pytest.mark.gpu
def test_lengths_do_not_stop_the_gpu(generator, waiting_raises) -> None:  # type: ignore[no-untyped-def]
    x = torch.rand(3, 50, 3, generator=generator).cuda().requires_grad_()
    y = torch.rand(3, 70, 3, generator=generator).cuda()
    lengths = torch.tensor([50, 0, 20], device="cuda")
    for waiting in (nullcontext, waiting_raises):  # PyTorch itself may wait the first time
        with waiting():
            found = knn_points(x, y, lengths, K=70, return_nn=True)
            found.dists.sum().backward()
    cpu = knn_points(x.cpu(), y.cpu(), lengths.cpu(), K=70)
    torch.testing.assert_close((found.dists.cpu(), found.idx.cpu()), (cpu.dists, cpu.idx))
