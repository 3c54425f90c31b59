"""Tile sizes and launch options of the Triton kernels of ``geometry_attention``."""

import triton

from g2vlm_fast.kernels.triton.geometry_attention_tiles import Problem

# BLOCK_Q, BLOCK_K, num_warps, num_stages by kernel, kind of problem and padded head dim, for sm_90:
# the fastest of those measured. tests/triton holds them to their registers.
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
        64: (64, 32, 4, 3),
        128: (64, 16, 8, 3),
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
        128: (16, 16, 4, 1),
    },
}


def kind_of(problem: Problem, moments: bool, masked: bool) -> str:
    """Return the kind of a problem: how many numbers its pairs keep in registers.

    ``moments`` asks for positions under the attention, or their gradients.
    """
    if problem.DTYPE == "fp32":
        return "single"
    weight = problem.PARAMETERS + 2 * problem.GATED + 4 * problem.DROPOUT + 6 * moments
    weight += problem.CAUSAL + masked
    if weight == 0 or (problem.SHARED and weight == 1):
        return "half"
    return "half, rich" if weight <= 8 else "half, full"


def block_sizes(kernel: str, kind: str, head_dim: int) -> dict[str, int]:
    """Return the tile sizes and launch options of a kernel."""
    sizes = BLOCKS[kernel, kind][padded_head_dim(head_dim)]
    return dict(zip(("BLOCK_Q", "BLOCK_K", "num_warps", "num_stages"), sizes, strict=True))


def padded_head_dim(head_dim: int) -> int:
    return max(16, triton.next_power_of_2(head_dim))
