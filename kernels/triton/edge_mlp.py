"""Forward Triton kernel of ``edge_mlp``: the maximum of each row's messages.

A program takes tiles of rows in turn and keeps the second map, where that fits, from tile to tile.
Hidden rows are made in registers, go through tensor cores, and the products are reduced where they
are: what leaves is a row a vertex.

Maxima are those of integers that order as the numbers do, with every NaN on top: exact, and without
a second way for NaN. Of the slots that attain one, the first wins.
"""

import triton
import triton.language as tl

from g2vlm_fast.kernels.triton.edge_mlp_tiles import (
    activate,
    load_edges,
    load_map,
    load_owners,
    preactivation,
)

LOWEST = tl.constexpr(-(2**31))  # below the key of every number
LARGEST = tl.constexpr(2**31 - 1)  # above it: NaN


@triton.jit
def forward_kernel(
    lists,
    ends,
    weight,
    bias,
    out,
    winner,
    sizes,
    PROBLEM: tl.constexpr,
    ROWS: tl.constexpr,
    SLOTS: tl.constexpr,
    BLOCK_H: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Write ``out`` and, where it is there, ``winner``, of one block of channels."""
    first_channel = tl.program_id(1) * BLOCK_C
    KEPT: tl.constexpr = PROBLEM.H <= BLOCK_H
    second = load_map(weight, 0, first_channel, PROBLEM, BLOCK_H, BLOCK_C)
    for tile in range(tl.program_id(0), tl.cdiv(sizes.num_owners, ROWS), tl.num_programs(0)):
        owners = load_owners(tile, lists, sizes, ROWS)
        best = tl.full([ROWS, BLOCK_C], LOWEST, tl.int32)
        slots = tl.zeros([ROWS, BLOCK_C], tl.int32)
        for first in range(0, tl.max(owners.degree, 0), SLOTS):
            edges = load_edges(owners, first, lists, sizes, ROWS, SLOTS)
            message = tl.zeros([ROWS * SLOTS, BLOCK_C], tl.float32)
            for first_hidden in range(0, PROBLEM.H, BLOCK_H):
                if not KEPT:
                    second = load_map(
                        weight, first_hidden, first_channel, PROBLEM, BLOCK_H, BLOCK_C
                    )
                hidden = activate(
                    preactivation(ends, edges, first_hidden, PROBLEM, BLOCK_H), PROBLEM
                )
                message = tl.dot(
                    hidden.to(weight.dtype.element_ty),
                    second,
                    message,
                    input_precision=PROBLEM.PRECISION,
                )
            key = tl.reshape(keys_of(message, edges), [ROWS, SLOTS, BLOCK_C])
            highest = tl.max(key, 1)
            if winner is not None:
                slot = tl.reshape(edges.slot, [ROWS, SLOTS, 1])
                earliest = tl.min(tl.where(key == highest[:, None, :], slot, LARGEST), 1)
                slots = tl.where(highest > best, earliest, slots)
            best = tl.maximum(best, highest)
        store_best(best, slots, owners, first_channel, bias, out, winner, PROBLEM, BLOCK_C)


@triton.jit
def keys_of(message, edges):
    """Return int32 that order as the messages do, with NaN on top and absent edges below all."""
    bits = tl.where(message == 0, 0.0, message).to(tl.int32, bitcast=True)
    key = bits ^ ((bits >> 31) & LARGEST)
    key = tl.where(message != message, LARGEST, key)
    return tl.where(edges.present[:, None], key, LOWEST)


@triton.jit
def store_best(
    best,
    slots,
    owners,
    first_channel,
    bias,
    out,
    winner,
    PROBLEM: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Write the numbers that the keys stand for, and the slots of the winners."""
    channels = first_channel + tl.arange(0, BLOCK_C)
    mask = owners.inside[:, None] & (channels < PROBLEM.C)[None, :]
    places = owners.vertices.to(tl.int64)[:, None] * PROBLEM.C + channels[None, :]
    empty = best == LOWEST
    value = (best ^ ((best >> 31) & LARGEST)).to(tl.float32, bitcast=True)
    if bias is not None:
        value += tl.load(bias + channels, mask=channels < PROBLEM.C, other=0.0).to(tl.float32)
    tl.store(out + places, tl.where(empty, 0.0, value).to(out.dtype.element_ty), mask=mask)
    if winner is not None:
        NONE: tl.constexpr = 255 if winner.dtype.element_ty == tl.uint8 else LARGEST
        slot = tl.where(empty, NONE, slots)
        tl.store(winner + places, slot.to(winner.dtype.element_ty), mask=mask)
