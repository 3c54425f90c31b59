"""Compile the Triton kernels of edge_attention for sm_90 on a machine without a GPU.

Run as a script, without ``TRITON_INTERPRET``: ``python compile_edge_attention.py CASE ...`` with
cases ``kernel:head_dim:dtype:feature+feature``; features are attention, value, lse and geometry.
Prints one JSON object a case, with the registers and spilled bytes that ptxas reports.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import triton
from compile_geometry_attention import registers_and_spills
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from g2vlm_fast.kernels.triton import edge_attention_launch as launch
from g2vlm_fast.kernels.triton.edge_attention_rows import Problem, Results, Sizes
from g2vlm_fast.ops._edge_attention_arguments import Edges, Transposed, Vertices

HEADS = 4
TERMS = 4
KERNELS = {  # and whose blocks each takes
    "forward": (launch.forward_kernel, "forward"),
    "long_forward": (launch.long_forward_kernel, "long"),
    "row": (launch.row_kernel, "row"),
    "long_row": (launch.long_row_kernel, "long"),
    "source": (launch.source_kernel, "source"),
    "long_source": (launch.long_source_kernel, "long"),
    "geometry": (launch.geometry_kernel, "edges"),
    "geometry_weight": (launch.geometry_weight_kernel, "edges"),
}
TILES = {"row": launch.ROW_TILES, "geometry_weight": launch.EDGE_TILES}


def argument_types(dtype: str, features: set[str]) -> dict[str, Any]:
    """Return the type of each tensor that the kernels take, None where it is absent."""
    attention = "*fp32" if "attention" in features else None
    value = f"*{dtype}" if "value" in features else None
    geometry = "*fp32" if "geometry" in features else None
    return {
        "results": Results("*fp32", "*fp32", f"*{dtype}", "*fp32" if "lse" in features else None),
        "vertices": Vertices(f"*{dtype}", f"*{dtype}", attention, value),
        "edges": Edges("*i32", "*i32", geometry, geometry),
        "transpose": Transposed("*i32", "*i32", "*i32"),
        "gradients": Vertices(f"*{dtype}", None, None, value),
        "sizes": Sizes("i32", "i32", "i32", "fp32", "fp32"),
        "out": f"*{dtype}",
        "grad_right": f"*{dtype}",
        "lse": "*fp32",
        "partial": attention or geometry,
        "rows": "*i32",
        "grad_geometry": "*fp32",
    }


def compile_case(kernel: str, head_dim: int, dtype: str, features: set[str]) -> dict[str, object]:
    function, blocks_of = KERNELS[kernel]
    padded = max(16, triton.next_power_of_2(head_dim))
    terms = TERMS if "geometry" in features else 0
    problem = Problem(HEADS, 2 * HEADS, head_dim, padded, terms, launch.LONG)
    static = {"PROBLEM": problem, **launch.block_of(blocks_of, problem)}
    options = {"num_warps": static.pop("num_warps")}
    if kernel in TILES:
        static["TILES"] = TILES[kernel]
    types = argument_types(dtype, features)
    signature: dict[str, object] = {}
    constants: dict[tuple[int, ...], object] = {}
    aligned: dict[tuple[int, ...], object] = {}
    for place, argument in enumerate(function.arg_names):
        if argument in static:
            constants[place,] = static[argument]
            signature[argument] = "constexpr"
            continue
        record = types[argument]
        fields = record if isinstance(record, tuple) else (record,)
        for field, found in enumerate(fields):
            path = (place, field) if isinstance(record, tuple) else (place,)
            if found is None:
                constants[path] = None
            elif found.startswith("*"):
                aligned[path] = [["tt.divisibility", 16]]
        named = [found or "constexpr" for found in fields]
        signature[argument] = type(record)(*named) if isinstance(record, tuple) else named[0]
    source = ASTSource(function, signature, constants, aligned)
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    return {"shared": compiled.metadata.shared, **registers_and_spills(compiled.asm["ptx"])}


def main(cases: list[str]) -> None:
    for case in cases:
        kernel, head_dim, dtype, features = case.split(":")
        result = compile_case(kernel, int(head_dim), dtype, set(filter(None, features.split("+"))))
        print(json.dumps({"case": case, **result}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
