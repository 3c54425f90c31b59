"""Test set-up: the Triton interpreter where there is no GPU, and empties that bite.

``torch.empty`` and its kin are filled with NaN (floats) or a huge negative number (integers)
before a test sees them, so that an output which a kernel forgot to write never passes.
"""

from __future__ import annotations

import os

import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="needs a CUDA device")
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def poisoned_empties(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fill ``torch.empty``, ``empty_like`` and ``Tensor.new_empty`` with poison."""

    def poison(create):  # type: ignore[no-untyped-def]
        def poisoned(*args, **kwargs):  # type: ignore[no-untyped-def]
            tensor = create(*args, **kwargs)
            if torch.compiler.is_compiling() or isinstance(tensor, torch._subclasses.FakeTensor):
                return tensor
            if tensor.device.type == "meta" or tensor.dtype == torch.bool:
                return tensor
            if tensor.is_floating_point() or tensor.is_complex():
                return tensor.fill_(float("nan"))
            return tensor.fill_(torch.iinfo(tensor.dtype).max // 2)

        return poisoned

    monkeypatch.setattr(torch, "empty", poison(torch.empty))
    monkeypatch.setattr(torch, "empty_like", poison(torch.empty_like))
    monkeypatch.setattr(torch.Tensor, "new_empty", poison(torch.Tensor.new_empty))


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real scans that lies beside the checkout; skips where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real scans are not beside this checkout (../shared/data)")
    return SHARED_DATA
