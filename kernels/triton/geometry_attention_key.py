"""Backward Triton kernel of ``geometry_attention`` for tiles of keys.

It runs after the query kernel (:mod:`~g2vlm_fast.kernels.triton.geometry_attention_query`, which
says how), recomputes the probabilities and owns the gradients of its keys.
"""

from typing import Any, NamedTuple

import triton
import triton.language as tl

from g2vlm_fast.kernels.triton.geometry_attention_channels import (
    add_moments,
    load_frame,
    sums_of,
)
from g2vlm_fast.kernels.triton.geometry_attention_derivatives import (
    add_derivatives,
    pull_of,
    radial_of,
    radial_scale,
    zero_sums,
)
from g2vlm_fast.kernels.triton.geometry_attention_points import (
    Point,
    inner,
    load_points,
    minus,
    plus,
    spread,
    store_points,
    sum_pairs,
    times,
    zero_points,
    zero_where,
)
from g2vlm_fast.kernels.triton.geometry_attention_terms import (
    Places,
    bias_of,
    compare,
    load_channels,
    load_key_places,
    load_parameters,
    load_query_places,
    softness,
    unit_of,
)
from g2vlm_fast.kernels.triton.geometry_attention_tiles import (
    Program,
    clear_queries,
    dropout_factor,
    list_of,
    load_records,
    load_rows,
    load_tile,
    locate_keys,
    score_products,
    store_tile,
    visible_keys,
)


class Keys(NamedTuple):
    """A tile of keys of one key head."""

    keys: Any
    visible: Any
    k: Any
    v: Any
    places: Any


class Backward(NamedTuple):
    """What the queries are known to have attended to."""

    grads: Any
    results: Any
    records: Any  # of rows: shift and delta


class KeySums(NamedTuple):
    """Sums over queries, and over the heads that share the keys."""

    grad_k: Any
    grad_v: Any
    moments: Any  # of the radial gradients of one head
    position: Point  # the rest of the gradient, in the unit of the frame
    normal: Point
    derivatives: Any  # of one head: of the score, times the derivative by each bias parameter


@triton.jit
def key_kernel(
    grads,
    tokens,
    channels,
    results,
    records,
    grad_k,
    grad_v,
    grad_k_position,
    grad_k_normal,
    grad_parts,
    kept,
    sizes,
    PROBLEM: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Write grad_k, grad_v and the shares of one key head in the gradients of its places.

    ``grad_parts [tiles, H, PARAMETERS]`` are the shares of tiles in the gradients of parameters
    that heads share. ``kept`` lists tiles of queries of each head.
    """
    kv_head = tl.program_id(1)
    tile = locate_keys(tokens, sizes, BLOCK_K)
    if tile.first >= tile.end:
        return
    KV_HEADS: tl.constexpr = PROBLEM.KV_HEADS
    D_PADDED: tl.constexpr = PROBLEM.D_PADDED
    TAIL: tl.constexpr = max(BLOCK_Q // 2, 16)  # masks take registers
    BIASED: tl.constexpr = PROBLEM.BIASED
    keys = tile.first + tl.arange(0, BLOCK_K)
    inside = keys < tile.end
    visible = visible_keys(tokens, keys, tile.end)
    k_tile = load_tile(tokens.k, tile.first, visible, kv_head, KV_HEADS, BLOCK_K, PROBLEM)
    v_tile = load_tile(tokens.v, tile.first, visible, kv_head, KV_HEADS, BLOCK_K, PROBLEM)
    frame = 0.0
    places = 0.0
    if BIASED:
        frame = load_frame(tokens, channels, tile.segment, tile.first, tile.end, PROBLEM)
        at = Program(tokens, channels, sizes, tile, kv_head, frame)
        places = load_key_places(at, tile.first, keys, visible, BLOCK_K, PROBLEM)
    POSITION: tl.constexpr = grad_k_position is not None
    NORMAL: tl.constexpr = grad_k_normal is not None
    RADIAL: tl.constexpr = PROBLEM.RADIAL and (POSITION or PROBLEM.LONE)
    no_sum = tl.zeros([BLOCK_K // 16, 32], tl.float32)
    sums = KeySums(
        tl.zeros([BLOCK_K, D_PADDED], tl.float32),
        tl.zeros([BLOCK_K, D_PADDED], tl.float32),
        tl.zeros([BLOCK_K, 16], tl.float32),
        zero_points(BLOCK_K),
        zero_points(BLOCK_K),
        zero_sums(no_sum, PROBLEM),
    )
    q_first, clear_first, clear_end = clear_queries(tile, PROBLEM.CAUSAL, BLOCK_Q, BLOCK_K)
    own = Keys(keys, visible, k_tile, v_tile, places)
    given = Backward(grads, results, records)
    for member in range(PROBLEM.GROUP):
        head = kv_head * PROBLEM.GROUP + member
        program = Program(tokens, channels, sizes, tile, head, frame)
        if PROBLEM.CAUSAL:
            for start in tl.range(q_first, clear_first, BLOCK_Q, num_stages=1):
                sums = visit_queries(
                    sums, program, own, given, start, True, POSITION, NORMAL, PROBLEM, BLOCK_Q
                )
        if kept.lists is None:
            for start in range(clear_first, clear_end, BLOCK_Q):
                sums = visit_queries(
                    sums, program, own, given, start, False, POSITION, NORMAL, PROBLEM, BLOCK_Q
                )
        else:
            listed, count = list_of(kept, head, PROBLEM.H)
            number = tl.load(listed).to(tl.int32)
            for turn in range(0, count):
                start = clear_first + number * BLOCK_Q
                number = tl.load(listed + turn + 1).to(tl.int32)  # early: a load depends on it
                sums = visit_queries(
                    sums, program, own, given, start, False, POSITION, NORMAL, PROBLEM, BLOCK_Q
                )
        for start in tl.range(clear_end, tile.other_end, TAIL, num_stages=1):
            sums = visit_queries(
                sums, program, own, given, start, True, POSITION, NORMAL, PROBLEM, TAIL
            )
        position = sums.position
        if RADIAL and PROBLEM.CHANNELS:
            radial_q, radial_sum, radial_square = sums_of(sums.moments)
            shift = minus(times(places.point, radial_sum), radial_q)
            if PROBLEM.LONE:
                # sum w |k - q|^2, of which the radius is a softened root.
                square = radial_square + inner(places.point, minus(shift, radial_q))
                if PROBLEM.DISTANCE >= 0:
                    square += radial_sum * softness(program)
                part = -tl.where(visible, square, 0.0)
                store_parts(grad_parts, head, (part,), frame, PROBLEM)
            position = plus(position, times(shift, radial_scale(program, PROBLEM)))
        if PROBLEM.SHARED and not PROBLEM.LONE:
            store_parts(grad_parts, head, sums.derivatives, frame, PROBLEM)
        sums = KeySums(
            sums.grad_k,
            sums.grad_v,
            tl.zeros([BLOCK_K, 16], tl.float32),
            position,
            sums.normal,
            zero_sums(no_sum, PROBLEM),
        )
    wide_keys = keys.to(tl.int64) * KV_HEADS + kv_head
    store_tile(grad_k, wide_keys, sums.grad_k * sizes.scale, inside, PROBLEM)
    store_tile(grad_v, wide_keys, sums.grad_v, inside, PROBLEM)
    if POSITION:
        position = sums.position
        if BIASED:
            position = times(position, frame.units)
        store_points(grad_k_position, wide_keys, position, inside)
    if NORMAL:
        store_points(grad_k_normal, wide_keys, sums.normal, inside)


@triton.jit
def store_parts(parts, head, sums, frame, PROBLEM: tl.constexpr):
    """Store this tile's share in the gradients of a head's parameters."""
    H: tl.constexpr = PROBLEM.H
    PARAMETERS: tl.constexpr = PROBLEM.PARAMETERS
    own = parts + (tl.program_id(0).to(tl.int64) * H + head) * PARAMETERS
    for column in tl.static_range(PARAMETERS):
        part = tl.sum(sums[column]) * unit_of(column, frame, PROBLEM)
        tl.store(own + column, part)


@triton.jit
def visit_queries(
    sums,
    program,
    own,
    given,
    start,
    MASKED: tl.constexpr,
    POSITION: tl.constexpr,
    NORMAL: tl.constexpr,
    PROBLEM: tl.constexpr,
    BLOCK_Q: tl.constexpr,
):
    """Add what one tile of queries of one head gives to the gradients of the keys."""
    tokens = program.tokens
    tile = program.tile
    head = program.head
    grads = given.grads
    results = given.results
    H: tl.constexpr = PROBLEM.H
    PRECISION: tl.constexpr = PROBLEM.PRECISION
    rows = start + tl.arange(0, BLOCK_Q)
    present = None
    if MASKED:
        present = rows < tile.other_end
    q_tile = load_tile(tokens.q, start, present, head, H, BLOCK_Q, PROBLEM)
    grad_tile = load_tile(grads.out, start, present, head, H, BLOCK_Q, PROBLEM)
    row_shift, row_delta = load_records(given.records, start, present, head, H, BLOCK_Q)
    score = score_products(own.k, q_tile, program.sizes.scale, PROBLEM)
    if PROBLEM.BIASED:
        q_places = load_query_places(program, start, rows, present, BLOCK_Q, PROBLEM)
        parameters = load_parameters(program, rows, present, 0, PROBLEM)
        if PROBLEM.GATED:
            # A row with gate 0 may stand nowhere, and must not pull on any key.
            shut = tl.sum(parameters.gate, 0) == 0.0
            q_places = Places(zero_where(shut, q_places.point), q_places.channels, q_places.normal)
        pairs = compare(q_places, own.places, parameters, program, True, True, PROBLEM)
        score += bias_of(pairs, parameters, row_shift[None, :], PROBLEM)
    else:
        score += row_shift[None, :]
    if tokens.k_mask is not None:
        score = tl.where(own.visible[:, None], score, -float("inf"))
    if MASKED and PROBLEM.CAUSAL:
        hidden = own.keys[:, None] - tile.end > rows[None, :] - tile.other_end
        score = tl.where(hidden, -float("inf"), score)
    probability = tl.exp2(score)
    grad_score = tl.dot(own.v, tl.trans(grad_tile), input_precision=PRECISION)
    used = probability
    if PROBLEM.DROPOUT:
        factor = dropout_factor(program, program.head, rows[None, :], own.keys[:, None])
        used = probability * factor
        grad_score *= factor
    grad_v = tl.dot(used.to(grad_tile.dtype), grad_tile, sums.grad_v, input_precision=PRECISION)
    position = sums.position
    normal = sums.normal
    moments = sums.moments
    derivatives = sums.derivatives
    if grads.mean is not None or grads.variance is not None:
        wide_rows = rows.to(tl.int64) * H + head
        k_point = spread(load_points(tokens.k_position, own.keys, own.visible, 3), 1)
        mean = spread(load_points(results.mean, wide_rows, present, 3), 0)
        offset = minus(k_point, mean)
        metre = 1.0
        if PROBLEM.BIASED:
            metre = program.frame.metres
        if grads.mean is not None:
            pull = spread(load_points(grads.mean, wide_rows, present, 3), 0)
            grad_score += inner(offset, pull)
            if POSITION:
                position = plus(position, times(sum_pairs(probability, pull, 1), metre))
        if grads.variance is not None:
            stretch = load_rows(grads.variance, start, present, head, H, BLOCK_Q)[None, :]
            grad_score += stretch * inner(offset, offset)
            if POSITION:
                twice = 2.0 * stretch * probability
                position = plus(position, times(sum_pairs(twice, offset, 1), metre))
    grad_score = probability * (grad_score - row_delta[None, :])
    grad_k = tl.dot(grad_score.to(q_tile.dtype), q_tile, sums.grad_k, input_precision=PRECISION)
    if PROBLEM.BIASED:
        if PROBLEM.SHARED and not PROBLEM.LONE:
            # Rows past the end of the keys are no pairs, and are summed up here with the others.
            weight = tl.where(own.visible[:, None], grad_score, 0.0)
            derivatives = add_derivatives(derivatives, weight, pairs, parameters, True, PROBLEM)
        if PROBLEM.RADIAL and (POSITION or PROBLEM.LONE):
            radial = radial_of(grad_score, pairs, parameters, PROBLEM)
            if PROBLEM.CHANNELS:
                HEADS: tl.constexpr = PROBLEM.POSITION_HEADS
                member = head if HEADS > 1 else 0
                q_moment = program.channels.q_moment
                q_moment = load_channels(q_moment, start, present, member, HEADS, BLOCK_Q)
                moments = add_moments(moments, radial, q_moment, PROBLEM)
            else:
                scale = radial_scale(program, PROBLEM)
                pull = sum_pairs(radial, pairs.difference, 1)
                position = plus(position, times(pull, scale))
        if POSITION and PROBLEM.DIRECTION >= 0:
            pull = pull_of(grad_score, PROBLEM.DIRECTION, parameters, PROBLEM)
            position = plus(position, pull)
        if NORMAL and PROBLEM.NORMAL >= 0:
            pull = pull_of(grad_score, PROBLEM.NORMAL, parameters, PROBLEM)
            normal = plus(normal, pull)
    return KeySums(grad_k, grad_v, moments, position, normal, derivatives)
