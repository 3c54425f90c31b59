"""Backward Triton kernels of ``edge_mlp``: hidden rows are made again, tile by tile.

Of a row's messages each channel has one winner, so that the gradient of the messages is made from
``grad`` and ``winner`` where it is needed. One kernel pulls it to the owners (the rows, and,
over the transpose, the sources), the other one sums the gradient of the second map. What several
programs add up they leave in parts, which are summed in a fixed order: no atomics.
"""

import triton
import triton.language as tl

from g2vlm_fast.kernels.triton.edge_mlp_tiles import (
    activate,
    load_edges,
    load_map,
    load_owners,
    load_term,
    load_term_weight,
    message_gradient,
    preactivation,
    times_slope,
)


@triton.jit
def owner_kernel(
    lists,
    ends,
    upstream,
    weight,
    grad_own,
    grad_geometry,
    geometry_weight_parts,
    sizes,
    PROBLEM: tl.constexpr,
    ROWS: tl.constexpr,
    SLOTS: tl.constexpr,
    BLOCK_H: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_TERMS: tl.constexpr,
):
    """Write the gradients of the owners and of the geometry, of one block of hidden channels.

    ``grad_geometry [blocks, E, TERMS]`` and ``geometry_weight_parts [programs, TERMS, H]`` are to
    be summed over their first axis.
    """
    program = tl.program_id(0)
    block = tl.program_id(1)
    first_hidden = block * BLOCK_H
    hidden_channels = first_hidden + tl.arange(0, BLOCK_H)
    KEPT: tl.constexpr = PROBLEM.C <= BLOCK_C
    TERMS: tl.constexpr = PROBLEM.TERMS
    second = load_map(weight, first_hidden, 0, PROBLEM, BLOCK_H, BLOCK_C)
    terms = tl.arange(0, BLOCK_TERMS)
    term_sums = tl.zeros([BLOCK_TERMS, BLOCK_H], tl.float32)
    for tile in range(program, tl.cdiv(sizes.num_owners, ROWS), tl.num_programs(0)):
        owners = load_owners(tile, lists, sizes, ROWS)
        total = tl.zeros([ROWS, BLOCK_H], tl.float32)
        for first in range(0, tl.max(owners.degree, 0), SLOTS):
            edges = load_edges(owners, first, lists, sizes, ROWS, SLOTS)
            grad_hidden = tl.zeros([ROWS * SLOTS, BLOCK_H], tl.float32)
            for first_channel in range(0, PROBLEM.C, BLOCK_C):
                if not KEPT:
                    second = load_map(
                        weight, first_hidden, first_channel, PROBLEM, BLOCK_H, BLOCK_C
                    )
                pulled = message_gradient(upstream, edges, first_channel, PROBLEM, BLOCK_C)
                grad_hidden = tl.dot(
                    pulled, tl.trans(second), grad_hidden, input_precision=PROBLEM.PRECISION
                )
            z = preactivation(ends, edges, first_hidden, PROBLEM, BLOCK_H)
            grad_z = times_slope(grad_hidden, z, PROBLEM)
            total += tl.sum(tl.reshape(grad_z, [ROWS, SLOTS, BLOCK_H]), 1)
            if grad_geometry is not None:
                part = grad_geometry + block.to(tl.int64) * sizes.num_edges * TERMS
                for term in tl.static_range(TERMS):
                    factor = load_term_weight(ends, term, first_hidden, PROBLEM, BLOCK_H)
                    tl.store(
                        part + edges.edge * TERMS + term,
                        tl.sum(grad_z * factor[None, :], 1),
                        mask=edges.present,
                    )
            if geometry_weight_parts is not None:
                for term in tl.static_range(TERMS):
                    column = load_term(ends, edges, term, PROBLEM)
                    here = tl.sum(grad_z * column[:, None], 0)
                    term_sums += tl.where((terms == term)[:, None], here[None, :], 0.0)
        if grad_own is not None:
            mask = owners.inside[:, None] & (hidden_channels < PROBLEM.H)[None, :]
            places = owners.vertices.to(tl.int64)[:, None] * PROBLEM.H + hidden_channels[None, :]
            tl.store(grad_own + places, total.to(grad_own.dtype.element_ty), mask=mask)
    if geometry_weight_parts is not None:
        rows = program * TERMS + terms
        mask = (terms < TERMS)[:, None] & (hidden_channels < PROBLEM.H)[None, :]
        places = rows[:, None] * PROBLEM.H + hidden_channels[None, :]
        tl.store(geometry_weight_parts + places, term_sums, mask=mask)


@triton.jit
def map_kernel(
    lists,
    ends,
    upstream,
    map_parts,
    bias_parts,
    sizes,
    PROBLEM: tl.constexpr,
    ROWS: tl.constexpr,
    SLOTS: tl.constexpr,
    BLOCK_H: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Write parts of gradients: ``[programs, H, C]`` of the map, ``[programs, C]`` of its bias."""
    program = tl.program_id(0)
    first_hidden = tl.program_id(1) * BLOCK_H
    first_channel = tl.program_id(2) * BLOCK_C
    map_sum = tl.zeros([BLOCK_H, BLOCK_C], tl.float32)
    bias_sum = tl.zeros([BLOCK_C], tl.float32)
    for tile in range(program, tl.cdiv(sizes.num_owners, ROWS), tl.num_programs(0)):
        owners = load_owners(tile, lists, sizes, ROWS)
        for first in range(0, tl.max(owners.degree, 0), SLOTS):
            edges = load_edges(owners, first, lists, sizes, ROWS, SLOTS)
            pulled = message_gradient(upstream, edges, first_channel, PROBLEM, BLOCK_C)
            if map_parts is not None:
                z = preactivation(ends, edges, first_hidden, PROBLEM, BLOCK_H)
                hidden = activate(z, PROBLEM).to(pulled.dtype)
                map_sum = tl.dot(
                    tl.trans(hidden), pulled, map_sum, input_precision=PROBLEM.PRECISION
                )
            if bias_parts is not None:
                bias_sum += tl.sum(pulled.to(tl.float32), 0)
    channels = first_channel + tl.arange(0, BLOCK_C)
    if map_parts is not None:
        hidden_channels = first_hidden + tl.arange(0, BLOCK_H)
        mask = (hidden_channels < PROBLEM.H)[:, None] & (channels < PROBLEM.C)[None, :]
        rows = program.to(tl.int64) * PROBLEM.H + hidden_channels
        tl.store(map_parts + rows[:, None] * PROBLEM.C + channels[None, :], map_sum, mask=mask)
    if bias_parts is not None:
        # Every block of hidden channels has the same sum; one of them writes it.
        mask = (channels < PROBLEM.C) & (first_hidden == 0)
        tl.store(bias_parts + program.to(tl.int64) * PROBLEM.C + channels, bias_sum, mask=mask)
