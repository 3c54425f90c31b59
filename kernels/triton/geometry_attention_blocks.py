"""Tile sizes and launch options of the Triton kernels of ``geometry_attention``."""

import triton

# BLOCK_Q, BLOCK_K, num_warps, num_stages by kernel, kind of problem, padded head dim: the largest
# tiles that sm_90 runs without spilling registers (tests/triton holds them to it). A "rich" problem
# (several terms, a gate, causal, or position mean) keeps more of each pair in registers.
BLOCKS = {
    ("forward", "half"): {
        16: (128, 64, 4, 3),
        32: (128, 64, 4, 3),
        64: (64, 64, 4, 3),
        128: (128, 64, 8, 3),
    },
    ("forward", "half, rich"): {
        16: (128, 32, 4, 3),
        32: (128, 32, 4, 3),
        64: (128, 32, 4, 3),
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
        16: (64, 16, 4, 3),
        32: (64, 16, 4, 3),
        64: (64, 16, 4, 3),
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


def block_sizes(kernel: str, head_dim: int, element_size: int, rich: bool) -> dict[str, int]:
    """Return the tile sizes and launch options of a kernel."""
    kind = "single" if element_size == 4 else "half, rich" if rich else "half"
    sizes = BLOCKS[kernel, kind][padded_head_dim(head_dim)]
    return dict(zip(("BLOCK_Q", "BLOCK_K", "num_warps", "num_stages"), sizes, strict=True))


def padded_head_dim(head_dim: int) -> int:
    return max(16, triton.next_power_of_2(head_dim))
