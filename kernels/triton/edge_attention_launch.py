"""Launches the Triton kernels of ``edge_attention``: blocks, grids, fixed-order sums."""

import contextlib

import torch
import triton
from torch import Tensor

from g2vlm_fast.kernels.triton.edge_attention import forward_kernel, long_forward_kernel
from g2vlm_fast.kernels.triton.edge_attention_backward import (
    long_row_kernel,
    long_source_kernel,
    row_kernel,
    source_kernel,
)
from g2vlm_fast.kernels.triton.edge_attention_geometry import (
    geometry_kernel,
    geometry_weight_kernel,
)
from g2vlm_fast.kernels.triton.edge_attention_rows import Problem, Results, Sizes
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
    heads, head_dim = vertices.left.shape[-2:]
    return Problem(
        H=heads,
        END_HEADS=heads if vertices.right is not None else 2 * heads,
        D=head_dim,
        D_PADDED=max(16, triton.next_power_of_2(head_dim)),
        TERMS=0 if edges.geometry is None else edges.geometry.shape[1],
        LONG=LONG,
    )


def block_of(kernel: str, problem: Problem) -> dict[str, int]:
    """Return the sizes of blocks and the launch options.

    Short rows go one edge at a time, eight channels a thread: then each warp has rows of its own,
    and heads of up to 256 channels exchange nothing between warps (measured at 32 channels: a third
    of the time of two slots a row). Sources hold more at once, and go in blocks of half the size:
    1.75 ms for 2.11 where a million have 16 edges each, 0.86 for 0.81 where they have 6.
    """
    channels = problem.D_PADDED
    if kernel in ("forward", "row"):
        return {"VERTICES": max(1, 1024 // channels), "SLOTS": 1, "num_warps": 4}
    if kernel == "source":
        return {"VERTICES": max(1, 512 // channels), "SLOTS": 1, "num_warps": 2}
    if kernel == "long":
        return {"VERTICES": 128, "SLOTS": max(1, 1024 // channels), "num_warps": 4}
    terms = triton.next_power_of_2(max(1, problem.TERMS))
    return {"TERMS_PADDED": terms, "BLOCK": max(1, 1024 // channels), "num_warps": 4}


def _sizes(vertices: Vertices, edges: Edges, negative_slope: float, scale: float) -> Sizes:
    left, right = vertices.ends()
    return Sizes(right.shape[0], left.shape[0], edges.columns.shape[0], negative_slope, scale)


def _with_ends(vertices: Vertices) -> Vertices:
    """Return the vertices with a tensor for each end; of both in one, two views."""
    left, right = vertices.ends()
    return vertices._replace(left=left, right=right)


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
    sizes = _sizes(vertices, edges, negative_slope, scale)
    given = (_with_ends(vertices), edges, out, lse, sizes, problem)
    with _on_device_of(lse):
        for name, kernel in (("forward", forward_kernel), ("long", long_forward_kernel)):
            blocks = block_of(name, problem)
            kernel[(triton.cdiv(rows, blocks["VERTICES"]) * heads,)](*given, **blocks)


def backward(
    grads: tuple[Tensor, Tensor | None],
    vertices: Vertices,
    edges: Edges,
    transpose: Transposed,
    lse: Tensor,
    negative_slope: float,
    scale: float,
    gradients: list[Tensor | None],
) -> None:
    """Write the ``gradients`` that are not None; every tensor is dense.

    ``grads`` are those of the output and, unless it is None, of ``lse``.
    """
    grad_left, grad_right, grad_attention, grad_value, grad_geometry, grad_weight = gradients
    problem = problem_of(vertices, edges)
    sizes = _sizes(vertices, edges, negative_slope, scale)
    if vertices.right is None and grad_left is not None:
        grad_left, grad_right = grad_left.unbind(1)
    vertices = _with_ends(vertices)
    results = Results(lse, torch.empty_like(lse), *grads)
    with _on_device_of(lse):
        if lse.numel():
            given = (results, vertices, edges, grad_right)
            _differentiate_rows(given, sizes, problem, grad_attention)
        elif grad_attention is not None:
            grad_attention.zero_()
        if sizes.num_sources * problem.H and (grad_left is not None or grad_value is not None):
            wanted = Vertices(left=grad_left, right=None, attention=None, value=grad_value)
            given = (results, vertices, edges, transpose, wanted, sizes, problem)
            for name, kernel in (("source", source_kernel), ("long", long_source_kernel)):
                blocks = block_of(name, problem)
                programs = triton.cdiv(sizes.num_sources, blocks["VERTICES"]) * problem.H
                kernel[(programs,)](*given, **blocks)
        if grad_geometry is not None or grad_weight is not None:
            given = (results, vertices, edges, edge_rows(edges.row_offsets, sizes.num_edges))
            _differentiate_geometry(given, sizes, problem, grad_geometry, grad_weight)


def _differentiate_rows(
    given: tuple, sizes: Sizes, problem: Problem, grad_attention: Tensor | None
) -> None:
    short, long = (block_of(name, problem) for name in ("row", "long"))
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
