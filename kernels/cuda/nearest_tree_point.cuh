// The search of a warp for a single point: its lanes take the boxes of a node, or the points of a
// leaf, one each.
//
// It is for points whose leaf lies so scattered that a search for all of it would enter too much.
#pragma once

#include "nearest_tree.cuh"

namespace g2vlm {

class PointSearch {
 public:
  // Neighbours count from the best that is known already on; a `limit` of bits is not reached.
  __device__ __forceinline__ PointSearch(const Tree& tree, float4 query, uint32_t limit)
      : tree_(tree), lane_(threadIdx.x % kFanout), query_(query), best_(limit) {}

  __device__ __forceinline__ void run(int32_t segment) {
    segment_ = segment;
    points_ = tree_.segments.end(segment) - tree_.segments.begin(segment);
    if (points_ <= 0) return;
    int top = 0;
    while (Tree::boxes_of(top, points_) > kFanout) ++top;
    level_ = top;
    unsigned pending = open(0);
    while (true) {
      const bool wanted =
          pending >> lane_ & 1 && (gap_ < best_ || (gap_ == best_ && lowest_row_ < row_));
      if (__ballot_sync(kAllLanes, wanted) == 0) {
        if (level_ == top) return;
        ++level_;
        pending = __shfl_sync(kAllLanes, saved_, level_);
        open((base_ >> kFanoutBits) & ~(kFanout - 1));
        continue;
      }
      const uint32_t order = wanted ? gap_ : kAllLanes;
      const uint32_t least = __reduce_min_sync(kAllLanes, order);
      const int child = __ffs(static_cast<int>(__ballot_sync(kAllLanes, order == least))) - 1;
      pending &= ~(1U << child);
      if (level_ == 0) {
        visit(tree_.start(0, segment_) + base_ + child);
      } else {
        if (lane_ == level_) saved_ = pending;
        --level_;
        pending = open((base_ + child) << kFanoutBits);
      }
    }
  }

  __device__ __forceinline__ int32_t row() const { return row_; }
  __device__ __forceinline__ float distance() const { return __uint_as_float(best_); }

 private:
  __device__ __forceinline__ unsigned open(int32_t base) {
    base_ = base;
    const bool exists = base + lane_ < Tree::boxes_of(level_, points_);
    if (exists) {
      const Box box =
          tree_.boxes[tree_.first[level_] + tree_.start(level_, segment_) + base + lane_];
      gap_ = __float_as_uint(squared_length(gap(query_.x, query_.x, box.low.x, box.high.x),
                                            gap(query_.y, query_.y, box.low.y, box.high.y),
                                            gap(query_.z, query_.z, box.low.z, box.high.z)));
      lowest_row_ = __float_as_int(box.low.w);
    }
    return __ballot_sync(kAllLanes, exists);
  }

  __device__ __forceinline__ void visit(int64_t leaf) {
    const float4 point = tree_.sorted[leaf * kFanout + lane_];
    const uint32_t bits = __float_as_uint(squared_length(
        subtract(query_.x, point.x), subtract(query_.y, point.y), subtract(query_.z, point.z)));
    const uint32_t least = __reduce_min_sync(kAllLanes, bits);
    if (least > best_ || (least == best_ && row_ < 0)) return;
    const int32_t lowest =
        __reduce_min_sync(kAllLanes, bits == least ? __float_as_int(point.w) : kNoRow);
    row_ = least < best_ ? lowest : min(row_, lowest);
    best_ = least;
  }

  const Tree& tree_;
  const int lane_;
  const float4 query_;
  uint32_t best_;     // bits of the best distance so far, or the limit that it must be below
  int32_t row_ = -1;  // of the best; -1 where none was found
  int32_t segment_ = 0;
  int64_t points_ = 0;
  int level_ = 0;
  int32_t base_ = 0;        // first of the boxes at hand, within the level of the segment
  uint32_t gap_ = 0;        // bits of the bound of the lane's box
  int32_t lowest_row_ = 0;  // in the lane's box
  unsigned saved_ = 0;      // lane l keeps which boxes of level l are still to come
};

}  // namespace g2vlm
