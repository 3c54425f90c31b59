// How threads share the rows of a graph: a group of `lanes` neighbouring threads takes a row, each
// thread kWidth neighbouring channels of it; rows wider than a warp's reach go to several blocks
// along y.
#pragma once

#include <cstdint>
#include <limits>

#include "common.cuh"
#include "g2vlm/graph_reduce.h"
#include "vector.cuh"

namespace g2vlm {

constexpr int kRowThreads = 256;

struct RowMap {
  int lane_bits;  // log2 of the threads of a row
  int tiles;      // blocks along y

  RowMap(int channels, int width) : lane_bits(0) {
    while (lane_bits < 5 && (width << lane_bits) < channels) ++lane_bits;
    const int reach = width << lane_bits;
    tiles = channels > reach ? (channels + reach - 1) / reach : 1;
  }
  int rows_per_block() const { return kRowThreads >> lane_bits; }
  dim3 grid(int64_t rows) const {
    return {static_cast<unsigned>((rows + rows_per_block() - 1) / rows_per_block()),
            static_cast<unsigned>(tiles)};
  }
};

// True where every pointer may be accessed 16 bytes at a time, if rows may.
template <class... Pointers>
bool aligned(Pointers... pointers) {
  return ((reinterpret_cast<uintptr_t>(pointers) | ...) & 15) == 0;
}

// Calls `launch(width)` with the width of a 16-byte access as a constant where that is possible,
// else with 1.
template <class T, class Launch>
void with_width(int channels, bool is_aligned, Launch launch) {
  if (is_aligned && channels % kVectorWidth<T> == 0)
    launch(std::integral_constant<int, kVectorWidth<T>>{});
  else
    launch(std::integral_constant<int, 1>{});
}

struct RowRange {
  int32_t begin, end;
};

__device__ inline RowRange row_range(const int32_t* offsets, int64_t row, int32_t limit) {
  return {max(__ldg(offsets + row), 0), min(__ldg(offsets + row + 1), limit)};
}

__device__ inline bool in_range(int32_t index, int32_t bound) {
  return static_cast<uint32_t>(index) < static_cast<uint32_t>(bound);
}

// The winners of an extreme: bytes or 32-bit integers, the largest value where there is none.
struct Winners {
  void* slots;  // null where none are kept
  bool are_bytes;

  template <class Slot>
  explicit Winners(Slot* slots_) : slots(slots_), are_bytes(sizeof(Slot) == 1) {}
  template <class Slot>
  explicit Winners(const Slot* slots_) : Winners(const_cast<Slot*>(slots_)) {}

  __device__ int none() const { return are_bytes ? 255 : INT32_MAX; }

  template <int kWidth>
  __device__ void load(int64_t at, int (&to)[kWidth]) const {
    if (are_bytes)
      load_as<uint8_t>(at, to);
    else
      load_as<int32_t>(at, to);
  }

  template <int kWidth>
  __device__ void store(int64_t at, const int (&from)[kWidth]) const {
    if (are_bytes)
      store_as<uint8_t>(at, from);
    else
      store_as<int32_t>(at, from);
  }

 private:
  template <class Slot, int kWidth>
  __device__ void load_as(int64_t at, int (&to)[kWidth]) const {
    const auto packed = Packed<Slot, kWidth>::load(static_cast<const Slot*>(slots) + at);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) to[i] = packed[i];
  }

  template <class Slot, int kWidth>
  __device__ void store_as(int64_t at, const int (&from)[kWidth]) const {
    Packed<Slot, kWidth> packed;
#pragma unroll
    for (int i = 0; i < kWidth; ++i) packed.set(i, static_cast<Slot>(from[i]));
    packed.store(static_cast<Slot*>(slots) + at);
  }
};

// Where a value takes the lead over the best so far: it is larger, or the first NaN.
__device__ inline bool leads(float value, float best) {
  return value > best || (value != value && best == best);
}

// The sum over the 2^lane_bits threads of a group, in all of them, in a fixed order.
__device__ inline float sum_over_lanes(float value, int lane_bits) {
  const int lanes = 1 << lane_bits;
  const unsigned group = (threadIdx.x & 31) >> lane_bits;
  const unsigned mask = (lanes == 32 ? ~0u : (1u << lanes) - 1) << (group * lanes & 31);
  for (int step = lanes / 2; step > 0; step /= 2) value += __shfl_xor_sync(mask, value, step);
  return value;
}

}  // namespace g2vlm
