"""Launches the Triton kernels of ``edge_mlp``: tile sizes, grids, fixed-order sums.

Floors at 1M vertices of degree 6 and 128 channels in bfloat16, at 3.02 TB/s: forward 0.26 ms (a, b,
out and the edges once; 0.25 ms of products beside them), backward 0.8 ms (a, b, grad and winner for
each of the three passes, two gradients; three products an edge, 0.75 ms).
"""

import contextlib
from typing import NamedTuple

import torch
import triton
from torch import Tensor

from g2vlm_fast.kernels.triton.edge_mlp import forward_kernel
from g2vlm_fast.kernels.triton.edge_mlp_backward import map_kernel, owner_kernel
from g2vlm_fast.kernels.triton.edge_mlp_tiles import Ends, Lists, Problem, Sizes, Upstream
from g2vlm_fast.kernels.triton.interpreter import repair_interpreter

repair_interpreter()

PROGRAMS = 1024  # take the tiles in turn
MAP_PROGRAMS = 256  # each leaves a part of the second map's gradient

# Edges of a tile, most hidden channels, most channels, num_warps, by kernel and kind, for sm_90:
# what spills no register (tests/triton), not yet what has been measured to be fastest.
BLOCKS = {
    ("forward", "half"): (64, 128, 128, 8),
    ("forward", "half, terms"): (64, 64, 128, 8),
    ("forward", "single"): (32, 32, 32, 8),
    ("owner", "half"): (64, 128, 128, 8),
    ("owner", "half, terms"): (64, 128, 128, 8),
    ("owner", "single"): (32, 32, 16, 8),
    ("map", "half"): (64, 128, 128, 8),
    ("map", "half, terms"): (64, 128, 128, 8),
    ("map", "single"): (32, 32, 16, 8),
}


class Messages(NamedTuple):
    """The tensors of the op that make its messages; contiguous."""

    a: Tensor
    b: Tensor
    row_offsets: Tensor
    columns: Tensor
    weight: Tensor
    geometry: Tensor | None
    geometry_weight: Tensor | None
    activation: str


def precision_of(dtype: torch.dtype) -> str:
    """Return how products of a dtype are multiplied; half precision is exact either way."""
    return "ieee" if dtype == torch.float32 else "tf32"


def problem_of(messages: Messages, by_source: bool = False) -> Problem:
    """Return what the kernels are compiled for."""
    return Problem(
        H=messages.weight.shape[0],
        C=messages.weight.shape[1],
        TERMS=0 if messages.geometry is None else messages.geometry.shape[1],
        ACTIVATION=messages.activation,
        PRECISION=precision_of(messages.a.dtype),
        BY_SOURCE=by_source,
    )


def block_sizes(kernel: str, problem: Problem, mean_degree: float) -> dict[str, int]:
    """Return the tile sizes and launch options of a kernel.

    A vertex gets as many slots of a tile as vertices have edges on average, from 4 to 16.
    """
    kind = "half, terms" if problem.TERMS else "half"
    if problem.PRECISION == "ieee":
        kind = "single"
    edges, most_hidden, most_channels, num_warps = BLOCKS[kernel, kind]
    slots = min(16, max(4, triton.next_power_of_2(max(1, round(mean_degree)))))
    return {
        "ROWS": edges // slots,
        "SLOTS": slots,
        "BLOCK_H": min(most_hidden, max(16, triton.next_power_of_2(problem.H))),
        "BLOCK_C": min(most_channels, max(16, triton.next_power_of_2(problem.C))),
        "num_warps": num_warps,
        "num_stages": 1,
    }


def _on_device_of(tensor: Tensor):
    return torch.cuda.device(tensor.device) if tensor.is_cuda else contextlib.nullcontext()


def _by_row(messages: Messages) -> tuple[Lists, Ends, Sizes]:
    a, b = messages.a, messages.b
    lists = Lists(messages.row_offsets, messages.columns, None)
    ends = Ends(a, b, messages.geometry, messages.geometry_weight)
    return lists, ends, Sizes(a.shape[0], b.shape[0], messages.columns.shape[0])


def _by_source(messages: Messages, transpose: tuple[Tensor, ...]) -> tuple[Lists, Ends, Sizes]:
    a, b = messages.a, messages.b
    lists = Lists(*transpose)
    ends = Ends(b, a, messages.geometry, messages.geometry_weight)
    return lists, ends, Sizes(b.shape[0], a.shape[0], messages.columns.shape[0])


def _blocks_and_programs(
    kernel: str, problem: Problem, sizes: Sizes, most: int
) -> tuple[dict[str, int], int]:
    blocks = block_sizes(kernel, problem, sizes.num_edges / max(1, sizes.num_owners))
    return blocks, min(most, triton.cdiv(sizes.num_owners, blocks["ROWS"]))


def forward(messages: Messages, bias: Tensor | None, out: Tensor, winner: Tensor | None) -> None:
    """Write ``out`` and, where it is there, ``winner``."""
    if out.numel() == 0:
        return
    problem = problem_of(messages)
    lists, ends, sizes = _by_row(messages)
    blocks, programs = _blocks_and_programs("forward", problem, sizes, PROGRAMS)
    with _on_device_of(out):
        forward_kernel[programs, triton.cdiv(problem.C, blocks["BLOCK_C"])](
            lists, ends, messages.weight, bias, out, winner, sizes, problem, **blocks
        )


def backward_to_owners(
    messages: Messages,
    upstream: Upstream,
    transpose: tuple[Tensor, ...] | None,
    grad_own: Tensor | None,
    grad_geometry: Tensor | None = None,
    grad_geometry_weight: Tensor | None = None,
) -> None:
    """Write the gradients of a and the geometry; of b where the transpose is given."""
    problem = problem_of(messages, by_source=transpose is not None)
    lists, ends, sizes = _by_row(messages) if transpose is None else _by_source(messages, transpose)
    if grad_geometry is not None:
        grad_geometry.zero_()  # edges out of range, which no kernel writes
    if sizes.num_owners == 0 or problem.H == 0:
        for each in (grad_own, grad_geometry_weight):
            if each is not None:
                each.zero_()
        return
    blocks, programs = _blocks_and_programs("owner", problem, sizes, PROGRAMS)
    hidden_blocks = triton.cdiv(problem.H, blocks["BLOCK_H"])
    geometry_parts, weight_parts = grad_geometry, None
    if grad_geometry is not None and hidden_blocks > 1:
        geometry_parts = grad_geometry.new_zeros(hidden_blocks, *grad_geometry.shape)
    if grad_geometry_weight is not None:
        weight_parts = grad_geometry_weight.new_empty(programs, *grad_geometry_weight.shape)
    with _on_device_of(messages.a):
        owner_kernel[programs, hidden_blocks](
            lists,
            ends,
            upstream,
            messages.weight,
            grad_own,
            geometry_parts,
            weight_parts,
            sizes,
            problem,
            BLOCK_TERMS=triton.next_power_of_2(max(1, problem.TERMS)),
            **blocks,
        )
    if geometry_parts is not grad_geometry:
        torch.sum(geometry_parts, 0, out=grad_geometry)
    if weight_parts is not None and grad_geometry_weight is not None:
        torch.sum(weight_parts, 0, out=grad_geometry_weight)


def backward_to_map(
    messages: Messages, upstream: Upstream, grad_weight: Tensor | None, grad_bias: Tensor | None
) -> None:
    """Write the gradients of the second map and of its bias."""
    problem = problem_of(messages)
    lists, ends, sizes = _by_row(messages)
    if sizes.num_owners == 0 or problem.C == 0:
        for each in (grad_weight, grad_bias):
            if each is not None:
                each.zero_()
        return
    blocks, _ = _blocks_and_programs("map", problem, sizes, 1)
    hidden_blocks = max(1, triton.cdiv(problem.H, blocks["BLOCK_H"]))
    channel_blocks = triton.cdiv(problem.C, blocks["BLOCK_C"])
    most = max(1, MAP_PROGRAMS // (hidden_blocks * channel_blocks))
    programs = min(most, triton.cdiv(sizes.num_owners, blocks["ROWS"]))

    def parts(gradient: Tensor | None) -> Tensor | None:
        if gradient is None:
            return None
        return gradient.new_empty((programs, *gradient.shape), dtype=torch.float32)

    map_parts, bias_parts = parts(grad_weight), parts(grad_bias)
    with _on_device_of(messages.a):
        map_kernel[programs, hidden_blocks, channel_blocks](
            lists, ends, upstream, map_parts, bias_parts, sizes, problem, **blocks
        )
    for gradient, part in ((grad_weight, map_parts), (grad_bias, bias_parts)):
        if gradient is not None and part is not None:
            gradient.copy_(part.sum(0))
