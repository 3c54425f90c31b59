"""The Triton kernels of edge_attention compile for sm_90 without a GPU and hardly spill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="triton is not installed")

SCRIPT = Path(__file__).with_name("compile_edge_attention.py")
BY_EDGE = ("forward", "long_forward", "row", "long_row", "source", "long_source")
OF_GEOMETRY = ("geometry", "geometry_weight")


# With every feature at once ptxas keeps a few numbers of a row, read once or twice a row, in local
# memory, to fit one more block on a multiprocessor: bytes a thread.
FEW = 64


def assert_spills(cases: list[str], most: int = 0) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, str(SCRIPT), *cases]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [result["case"] for result in results] == cases
    spilled = [each for each in results if max(each["spill_stores"], each["stack"]) > most]
    assert not spilled, spilled
    assert all(each["registers"] > 0 for each in results)


def test_gatv2_with_heads_of_32_compiles_for_sm_90_without_spills() -> None:
    assert_spills([f"{kernel}:32:bf16:attention" for kernel in ("forward", "row", "source")])


@pytest.mark.slow
@pytest.mark.parametrize("head_dim", [8, 32, 80, 128, 512])
@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
def test_every_kernel_compiles_for_sm_90_with_few_spills(head_dim: int, dtype: str) -> None:
    features = "attention+value+lse+geometry"
    cases = [f"{kernel}:{head_dim}:{dtype}:{features}" for kernel in (*BY_EDGE, *OF_GEOMETRY)]
    assert_spills(cases, FEW)


@pytest.mark.slow
@pytest.mark.parametrize("features", ["", "attention", "geometry"])
def test_dot_products_and_gatv2_compile_for_sm_90_without_spills(features: str) -> None:
    cases = [f"{kernel}:64:bf16:{features}" for kernel in BY_EDGE]
    if "geometry" in features:
        cases += [f"{kernel}:64:bf16:{features}" for kernel in OF_GEOMETRY]
    assert_spills(cases)
