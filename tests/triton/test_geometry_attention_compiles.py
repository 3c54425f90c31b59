"""The Triton kernels of geometry_attention compile for sm_90 without a GPU and spill nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="triton is not installed")

SCRIPT = Path(__file__).with_name("compile_geometry_attention.py")
KERNELS = ("forward", "query", "key")
LOOK = "distance+direction+gate+position+mean+packed"
EVERYTHING = "distance+squared+direction+gate+position+mean+packed+causal"
FEATURES = (
    "distance+position+packed",
    "powers+position+packed",
    "distance+direction+gate+position+packed",
    "basis+position+packed",
    LOOK,
    EVERYTHING,
)
# Bytes that some spill all the same: the first three were measured to be faster than any tile that
# spills nothing; at head dim 128, a key tile of one warp group is too much already; of tiles with
# more than a few queries, half the keys would cost more than these bytes do.
SPILLED = {
    "query:128:bf16:distance+position+packed": 72,
    "key:128:bf16:distance+position+packed": 20,
    "key:80:bf16:squared+position+packed": 24,
    "query:80:bf16:squared+position+packed": 28,
    "query:64:bf16:basis+position+packed": 4,
    f"query:32:bf16:{EVERYTHING}": 12,
    f"query:128:bf16:{EVERYTHING}": 12,
    "query:128:bf16:distance+position+packed+skip": 44,
    # Fewer than its 16 queries a tile would leave tensor cores idle.
    "key:64:bf16:basis+position+packed": 40,
    "key:128:bf16:basis+position+packed": 88,
    f"key:128:bf16:{LOOK}": 24,
    f"key:128:bf16:{EVERYTHING}": 196,
    "key:128:bf16:distance+position+packed+skip": 28,
    # ptxas spills these to stay at 168 and 128 registers, for three and four blocks at once.
    "key:32:fp32:distance+position+packed": 8,
    f"key:16:fp32:{EVERYTHING}": 4,
    # It computes the scores of one tile of keys, once.
    "list_keys:64:bf16:powers+basis+packed": 40,
    f"decode:64:bf16:{LOOK}+rows64": 12,
    f"decode:64:bf16:{EVERYTHING}+rows64": 8,
    f"decode:128:bf16:{EVERYTHING}+rows32": 12,
    f"decode:128:bf16:{EVERYTHING}+rows64": 24,
    "table:128:fp32:axes+position+packed": 408,
    "table:128:fp32:radial+position+packed": 264,
}


def compile_cases(cases: list[str]) -> list[dict[str, int]]:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, str(SCRIPT), *cases]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def assert_no_spills(cases: list[str]) -> None:
    results = compile_cases(cases)
    assert [result["case"] for result in results] == cases
    spilled = [each for each in results if each["spill_stores"] > SPILLED.get(each["case"], 0)]
    assert not spilled, spilled
    assert all(each["registers"] > 0 for each in results)


def test_kernels_of_a_distance_compile_for_sm_90_without_spills() -> None:
    cases = [f"{kernel}:64:bf16:distance+position+packed" for kernel in KERNELS]
    assert_no_spills([*cases, "decode:128:bf16:distance+packed", "combine:128:bf16:packed"])


@pytest.mark.slow
@pytest.mark.parametrize("head_dim", [16, 32, 64, 128])
@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
def test_every_block_size_compiles_for_sm_90_without_spills(head_dim: int, dtype: str) -> None:
    features = FEATURES if dtype == "bf16" else (FEATURES[0], EVERYTHING)
    assert_no_spills(
        [f"{kernel}:{head_dim}:{dtype}:{each}" for kernel in KERNELS for each in features]
    )


@pytest.mark.slow
@pytest.mark.parametrize("head_dim", [16, 32, 64, 128])
def test_the_kernels_for_few_queries_compile_for_sm_90_without_spills(head_dim: int) -> None:
    heights = ("", "+rows32", "+rows64")
    half = [f"decode:{head_dim}:bf16:{each}{rows}" for each in FEATURES for rows in heights]
    single = [f"decode:{head_dim}:fp32:{each}" for each in (FEATURES[0], EVERYTHING)]
    assert_no_spills([*half, *single, f"combine:{head_dim}:bf16:mean"])


@pytest.mark.slow
def test_padded_head_dims_float16_and_plain_attention_compile_without_spills() -> None:
    cases = ["80:bf16:squared+position+packed", "96:fp16:powers+position+packed", "64:fp16:"]
    kernels = (*KERNELS, "decode")
    assert_no_spills([f"{kernel}:{case}" for kernel in kernels for case in cases])


@pytest.mark.slow
@pytest.mark.parametrize("head_dim", [64, 128])
def test_tables_compile_for_sm_90_without_spills(head_dim: int) -> None:
    cases = [
        f"{kernel}:{head_dim}:{dtype}:{table}+position+packed"
        for kernel in (*KERNELS, "table")
        for table in ("radial", "axes")
        for dtype in ("bf16", "fp32")
    ]
    assert_no_spills([*cases, f"decode:{head_dim}:bf16:radial+axes+packed"])


@pytest.mark.slow
def test_masks_dropout_normals_and_own_parameters_compile() -> None:
    cases = [
        "64:bf16:distance+position+packed+mask",
        "64:bf16:squared+position+packed+dropout",
        "32:fp32:distance+normal+position+packed",
        "64:bf16:distance+direction+own+gate+position+packed",
    ]
    kernels = (*KERNELS, "decode")
    results = compile_cases([f"{kernel}:{case}" for kernel in kernels for case in cases])
    assert all(each["registers"] > 0 for each in results)


@pytest.mark.slow
@pytest.mark.parametrize("head_dim", [64, 128])
def test_kernels_that_skip_and_what_lists_their_tiles_compile_without_spills(head_dim: int) -> None:
    cases = [f"{kernel}:{head_dim}:bf16:distance+position+packed+skip" for kernel in KERNELS]
    for features in ("squared", "distance+direction+gate", "powers+basis", "distance+normal+own"):
        for saved in ("", "+saved"):
            cases.append(f"list_keys:{head_dim}:bf16:{features}+packed{saved}")
        cases.append(f"summarize_keys:{head_dim}:bf16:{features}+packed")
        cases.append(f"summarize_queries:{head_dim}:bf16:{features}+packed+saved")
        cases.append(f"list_queries:{head_dim}:bf16:{features}+packed+causal")
    cases.append(f"list_keys:{head_dim}:bf16:squared+mask+causal")
    assert_no_spills(cases)
