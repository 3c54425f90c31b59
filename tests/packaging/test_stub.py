"""The committed stub of the native module says what the module offers."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from g2vlm_fast import _C

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "python" / "stub.py"


@pytest.fixture
def stub() -> ModuleType:
    spec = importlib.util.spec_from_file_location("stub", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_committed_stub_is_that_of_the_built_module() -> None:
    """A CPU build vouches for every function but those that end in _cuda."""
    done = subprocess.run(
        [sys.executable, "-P", str(SCRIPT), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"run `make stubs`:\n{done.stdout}{done.stderr}"


def test_every_function_of_the_module_is_in_the_stub(stub: ModuleType) -> None:
    offered = {name for name in dir(_C) if not name.startswith("_")}
    committed = set(stub.signatures(stub.STUB.read_text()))
    assert offered <= committed
    cuda_only = committed - offered
    assert all(name.endswith("_cuda") for name in cuda_only)
    assert not (cuda_only and _C.cuda_architectures)


def test_functions_that_look_alike_are_one_and_others_are_overloads(stub: ModuleType) -> None:
    text = (
        "import torch\n"
        "@overload\ndef f(x: torch.Tensor) -> None: ...\n"
        "@overload\ndef f(x: torch.Tensor) -> None: ...\n"
        "@overload\ndef f(x: int) -> None: ...\n"
        "version: str = '1'\n"
    )
    found = stub.signatures(text)
    assert {name: len(texts) for name, texts in found.items()} == {"f": 2, "version": 1}
    rendered = stub.rendered(found)
    assert rendered.count("@overload") == 2
    assert stub.signatures(rendered) == found
