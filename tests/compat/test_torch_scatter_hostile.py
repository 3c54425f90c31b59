"""Bad arguments of the drop-in for torch_scatter are refused by name."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from g2vlm_fast.compat import torch_scatter as ts

SRC = torch.ones(3, 4)
INDEX = torch.tensor([0, 2, 1, 2])
POINTERS = torch.tensor([0, 1, 3])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"index": torch.tensor([0, -1, 1, 2])}, ValueError, "index must be at least 0, got -1"),
        (
            {"index": torch.tensor([0, -1, 1, 2]), "dim_size": 3},
            ValueError,
            "index must be from 0 to 2, got -1",
        ),
        ({"dim_size": 2}, ValueError, "index must be from 0 to 1, got 2"),
        ({"out": torch.zeros(3, 2)}, ValueError, "index must be from 0 to 1, got 2"),
        ({"index": torch.tensor([0, 2**32, 1, 2])}, ValueError, "index must be from 0"),
        (
            {"index": torch.tensor([0, 2**32, 1, 2]), "dim_size": 9},
            ValueError,
            "index must be from 0 to 8, got 4294967296",
        ),
        ({"index": INDEX[:3]}, ValueError, "axis 1 of index must have size 4"),
        ({"index": torch.zeros(2, 4).long()}, ValueError, "axis 0 of index must have size 3"),
        ({"index": INDEX[None, None]}, ValueError, "index must have at most the 2 axes of src"),
        ({"index": INDEX.float()}, TypeError, "index must be int32 or int64, got float32"),
        ({"index": INDEX.tolist()}, TypeError, "index must be a torch.Tensor, got list"),
        ({"index": INDEX.to("meta")}, ValueError, "index must be on cpu, got meta"),
        ({"index": torch.tensor(0)}, ValueError, "index must have at least one axis"),
        ({"src": torch.tensor(1.0)}, ValueError, "src must have at least one axis"),
        ({"src": SRC.bool()}, TypeError, "src must be .*, got bool"),
        ({"src": SRC.to(torch.complex64)}, TypeError, "src must be .*, got complex64"),
        ({"src": SRC.to_sparse()}, TypeError, "src must be a dense tensor"),
        ({"src": None}, TypeError, "src must be a torch.Tensor, got NoneType"),
        ({"dim": 2}, ValueError, "dim must be from -2 to 1, got 2"),
        ({"dim": -3}, ValueError, "dim must be from -2 to 1, got -3"),
        ({"dim": 0.5}, TypeError, "dim must be an int"),
        ({"dim_size": -1}, ValueError, "dim_size must be from 0"),
        ({"dim_size": 3.0}, TypeError, "dim_size must be an int"),
        ({"dim_size": 2**31}, ValueError, "dim_size must be from 0"),
        ({"out": torch.zeros(3, 3).double()}, TypeError, "out must be float32, got float64"),
        ({"out": torch.zeros(4, 3)}, ValueError, r"out must have shape \[3, 'any size'\]"),
        ({"out": torch.zeros(3)}, ValueError, "out must have shape"),
        ({"out": torch.zeros(3, 3, device="meta")}, ValueError, "out must be on cpu"),
    ],
)
def test_scatter_refuses_bad_arguments_by_name(arguments, error, message) -> None:  # type: ignore[no-untyped-def]
    for name in ("scatter", "scatter_sum", "scatter_mul", "scatter_min", "scatter_std"):
        with pytest.raises(error, match=rf"^{name}: {message}"):
            getattr(ts, name)(**{"src": SRC, "index": INDEX, **arguments})


@pytest.mark.parametrize(
    ("name", "arguments", "error", "message"),
    [
        ("segment_csr", {"indptr": torch.tensor([0, 3, 1])}, ValueError, "indptr must never"),
        ("segment_csr", {"indptr": torch.tensor([0, 5])}, ValueError, "indptr must .*0 to 3"),
        ("segment_csr", {"indptr": torch.tensor([-1, 3])}, ValueError, "indptr must never"),
        ("segment_csr", {"indptr": torch.tensor([0, 2**32])}, ValueError, "indptr must never"),
        ("segment_csr", {"indptr": torch.zeros(2, 3).long()}, ValueError, "axis 0 of indptr"),
        ("segment_csr", {"indptr": torch.zeros(1, 1, 3).long()}, ValueError, "indptr must have"),
        ("segment_csr", {"indptr": POINTERS.double()}, TypeError, "indptr must be int32 or int64"),
        ("segment_csr", {"out": torch.zeros(3, 4)}, ValueError, "out must have size 2 along"),
        ("segment_csr", {"out": torch.zeros(2, 3)}, ValueError, "out must have shape"),
        ("segment_csr", {"reduce": "mul"}, ValueError, "reduce must be one of .*'mul'"),
        ("segment_max_csr", {"indptr": torch.tensor([0, 3, 1])}, ValueError, "indptr must never"),
        ("gather_csr", {"src": SRC}, ValueError, "src must have size 2 along axis 0"),
        ("gather_csr", {"src": SRC[0, 0]}, ValueError, "src must have at least one axis"),
        ("gather_csr", {"indptr": torch.tensor([0, 2, -4]), "src": SRC[:2]}, ValueError, "indptr"),
        ("gather_csr", {"indptr": torch.tensor([0, 9, 3]), "src": SRC[:2]}, ValueError, "indptr"),
        ("gather_csr", {"src": SRC[:2], "out": torch.zeros(2, 4)}, ValueError, "indptr must"),
        ("segment_coo", {"reduce": "mul"}, ValueError, "reduce must be one of"),
        ("segment_coo", {"dim_size": 1}, ValueError, "index must be from 0 to 0, got 1"),
        ("segment_coo", {"index": torch.tensor([-1, 0, 1])}, ValueError, "index must be at least"),
        ("segment_max_coo", {"index": INDEX}, ValueError, "axis 0 of index must have size 3"),
        ("gather_coo", {"index": torch.tensor([0, 3])}, ValueError, "index must be from 0 to 2"),
        ("gather_coo", {"out": torch.zeros(2, 4)}, ValueError, "out must have shape"),
        ("scatter", {"reduce": "median"}, ValueError, "reduce must be one of"),
        ("scatter_softmax", {"src": torch.ones(3).int()}, ValueError, "src must .*int32"),
        ("scatter_log_softmax", {"src": torch.ones(3).int()}, ValueError, "src must .*int32"),
        ("scatter_logsumexp", {"src": torch.ones(3).int()}, ValueError, "src must .*int32"),
        ("scatter_logsumexp", {"eps": "0"}, TypeError, "eps must be a number"),
        ("scatter_std", {"unbiased": 1}, TypeError, "unbiased must be a bool"),
    ],
)  # fmt: skip
def test_the_others_refuse_bad_arguments_by_name(name, arguments, error, message) -> None:  # type: ignore[no-untyped-def]
    good = {"src": SRC, "indptr": POINTERS} if name.endswith("csr") else {"src": SRC}
    if not name.endswith("csr"):
        good["index"] = torch.tensor([0, 1, 1])
    if name.startswith("scatter"):
        good["src"] = SRC[:, 0]
    with pytest.raises(error, match=rf"^{re.escape(name)}: {message}"):
        getattr(ts, name)(**{**good, **arguments})


def test_a_refused_call_leaves_the_destination_alone() -> None:
    out = torch.full((3, 2), 7.0)
    with pytest.raises(ValueError, match="index"):
        ts.scatter(SRC, INDEX, out=out)
    assert out.eq(7).all()
    rows = torch.full((2, 4), 7.0)
    with pytest.raises(ValueError, match="indptr"):
        ts.segment_csr(SRC, torch.tensor([0, 9, 3]), rows)
    assert rows.eq(7).all()


def test_what_torch_func_wraps_is_refused() -> None:
    with pytest.raises(NotImplementedError, match=r"scatter_sum: torch\.func"):
        torch.func.vmap(lambda x: ts.scatter_sum(x, INDEX))(SRC)


def test_a_destination_that_needs_gradient_itself_is_refused_by_torch() -> None:
    with pytest.raises(RuntimeError, match="leaf"):
        ts.scatter_sum(SRC, INDEX, out=torch.zeros(3, 3, requires_grad=True))


def test_integers_of_any_kind_are_sizes() -> None:
    for size in (torch.tensor(5), np.int64(5)):
        assert ts.scatter_sum(SRC, INDEX, dim_size=size).shape == (3, 5)


def test_int32_indices_are_taken() -> None:
    assert torch.equal(ts.scatter_max(SRC, INDEX.int())[1], ts.scatter_max(SRC, INDEX)[1])
    assert torch.equal(ts.segment_csr(SRC, POINTERS.int()), ts.segment_csr(SRC, POINTERS))


def test_inputs_are_left_as_they_were() -> None:
    src, index = torch.randn(3, 4), INDEX.clone()
    before = src.clone()
    ts.scatter_mul(src, index)
    ts.scatter_softmax(src, index)
    ts.scatter_std(src, index)
    assert torch.equal(src, before)
    assert torch.equal(index, INDEX)
