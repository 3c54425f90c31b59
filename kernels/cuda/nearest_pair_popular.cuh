// Points that many others hit: what hits them is added up as integers, so that no order changes
// the sum.
#pragma once

#include "nearest_pair_pull.cuh"
#include "workspace.cuh"

namespace g2vlm {

// The popular points, in whatever order they were found. Null for no list.
struct Popular {
  uint32_t* count = nullptr;
  int32_t* number = nullptr;
  uint32_t* largest = nullptr;        // bits of the largest coordinate that hits one
  unsigned long long* sum = nullptr;  // [3] each, in units that depend on `largest`

  Popular() = default;
  Popular(int64_t most, Workspace& memory)
      : count(memory.take<uint32_t>(1)),
        number(memory.take<int32_t>(most)),
        largest(memory.take<uint32_t>(most)),
        sum(memory.take<unsigned long long>(3 * most)) {}

  // Takes a point in; returns its place as the head of no list, from which `place_of` gets it.
  __device__ int32_t enlist(int64_t point) const {
    const uint32_t place = atomicAdd(count, 1);
    number[place] = static_cast<int32_t>(point);
    largest[place] = 0;
    for (int axis = 0; axis < 3; ++axis) sum[3 * int64_t{place} + axis] = 0;
    return -2 - static_cast<int32_t>(place);
  }
  __device__ static int32_t place_of(int32_t head) { return -2 - head; }
};

// Subtracts what hits the popular points from their gradients.
void add_popular(const NearestPairGradient& p, const int32_t* heads, const Popular& popular,
                 cudaStream_t stream);

}  // namespace g2vlm
