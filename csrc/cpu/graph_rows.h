// What the CPU kernels over compressed rows share.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "g2vlm/graph_reduce.h"

namespace g2vlm {

// Channels whose accumulators stay in registers while a row's edges pass.
template <class T>
constexpr int32_t kTile = 128 / sizeof(T);

// Rows of a piece: about 64K messages' channels, whatever the graph.
inline int64_t rows_per_piece(int64_t rows, int64_t edges, int64_t channels) {
  const int64_t work = (edges / std::max<int64_t>(rows, 1) + 1) * std::max<int64_t>(channels, 1);
  return std::clamp<int64_t>((int64_t{1} << 16) / work, 16, 4096);
}

struct Range {
  int32_t begin, end;
};

inline Range row_range(const int32_t* offsets, int64_t row, int32_t limit) {
  const Range range{offsets[row], offsets[row + 1]};
  if (range.begin < 0 || range.end < range.begin || range.end > limit)
    throw std::out_of_range("graph: the row offsets must rise from 0 to the number of edges");
  return range;
}

inline int32_t checked(int32_t index, int32_t bound, const char* what) {
  if (static_cast<uint32_t>(index) >= static_cast<uint32_t>(bound))
    throw std::out_of_range("graph: " + std::string(what) + " must be from 0 to " +
                            std::to_string(bound - 1) + ", got " + std::to_string(index));
  return index;
}

// An integer as wide as T, so that values and slots sit in vectors of one shape.
template <class T>
using SlotOf = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;

template <class Slot>
constexpr Slot kNoWinner = std::numeric_limits<Slot>::max();

// Runs `body(c, n, full)` over the channels in tiles; `full` is a constant, so that the body's
// loops over a full tile have a constant length.
template <class T, class Body>
void for_each_tile(int32_t channels, Body body) {
  int32_t c = 0;
  for (; c + kTile<T> <= channels; c += kTile<T>)
    body(c, std::integral_constant<int32_t, kTile<T>>{});
  if (c < channels) body(c, channels - c);
}

}  // namespace g2vlm
