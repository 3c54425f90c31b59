// The search of a warp for the nearest of a single point.
//
// It is for points whose leaf lies so scattered that a search for all of it would enter too much.
#pragma once

#include "nearest_tree_walk.cuh"

namespace g2vlm {

class PointSearch : public BestPair {
 public:
  __device__ __forceinline__ PointSearch(const Tree& tree, float4 query, uint32_t limit)
      : BestPair(limit), tree_(tree), query_(query) {}

  __device__ __forceinline__ uint32_t bound(const Box& box) const {
    return __float_as_uint(squared_length(gap(query_.x, query_.x, box.low.x, box.high.x),
                                          gap(query_.y, query_.y, box.low.y, box.high.y),
                                          gap(query_.z, query_.z, box.low.z, box.high.z)));
  }

  __device__ __forceinline__ void visit(int64_t leaf) {
    const float4 point = tree_.sorted[leaf * kFanout + threadIdx.x % kFanout];
    keep(squared_length(subtract(query_.x, point.x), subtract(query_.y, point.y),
                        subtract(query_.z, point.z)),
         __float_as_int(point.w));
  }

 private:
  const Tree& tree_;
  const float4 query_;
};

}  // namespace g2vlm
