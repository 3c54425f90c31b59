// Trees of boxes over packed clouds that are sorted along a Hilbert curve.
//
// A leaf holds 32 consecutive points of one segment, a node 32 consecutive boxes of the level below
// it: a lane each. Every segment has a tree of its own; level 0 are the boxes of the leaves.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>

#include "common.cuh"
#include "nearest_segments.cuh"
#include "rounding.cuh"

namespace g2vlm {

constexpr int kFanout = 32;
constexpr int kFanoutBits = 5;
constexpr int kMaxLevels = 6;
constexpr int32_t kNoRow = 0x7FFFFFFF;  // of the slots that fill up the last leaf of a segment

struct Box {
  float4 low;   // w: the lowest row inside, as an integer
  float4 high;  // w: unused
};

struct Tree {
  const float* points;  // [length, dim], as they came
  int32_t dim;          // at most 3; other coordinates are 0
  Segments segments;    // with offsets that never fall
  float4* sorted;       // [leaves * 32] x, y, z and the row; NaN and kNoRow in filling slots
  Box* boxes;           // level after level
  int64_t first[kMaxLevels + 1];  // where each level begins in `boxes`
  int32_t levels;

  __host__ __device__ int64_t length() const { return segments.length; }
  __host__ __device__ int64_t leaves() const { return nodes(0); }

  // An upper bound of the boxes of a level, known to the host.
  __host__ __device__ int64_t nodes(int level) const { return runs(bits_below(level)); }
  // Where the boxes of a segment begin in their level, 0 for the first: ranges of different
  // segments are disjoint.
  __device__ int64_t start(int level, int32_t segment) const {
    return first_run(bits_below(level), segment);
  }
  __device__ static int64_t boxes_of(int level, int64_t points) {
    const int bits = bits_below(level);
    return (points + (int64_t{1} << bits) - 1) >> bits;
  }
  // The segment in whose range a box of a level lies.
  __device__ int32_t segment_of(int level, int64_t node) const {
    return segment_of_run(bits_below(level), node);
  }

  // The same of runs of 2^bits points.
  __host__ __device__ int64_t runs(int bits) const {
    return (segments.length >> bits) + segments.count;
  }
  __device__ int64_t first_run(int bits, int32_t segment) const {
    return (points_before(segment) >> bits) + segment;
  }
  __device__ int32_t segment_of_run(int bits, int64_t run) const {
    int32_t low = 0, high = segments.count - 1;
    while (low < high) {
      const int32_t middle = low + (high - low + 1) / 2;
      if (first_run(bits, middle) <= run)
        low = middle;
      else
        high = middle - 1;
    }
    return low;
  }

  __device__ int64_t points_before(int32_t segment) const {
    return segments.begin(segment) - segments.begin(0);
  }
  __device__ int64_t points_of(int32_t segment) const {
    return segments.end(segment) - segments.begin(segment);
  }
  __device__ float coordinate(int64_t row, int axis) const {
    return axis < dim ? points[row * dim + axis] : 0.0F;
  }
  __device__ float4 point(int64_t row) const {
    return {coordinate(row, 0), coordinate(row, 1), coordinate(row, 2),
            __int_as_float(static_cast<int32_t>(row))};
  }

 private:
  __host__ __device__ static int bits_below(int level) { return kFanoutBits * (level + 1); }
};

// Distances from each point of two clouds to the other, and which it is; null for a cloud that does
// not search.
struct Neighbours {
  float* distance[2];
  int32_t* index[2];
  int32_t places = 1;  // for each point
};

__device__ inline bool is_known(float4 point) {
  return !(isnan(point.x) || isnan(point.y) || isnan(point.z));
}

__device__ inline bool is_finite(float4 point) {
  return isfinite(point.x) && isfinite(point.y) && isfinite(point.z);
}

// Floats as unsigned integers of the same order; NaN comes last whatever its sign.
__device__ inline uint32_t ordered(float value) {
  const uint32_t bits = __float_as_uint(value);
  return isnan(value) ? kAllLanes : bits & 0x80000000 ? ~bits : bits | 0x80000000;
}
__device__ inline float from_ordered(uint32_t value) {
  return __uint_as_float(value & 0x80000000 ? value & 0x7FFFFFFF : ~value);
}
__device__ inline float warp_min(float value) {
  const uint32_t smallest = __reduce_min_sync(kAllLanes, ordered(value));
  return smallest == kAllLanes ? INFINITY : from_ordered(smallest);
}
__device__ inline float warp_max(float value) {
  return -warp_min(-value);
}

// Writes the box around the boxes of the lanes of a warp.
__device__ inline void write_box(Box* box, float4 low, float4 high, int32_t row, bool writes) {
  const float3 least = {warp_min(low.x), warp_min(low.y), warp_min(low.z)};
  const float3 most = {warp_max(high.x), warp_max(high.y), warp_max(high.z)};
  const int32_t lowest = __reduce_min_sync(kAllLanes, row);
  if (!writes) return;
  box->low = {least.x, least.y, least.z, __int_as_float(lowest)};
  box->high = {most.x, most.y, most.z, 0.0F};
}

// The bits that distances of at most so much are below.
inline uint32_t limit_of(float max_distance) {
  const float bound = max_distance + 0.0F;  // -0 has the bits of a huge number
  uint32_t bits;
  static_assert(sizeof bits == sizeof bound);
  std::memcpy(&bits, &bound, sizeof bits);
  return bits + 1;
}

// How far boxes are apart along an axis. The squared length of such gaps is rounded as the distance
// of a pair is, and every step of it is monotone: no pair of points in the boxes is nearer.
__device__ inline float gap(float low, float high, float other_low, float other_high) {
  return fmaxf(fmaxf(subtract(other_low, high), subtract(low, other_high)), 0.0F);
}

}  // namespace g2vlm
