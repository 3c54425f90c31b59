"""Launches the Triton kernels of ``edge_attention``: blocks, grids, fixed-order sums."""

import contextlib

import torch
import triton
from torch import Tensor

from g2vlm_fast.kernels.triton.edge_attention import forward_kernel, long_forward_kernel
from g2vlm_fast.kernels.triton.edge_attention_backward import (
    ResultGradients,
    long_row_kernel,
    long_source_kernel,
    row_kernel,
    source_kernel,
)
from g2vlm_fast.kernels.triton.edge_attention_geometry import (
    geometry_kernel,
    geometry_weight_kernel,
)
from g2vlm_fast.kernels.triton.edge_attention_rows import Problem, Scratch, Sizes
from g2vlm_fast.kernels.triton.interpreter import repair_interpreter
from g2vlm_fast.ops._edge_attention_arguments import Edges, Transposed, Vertices
from g2vlm_fast.ops.reference.graph_build import edge_rows

repair_interpreter()

MAX_HEAD_DIM = 512
LONG = 255  # edges of a row from which on it has a program to itself
ROW_TILES = 8  # that a program of the row kernel takes, one after the other
EDGE_TILES = 32  # likewise, of the kernel of the geometry's weight


def problem_of(vertices: Vertices, edges: Edges) -> Problem:
    """Return what the kernels are compiled for."""
    heads, head_dim = vertices.right.shape[1:]
    return Problem(
        H=heads,
        D=head_dim,
        D_PADDED=max(16, triton.next_power_of_2(head_dim)),
        TERMS=0 if edges.geometry is None else edges.geometry.shape[1],
        LONG=LONG,
    )


def block_of(kernel: str, problem: Problem) -> dict[str, int]:
    """Return the sizes of blocks and the launch options.

    Short rows go one edge at a time, eight channels a thread: then each warp has rows of its own,
    and heads of up to 256 channels exchange nothing between warps (measured at 32 channels: a third
    of the time of two edges at a time).
    """
    channels = problem.D_PADDED
    if kernel == "short":
        return {"VERTICES": max(1, 1024 // channels), "SLOTS": 1, "num_warps": 4}
    if kernel == "long":
        return {"VERTICES": 128, "SLOTS": max(1, 1024 // channels), "num_warps": 4}
    terms = triton.next_power_of_2(max(1, problem.TERMS))
    return {"TERMS_PADDED": terms, "BLOCK": max(1, 1024 // channels), "num_warps": 4}


def _sizes(vertices: Vertices, edges: Edges, negative_slope: float, scale: float) -> Sizes:
    rows, sources, count = vertices.right.shape[0], vertices.left.shape[0], edges.columns.shape[0]
    return Sizes(rows, sources, count, negative_slope, scale)


def _on_device_of(tensor: Tensor):
    return torch.cuda.device(tensor.device) if tensor.is_cuda else contextlib.nullcontext()


def forward(
    vertices: Vertices,
    edges: Edges,
    negative_slope: float,
    scale: float,
    out: Tensor,
    lse: Tensor,
) -> None:
    """Write ``out`` and ``lse``; every tensor is dense."""
    rows, heads = lse.shape
    if lse.numel() == 0:
        return
    problem = problem_of(vertices, edges)
    given = (vertices, edges, out, lse, _sizes(vertices, edges, negative_slope, scale), problem)
    with _on_device_of(lse):
        for name, kernel in (("short", forward_kernel), ("long", long_forward_kernel)):
            blocks = block_of(name, problem)
            kernel[(triton.cdiv(rows, blocks["VERTICES"]) * heads,)](*given, **blocks)


def backward(
    grads: ResultGradients,
    vertices: Vertices,
    edges: Edges,
    transpose: Transposed,
    lse: Tensor,
    negative_slope: float,
    scale: float,
    gradients: list[Tensor | None],
) -> None:
    """Write the ``gradients`` that are not None; every tensor is dense."""
    grad_left, grad_right, grad_attention, grad_value, grad_geometry, grad_weight = gradients
    problem = problem_of(vertices, edges)
    sizes = _sizes(vertices, edges, negative_slope, scale)
    heads = problem.H
    of_edges = (lse.new_empty(sizes.num_edges, heads) for _ in range(2))
    scratch = Scratch(*of_edges, torch.empty_like(lse))
    with _on_device_of(lse):
        if lse.numel():
            given = (grads, vertices, edges, lse, scratch, grad_right)
            _differentiate_rows(given, sizes, problem, grad_attention)
        elif grad_attention is not None:
            grad_attention.zero_()
        if sizes.num_sources * heads and (grad_left is not None or grad_value is not None):
            wanted = Vertices(left=grad_left, right=None, attention=None, value=grad_value)
            given = (grads, vertices, edges, transpose, scratch, wanted, sizes, problem)
            for name, kernel in (("short", source_kernel), ("long", long_source_kernel)):
                blocks = block_of(name, problem)
                programs = triton.cdiv(sizes.num_sources, blocks["VERTICES"]) * heads
                kernel[(programs,)](*given, **blocks)
        if grad_geometry is not None or grad_weight is not None:
            given = (vertices, edges, edge_rows(edges.row_offsets, sizes.num_edges), scratch)
            _differentiate_geometry(given, sizes, problem, grad_geometry, grad_weight)


def _differentiate_rows(
    given: tuple, sizes: Sizes, problem: Problem, grad_attention: Tensor | None
) -> None:
    short, long = (block_of(name, problem) for name in ("short", "long"))
    counts = (
        triton.cdiv(sizes.num_rows, short["VERTICES"] * ROW_TILES),
        triton.cdiv(sizes.num_rows, long["VERTICES"]),
    )
    partials = [None, None]
    partial = None
    if grad_attention is not None:
        partial = grad_attention.new_empty(sum(counts), problem.H, problem.D)
        partials = partial.split(counts)
    row_kernel[(counts[0] * problem.H,)](*given, partials[0], sizes, problem, ROW_TILES, **short)
    long_row_kernel[(counts[1] * problem.H,)](*given, partials[1], sizes, problem, **long)
    if partial is not None:
        torch.sum(partial, 0, out=grad_attention)


def _differentiate_geometry(
    given: tuple,
    sizes: Sizes,
    problem: Problem,
    grad_geometry: Tensor | None,
    grad_weight: Tensor | None,
) -> None:
    blocks = block_of("edges", problem)
    if grad_geometry is not None and grad_geometry.numel():
        programs = triton.cdiv(sizes.num_edges, blocks["BLOCK"])
        geometry_kernel[(programs,)](*given, grad_geometry, sizes, problem, **blocks)
    if grad_weight is None:
        return
    programs = triton.cdiv(sizes.num_edges, blocks["BLOCK"] * EDGE_TILES)
    partial = grad_weight.new_empty(programs, *grad_weight.shape)
    if partial.numel():
        geometry_weight_kernel[(programs * problem.H,)](
            *given, partial, sizes, problem, TILES=EDGE_TILES, **blocks
        )
    torch.sum(partial, 0, out=grad_weight)
