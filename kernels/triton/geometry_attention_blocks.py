"""Tile sizes and launch options of the Triton kernels of ``geometry_attention``."""

import triton

from g2vlm_fast.kernels.triton.geometry_attention_tiles import Problem

# BLOCK_Q, BLOCK_K, num_warps, num_stages by kernel, kind of problem and padded head dim, for sm_90:
# the fastest of those measured; those of tables over axes were not measured yet.
# tests/triton holds them to their registers.
BLOCKS = {
    ("forward", "half"): {
        16: (128, 64, 4, 3),
        32: (128, 64, 4, 3),
        64: (64, 64, 4, 3),
        128: (128, 64, 8, 3),
    },
    ("forward", "half, rich"): {
        16: (64, 64, 4, 3),
        32: (64, 64, 4, 3),
        64: (64, 64, 4, 3),
        128: (128, 64, 8, 3),
    },
    ("forward", "half, full"): {
        16: (64, 64, 4, 3),
        32: (64, 64, 4, 3),
        64: (64, 64, 4, 3),
        128: (128, 32, 8, 3),
    },
    ("forward", "half, axes"): {
        16: (64, 32, 4, 3),
        32: (64, 32, 4, 3),
        64: (64, 32, 4, 3),
        128: (128, 32, 8, 3),
    },
    ("forward", "single"): {
        16: (32, 64, 4, 1),
        32: (32, 64, 4, 1),
        64: (32, 16, 4, 1),
        128: (16, 16, 4, 1),
    },
    ("query", "half"): {
        16: (64, 64, 4, 3),
        32: (64, 64, 4, 3),
        64: (64, 64, 4, 3),
        128: (128, 64, 8, 3),
    },
    ("query", "half, rich"): {
        16: (64, 32, 4, 3),
        32: (64, 32, 4, 3),
        64: (64, 32, 4, 3),
        128: (64, 32, 8, 3),
    },
    ("query", "half, full"): {
        16: (64, 32, 4, 3),
        32: (64, 32, 4, 3),
        64: (64, 16, 4, 3),
        128: (128, 16, 8, 3),
    },
    ("query", "single"): {
        16: (16, 16, 4, 1),
        32: (16, 16, 4, 1),
        64: (16, 16, 4, 1),
        128: (16, 16, 8, 1),
    },
    ("key", "half"): {
        16: (64, 64, 4, 3),
        32: (64, 64, 4, 3),
        64: (64, 64, 4, 3),
        128: (32, 64, 4, 3),
    },
    ("key", "half, rich"): {
        16: (32, 64, 4, 3),
        32: (32, 64, 4, 3),
        64: (32, 64, 4, 3),
        128: (16, 64, 8, 2),
    },
    ("key", "half, full"): {
        16: (16, 64, 4, 3),
        32: (16, 64, 4, 3),
        64: (16, 64, 4, 3),
        128: (16, 64, 8, 2),
    },
    ("key", "single"): {
        16: (16, 32, 4, 1),
        32: (32, 32, 4, 1),
        64: (16, 32, 4, 1),
        128: (16, 16, 8, 1),
    },
}

# BLOCK_K, num_warps, num_stages of the kernel for few queries, by kind and padded head dim.
DECODE_BLOCKS = {
    "half, light": {16: (64, 4, 3), 32: (64, 4, 3), 64: (64, 4, 3), 128: (128, 4, 2)},
    "half": {16: (64, 4, 3), 32: (64, 4, 3), 64: (64, 4, 3), 128: (64, 4, 3)},
    "half, tall": {16: (64, 4, 3), 32: (64, 4, 3), 64: (64, 4, 3), 128: (32, 4, 3)},
    "single": {16: (32, 4, 1), 32: (32, 4, 1), 64: (32, 4, 1), 128: (16, 4, 1)},
}


def kind_of(kernel: str, problem: Problem, moments: bool, masked: bool) -> str:
    """Return the kind of a problem: how many numbers its pairs keep in registers.

    ``moments`` asks for positions under the attention, or their gradients.
    """
    if problem.DTYPE == "fp32":
        return "single"
    if kernel == "forward" and problem.AXIS_TABLE >= 0:
        return "half, axes"
    weight = problem.PARAMETERS + 3 * (problem.RADIAL_TABLE >= 0) + 3 * (problem.AXIS_TABLE >= 0)
    if kernel == "query" and problem.SHARED:
        weight //= 3  # the key kernel sums their gradients up
    weight += 2 * problem.GATED + 4 * problem.DROPOUT + 6 * moments + problem.CAUSAL + masked
    if weight <= problem.SHARED:
        return "half"
    return "half, rich" if weight <= 8 else "half, full"


def block_sizes(kernel: str, problem: Problem, moments: bool, masked: bool) -> dict[str, int]:
    """Return the tile sizes and launch options of a kernel; see :func:`kind_of`."""
    sizes = BLOCKS[kernel, kind_of(kernel, problem, moments, masked)][problem.D_PADDED]
    return dict(zip(("BLOCK_Q", "BLOCK_K", "num_warps", "num_stages"), sizes, strict=True))


def decode_block_sizes(problem: Problem, rows: int) -> dict[str, int]:
    """Return tile size and launch options of the kernel for few queries; ``rows`` of a tile."""
    kind = "half, tall" if rows > 32 else "half"
    if rows <= 16 and problem.PARAMETERS <= 1 and not problem.GATED:
        kind = "half, light"
    sizes = DECODE_BLOCKS["single" if problem.DTYPE == "fp32" else kind][problem.D_PADDED]
    return dict(zip(("BLOCK_K", "num_warps", "num_stages"), sizes, strict=True))


def padded_head_dim(head_dim: int) -> int:
    return max(16, triton.next_power_of_2(head_dim))
