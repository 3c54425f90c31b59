// What the CPU kernels over compressed rows share.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "g2vlm/graph_reduce.h"
#include "g2vlm/parallel.h"
#include "instruction_set.h"

#if defined(__GNUC__)
#define G2VLM_INLINE_LAMBDA __attribute__((always_inline))
#else
#define G2VLM_INLINE_LAMBDA
#endif

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

G2VLM_ALWAYS_INLINE Range row_range(const int32_t* offsets, int64_t row, int32_t limit) {
  const Range range{offsets[row], offsets[row + 1]};
  if (range.begin < 0 || range.end < range.begin || range.end > limit)
    throw std::out_of_range("graph: the row offsets must rise from 0 to the number of edges");
  return range;
}

[[noreturn]] inline void refuse(int32_t index, int32_t bound, const char* what) {
  throw std::out_of_range("graph: " + std::string(what) + " must be from 0 to " +
                          std::to_string(bound - 1) + ", got " + std::to_string(index));
}

G2VLM_ALWAYS_INLINE int32_t checked(int32_t index, int32_t bound, const char* what) {
  if (static_cast<uint32_t>(index) >= static_cast<uint32_t>(bound)) refuse(index, bound, what);
  return index;
}

// An integer as wide as T, so that values and slots sit in vectors of one shape.
template <class T>
using SlotOf = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;

template <class Slot>
constexpr Slot kNoWinner = std::numeric_limits<Slot>::max();

// Runs `body(c, n, full)` over the channels in tiles; `full` is a constant, so that the body's
// loops over a full tile have a constant length.
template <class T>
using FullTile = std::integral_constant<int32_t, kTile<T>>;

template <class T, class Body>
G2VLM_ALWAYS_INLINE void for_each_tile(int32_t channels, Body body) {
  int32_t c = 0;
  for (; c + kTile<T> <= channels; c += kTile<T>) body(c, FullTile<T>{});
  if (c < channels) body(c, channels - c);
}

// Messages that are summed before their sum is added to that of the row: a sum of a million in one
// go would lose its third digit in float32. Shorter rows are summed in one go.
constexpr int32_t kRun = 512;

// Sums of a tile's channels. Those of a full tile are held in registers, which the compilers do not
// do with an array.
template <class T, class Count>
struct TileSum {
  explicit TileSum(Count count) : n(count) {}
  G2VLM_ALWAYS_INLINE void add(const T* x) {
    for (int32_t c = 0; c < n; ++c) at[c] += x[c];
  }
  G2VLM_ALWAYS_INLINE void add(T factor, const T* x) {
    for (int32_t c = 0; c < n; ++c) at[c] += factor * x[c];
  }
  G2VLM_ALWAYS_INLINE void add(const TileSum& other) { add(other.at); }
  G2VLM_ALWAYS_INLINE void store(T divisor, T* to) const {
    for (int32_t c = 0; c < n; ++c) to[c] = at[c] / divisor;
  }

  Count n;
  T at[kTile<T>] = {};
};

#if defined(__GNUC__)
template <class T>
struct TileSum<T, FullTile<T>> {
  typedef T Wide __attribute__((vector_size(64)));
  static constexpr int32_t kHalf = kTile<T> / 2;
  static_assert(sizeof(Wide) == kHalf * sizeof(T));

  explicit TileSum(FullTile<T>) {}
  G2VLM_ALWAYS_INLINE void add(const T* x) {
    Wide a, b;
    std::memcpy(&a, x, sizeof a);
    std::memcpy(&b, x + kHalf, sizeof b);
    low += a;
    high += b;
  }
  G2VLM_ALWAYS_INLINE void add(T factor, const T* x) {
    Wide a, b;
    std::memcpy(&a, x, sizeof a);
    std::memcpy(&b, x + kHalf, sizeof b);
    low += factor * a;
    high += factor * b;
  }
  G2VLM_ALWAYS_INLINE void add(const TileSum& other) {
    low += other.low;
    high += other.high;
  }
  G2VLM_ALWAYS_INLINE void store(T divisor, T* to) const {
    const Wide a = low / divisor, b = high / divisor;
    std::memcpy(to, &a, sizeof a);
    std::memcpy(to + kHalf, &b, sizeof b);
  }

  Wide low = {}, high = {};
};
#endif

// Runs `add(i, sum)` for i in [begin, end), and returns the sum of all, run by run.
template <class T, class Count, class Add>
G2VLM_ALWAYS_INLINE TileSum<T, Count> sum_in_runs(Count n, Range range, Add add) {
  TileSum<T, Count> total(n);
  for (int64_t begin = range.begin; begin < range.end; begin += kRun) {
    const auto end = static_cast<int32_t>(std::min<int64_t>(begin + kRun, range.end));
    TileSum<T, Count> run(n);
    for (auto i = static_cast<int32_t>(begin); i < end; ++i) add(i, run);
    total.add(run);
  }
  return total;
}

// A kernel over a range of rows, whose call operator is inlined, compiled for each instruction set.
// Contraction is off, so that all of them give the same bits.
template <class Kernel>
struct Widest {
#ifdef G2VLM_X86_DISPATCH
  G2VLM_AVX512 static void avx512(const Kernel& kernel, int64_t begin, int64_t end) {
    kernel(begin, end);
  }
  G2VLM_AVX2 static void avx2(const Kernel& kernel, int64_t begin, int64_t end) {
    kernel(begin, end);
  }
#endif

  static void run(const Kernel& kernel, int64_t begin, int64_t end) {
#ifdef G2VLM_X86_DISPATCH
    if (instruction_set() == InstructionSet::kAvx512) return avx512(kernel, begin, end);
    if (instruction_set() == InstructionSet::kAvx2) return avx2(kernel, begin, end);
#endif
    kernel(begin, end);
  }
};

// Runs a kernel over `rows` rows in pieces of `grain`, as `parallel_for`.
template <class Kernel>
void run_widest(int64_t rows, int64_t grain, int threads, const Kernel& kernel) {
  parallel_for(rows, grain, threads,
               [&](int64_t begin, int64_t end) { Widest<Kernel>::run(kernel, begin, end); });
}

}  // namespace g2vlm
