// The search of a warp for the nearest of a single point.
//
// It is for points whose leaf lies so scattered that a search for all of it would enter too much.
#pragma once

#include "nearest_tree_walk.cuh"

namespace g2vlm {

class PointSearch {
 public:
  // Neighbours count from the best that is known already on; a `limit` of bits is not reached.
  __device__ __forceinline__ PointSearch(const Tree& tree, float4 query, uint32_t limit)
      : tree_(tree), query_(query), best_(limit) {}

  __device__ __forceinline__ void run(int32_t segment) { walk(tree_, segment, *this); }

  __device__ __forceinline__ int32_t row() const { return row_; }
  __device__ __forceinline__ float distance() const { return __uint_as_float(best_); }

  __device__ __forceinline__ uint32_t bound(const Box& box) const {
    return __float_as_uint(squared_length(gap(query_.x, query_.x, box.low.x, box.high.x),
                                          gap(query_.y, query_.y, box.low.y, box.high.y),
                                          gap(query_.z, query_.z, box.low.z, box.high.z)));
  }

  __device__ __forceinline__ bool wants(uint32_t bound, int32_t lowest_row) const {
    return bound < best_ || (bound == best_ && lowest_row < row_);
  }

  __device__ __forceinline__ void visit(int64_t leaf) {
    const float4 point = tree_.sorted[leaf * kFanout + threadIdx.x % kFanout];
    const uint32_t bits = __float_as_uint(squared_length(
        subtract(query_.x, point.x), subtract(query_.y, point.y), subtract(query_.z, point.z)));
    const uint32_t least = __reduce_min_sync(kAllLanes, bits);
    if (least > best_ || (least == best_ && row_ < 0)) return;
    const int32_t lowest =
        __reduce_min_sync(kAllLanes, bits == least ? __float_as_int(point.w) : kNoRow);
    row_ = least < best_ ? lowest : min(row_, lowest);
    best_ = least;
  }

 private:
  const Tree& tree_;
  const float4 query_;
  uint32_t best_;     // bits of the best distance so far, or the limit that it must be below
  int32_t row_ = -1;  // of the best; -1 where none was found
};

}  // namespace g2vlm
