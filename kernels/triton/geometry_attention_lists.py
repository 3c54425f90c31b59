"""Triton kernels that list the tiles to visit, for ``geometry_attention``.

Every tile of queries of a head gets a list of tiles of its keys, every tile of keys and head one of
tiles of queries, in ascending order: all that
:mod:`~g2vlm_fast.kernels.triton.geometry_attention_bounds` does not show to be negligible. Lists
count from where the loops over full tiles begin and leave out what these do not reach, which is
visited anyway. A list has room for all tiles and one more number, which may be read.
"""

from typing import Any, NamedTuple

import triton
import triton.language as tl

from g2vlm_fast.kernels.triton.geometry_attention import Queries, score_tile
from g2vlm_fast.kernels.triton.geometry_attention_bounds import (
    KeyBounds,
    QueryBounds,
    all_finite,
    any_of,
    are_kept,
    bounds_of_queries,
    box_of,
    largest_norm,
)
from g2vlm_fast.kernels.triton.geometry_attention_channels import load_frame
from g2vlm_fast.kernels.triton.geometry_attention_points import Point, inner, is_finite, load_points
from g2vlm_fast.kernels.triton.geometry_attention_terms import load_parameters, load_query_places
from g2vlm_fast.kernels.triton.geometry_attention_tiles import (
    LN_2,
    Program,
    clear_queries,
    end_of_visible_keys,
    load_tile,
    locate_keys,
    locate_queries,
    visible_keys,
)

KEY_FIELDS = 8
QUERY_FIELDS = 19
EXACT_POWERS = tl.constexpr(152)  # of two, that no float32 is left of


class Summaries(NamedTuple):
    """Bounds of all tiles, in float32, tiles in the order of their segments."""

    k: Any  # [8, tiles]: box, excess, normal
    k_norm: Any  # [KV_HEADS, tiles]
    k_tiles: Any
    q: Any  # [H, 19, tiles] as QueryBounds, or None
    q_tiles: Any


@triton.jit
def summarize_keys_kernel(tokens, summaries, sizes, PROBLEM: tl.constexpr, BLOCK: tl.constexpr):
    """Write the bounds of one tile of keys: of one key head, or where and how it stands."""
    member = tl.program_id(1)
    tile = locate_keys(tokens, sizes, BLOCK)
    if tile.first >= tile.end:
        return
    KV_HEADS: tl.constexpr = PROBLEM.KV_HEADS
    number = tl.program_id(0).to(tl.int64)
    keys = tile.first + tl.arange(0, BLOCK)
    visible = visible_keys(tokens, keys, tile.end)
    if member == KV_HEADS:
        inf = float("inf")
        point = load_points(tokens.k_position, keys, visible, 3)
        low, high = box_of(point, visible)
        wrong = any_of(visible & ~all_finite(point))
        normal = low.x * 0.0
        if PROBLEM.NORMAL >= 0:
            vector = load_points(tokens.k_normal, keys, visible, 3)
            wrong = wrong | any_of(visible & ~all_finite(vector))
            length = tl.sqrt(inner(vector, vector))
            normal = tl.max(tl.where(visible & is_finite(length), length, 0.0), 0)
            wrong = wrong | any_of(visible & ~is_finite(length))
        excess = tl.where(any_of(visible), tl.where(wrong, inf, 0.0), -inf)
        base = summaries.k + number
        stride = summaries.k_tiles
        store_point(base, stride, low)
        store_point(base + 3 * stride, stride, high)
        tl.store(base + 6 * stride, excess)
        tl.store(base + 7 * stride, normal)
    else:
        k_tile = load_tile(tokens.k, tile.first, visible, member, KV_HEADS, BLOCK, PROBLEM)
        pointer = summaries.k_norm + member.to(tl.int64) * summaries.k_tiles + number
        tl.store(pointer, largest_norm(k_tile))


@triton.jit
def store_point(base, stride, point):
    tl.store(base, point.x)
    tl.store(base + stride, point.y)
    tl.store(base + 2 * stride, point.z)


@triton.jit
def load_point(base, stride, inside):
    x = tl.load(base, mask=inside, other=0.0)
    y = tl.load(base + stride, mask=inside, other=0.0)
    z = tl.load(base + 2 * stride, mask=inside, other=0.0)
    return Point(x, y, z)


@triton.jit
def load_key_bounds(summaries, numbers, inside, kv_head, PROBLEM: tl.constexpr):
    """Load the :class:`KeyBounds` of tiles by number; those not ``inside`` are 0."""
    base = summaries.k + numbers
    stride = summaries.k_tiles
    low = load_point(base, stride, inside)
    high = load_point(base + 3 * stride, stride, inside)
    excess = tl.load(base + 6 * stride, mask=inside, other=0.0)
    normal = 0.0
    if PROBLEM.NORMAL >= 0:
        normal = tl.load(base + 7 * stride, mask=inside, other=0.0)
    norms = summaries.k_norm + kv_head.to(tl.int64) * stride + numbers
    return KeyBounds(low, high, excess, normal, tl.load(norms, mask=inside, other=0.0))


@triton.jit
def least_lse(lse, rows, inside, head, PROBLEM: tl.constexpr):
    """Return the least lse of rows that see a key; -inf where one is not a number."""
    inf = float("inf")
    own = tl.load(lse + rows.to(tl.int64) * PROBLEM.H + head, mask=inside, other=-inf)
    own = tl.where(own == -inf, inf, tl.where(is_finite(own), own, -inf))
    return tl.min(own, 0)


@triton.jit
def summarize_queries_kernel(
    tokens, channels, lse, summaries, sizes, PROBLEM: tl.constexpr, BLOCK: tl.constexpr
):
    """Write the bounds of one tile of queries of one head."""
    head = tl.program_id(1)
    tile = locate_queries(tokens, sizes, BLOCK)
    if tile.first >= tile.end:
        return
    rows = tile.first + tl.arange(0, BLOCK)
    inside = rows < tile.end
    program = Program(tokens, channels, sizes, tile, head, 0.0)
    q_tile = load_tile(tokens.q, tile.first, inside, head, PROBLEM.H, BLOCK, PROBLEM)
    floor = least_lse(lse, rows, inside, head, PROBLEM)
    bounds = bounds_of_queries(program, rows, inside, q_tile, floor, BLOCK, PROBLEM)
    stride = summaries.q_tiles
    base = summaries.q + head.to(tl.int64) * 19 * stride + tl.program_id(0)
    store_point(base, stride, bounds.low)
    store_point(base + 3 * stride, stride, bounds.high)
    tl.store(base + 6 * stride, bounds.excess)
    tl.store(base + 7 * stride, bounds.norm)
    tl.store(base + 8 * stride, bounds.floor)
    tl.store(base + 9 * stride, bounds.slope)
    tl.store(base + 10 * stride, bounds.square_slope)
    tl.store(base + 11 * stride, bounds.rest)
    tl.store(base + 12 * stride, bounds.normal)
    store_point(base + 13 * stride, stride, bounds.direction_low)
    store_point(base + 16 * stride, stride, bounds.direction_high)


@triton.jit
def load_query_bounds(summaries, numbers, inside, head, PROBLEM: tl.constexpr):
    """Load the :class:`QueryBounds` of tiles by number."""
    stride = summaries.q_tiles
    base = summaries.q + head.to(tl.int64) * 19 * stride + numbers
    low = load_point(base, stride, inside)
    high = load_point(base + 3 * stride, stride, inside)
    direction_low = low
    direction_high = high
    if PROBLEM.DIRECTION >= 0:
        direction_low = load_point(base + 13 * stride, stride, inside)
        direction_high = load_point(base + 16 * stride, stride, inside)
    return QueryBounds(
        low,
        high,
        tl.load(base + 6 * stride, mask=inside, other=0.0),
        tl.load(base + 7 * stride, mask=inside, other=0.0),
        tl.load(base + 8 * stride, mask=inside, other=0.0),
        tl.load(base + 9 * stride, mask=inside, other=0.0),
        tl.load(base + 10 * stride, mask=inside, other=0.0),
        tl.load(base + 11 * stride, mask=inside, other=0.0),
        tl.load(base + 12 * stride, mask=inside, other=0.0),
        direction_low,
        direction_high,
    )


@triton.jit
def append(kept, list_row, count, numbers, wanted):
    """Append the wanted numbers to a list that has so many; return how many it has then."""
    ones = wanted.to(tl.int32)
    places = count + tl.cumsum(ones, 0) - ones
    pointers = kept.lists + list_row * kept.capacity + places
    tl.store(pointers, numbers.to(kept.lists.dtype.element_ty), mask=wanted)
    return count + tl.sum(ones, 0)


@triton.jit
def share_of(log_eps, number, EXACT: tl.constexpr):
    """Return the logarithm of the probability that a pair may have and be skipped."""
    if EXACT:
        return number * 0.0 - EXACT_POWERS * LN_2
    else:
        return log_eps - tl.log(number)


@triton.jit
def nearest_tile(bounds, summaries, first, count, beyond, CHUNK: tl.constexpr):
    """Return which of ``count`` tiles of keys from ``first`` has the nearest center.

    That is never tile ``beyond``. Ties go to the lowest; -1 where none has a finite center.
    """
    inf = float("inf")
    best = inf
    found = count * 0 - 1
    stride = summaries.k_tiles
    for start in range(0, count, CHUNK):
        places = start + tl.arange(0, CHUNK)
        inside = places < count
        base = summaries.k + first + places
        low = load_point(base, stride, inside)
        high = load_point(base + 3 * stride, stride, inside)
        x = low.x + high.x - (bounds.low.x + bounds.high.x)
        y = low.y + high.y - (bounds.low.y + bounds.high.y)
        z = low.z + high.z - (bounds.low.z + bounds.high.z)
        square = x * x + y * y + z * z
        square = tl.where(inside & (places != beyond) & (square < inf), square, inf)
        least = tl.min(square, 0)
        place = start + tl.argmin(square, 0)
        found = tl.where(least < best, place, found)
        best = tl.minimum(least, best)
    return found


@triton.jit
def probe(
    lse,
    program,
    queries,
    number,
    MASKED: tl.constexpr,
    PROBLEM: tl.constexpr,
    UNIT: tl.constexpr,
):
    """Return the lse of rows with a tile of keys, from that without."""
    start = program.tile.other_begin + number * UNIT
    visible = None
    if MASKED:
        visible = visible_keys(program.tokens, start + tl.arange(0, UNIT), program.tile.other_end)
    score = score_tile(program, queries, start, visible, MASKED, PROBLEM, UNIT) * LN_2
    highest = tl.maximum(tl.max(score, 1), lse)
    shift = tl.where(highest == -float("inf"), 0.0, highest)
    total = tl.sum(tl.exp(score - shift[:, None]), 1) + tl.exp(lse - shift)
    return shift + tl.log(total)


@triton.jit
def list_keys_kernel(
    tokens,
    channels,
    lse,
    summaries,
    kept,
    sizes,
    log_eps,
    PROBLEM: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    UNIT: tl.constexpr,
    PROBES: tl.constexpr,
    EXACT: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """List the tiles of ``UNIT`` keys that a tile of queries of one head visits.

    ``lse`` is that of the rows, or None in the forward pass; ``EXACT`` says that eps is 0.
    """
    head = tl.program_id(1)
    tile = locate_queries(tokens, sizes, BLOCK_Q)
    if tile.first >= tile.end:
        return
    MASKED: tl.constexpr = tokens.k_mask is not None
    rows = tile.first + tl.arange(0, BLOCK_Q)
    inside = rows < tile.end
    q_tile = load_tile(tokens.q, tile.first, inside, head, PROBLEM.H, BLOCK_Q, PROBLEM)
    frame = load_frame(tokens, channels, tile.segment, tile.other_begin, tile.other_end, PROBLEM)
    program = Program(tokens, channels, sizes, tile, head, frame)
    seen = end_of_visible_keys(tile, tile.first, PROBLEM.CAUSAL) - tile.other_begin
    clear = seen // UNIT
    listed = clear
    if MASKED:
        last_row = tl.minimum(tile.first + BLOCK_Q, tile.end) - 1
        last_end = end_of_visible_keys(tile, last_row, PROBLEM.CAUSAL)
        listed = tl.cdiv(last_end - tile.other_begin, UNIT)
    first = (tile.other_begin // UNIT + tile.segment).to(tl.int64)
    share = share_of(log_eps, (tile.other_end - tile.other_begin).to(tl.float32), EXACT)
    skippable_from = 0
    inf = float("inf")
    if lse is not None:
        floor = least_lse(lse, rows, inside, head, PROBLEM)
        bounds = bounds_of_queries(program, rows, inside, q_tile, floor, BLOCK_Q, PROBLEM)
    else:
        bounds = bounds_of_queries(program, rows, inside, q_tile, -inf, BLOCK_Q, PROBLEM)
        places = load_query_places(program, tile.first, rows, inside, BLOCK_Q, PROBLEM)
        parameters = load_parameters(program, rows, inside, 1, PROBLEM)
        queries = Queries(head, rows, q_tile, places, parameters)
        own = tl.full([BLOCK_Q], -inf, tl.float32)
        near = -1
        for _ in tl.static_range(PROBES):
            near = nearest_tile(bounds, summaries, first, clear, near, CHUNK)
            if near >= 0:
                own = probe(own, program, queries, near, MASKED, PROBLEM, UNIT)
            skippable_from = tl.maximum(skippable_from, near + 1)
        own = tl.where(is_finite(own), own, -inf)
        floor = tl.min(tl.where(inside, own, inf), 0)
        if EXACT:
            # The highest score is at least the lse less the logarithm of their number.
            floor -= tl.log(1.0 * PROBES * UNIT)
        bounds = with_floor(bounds, floor)
    list_row = tl.program_id(0).to(tl.int64) * PROBLEM.H + head
    count = 0
    for start in range(0, listed, CHUNK):
        numbers = start + tl.arange(0, CHUNK)
        exists = numbers < listed
        keys = load_key_bounds(summaries, first + numbers, exists, head // PROBLEM.GROUP, PROBLEM)
        wanted = are_kept(bounds, keys, share, program, PROBLEM)
        if EXACT and lse is None:
            wanted = wanted | ((numbers < skippable_from) & (keys.excess > -inf))
        count = append(kept, list_row, count, numbers, wanted & exists)
    tl.store(kept.counts + list_row, count)


@triton.jit
def with_floor(bounds, floor):
    return QueryBounds(
        bounds.low,
        bounds.high,
        bounds.excess,
        bounds.norm,
        floor,
        bounds.slope,
        bounds.square_slope,
        bounds.rest,
        bounds.normal,
        bounds.direction_low,
        bounds.direction_high,
    )


@triton.jit
def list_queries_kernel(
    tokens,
    channels,
    summaries,
    kept,
    sizes,
    log_eps,
    PROBLEM: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_K: tl.constexpr,
    EXACT: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """List the tiles of queries of one head that a tile of keys visits."""
    head = tl.program_id(1)
    tile = locate_keys(tokens, sizes, BLOCK_K)
    if tile.first >= tile.end:
        return
    frame = load_frame(tokens, channels, tile.segment, tile.first, tile.end, PROBLEM)
    program = Program(tokens, channels, sizes, tile, head, frame)
    _, clear_first, clear_end = clear_queries(tile, PROBLEM.CAUSAL, BLOCK_Q, BLOCK_K)
    listed = (clear_end - clear_first) // BLOCK_Q
    before = clear_first - tile.other_begin
    first = (tile.other_begin // BLOCK_Q + tile.segment).to(tl.int64) + before // BLOCK_Q
    share = share_of(log_eps, (tile.end - segment_begin(tokens, tile)).to(tl.float32), EXACT)
    number = tl.program_id(0) + tl.zeros([1], tl.int64)
    present = number >= 0
    keys = load_key_bounds(summaries, number, present, head // PROBLEM.GROUP, PROBLEM)
    list_row = tl.program_id(0).to(tl.int64) * PROBLEM.H + head
    count = 0
    for start in range(0, listed, CHUNK):
        numbers = start + tl.arange(0, CHUNK)
        exists = numbers < listed
        queries = load_query_bounds(summaries, first + numbers, exists, head, PROBLEM)
        wanted = are_kept(queries, keys, share, program, PROBLEM)
        if PROBLEM.CAUSAL:
            # The loop may begin within a tile that has bounds: then two of them hold its rows.
            also = exists & (before % BLOCK_Q > 0)
            queries = load_query_bounds(summaries, first + numbers + 1, also, head, PROBLEM)
            wanted = wanted | (also & are_kept(queries, keys, share, program, PROBLEM))
        count = append(kept, list_row, count, numbers, wanted & exists)
    tl.store(kept.counts + list_row, count)


@triton.jit
def segment_begin(tokens, tile):
    """Return where the segment of a tile of keys begins."""
    begin = tile.segment * 0
    if tokens.k_offsets is not None:
        begin = tl.minimum(tl.maximum(tl.load(tokens.k_offsets + tile.segment), 0), tile.end)
    return begin
