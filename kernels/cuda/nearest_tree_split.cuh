// Splits runs of points along the curve into compact leaves.
//
// A run of the curve is a set of cells that wind; 32 points of it have a box that overlaps others.
// So a warp halves 256 of them three times, each time across the longest side of their box. No
// order of points changes what a search finds, only how many boxes it enters.
#pragma once

#include "nearest_tree.cuh"

namespace g2vlm {

constexpr int kRunBits = 8;
constexpr int kRun = 1 << kRunBits;
constexpr int kRunLeaves = kRun / kFanout;
constexpr int kRunItems = kRun / 32;  // of a lane

// What a warp needs in shared memory.
struct Run {
  float4 points[kRun];
  uint8_t order[kRun];  // which point comes where
};

// The order of 256 places, of which a lane has kRunItems consecutive ones, by keys. Merges begin
// with places that mirror each other, so that all of them rise (Batcher's odd-even merge needs
// no directions either, but more exchanges).
class RunOrder {
 public:
  __device__ __forceinline__ explicit RunOrder(Run& run) : run_(run), lane_(threadIdx.x % 32) {
#pragma unroll
    for (int i = 0; i < kRunItems; ++i) keys_[i] = i * 32 + lane_;
  }

  // Halves each kWidth consecutive places.
  template <int kWidth>
  __device__ __forceinline__ void halve() {
    measure<kWidth>();
    sort<kWidth / 2>();
    merge_mirrored<kWidth>();
  }

  // Sorts the halves that the last of the calls has left: places without a point come last.
  template <int kWidth>
  __device__ __forceinline__ void finish() {
    if constexpr (kWidth >= 2) {
      exchange<kWidth / 2>();
      finish<kWidth / 2>();
    }
  }

  __device__ __forceinline__ void write() const {
    uint32_t words[2] = {0, 0};
#pragma unroll
    for (int i = 0; i < kRunItems; ++i) words[i / 4] |= slot(i) << 8 * (i % 4);
    reinterpret_cast<uint2*>(run_.order)[lane_] = {words[0], words[1]};
  }

 private:
  static constexpr uint32_t kLargest = (1U << (32 - kRunBits)) - 1;  // of points that are none

  __device__ __forceinline__ uint32_t slot(int item) const { return keys_[item] & (kRun - 1); }

  // Makes keys of where points lie along the longest side of the box of kWidth places.
  template <int kWidth>
  __device__ __forceinline__ void measure() {
    float4 points[kRunItems];
    float3 low = {INFINITY, INFINITY, INFINITY}, high = {-INFINITY, -INFINITY, -INFINITY};
#pragma unroll
    for (int i = 0; i < kRunItems; ++i) {
      const float4 p = points[i] = run_.points[slot(i)];
      low = {fminf(low.x, p.x), fminf(low.y, p.y), fminf(low.z, p.z)};
      high = {fmaxf(high.x, p.x), fmaxf(high.y, p.y), fmaxf(high.z, p.z)};
    }
#pragma unroll
    for (int stride = kWidth / kRunItems / 2; stride > 0; stride /= 2) {
      low = {fminf(low.x, exchanged(low.x, stride)), fminf(low.y, exchanged(low.y, stride)),
             fminf(low.z, exchanged(low.z, stride))};
      high = {fmaxf(high.x, exchanged(high.x, stride)), fmaxf(high.y, exchanged(high.y, stride)),
              fmaxf(high.z, exchanged(high.z, stride))};
    }
    const float x = high.x - low.x, y = high.y - low.y, z = high.z - low.z;
    const bool along_x = x >= y && x >= z, along_y = !along_x && y >= z;
    const float begin = along_x ? low.x : along_y ? low.y : low.z;
    const float extent = along_x ? x : along_y ? y : z;
    const float scale = __fdividef(kLargest - 2, extent);
#pragma unroll
    for (int i = 0; i < kRunItems; ++i) {
      const float4 p = points[i];
      const float place = ((along_x ? p.x : along_y ? p.y : p.z) - begin) * scale;
      uint32_t key = static_cast<uint32_t>(fminf(fmaxf(place, 0.0F), kLargest - 2));
      if (!is_known(p)) key = __float_as_int(p.w) == kNoRow ? kLargest : kLargest - 1;
      keys_[i] = key << kRunBits | slot(i);
    }
  }
  __device__ __forceinline__ static float exchanged(float value, int stride) {
    return __shfl_xor_sync(kAllLanes, value, stride);
  }

  __device__ __forceinline__ static void order(uint32_t& a, uint32_t& b) {
    const uint32_t smaller = min(a, b);
    b = max(a, b);
    a = smaller;
  }
  __device__ __forceinline__ static void keep(uint32_t& own, uint32_t other, bool smaller) {
    own = smaller ? min(own, other) : max(own, other);
  }

  template <int kWidth>
  __device__ __forceinline__ void sort() {
    if constexpr (kWidth >= 2) {
      sort<kWidth / 2>();
      merge_mirrored<kWidth>();
      finish<kWidth / 2>();
    }
  }

  // Of kWidth places whose halves are sorted, those of the first half get the smaller keys; either
  // half is bitonic then.
  template <int kWidth>
  __device__ __forceinline__ void merge_mirrored() {
    if constexpr (kWidth <= kRunItems) {
#pragma unroll
      for (int i = 0; i < kRunItems; ++i)
        if (i % kWidth < kWidth / 2) order(keys_[i], keys_[i ^ (kWidth - 1)]);
    } else {
      constexpr int kLanes = kWidth / kRunItems;
      uint32_t others[kRunItems];
#pragma unroll
      for (int i = 0; i < kRunItems; ++i)
        others[i] = __shfl_xor_sync(kAllLanes, keys_[kRunItems - 1 - i], kLanes - 1);
#pragma unroll
      for (int i = 0; i < kRunItems; ++i) keep(keys_[i], others[i], (lane_ & kLanes / 2) == 0);
    }
  }

  // Orders places that are kStride apart.
  template <int kStride>
  __device__ __forceinline__ void exchange() {
#pragma unroll
    for (int i = 0; i < kRunItems; ++i) {
      if constexpr (kStride >= kRunItems) {
        constexpr int kLanes = kStride / kRunItems;
        keep(keys_[i], __shfl_xor_sync(kAllLanes, keys_[i], kLanes), (lane_ & kLanes) == 0);
      } else if (i % (2 * kStride) < kStride) {
        order(keys_[i], keys_[i + kStride]);
      }
    }
  }

  Run& run_;
  const int lane_;
  uint32_t keys_[kRunItems];  // the lowest bits number the points as they came
};

// By all lanes of a warp.
__device__ __forceinline__ void split(Run& run) {
  RunOrder order(run);
  order.halve<kRun>();
  order.halve<kRun / 2>();
  order.halve<kRun / 4>();
  order.finish<kFanout>();
  order.write();
}

}  // namespace g2vlm
