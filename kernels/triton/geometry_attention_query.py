"""Backward Triton kernel of ``geometry_attention`` for tiles of queries.

It recomputes the probabilities from the saved lse, owns the gradients of its queries, and leaves
``delta`` in records of its rows for the key kernel: no atomics. With ``e = k_position - mean``, the
mean and the variance of a row add ``e . (grad_mean + grad_variance e)`` to the gradient of its
probabilities.

``delta_i = sum_j P_ij dP_ij`` is taken from the saved output, which half precision has rounded. As
``sum_j dS_ij = grad_lse_i``, what that sum misses is the error of delta: the bias parameters, the
gradients of query positions and the key kernel get it corrected, ``grad_q`` does not.
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
    radial_of,
    radial_scale,
    vector_of,
    zero_sums,
)
from g2vlm_fast.kernels.triton.geometry_attention_points import (
    Point,
    load_points,
    minus,
    plus,
    spread,
    squeeze,
    store_points,
    sum_pairs,
    times,
    zero_points,
    zero_where,
)
from g2vlm_fast.kernels.triton.geometry_attention_terms import (
    bias_of,
    compare,
    load_channels,
    load_key_places,
    load_parameters,
    load_query_places,
    table_value,
    unit_of,
)
from g2vlm_fast.kernels.triton.geometry_attention_tiles import (
    LOG2_E,
    Program,
    clear_and_visible_ends,
    dropout_factor,
    hide_keys,
    list_of,
    load_tile,
    locate_queries,
    score_products,
    store_records,
    store_tile,
    visible_keys,
)


class Queries(NamedTuple):
    """A tile of queries of one head, and what the gradients of their probabilities depend on."""

    rows: Any
    q: Any
    places: Any
    parameters: Any
    grad_out: Any
    lse: Any  # in units of log 2
    delta: Any
    mean: Point  # of positions, metres
    pull: Point  # the gradient of the mean
    stretch: Any  # the gradient of the variance


class QuerySums(NamedTuple):
    """Sums over keys; ``score`` is the gradient of a score."""

    grad_q: Any
    score: Any
    derivatives: Any  # of the score, times the derivative by each bias parameter
    expected: Any  # the same under the probabilities
    table: Any  # of the score, times what tables add to the bias
    expected_table: Any
    moments: Any  # of the radial gradients
    expected_moments: Any  # the same under the probabilities
    radial: Point  # sum of radial gradient times difference, where there are no moments


@triton.jit
def query_kernel(
    grads,
    tokens,
    channels,
    results,
    records,
    grad_q,
    grad_features,
    grad_table,
    grad_q_position,
    kept,
    sizes,
    PROBLEM: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Write records, grad_q, grad_q_position, ``sum_j dS_ij dbias_ij / dparameter`` of each row.

    The last only where rows differ in their parameters or gates: the key kernel, which knows delta
    better, sums it up for whole heads. ``grad_table [Lq, H]`` is the same of the sum of all tables,
    for gates alone. ``kept`` lists tiles of keys as in the forward pass.
    """
    head = tl.program_id(1)
    tile = locate_queries(tokens, sizes, BLOCK_Q)
    if tile.first >= tile.end:
        return
    D_PADDED: tl.constexpr = PROBLEM.D_PADDED
    TAIL: tl.constexpr = max(BLOCK_K // 2, 16)  # masks take registers
    BIASED: tl.constexpr = PROBLEM.BIASED
    MOMENTS: tl.constexpr = grads.mean is not None or grads.variance is not None
    rows = tile.first + tl.arange(0, BLOCK_Q)
    inside = rows < tile.end
    wide_rows = rows.to(tl.int64) * PROBLEM.H + head
    q_tile = load_tile(tokens.q, tile.first, inside, head, PROBLEM.H, BLOCK_Q, PROBLEM)
    grad_tile = load_tile(grads.out, tile.first, inside, head, PROBLEM.H, BLOCK_Q, PROBLEM)
    out_tile = load_tile(results.out, tile.first, inside, head, PROBLEM.H, BLOCK_Q, PROBLEM)
    row_lse = tl.load(results.lse + wide_rows, mask=inside, other=-float("inf"))
    blind = row_lse == -float("inf")
    row_lse = tl.where(blind, float("inf"), row_lse * LOG2_E)
    row_delta = tl.sum(grad_tile.to(tl.float32) * out_tile.to(tl.float32), 1)
    row_grad_lse = tl.zeros([BLOCK_Q], tl.float32)
    if grads.lse is not None:
        row_grad_lse = tl.load(grads.lse + wide_rows, mask=inside, other=0.0)
        row_grad_lse = tl.where(blind, 0.0, row_grad_lse)
    row_delta -= row_grad_lse
    mean = zero_points(BLOCK_Q)
    pull = zero_points(BLOCK_Q)
    stretch = tl.zeros([BLOCK_Q], tl.float32)
    if MOMENTS:
        mean = load_points(results.mean, wide_rows, inside, 3)
        if grads.mean is not None:
            pull = load_points(grads.mean, wide_rows, inside, 3)
        if grads.variance is not None:
            stretch = tl.load(grads.variance + wide_rows, mask=inside, other=0.0)
            row_delta += stretch * tl.load(results.variance + wide_rows, mask=inside, other=0.0)
    row_delta = tl.where(blind, 0.0, row_delta)
    frame = 0.0
    places = 0.0
    parameters = 0.0
    if BIASED:
        frame = load_frame(
            tokens, channels, tile.segment, tile.other_begin, tile.other_end, PROBLEM
        )
    program = Program(tokens, channels, sizes, tile, head, frame)
    if BIASED:
        places = load_query_places(program, tile.first, rows, inside, BLOCK_Q, PROBLEM)
        parameters = load_parameters(program, rows, inside, 1, PROBLEM)
    sums = QuerySums(
        tl.zeros([BLOCK_Q, D_PADDED], tl.float32),
        tl.zeros([BLOCK_Q], tl.float32),
        zero_sums(row_lse, PROBLEM),
        zero_sums(row_lse, PROBLEM),
        tl.zeros([BLOCK_Q], tl.float32),
        tl.zeros([BLOCK_Q], tl.float32),
        tl.zeros([BLOCK_Q, 16], tl.float32),
        tl.zeros([BLOCK_Q, 16], tl.float32),
        zero_points(BLOCK_Q),
    )
    clear_end, last_end = clear_and_visible_ends(tokens, tile, BLOCK_Q, BLOCK_K, PROBLEM.CAUSAL)
    POSITION: tl.constexpr = grad_q_position is not None
    queries = Queries(
        rows, q_tile, places, parameters, grad_tile, row_lse, row_delta, mean, pull, stretch
    )
    if kept.lists is None:
        for start in range(tile.other_begin, clear_end, BLOCK_K):
            sums = visit_keys(
                sums, program, queries, start, False, POSITION, MOMENTS, PROBLEM, BLOCK_K
            )
    else:
        MASKED: tl.constexpr = tokens.k_mask is not None
        UNIT: tl.constexpr = TAIL if MASKED else BLOCK_K
        listed, count = list_of(kept, head, PROBLEM.H)
        number = tl.load(listed).to(tl.int32)
        for turn in range(0, count):
            start = tile.other_begin + number * UNIT
            number = tl.load(listed + turn + 1).to(tl.int32)  # early: a load depends on it
            sums = visit_keys(
                sums, program, queries, start, MASKED, POSITION, MOMENTS, PROBLEM, UNIT
            )
        if MASKED:
            clear_end = last_end
    for start in tl.range(clear_end, last_end, TAIL, num_stages=1):
        sums = visit_keys(sums, program, queries, start, True, POSITION, MOMENTS, PROBLEM, TAIL)
    store_tile(grad_q, wide_rows, sums.grad_q * sizes.scale, inside, PROBLEM)
    missed = tl.where(blind, 0.0, sums.score - row_grad_lse)
    store_records(records, wide_rows, -row_lse, row_delta + missed, inside)
    if BIASED:
        PARAMETERS: tl.constexpr = PROBLEM.PARAMETERS
        if PARAMETERS > 0 and not PROBLEM.SHARED:
            feature = grad_features + wide_rows * PARAMETERS
            for column in tl.static_range(PARAMETERS):
                value = sums.derivatives[column] - missed * sums.expected[column]
                value *= unit_of(column, frame, PROBLEM)
                tl.store(feature + column, value, mask=inside)
        if grad_table is not None:
            value = sums.table - missed * sums.expected_table
            tl.store(grad_table + wide_rows, value, mask=inside)
        if POSITION:
            own = zero_points(BLOCK_Q)
            if PROBLEM.CHANNELS:
                moments = sums.moments - missed[:, None] * sums.expected_moments
                radial_k, radial_sum, _ = sums_of(moments)
                own = minus(times(places.point, radial_sum), radial_k)
            elif PROBLEM.RADIAL:
                own = minus(own, sums.radial)
            own = times(own, radial_scale(program, PROBLEM))
            if PROBLEM.DIRECTION >= 0:
                direction = vector_of(parameters, PROBLEM.DIRECTION)
                if PROBLEM.OWN:
                    direction = squeeze(direction, 1)
                if PROBLEM.GATED:
                    direction = times(direction, tl.sum(parameters.gate, 1))
                own = minus(own, times(direction, row_grad_lse))
            if PROBLEM.GATED:
                # The bias of a row with gate 0 does not depend on its position, finite or not.
                own = zero_where(tl.sum(parameters.gate, 1) == 0.0, own)
            store_points(grad_q_position, wide_rows, times(own, frame.units), inside)


@triton.jit
def visit_keys(
    sums,
    program,
    queries,
    start,
    MASKED: tl.constexpr,
    POSITION: tl.constexpr,
    MOMENTS: tl.constexpr,
    PROBLEM: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Add what one tile of keys gives to the gradients of the queries."""
    tokens = program.tokens
    tile = program.tile
    parameters = queries.parameters
    PRECISION: tl.constexpr = PROBLEM.PRECISION
    kv_head = program.head // PROBLEM.GROUP
    keys = start + tl.arange(0, BLOCK_K)
    visible = None
    if MASKED:
        visible = visible_keys(tokens, keys, tile.other_end)
    k_tile = load_tile(tokens.k, start, visible, kv_head, PROBLEM.KV_HEADS, BLOCK_K, PROBLEM)
    v_tile = load_tile(tokens.v, start, visible, kv_head, PROBLEM.KV_HEADS, BLOCK_K, PROBLEM)
    score = score_products(queries.q, k_tile, program.sizes.scale, PROBLEM)
    if PROBLEM.BIASED:
        k_places = load_key_places(program, start, keys, visible, BLOCK_K, PROBLEM)
        pairs = compare(queries.places, k_places, parameters, program, True, False, PROBLEM)
        score += bias_of(pairs, parameters, -queries.lse[:, None], PROBLEM)
    else:
        score -= queries.lse[:, None]
    if MASKED:
        score = hide_keys(score, tile, queries.rows, keys, visible, PROBLEM.CAUSAL)
    probability = tl.exp2(score)
    grad_score = tl.dot(queries.grad_out, tl.trans(v_tile), input_precision=PRECISION)
    if PROBLEM.DROPOUT:
        grad_score *= dropout_factor(program, program.head, queries.rows[:, None], keys[None, :])
    if MOMENTS:
        place = spread(load_points(tokens.k_position, keys, visible, 3), 0)
        offset = minus(place, spread(queries.mean, 1))
        stretch = queries.stretch[:, None]
        grad_score += offset.x * (queries.pull.x[:, None] + stretch * offset.x)
        grad_score += offset.y * (queries.pull.y[:, None] + stretch * offset.y)
        grad_score += offset.z * (queries.pull.z[:, None] + stretch * offset.z)
    grad_score = probability * (grad_score - queries.delta[:, None])
    grad_q = tl.dot(grad_score.to(k_tile.dtype), k_tile, sums.grad_q, input_precision=PRECISION)
    derivatives = sums.derivatives
    expected = sums.expected
    table = sums.table
    expected_table = sums.expected_table
    moments = sums.moments
    expected_moments = sums.expected_moments
    radial_sum = sums.radial
    if PROBLEM.BIASED:
        if PROBLEM.TABLE_COLUMNS > 0 and PROBLEM.GATED:
            value = table_value(pairs, PROBLEM)
            table += tl.sum(grad_score * value, 1)
            expected_table += tl.sum(probability * value, 1)
        if PROBLEM.PARAMETERS > 0 and not PROBLEM.SHARED:
            derivatives = add_derivatives(
                derivatives, grad_score, pairs, parameters, False, PROBLEM
            )
            expected = add_derivatives(expected, probability, pairs, parameters, False, PROBLEM)
        if POSITION and PROBLEM.RADIAL:
            radial = radial_of(grad_score, pairs, parameters, PROBLEM)
            if PROBLEM.CHANNELS:
                k_moment = load_channels(program.channels.k_moment, start, visible, 0, 1, BLOCK_K)
                moments = add_moments(moments, radial, k_moment, PROBLEM)
                likely = radial_of(probability, pairs, parameters, PROBLEM)
                expected_moments = tl.dot(likely.to(tl.bfloat16), k_moment, expected_moments)
            else:
                radial_sum = plus(radial_sum, sum_pairs(radial, pairs.difference, 1))
    score_sum = sums.score + tl.sum(grad_score, 1)
    return QuerySums(
        grad_q,
        score_sum,
        derivatives,
        expected,
        table,
        expected_table,
        moments,
        expected_moments,
        radial_sum,
    )
