"""The Triton kernels of edge_mlp compile for sm_90 without a GPU and spill nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="triton is not installed")

SCRIPT = Path(__file__).with_name("compile_edge_mlp.py")


def compile_cases(cases: list[str]) -> list[dict[str, int]]:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, str(SCRIPT), *cases]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def assert_no_spills(cases: list[str]) -> list[dict[str, int]]:
    results = compile_cases(cases)
    assert [result["case"] for result in results] == cases
    spilled = [each for each in results if each["spill_stores"] > 0]
    assert not spilled, spilled
    assert all(each["registers"] > 0 for each in results)
    return results


def test_128_channels_run_on_tensor_cores_without_spills() -> None:
    kernels = ("forward", "owner", "map")
    results = assert_no_spills([f"{each}:128:128:6:bfloat16:winner" for each in kernels])
    assert all(each["wgmma"] > 0 for each in results)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("channels", [16, 64, 128, 256])
def test_every_block_size_compiles_without_spills(channels: int, dtype: str) -> None:
    shape = f"{channels}:{channels}:6:{dtype}"
    assert_no_spills(
        [
            f"forward:{shape}:",
            f"forward:{shape}:winner",
            f"owner:{shape}:winner",
            f"owner:{shape}:winner+source",
            f"map:{shape}:winner",
        ]
    )


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["128:64:1:bfloat16", "128:128:100:float16", "64:64:6:float32"])
def test_geometry_and_other_activations_compile_without_spills(shape: str) -> None:
    assert_no_spills(
        [
            f"forward:{shape}:winner+geometry+silu",
            f"owner:{shape}:winner+geometry+leaky_relu",
            f"owner:{shape}:winner+geometry+source+silu",
            f"map:{shape}:winner+geometry+silu",
        ]
    )
