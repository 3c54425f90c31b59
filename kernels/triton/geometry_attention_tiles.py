"""What the forward and backward Triton kernels of ``geometry_attention`` share about tiles.

Scores are kept in units of log 2, so that ``exp2`` needs no factor.

The kernels take the records of ``g2vlm_fast.ops._geometry_attention_arguments`` (tokens, results
and their gradients), and the two records below, which the launch makes of them.
"""

from typing import Any, NamedTuple

import triton
import triton.language as tl

from g2vlm_fast.kernels.triton.geometry_attention_points import load_where

LOG2_E = tl.constexpr(1.4426950408889634)
LN_2 = tl.constexpr(0.6931471805599453)


class Sizes(NamedTuple):
    """What all kernels take at run time beside tensors."""

    num_queries: int
    num_keys: int
    num_segments: int
    scale: float
    eps: float  # metres, of the terms that use a length
    dropout: int  # below this, of 2^24, a pair is dropped
    kept: float  # what the probability of a kept pair is multiplied by
    knots_per_metre: float = 0.0  # of a table over distance
    cells_per_metre: float = 0.0  # of tables over axes


class Problem(NamedTuple):
    """What all kernels are compiled for."""

    H: int
    GROUP: int  # heads of q that share a head of k
    D: int
    D_PADDED: int
    DTYPE: str  # of q, k and v; "fp32" takes differences before squares, in IEEE arithmetic
    CAUSAL: bool
    POSITION_HEADS: int  # heads that q_position has places for
    GATED: bool
    OWN: bool  # every row has bias parameters of its own; never tables
    DROPOUT: bool
    PARAMETERS: int
    DISTANCE: int = -1  # the term's first column of the bias parameters, -1 = absent, as the next
    SQUARED: int = -1
    DIRECTION: int = -1
    NORMAL: int = -1
    POWERS: int = -1
    POWER_COUNT: int = 0
    BASIS: int = -1
    BASIS_COUNT: int = 0
    RADIAL_TABLE: int = -1  # the first column of the tables, -1 = absent, as the next
    KNOTS: int = 0
    AXIS_TABLE: int = -1
    STEPS: int = 0  # of each axis
    GROUPED: bool = False  # a tile has rows of all heads that share one of k; no channels

    @property
    def KV_HEADS(self) -> int:
        return self.H // self.GROUP

    @property
    def PRECISION(self) -> str:
        return "ieee" if self.DTYPE == "fp32" else "tf32"

    @property
    def TABLE_COLUMNS(self) -> int:
        return self.KNOTS + 3 * self.STEPS

    @property
    def BIASED(self) -> bool:
        return self.PARAMETERS > 0 or self.TABLE_COLUMNS > 0

    @property
    def LENGTH(self) -> bool:
        """Whether a term uses the length of the difference."""
        return max(self.DISTANCE, self.BASIS, self.RADIAL_TABLE) >= 0

    @property
    def RADIAL(self) -> bool:
        """Whether a term uses the difference through its square."""
        return self.LENGTH or self.SQUARED >= 0 or self.POWERS >= 0

    @property
    def CHANNELS(self) -> bool:
        """Whether squares come from tensor cores."""
        return self.RADIAL and self.DTYPE != "fp32" and not self.GROUPED

    @property
    def UNIFORM(self) -> bool:
        """Whether one number a head scales the radial derivatives of all pairs."""
        one = (self.DISTANCE >= 0) != (self.SQUARED >= 0)
        others = max(self.POWERS, self.BASIS, self.RADIAL_TABLE)
        return one and others < 0 and not self.GATED and not self.OWN

    @property
    def SHARED(self) -> bool:
        """Whether all rows of a head have the same parameters."""
        return self.PARAMETERS > 0 and not self.GATED and not self.OWN

    @property
    def LONE(self) -> bool:
        """Whether the one parameter's derivative follows from sums for positions.

        Those weigh pairs in bfloat16, which is as good as the rest only where all is bfloat16.
        """
        return self.UNIFORM and self.PARAMETERS == 1 and self.DTYPE == "bf16"


class Program(NamedTuple):
    """What one program passes to each of its tiles."""

    tokens: Any
    channels: Any
    sizes: Any
    tile: Any
    head: Any
    frame: Any


class Kept(NamedTuple):
    """The tiles that a kernel visits of those that are full; all None where it visits all."""

    lists: Any  # [tiles, H, capacity] int16 or int32, ascending
    counts: Any  # [tiles, H] int32
    capacity: Any


class Tile(NamedTuple):
    """Rows of one side from ``first`` to at most ``end``, and their segment on the other side."""

    first: Any
    end: Any
    other_begin: Any
    other_end: Any
    segment: Any


@triton.jit
def segment_bounds(offsets, segment, length):
    """Return begin and end of a segment, clamped to the length."""
    begin = segment * 0
    end = segment * 0 + length
    if offsets is not None:
        begin = tl.minimum(tl.maximum(tl.load(offsets + segment), 0), length)
        end = tl.minimum(tl.maximum(tl.load(offsets + segment + 1), begin), length)
    return begin, end


@triton.jit
def locate_tile(
    tile,
    offsets,
    other_offsets,
    length,
    other_length,
    num_segments,
    BLOCK: tl.constexpr,
):
    """Return the :class:`Tile` of that number; one without rows begins at or past its end.

    Tile ``offsets[b] // BLOCK + b`` is the first of segment b, so that ``length // BLOCK + B``
    tiles always suffice and no host needs to know the lengths. Spare tiles begin at or past the
    end of their segment. Offsets are clamped to the length.
    """
    low = tile * 0
    high = tile * 0 + num_segments - 1
    if offsets is not None:
        while low < high:
            middle = (low + high + 1) // 2
            fits = tl.load(offsets + middle) // BLOCK + middle <= tile
            low = tl.where(fits, middle, low)
            high = tl.where(fits, high, middle - 1)
    begin, end = segment_bounds(offsets, low, length)
    other_begin, other_end = segment_bounds(other_offsets, low, other_length)
    first = begin + (tile - begin // BLOCK - low) * BLOCK
    return Tile(first, end, other_begin, other_end, low)


@triton.jit
def locate_queries(tokens, sizes, BLOCK: tl.constexpr):
    """Return this program's tile of queries; the other side is the keys."""
    return locate_tile(
        tl.program_id(0),
        tokens.q_offsets,
        tokens.k_offsets,
        sizes.num_queries,
        sizes.num_keys,
        sizes.num_segments,
        BLOCK,
    )


@triton.jit
def locate_keys(tokens, sizes, BLOCK: tl.constexpr):
    """Return this program's tile of keys; the other side is the queries."""
    return locate_tile(
        tl.program_id(0),
        tokens.k_offsets,
        tokens.q_offsets,
        sizes.num_keys,
        sizes.num_queries,
        sizes.num_segments,
        BLOCK,
    )


@triton.jit
def load_tile(
    base, start, inside, head, HEADS: tl.constexpr, BLOCK: tl.constexpr, PROBLEM: tl.constexpr
):
    """Load ``[BLOCK, D_PADDED]`` of one head; rows that are not ``inside`` and padding are 0.

    ``inside`` is None where all rows are. The offset of the tile is 64-bit, those within are not.
    """
    D: tl.constexpr = PROBLEM.D
    D_PADDED: tl.constexpr = PROBLEM.D_PADDED
    columns = tl.arange(0, D_PADDED)
    tile = base + (tl.full([], start, tl.int64) * HEADS + head) * D
    pointers = tile + tl.arange(0, BLOCK)[:, None] * (HEADS * D) + columns[None, :]
    if inside is None:
        if D == D_PADDED:
            return tl.load(pointers)
        else:
            return tl.load(pointers, mask=(columns < D)[None, :], other=0.0)
    else:
        mask = inside[:, None]
        if D != D_PADDED:
            mask = mask & (columns < D)[None, :]
        return tl.load(pointers, mask=mask, other=0.0)


@triton.jit
def load_rows(base, start, inside, head, HEADS: tl.constexpr, BLOCK: tl.constexpr):
    """Load one number a row of one head."""
    pointers = base + (tl.full([], start, tl.int64) * HEADS + head) + tl.arange(0, BLOCK) * HEADS
    return load_where(pointers, inside, 0.0)


@triton.jit
def store_records(records, wide_rows, shift, delta, inside):
    """Store what the backward pass knows of rows, ``[Lq, H, 4]``: shift, shift, delta, delta.

    The shift is what is added to scores: minus the lse in units of log 2, ``-inf`` where a row sees
    no key.
    """
    pair = tl.join(shift, delta)
    record = tl.reshape(tl.join(pair, pair), [shift.shape[0], 4])
    pointers = records + wide_rows[:, None] * 4 + tl.arange(0, 4)[None, :]
    tl.store(pointers, record, mask=inside[:, None])


@triton.jit
def load_records(records, start, inside, head, HEADS: tl.constexpr, BLOCK: tl.constexpr):
    """Load shift and delta of rows of one head; ``-inf`` and 0 of rows that are not inside.

    A tile of four numbers a row is so large that Triton copies it to shared memory ahead of its
    use, as it does those of features; a number a row each thread would load where it is used.
    """
    numbers = tl.arange(0, 4)[None, :]
    tile = records + (tl.full([], start, tl.int64) * HEADS + head) * 4
    pointers = tile + tl.arange(0, BLOCK)[:, None] * (HEADS * 4) + numbers
    if inside is None:
        record = tl.load(pointers)
    else:
        unseen = tl.where(numbers < 2, -float("inf"), 0.0)
        record = tl.where(inside[:, None], tl.load(pointers, mask=inside[:, None]), unseen)
    pair, _ = tl.split(tl.reshape(record, [BLOCK, 2, 2]))
    return tl.split(pair)


@triton.jit
def store_tile(base, wide_rows, values, inside, PROBLEM: tl.constexpr):
    """Store ``[rows, D_PADDED]`` without its padding; ``wide_rows`` count rows of one head."""
    D: tl.constexpr = PROBLEM.D
    columns = tl.arange(0, PROBLEM.D_PADDED)
    pointers = base + wide_rows[:, None] * D + columns[None, :]
    mask = inside[:, None] & (columns < D)[None, :]
    tl.store(pointers, values.to(base.dtype.element_ty), mask=mask)


@triton.jit
def score_products(rows, columns, scale, PROBLEM: tl.constexpr):
    """Return the scaled products of two tiles in units of log 2."""
    PRECISION: tl.constexpr = PROBLEM.PRECISION
    return tl.dot(rows, tl.trans(columns), input_precision=PRECISION) * (scale * LOG2_E)


@triton.jit
def visible_keys(tokens, keys, tile_end):
    """Return which keys anybody sees."""
    visible = keys < tile_end
    if tokens.k_mask is not None:
        visible &= tl.load(tokens.k_mask + keys, mask=visible, other=0) != 0
    return visible


@triton.jit
def end_of_visible_keys(tile, row, CAUSAL: tl.constexpr):
    """Return where the keys end that a row of a tile of queries sees."""
    end = tile.other_end
    if CAUSAL:
        end = tl.minimum(tl.maximum(end - tile.end + row + 1, tile.other_begin), end)
    return end


@triton.jit
def clear_and_visible_ends(
    tokens, tile, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr, CAUSAL: tl.constexpr
):
    """Return where the tiles of keys end that every query of a tile sees, and the keys any sees."""
    clear_end = tile.other_begin
    if tokens.k_mask is None:
        seen = end_of_visible_keys(tile, tile.first, CAUSAL) - tile.other_begin
        clear_end += seen // BLOCK_K * BLOCK_K
    last_row = tl.minimum(tile.first + BLOCK_Q, tile.end) - 1
    return clear_end, end_of_visible_keys(tile, last_row, CAUSAL)


@triton.jit
def hide_keys(score, tile, rows, keys, visible, CAUSAL: tl.constexpr):
    """Return scores ``[queries, keys]``, -inf where a query does not see a key."""
    score = tl.where(visible[None, :], score, -float("inf"))
    if CAUSAL:
        hidden = keys[None, :] - tile.other_end > rows[:, None] - tile.end
        score = tl.where(hidden, -float("inf"), score)
    return score


@triton.jit
def dropout_factor(program, heads, rows, keys):
    """Return the factor of each pair's probability under dropout: 0, or 1 / (1 - dropout).

    The pair decides, not the tile: word 0 of Philox-4x32-10 (Salmon et al., 2011) of (key, row,
    head, 0) under the seed. ``heads``, ``rows`` and ``keys`` broadcast against each other.
    """
    zero = (rows + keys) * 0
    sizes = program.sizes
    seed = tl.load(program.tokens.dropout_seed)
    word, _, _, _ = tl.philox(seed, zero + keys, zero + rows, zero + heads, zero)
    return tl.where((word >> 8).to(tl.int32) >= sizes.dropout, sizes.kept, 0.0)


@triton.jit
def clear_queries(tile, CAUSAL: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr):
    """Return the first query that sees a key of a tile, and from where to where tiles are full.

    Full tiles of queries have all their rows, and each of those sees all keys of the tile.
    """
    q_first = tile.other_begin
    clear_first = tile.other_begin
    if CAUSAL:
        q_first = tl.maximum(q_first, tile.first - tile.end + tile.other_end)
        clear_first = tl.minimum(tile.first + BLOCK_K, tile.end) - 1 - tile.end + tile.other_end
        clear_first = q_first + tl.cdiv(tl.maximum(clear_first - q_first, 0), BLOCK_Q) * BLOCK_Q
        clear_first = tl.minimum(clear_first, tile.other_end)
    clear_end = clear_first + (tile.other_end - clear_first) // BLOCK_Q * BLOCK_Q
    return q_first, clear_first, clear_end


@triton.jit
def list_of(kept, head, H: tl.constexpr):
    """Return this program's list of tiles, and how many there are."""
    row = tl.program_id(0).to(tl.int64) * H + head
    return kept.lists + row * kept.capacity, tl.load(kept.counts + row)
