"""Compile the Triton kernels of geometry_attention for sm_90 on a machine without a GPU.

Run as a script, without ``TRITON_INTERPRET``: ``python compile_geometry_attention.py CASE ...``
with cases ``kernel:head_dim:dtype:feature+feature``. Prints one JSON object a case, with the
registers and spilled bytes that ptxas reports.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from g2vlm_fast.kernels.triton import geometry_attention_launch as launch

HEADS, GROUP = 16, 1
POINTERS = {
    "forward": "q k v parameters q_position k_position q_gate q_offsets k_offsets out lse mean "
    "variance",
    "query": "grad_out grad_lse grad_mean grad_variance q k v parameters q_position k_position "
    "q_gate q_offsets k_offsets out lse mean variance delta grad_q grad_features grad_q_position",
    "key": "grad_out grad_mean grad_variance q k v parameters q_position k_position q_gate "
    "q_offsets k_offsets lse mean delta grad_k grad_v grad_k_position",
}
SCALARS = {
    "num_queries": "i32",
    "num_keys": "i32",
    "num_segments": "i32",
    "scale": "fp32",
    "eps": "fp32",
    "q_position_stride": "i32",
    "q_position_head_stride": "i32",
}
KERNELS = {
    "forward": launch.forward_kernel,
    "query": launch.query_kernel,
    "key": launch.key_kernel,
}
TERMS = {"distance": 0, "squared": 1, "direction": 2}
IN_DTYPE = {"q", "k", "v", "out", "grad_out", "grad_q", "grad_k", "grad_v"}
ABSENT_WITHOUT = {
    "parameters": set(TERMS),
    "q_position": set(TERMS),
    "k_position": {*TERMS, "mean"},
    "q_gate": {"gate"},
    "q_offsets": {"packed"},
    "k_offsets": {"packed"},
    "grad_lse": {"mean"},
    "grad_mean": {"mean"},
    "grad_variance": {"mean"},
    "grad_features": set(TERMS),
    "grad_q_position": {"position"},
    "grad_k_position": {"position"},
}


def compile_case(kernel: str, head_dim: int, dtype: str, features: set[str]) -> dict[str, object]:
    function = KERNELS[kernel]
    codes = [code for name, code in TERMS.items() if name in features]
    rich = len(codes) > 1 or bool({"gate", "causal", "mean"} & features)
    blocks = launch.block_sizes(kernel, head_dim, 4 if dtype == "fp32" else 2, rich)
    options = {name: blocks.pop(name) for name in ("num_warps", "num_stages")}
    constants: dict[str, object] = {
        **launch.term_columns(codes),
        "H": HEADS,
        "GROUP": GROUP,
        "D": head_dim,
        "D_PADDED": launch.padded_head_dim(head_dim),
        "CAUSAL": "causal" in features,
        "PRECISION": "ieee" if dtype == "fp32" else "tf32",
        **blocks,
    }
    if kernel == "forward":
        constants["POSITION_MEAN"] = "mean" in features
    signature = {}
    for name in POINTERS[kernel].split():
        if name in ABSENT_WITHOUT and not ABSENT_WITHOUT[name] & features:
            constants[name] = None
            signature[name] = "constexpr"
        elif name.endswith("offsets"):
            signature[name] = "*i32"
        else:
            signature[name] = f"*{dtype if name in IN_DTYPE else 'fp32'}"
    signature |= SCALARS | dict.fromkeys(constants, "constexpr")
    signature = {name: signature[name] for name in function.arg_names}
    aligned = {
        (position,): [["tt.divisibility", 16]]
        for position, name in enumerate(function.arg_names)
        if signature[name].startswith("*")
    }
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
