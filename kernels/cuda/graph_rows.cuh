// How threads share the rows of a graph: a group of `lanes` neighbouring threads takes a row, each
// thread kWidth channels of it, neighbours or words of neighbours; rows wider than a warp's reach
// go to several blocks along y.
#pragma once

#include <algorithm>
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
  // Whether every thread has as many channels as every other.
  bool is_full(int channels, int width) const { return channels == tiles * (width << lane_bits); }
  int rows_per_block() const { return kRowThreads >> lane_bits; }
  dim3 grid(int64_t rows) const {
    return {static_cast<unsigned>((rows + rows_per_block() - 1) / rows_per_block()),
            static_cast<unsigned>(tiles)};
  }
  // So few blocks that all are resident, for kernels that walk the rows.
  dim3 resident_grid(int64_t rows, int blocks_a_multiprocessor, int device) const {
    int multiprocessors = 0;
    check_cuda(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device),
               "cudaDeviceGetAttribute");
    dim3 all = grid(rows);
    const int resident = multiprocessors * blocks_a_multiprocessor / tiles;
    all.x = std::min(all.x, static_cast<unsigned>(std::max(resident, 1)));
    return all;
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

// As they are found: any numbers at all.
__device__ inline RowRange row_bounds(const int32_t* offsets, int64_t row) {
  return {__ldg(offsets + row), __ldg(offsets + row + 1)};
}

__device__ inline RowRange within(RowRange bounds, int32_t limit) {
  const int32_t begin = max(bounds.begin, 0);
  return {begin, max(min(bounds.end, limit), begin)};
}

__device__ inline RowRange row_range(const int32_t* offsets, int64_t row, int32_t limit) {
  return within(row_bounds(offsets, row), limit);
}

__device__ inline bool in_range(int32_t index, int32_t bound) {
  return static_cast<uint32_t>(index) < static_cast<uint32_t>(bound);
}

// Keeps the compiler from computing an address anew wherever it is used.
template <class T>
__device__ T* kept_in_register(T* pointer) {
  asm("" : "+l"(pointer));
  return pointer;
}

// The columns of the first entries of a range; fewer where the range is shorter.
template <int kCount>
__device__ void load_columns(const int32_t* columns, RowRange range, int32_t (&to)[kCount]) {
  const int32_t count = range.end - range.begin;
  const int32_t* from = kept_in_register(columns + range.begin);
#pragma unroll
  for (int i = 0; i < kCount; ++i)
    if (i < count) to[i] = __ldg(from + i);
}

// Some channels of the rows that columns index, in words `apart` words from one to the next.
template <class T, int kWidth>
class SourceRows {
 public:
  __device__ SourceRows(const T* x, int32_t count, int32_t channels, int32_t apart)
      : x_(kept_in_register(reinterpret_cast<const char*>(x))),
        bytes_(static_cast<Bytes>(sizeof(T) * channels)),
        count_(count),
        apart_(apart) {}

  __device__ bool has(int32_t source) const { return in_range(source, count_); }

  // Zeros from the `count`-th source on, and where a source is out of range.
  template <int kCount>
  __device__ void load(const int32_t (&source)[kCount], int32_t count,
                       Packed<T, kWidth> (&to)[kCount]) const {
    uint32_t largest = 0;
#pragma unroll
    for (int i = 0; i < kCount; ++i) largest = max(largest, static_cast<uint32_t>(source[i]));
    if (count >= kCount && largest < static_cast<uint32_t>(count_)) {
#pragma unroll
      for (int i = 0; i < kCount; ++i) to[i] = load(source[i]);
    } else {
#pragma unroll
      for (int i = 0; i < kCount; ++i)
        to[i] = i < count && has(source[i]) ? load(source[i]) : Packed<T, kWidth>::zero();
    }
  }

 private:
  __device__ Packed<T, kWidth> load(int32_t source) const {
    const char* const row = x_ + uint64_t{static_cast<uint32_t>(source)} * bytes_;
    return Packed<T, kWidth>::load(reinterpret_cast<const T*>(row), apart_);
  }

  // Rows of 4 GiB and more are none that wide accesses are chosen for.
  using Bytes = std::conditional_t<kWidth == 1, uint64_t, uint32_t>;

  const char* x_;
  Bytes bytes_;  // of a row
  int32_t count_, apart_;
};

// Divides by a positive integer, rounded as `/`: one reciprocal, and per value a quotient and its
// correction by the remainder (Markstein, "Computation of Elementary Functions on the IBM RISC
// System/6000", 1990), which infinities do not survive.
template <int kWidth>
__device__ void divide(float (&values)[kWidth], float divisor) {
  float largest = 0.0f;
#pragma unroll
  for (int c = 0; c < kWidth; ++c) largest = fmaxf(largest, fabsf(values[c]));
  if (largest == __int_as_float(0x7F800000)) {
#pragma unroll
    for (int c = 0; c < kWidth; ++c) values[c] /= divisor;
    return;
  }
  const float reciprocal = __frcp_rn(divisor);
#pragma unroll
  for (int c = 0; c < kWidth; ++c) {
    const float quotient = values[c] * reciprocal;
    values[c] = fmaf(fmaf(-quotient, divisor, values[c]), reciprocal, quotient);
  }
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

// The lanes of a warp that share a row with this thread.
__device__ inline unsigned group_mask(int lane_bits) {
  const int lanes = 1 << lane_bits;
  const unsigned group = (threadIdx.x & 31) >> lane_bits;
  return (lanes == 32 ? ~0u : (1u << lanes) - 1) << (group * lanes & 31);
}

// The sum over the 2^lane_bits threads of a group, in all of them, in a fixed order.
__device__ inline float sum_over_lanes(float value, int lane_bits) {
  const unsigned mask = group_mask(lane_bits);
  for (int step = 1 << lane_bits >> 1; step > 0; step /= 2)
    value += __shfl_xor_sync(mask, value, step);
  return value;
}

// The sums of kTerms values over the 2^lane_bits threads of a group, of which there are at least
// kTerms. Returns that of term lane >> (lane_bits - log2 kTerms): at each of the first steps a
// thread hands half of its terms over, so that kTerms + lane_bits - log2 kTerms - 1 shuffles do.
template <int kTerms>
__device__ float sum_terms_over_lanes(float (&values)[kTerms], int lane, int lane_bits) {
  int step = 1 << lane_bits >> 1;
#pragma unroll
  for (int half = kTerms / 2; half > 0; half /= 2, step /= 2) {
    const bool keeps_upper = (lane & step) != 0;
#pragma unroll
    for (int i = 0; i < half; ++i) {
      const float given = keeps_upper ? values[i] : values[half + i];
      const float kept = keeps_upper ? values[half + i] : values[i];
      values[i] = kept + __shfl_xor_sync(group_mask(lane_bits), given, step);
    }
  }
  float sum = values[0];
  for (; step > 0; step /= 2) sum += __shfl_xor_sync(group_mask(lane_bits), sum, step);
  return sum;
}

}  // namespace g2vlm
