"""Test set-up: the Triton interpreter where there is no GPU, and empties that bite.

``torch.empty`` and its kin are filled with NaN (floats) or a huge number (integers)
before a test sees them, so that an output which a kernel forgot to write never passes.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

from pathlib import Path

import pytest

# The list of constructors that ``torch.device(...)`` redirects is made at its first use and kept:
# made while ``torch.empty`` is poisoned, it would miss the real one, and "meta" would allocate.
with torch.device("meta"):
    torch.empty(0)

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="needs a CUDA device")
    for item in items:
        if item.get_closest_marker("gpu"):
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


@pytest.fixture
def waiting_raises() -> Callable[[], AbstractContextManager[None]]:
    """A context in which whatever makes the host wait for the GPU raises an error."""

    @contextmanager
    def context() -> Iterator[None]:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Synchronization debug mode", UserWarning)
            torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")

    return context


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real scans that lies beside the checkout; skips where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real scans are not beside this checkout (../shared/data)")
    return SHARED_DATA


@pytest.fixture(scope="session")
def clean_room():  # type: ignore[no-untyped-def]
    """A generated room of one large box, without sensor noise, seen by 16 overlapping views."""
    from g2vlm_fast.data import RoomConfig, generate_room

    config = RoomConfig(
        programs=("simple",), image_size=(72, 96), views=(16, 16), sensor_noise=False,
        depth_probability=1.0, mesh_probability=0.0,
    )  # fmt: skip
    return generate_room(3, config)


@pytest.fixture
def frame_folder(tmp_path: Path, clean_room) -> Path:  # type: ignore[no-untyped-def]
    """The clean room as a recorded scan: colour, depth in millimetres, poses, intrinsics."""
    import numpy as np
    from PIL import Image

    folder = tmp_path / "scan"
    folder.mkdir()
    np.savetxt(folder / "intrinsics.txt", clean_room.intrinsics[0].double().numpy())
    for index in range(clean_room.num_views):
        stem = folder / f"frame-{index:06d}"
        color = clean_room.images[index].permute(1, 2, 0).numpy()
        Image.fromarray(color).save(f"{stem}.color.png")
        depth = (clean_room.depth[index] * 1000).round().numpy().astype(np.uint16)
        Image.fromarray(depth).save(f"{stem}.depth.png")
        np.savetxt(f"{stem}.pose.txt", clean_room.poses[index].double().numpy())
    return folder
