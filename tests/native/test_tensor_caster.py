"""What the native module takes for a tensor, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
import torch
from torch._subclasses import FakeTensorMode

from g2vlm_fast import _C


def _arguments() -> dict[str, Any]:
    return {
        "query": torch.rand(5, 3),
        "target": torch.rand(6, 3),
        "query_offsets": None,
        "target_offsets": None,
        "distance": torch.empty(5, 1),
        "index": torch.empty(5, 1, dtype=torch.int32),
        "norm": 2,
        "max_distance": float("inf"),
        "method": 0,
        "threads": 1,
    }


def _fake() -> torch.Tensor:
    with FakeTensorMode():
        return torch.rand(5, 3)


def test_numpy_arrays_are_read_and_written_like_tensors() -> None:
    arguments = _arguments()
    _C.nearest_cpu(**arguments)
    arrays = {
        name: value.numpy().copy() if isinstance(value, torch.Tensor) else value
        for name, value in arguments.items()
    }
    arrays["distance"][:] = -1
    _C.nearest_cpu(**arrays)
    numpy.testing.assert_array_equal(arrays["distance"], arguments["distance"].numpy())
    numpy.testing.assert_array_equal(arrays["index"], arguments["index"].numpy())


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(lambda: torch.rand(5, 3, dtype=torch.float16), id="another_dtype"),
        pytest.param(lambda: torch.rand(3, 5).T, id="transposed"),
        pytest.param(lambda: torch.rand(5, 6)[:, ::2], id="strided"),
        pytest.param(lambda: torch.rand(5, 3, device="meta"), id="meta"),
        pytest.param(_fake, id="fake"),
        pytest.param(lambda: torch.rand(5, 3).to_sparse(), id="sparse"),
        pytest.param(lambda: torch.rand(5, 3).tolist(), id="a_list"),
        pytest.param(lambda: None, id="nothing"),
    ],
)
def test_what_is_not_a_dense_tensor_of_the_dtype_is_refused(bad: Any) -> None:
    with pytest.raises(TypeError, match="incompatible function arguments"):
        _C.nearest_cpu(**{**_arguments(), "query": bad()})


def test_a_tensor_of_too_few_axes_is_refused() -> None:
    with pytest.raises(ValueError, match="axis 1"):
        _C.nearest_cpu(**{**_arguments(), "query": torch.rand(5)})


def test_read_only_arrays_are_never_written() -> None:
    distance = numpy.zeros((5, 1), dtype=numpy.float32)
    distance.flags.writeable = False
    with pytest.raises(TypeError):
        _C.nearest_cpu(**{**_arguments(), "distance": distance})
    assert not distance.any()


def test_tensors_with_history_and_parameters_are_read() -> None:
    arguments = _arguments()
    _C.nearest_cpu(**{**arguments, "query": torch.nn.Parameter(arguments["query"])})
    assert not arguments["distance"].isnan().any()


def test_empty_tensors_have_no_stride_to_check() -> None:
    arguments = _arguments()
    arguments["query"] = torch.rand(3, 0).T
    arguments["distance"], arguments["index"] = torch.empty(0, 1), arguments["index"][:0]
    _C.nearest_cpu(**arguments)
