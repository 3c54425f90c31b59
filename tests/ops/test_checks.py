"""Messages of the argument checks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from g2vlm_fast.ops._checks import (
    check_choice,
    check_flag,
    check_integer,
    check_number,
    check_offset_values,
    check_offsets,
    check_rows,
    check_tensor,
)

FLOAT = frozenset({torch.float32})


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ([1.0], TypeError, "op: x must be a torch.Tensor, got list"),
        (torch.rand(3), ValueError, r"op: x must have shape \[n, 3\], got \[3\]"),
        (torch.rand(5, 2), ValueError, r"op: axis 1 of x must have size 3, got shape \[5, 2\]"),
        (torch.rand(4, 3), ValueError, r"op: axis 0 of x must have size 5 \(n\), got shape \[4, 3"),
        (torch.rand(5, 3).double(), TypeError, "op: x must be float32, got float64"),
        (torch.rand(5, 3, device="meta"), ValueError, "op: x must be on cpu, got meta"),
    ],
)
def test_a_tensor_that_does_not_fit(value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        check_tensor("op", "x", value, ("n", 3), FLOAT, {"n": 5}, torch.device("cpu"))


def test_symbols_bind_to_the_first_tensor() -> None:
    sizes: dict[str, int] = {}
    check_tensor("op", "x", torch.rand(4, 3), ("n", "D"), FLOAT, sizes)
    assert sizes == {"n": 4, "D": 3}
    with pytest.raises(ValueError, match=r"axis 1 of y must have size 3 \(D\)"):
        check_tensor("op", "y", torch.rand(9, 2), ("m", "D"), FLOAT, sizes)


def test_a_choice() -> None:
    check_choice("op", "norm", 2, (1, 2))
    with pytest.raises(ValueError, match=r"op: norm must be one of \[1, 2\], got 3"):
        check_choice("op", "norm", 3, (1, 2))


@pytest.mark.parametrize("value", [1.0, True, [1], torch.tensor(1), "1", None])
def test_a_choice_is_not_made_by_what_equals_it(value: Any) -> None:
    with pytest.raises(ValueError, match=r"op: norm must be one of \[1, 2\], got"):
        check_choice("op", "norm", value, (1, 2))


def test_a_flag() -> None:
    check_flag("op", "causal", False)
    for value in ("no", 1, None):
        with pytest.raises(TypeError, match="op: causal must be a bool, got"):
            check_flag("op", "causal", value)


def test_an_integer() -> None:
    check_integer("op", "k", 1, 1, 64)
    for value in (1.0, True, "1", None):
        with pytest.raises(TypeError, match="op: k must be an int, got"):
            check_integer("op", "k", value, 1, 64)
    with pytest.raises(ValueError, match="op: k must be from 1 to 64, got 65"):
        check_integer("op", "k", 65, 1, 64)


def test_a_number() -> None:
    assert check_number("op", "scale", 1) == check_number("op", "scale", np.float32(1)) == 1.0
    for value in (True, "1", None, float("nan")):
        with pytest.raises(TypeError, match="op: scale must be a number, got"):
            check_number("op", "scale", value)
    with pytest.raises(ValueError, match="op: scale must fit into float64, got 1000"):
        check_number("op", "scale", 10**400)


def test_rows_that_int32_cannot_count() -> None:
    with pytest.raises(ValueError, match="op: x must have at most 2147483647 rows"):
        check_rows("op", "x", torch.empty(2**31, 1, device="meta"))


def _int32(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int32)


def test_offsets_describe_as_many_segments_as_each_other() -> None:
    device, sizes = torch.device("cpu"), {}  # type: ignore[var-annotated]
    check_offsets("op", "a", _int32(0, 1, 2), sizes, device)
    with pytest.raises(ValueError, match=r"b must describe as many segments .* \(2\), got 1"):
        check_offsets("op", "b", None, sizes, device)
    with pytest.raises(ValueError, match="c must have at least two entries, got 1"):
        check_offsets("op", "c", _int32(0), {}, device)


@pytest.mark.parametrize("values", [(1, 5), (0, 4), (0, 3, 2, 5), (0, 6), (0, -1, 5)])
def test_offsets_that_are_no_partition(values: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="a must start at 0, never decrease and end at 5"):
        check_offset_values("op", "a", _int32(*values), 5)


def test_many_offsets_are_checked_without_a_list() -> None:
    offsets = torch.arange(10_001, dtype=torch.int32)
    check_offset_values("op", "a", offsets, 10_000)
    offsets[5_000] = 3
    with pytest.raises(ValueError, match=r"at 10000, got \[0, 1, 2, 3, '...', 9998, 9999, 10000\]"):
        check_offset_values("op", "a", offsets, 10_000)


def test_offsets_that_are_a_partition() -> None:
    for values in ((0, 5), (0, 0, 5, 5), (0, 2, 5)):
        check_offset_values("op", "a", _int32(*values), 5)
    check_offset_values("op", "a", None, 5)
