// How geometry_attention is cut into blocks of rows and tiles of the other side, which pairs of
// them see each other, and which of those dropout drops.
#pragma once

#include "g2vlm/philox.h"
#include "geometry_attention_tables.h"

namespace g2vlm::lanes {

// Rows [begin, end) of one segment of this side, and the segment's rows on the other side.
struct Block {
  int64_t number;
  int64_t begin, end, segment_end;
  int64_t other_begin, other_end;
};

// An upper bound of the number of blocks that packed segments need: `block_at` gives the block of
// segment b that begins at row r the number r / kLanes + b, and other numbers are empty.
inline int64_t num_blocks(int64_t rows, int32_t segments) {
  return rows / kLanes + segments;
}

inline Block block_at(int64_t number, const int32_t* offsets, const int32_t* other_offsets,
                      int64_t rows, int64_t other_rows, int32_t segments) {
  int32_t low = 0, high = segments - 1;
  while (low < high && offsets != nullptr) {
    const int32_t middle = low + (high - low + 1) / 2;
    if (offsets[middle] / kLanes + middle <= number) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  const int64_t first = offsets == nullptr ? 0 : offsets[low];
  Block block;
  block.number = number;
  block.segment_end = offsets == nullptr ? rows : offsets[low + 1];
  block.begin = first + (number - first / kLanes - low) * kLanes;
  block.end = std::min(block.begin + kLanes, block.segment_end);
  block.other_begin = other_offsets == nullptr ? 0 : other_offsets[low];
  block.other_end = other_offsets == nullptr ? other_rows : other_offsets[low + 1];
  return block;
}

// One past the last key that any query of the block sees.
template <class T>
inline int64_t visible_end(const GeometryAttentionProblem<T>& p, const Block& block) {
  return p.causal ? block.other_end - (block.segment_end - block.end) : block.other_end;
}

// Blocks that one thread takes at a time: about 2^20 multiply-adds, so that small problems stay on
// the calling thread.
inline int64_t blocks_per_piece(int64_t blocks, int64_t other_rows, int64_t dim) {
  const int64_t work = std::max<int64_t>(1, kLanes * other_rows * dim);
  return std::clamp<int64_t>((int64_t{1} << 20) / work, 1, std::max<int64_t>(blocks, 1));
}

// Consecutive rows of the other side that are visited together. Rows that a mask hides are in no
// tile: nothing of theirs is read.
struct Tile {
  int64_t first;
  int count;

  // Takes the rows from `next` on, moves `next` past them, and says whether there were any.
  G2VLM_INLINE bool take(int64_t& next, int64_t end, const bool* mask) {
    while (mask != nullptr && next < end && !mask[next]) ++next;
    first = next;
    next = std::max(next, std::min(next + kTile, end));
    if (mask != nullptr) next = std::find(mask + first, mask + next, false) - mask;
    count = static_cast<int>(next - first);
    return count > 0;
  }
};

// Scores of a block of queries against a tile of keys, hidden keys at -infinity.
template <class T>
G2VLM_INLINE void score_keys(const GeometryAttentionProblem<T>& p, const Block& block, int32_t head,
                             const Tile& tile, const Lanes<T>* packed_q,
                             const QueryGeometry<T>& geometry, Lanes<T>* score) {
  const int64_t stride = int64_t{p.num_kv_heads} * p.dim;
  const int32_t kv_head = head / (p.num_heads / p.num_kv_heads);
  dot_rows(p.k + tile.first * stride + int64_t{kv_head} * p.dim, stride, tile.count, packed_q,
           p.dim, score);
  if (has_bias(p)) {
    Pairs<T> pairs{};
    for (int r = 0; r < tile.count; ++r) {
      pairs.to_key(p, tile.first + r, geometry.position);
      geometry.bias_row().add_bias(p.terms, pairs, score[r]);
    }
  }
  if (has_tables(p)) {
    const auto tables = table_row_of(p, block.begin, block.end, head, geometry.gate);
    Pairs<T> pairs{};
    for (int r = 0; r < tile.count; ++r) {
      pairs.to_key(p, tile.first + r, geometry.position);
      tables.add_values(p.terms, pairs, score[r]);
    }
  }
  if (p.causal) {
    for (int r = 0; r < tile.count; ++r) {
      const int64_t first_query = block.segment_end - block.other_end + tile.first + r;
      for (int lane = 0; lane < kLanes; ++lane)
        if (block.begin + lane < first_query)
          score[r].at[lane] = -std::numeric_limits<T>::infinity();
    }
  }
}

// Which pairs are kept: those whose 24 random bits, taken as a fraction of 1, reach `dropout`. The
// bits are the upper ones of the first Philox word of (key, query, head), so that they depend on
// the pair alone.
template <class T>
class Dropout {
 public:
  explicit Dropout(const GeometryAttentionProblem<T>& p)
      : key_(static_cast<uint64_t>(p.dropout_seed)),
        threshold_(static_cast<uint32_t>(std::ceil(p.dropout * (1 << 24)))),
        factor_(static_cast<T>(1 / (1 - p.dropout))) {}

  G2VLM_INLINE bool active() const { return threshold_ > 0; }

  // weight[lane] times 1 / (1 - dropout), or 0, for one key and the queries of the lanes ...
  G2VLM_INLINE void drop_queries(int64_t key, int64_t first_query, int32_t head,
                                 Lanes<T>& weight) const {
    drop(key, 0, first_query, 1, head, weight);
  }
  // ... and for one query and the keys of the lanes.
  G2VLM_INLINE void drop_keys(int64_t first_key, int64_t query, int32_t head,
                              Lanes<T>& weight) const {
    drop(first_key, 1, query, 0, head, weight);
  }

 private:
  G2VLM_INLINE void drop(int64_t key, int key_step, int64_t query, int query_step, int32_t head,
                         Lanes<T>& weight) const {
    uint32_t counter[4][kLanes];
    for (int lane = 0; lane < kLanes; ++lane) {
      counter[0][lane] = static_cast<uint32_t>(key + key_step * lane);
      counter[1][lane] = static_cast<uint32_t>(query + query_step * lane);
      counter[2][lane] = static_cast<uint32_t>(head);
      counter[3][lane] = 0;
    }
    philox_4x32_10(counter, key_);
    for (int lane = 0; lane < kLanes; ++lane)
      weight.at[lane] = counter[0][lane] >> 8 >= threshold_ ? weight.at[lane] * factor_ : 0;
  }

  uint64_t key_;
  uint32_t threshold_;
  T factor_;
};

}  // namespace g2vlm::lanes
