"""Compile the Triton kernels of geometry_attention for sm_90 on a machine without a GPU.

Run as a script, without ``TRITON_INTERPRET``: ``python compile_geometry_attention.py CASE ...``
with cases ``kernel:head_dim:dtype:feature+feature``. Prints one JSON object a case, with the
registers and spilled bytes that ptxas reports. Four heads share one of k in the kernels for few
queries, whose tiles have 16 rows, or as many as the feature ``rows32`` or ``rows64`` says.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from g2vlm_fast.kernels.triton import geometry_attention_decode_launch as decode_launch
from g2vlm_fast.kernels.triton import geometry_attention_launch as launch
from g2vlm_fast.kernels.triton import geometry_attention_table_gradient as table_gradient
from g2vlm_fast.kernels.triton.geometry_attention_blocks import block_sizes, decode_block_sizes
from g2vlm_fast.kernels.triton.geometry_attention_channels import Channels
from g2vlm_fast.kernels.triton.geometry_attention_decode import Partials
from g2vlm_fast.kernels.triton.geometry_attention_lists import (
    Summaries,
    list_keys_kernel,
    list_queries_kernel,
    summarize_keys_kernel,
    summarize_queries_kernel,
)
from g2vlm_fast.kernels.triton.geometry_attention_tiles import Kept, Problem, Sizes
from g2vlm_fast.ops._geometry_attention_arguments import (
    Options,
    ResultGradients,
    Results,
    Tokens,
)

HEADS = 16
KERNELS = {
    "forward": launch.forward_kernel,
    "query": launch.query_kernel,
    "key": launch.key_kernel,
    "table": table_gradient.table_kernel,
    "decode": decode_launch.decode_kernel,
    "combine": decode_launch.combine_kernel,
    "list_keys": list_keys_kernel,
    "list_queries": list_queries_kernel,
    "summarize_keys": summarize_keys_kernel,
    "summarize_queries": summarize_queries_kernel,
}
# The kernel whose tiles they are for, and what they are compiled for beside the problem.
LISTING = {
    "list_keys": "forward",
    "list_queries": "key",
    "summarize_keys": "key",
    "summarize_queries": "key",
}
FOR_FEW_QUERIES = ("decode", "combine")
RECORDS = {
    "grads": ResultGradients,
    "tokens": Tokens,
    "channels": Channels,
    "results": Results,
    "sizes": Sizes,
    "partials": Partials,
    "kept": Kept,
    "summaries": Summaries,
}
SIZES = Sizes("i32", "i32", "i32", "fp32", "fp32", "i32", "fp32", "fp32", "fp32")
KEPT = Kept("*i16", "*i32", "i32")
SUMMARIES = Summaries("*fp32", "*fp32", "i32", "*fp32", "i32")
CHANNELS = Channels("*fp16", "*fp16", "*bf16", "*bf16", "*fp32")
# Code and columns of each term.
TERMS = {
    "distance": (0, 1),
    "squared": (1, 1),
    "direction": (2, 3),
    "normal": (3, 3),
    "powers": (4, 6),
    "basis": (5, 15),
    "radial": (6, 32),
    "axes": (7, 189),
}
TABLES = {"radial", "axes"}
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
HALF = {"q", "k", "v", "out", "grad_q", "grad_k", "grad_v"}
ABSENT_WITHOUT = {
    "bias_parameters": set(TERMS) - TABLES,
    "bias_tables": TABLES,
    "q_position": set(TERMS),
    "k_position": {*TERMS, "mean"},
    "k_normal": {"normal"},
    "q_gate": {"gate"},
    "k_mask": {"mask"},
    "dropout_seed": {"dropout"},
    "q_offsets": {"packed"},
    "k_offsets": {"packed"},
    "grads.lse": {"mean"},
    "grads.mean": {"mean"},
    "grads.variance": {"mean"},
    "partials.mean": {"mean"},
    "partials.moment": {"mean"},
    "grad_features": set(TERMS) - TABLES,
    "grad_table": TABLES,
    "grad_q_position": {"position"},
    "grad_k_position": {"position"},
    "grad_k_normal": {"normal"},
    "grad_parts": set(TERMS) - TABLES,
    "lse.lse": {"saved"},
}


def pointer_type(argument: str, name: str, dtype: str, features: set[str]) -> str | None:
    """Return the type of an argument that is no number of sizes, None where it is absent."""
    if name == "shares":
        return "i32"
    for key in (name, f"{argument}.{name}"):
        if key in ABSENT_WITHOUT and not ABSENT_WITHOUT[key] & features:
            return None
    if name.endswith("offsets"):
        return "*i32"
    if name == "k_mask":
        return "*i1"
    if name == "dropout_seed":
        return "*i64"
    return f"*{dtype if name in HALF and argument != 'partials' else 'fp32'}"


def launch_options(kernel: str, problem: Problem, features: set[str]) -> dict[str, int]:
    """Return the tile sizes and launch options of a kernel."""
    if kernel == "decode":
        rows = next((rows for rows in (32, 64) if f"rows{rows}" in features), 16)
        return {"ROWS": rows, **decode_block_sizes(problem, rows)}
    if kernel == "table":
        block_q, block_k = table_gradient.BLOCKS[problem.DTYPE]
        warps = table_gradient.WARPS
        blocks = {
            "BLOCK_Q": block_q,
            "BLOCK_K": block_k,
            "WARPS": warps,
            "AXES": "axes" in features,
        }
        return {**blocks, "num_warps": warps, "num_stages": 1}
    if kernel == "combine":
        return {"CHUNK": decode_launch.CHUNK, "num_warps": 4, "num_stages": 3}
    return block_sizes(kernel, problem, "mean" in features, "mask" in features)


def compile_case(
    kernel: str,
    head_dim: int,
    dtype: str,
    features: set[str],
    blocks: dict[str, int] | None = None,
) -> dict[str, object]:
    """Compile a kernel with the tile sizes and launch options of the launch, or with others."""
    function = KERNELS[kernel]
    terms = [term for name, term in TERMS.items() if name in features]
    codes, counts = [code for code, _ in terms], [count for _, count in terms]
    dropout = 0.1 if "dropout" in features else 0.0
    problem = launch.problem_of(
        HEADS,
        4 if kernel in FOR_FEW_QUERIES else 1,
        head_dim,
        Options(codes, counts, 1e-3, "causal" in features, 0.1, dropout, 4.0, 0.05),
        dtype=DTYPES[dtype],
        gated="gate" in features,
        own="own" in features or "normal" in features,
    )
    if kernel in FOR_FEW_QUERIES:
        problem = problem._replace(GROUPED=True)
    tiles_of = LISTING.get(kernel, kernel)
    blocks = {**launch_options(tiles_of, problem, features), **(blocks or {})}
    options = {name: blocks.pop(name) for name in ("num_warps", "num_stages")}
    static: dict[str, object] = {"PROBLEM": problem, **blocks}
    if kernel in LISTING:
        options["num_stages"] = 1
        static |= {"UNIT": blocks["BLOCK_K"], "BLOCK": blocks["BLOCK_K"], "CHUNK": 256}
        static |= {"PROBES": max(1, blocks["BLOCK_Q"] // blocks["BLOCK_K"]), "EXACT": False}
    if kernel in ("forward", *FOR_FEW_QUERIES):
        static["POSITION_MEAN"] = "mean" in features
    signature: dict[str, object] = {}
    constants: dict[tuple[int, ...], object] = {}
    aligned: dict[tuple[int, ...], object] = {}
    for place, argument in enumerate(function.arg_names):
        if argument in static:
            constants[place,] = static[argument]
            signature[argument] = "constexpr"
            continue
        record = RECORDS.get(argument)
        types = []
        for field, name in enumerate(record._fields if record else (argument,)):
            path = (place, field) if record else (place,)
            if argument == "log_eps":
                found = "fp32"
            elif record is Sizes:
                found = SIZES[field]
            elif record is Kept:
                found = KEPT[field] if kernel in LISTING or "skip" in features else None
            elif record is Summaries:
                found = SUMMARIES[field]
            elif record is Channels:
                found = CHANNELS[field] if problem.CHANNELS else None
                if name.endswith("moment") and "position" not in features:
                    found = None
            else:
                found = pointer_type(argument, name, dtype, features)
            types.append(found or "constexpr")
            if found is None:
                constants[path] = None
            elif found.startswith("*"):
                aligned[path] = [["tt.divisibility", 16]]
        signature[argument] = record(*types) if record else types[0]
    source = ASTSource(function, signature, constants, aligned)
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    return {"shared": compiled.metadata.shared, **registers_and_spills(compiled.asm["ptx"])}


def registers_and_spills(ptx: str) -> dict[str, int]:
    """Return what ptxas says of the code that Triton would load."""
    ptxas = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "ptxas"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.ptx"
        path.write_text(ptx)
        command = [ptxas, "-v", "--gpu-name=sm_90a", path, "-o", Path(folder) / "kernel.cubin"]
        log = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    found = {
        "registers": r"Used (\d+) registers",
        "spill_stores": r"(\d+) bytes spill stores",
        "spill_loads": r"(\d+) bytes spill loads",
        "stack": r"(\d+) bytes stack frame",
    }
    return {name: int(re.search(pattern, log)[1]) for name, pattern in found.items()}


def main(cases: list[str]) -> None:
    for case in cases:
        kernel, head_dim, dtype, features = case.split(":")
        result = compile_case(kernel, int(head_dim), dtype, set(filter(None, features.split("+"))))
        print(json.dumps({"case": case, **result}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
