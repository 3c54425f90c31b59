"""Compile the Triton kernels of edge_mlp for sm_90 on a machine without a GPU.

Run as a script, without ``TRITON_INTERPRET``: ``python compile_edge_mlp.py CASE ...`` with cases
``kernel:hidden:channels:degree:dtype:feature+feature``. Prints one JSON object a case, with the
registers and spilled bytes that ptxas reports.
"""

from __future__ import annotations

import json
import sys

import torch
import triton
from compile_geometry_attention import registers_and_spills
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from g2vlm_fast.kernels.triton import edge_mlp_launch as launch
from g2vlm_fast.kernels.triton.edge_mlp_tiles import Ends, Lists, Problem, Sizes, Upstream

KERNELS = {
    "forward": launch.forward_kernel,
    "owner": launch.owner_kernel,
    "map": launch.map_kernel,
}
RECORDS = {"lists": Lists, "ends": Ends, "upstream": Upstream, "sizes": Sizes}
TERMS = 4
# What of an argument is absent without its feature.
FEATURES = {
    "edges": "source",
    "geometry": "geometry",
    "geometry_weight": "geometry",
    "winner": "winner",
    "grad_geometry": "geometry",
    "geometry_weight_parts": "geometry",
}
OF_INPUT = ("own", "other", "weight", "bias", "out", "grad", "grad_own")
INDICES = ("offsets", "others", "edges", "row_offsets")


def type_of(argument: str, name: str, dtype: str, features: set[str]) -> str | None:
    """Return the type of what a kernel takes, None where it is absent."""
    if argument == "sizes":
        return "i32"
    needed = FEATURES.get(name)
    if argument != "upstream" and needed is not None and needed not in features:
        return None
    if name == "winner":
        return "*u8"
    if name in INDICES:
        return "*i32"
    return f"*{dtype if name in OF_INPUT else 'fp32'}"


def compile_case(
    kernel: str, hidden: int, channels: int, degree: float, dtype: str, features: set[str]
) -> dict[str, object]:
    function = KERNELS[kernel]
    activation = next((each for each in ("silu", "leaky_relu") if each in features), "relu")
    problem = Problem(
        hidden,
        channels,
        TERMS if "geometry" in features else 0,
        activation,
        launch.precision_of(getattr(torch, dtype)),
        "source" in features,
    )
    short = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}[dtype]
    blocks = launch.block_sizes(kernel, problem, degree)
    options = {name: blocks.pop(name) for name in ("num_warps", "num_stages")}
    static: dict[str, object] = {"PROBLEM": problem, **blocks}
    if kernel == "owner":
        static["BLOCK_TERMS"] = max(1, problem.TERMS)
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
            found = type_of(argument, name, short, features)
            types.append(found or "constexpr")
            if found is None:
                constants[path] = None
            elif found.startswith("*"):
                aligned[path] = [["tt.divisibility", 16]]
        signature[argument] = record(*types) if record else types[0]
    source = ASTSource(function, signature, constants, aligned)
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    ptx = compiled.asm["ptx"]
    found = {"shared": compiled.metadata.shared, "wgmma": ptx.count("wgmma.mma_async")}
    return {**found, **registers_and_spills(ptx)}


def main(cases: list[str]) -> None:
    for case in cases:
        kernel, hidden, channels, degree, dtype, features = case.split(":")
        sizes = int(hidden), int(channels), float(degree)
        result = compile_case(kernel, *sizes, dtype, set(filter(None, features.split("+"))))
        print(json.dumps({"case": case, **result}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
