// A stable sort by a range of the bits of keys: a kernel for each eight bits, the lowest first
// (Adinets and Merrill, "Onesweep: A Faster Least Significant Digit Radix Sort for GPUs", 2022).
//
// Whoever makes the keys counts their digits as it goes: a block clears the counts, the kernel
// behind it makes the keys, counts them and clears the progress, and the passes are all that is
// left.
#pragma once

#include <cub/util_type.cuh>

#include "common.cuh"
#include "workspace.cuh"

namespace g2vlm {

constexpr int kDigitBits = 8;
constexpr int kDigits = 1 << kDigitBits;
constexpr int kMostPasses = 6;
constexpr int64_t kMostSorted = 1 << 27;  // counts share their words with states

// The digits of keys, one a pass, and how many keys have which. No passes: nothing is counted.
struct KeyDigits {
  int low_bit, passes;
  uint32_t* counts;    // [passes, kDigits]
  uint32_t* tickets;   // [passes] tiles that a pass has begun; these follow the counts
  uint32_t* progress;  // [tiles, kDigits]
  int64_t progress_size;

  __device__ uint32_t of(uint64_t key, int pass) const {
    return static_cast<uint32_t>(key >> (low_bit + kDigitBits * pass)) & (kDigits - 1);
  }
  // By one block, before any key is counted.
  __device__ void clear_counts() const {
    for (int i = threadIdx.x; i < passes * (kDigits + 1); i += blockDim.x) counts[i] = 0;
  }
  // By all blocks of a grid.
  __device__ void clear_progress() const {
    const int64_t step = int64_t{gridDim.x} * blockDim.x;
    for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < progress_size; i += step)
      progress[i] = 0;
  }
};

// The digits of a block's keys, in its shared memory.
struct BlockDigits {
  uint32_t counts[kMostPasses * kDigits];

  __device__ void clear(const KeyDigits& digits) {
    for (int i = threadIdx.x; i < digits.passes * kDigits; i += blockDim.x) counts[i] = 0;
    __syncthreads();
  }
  __device__ void count(const KeyDigits& digits, uint64_t key) {
    for (int pass = 0; pass < digits.passes; ++pass)
      atomicAdd(counts + pass * kDigits + digits.of(key, pass), 1);
  }
  __device__ void add_to(const KeyDigits& digits) {
    __syncthreads();
    for (int i = threadIdx.x; i < digits.passes * kDigits; i += blockDim.x)
      if (counts[i] != 0) atomicAdd(digits.counts + i, counts[i]);
  }
};

// For at most `kMostSorted` keys and `kMostPasses` digits; the bits above `bits` from `low_bit` on
// are 0.
KeyDigits take_digits(int64_t items, int low_bit, int bits, Workspace& memory);

// Enqueues the passes.
void radix_sort(const KeyDigits& digits, int64_t items, cub::DoubleBuffer<uint64_t>& keys,
                cudaStream_t stream);

}  // namespace g2vlm
