// The walk of a warp through a tree for one who searches: its lanes take the boxes of a node one
// each, and the nearest that is still wanted is entered first.
//
// A visitor says what is wanted:
//   uint32_t bound(const Box&)         bits of a distance that nothing in the box falls below
//   bool wants(uint32_t bound, int32_t lowest_row)   whether a box may change what was found
//   void visit(int64_t leaf)           looks at what a leaf holds, by all lanes
#pragma once

#include "nearest_tree.cuh"

namespace g2vlm {

// The nearest that a warp has seen: of equal distances the lowest row.
class BestPair {
 public:
  // Distances count from these bits down, which are not reached themselves.
  __device__ __forceinline__ explicit BestPair(uint32_t limit) : bits_(limit) {}

  __device__ __forceinline__ bool wants(uint32_t bound, int32_t lowest_row) const {
    return bound < bits_ || (bound == bits_ && lowest_row < row_);
  }

  // Takes what every lane has seen.
  __device__ __forceinline__ void keep(float distance, int32_t row) {
    const uint32_t bits = __float_as_uint(distance);
    const uint32_t least = __reduce_min_sync(kAllLanes, bits);
    if (least > bits_ || (least == bits_ && row_ < 0)) return;
    const int32_t lowest = __reduce_min_sync(kAllLanes, bits == least ? row : kNoRow);
    row_ = least < bits_ ? lowest : min(row_, lowest);
    bits_ = least;
  }

  __device__ __forceinline__ int32_t row() const { return row_; }
  __device__ __forceinline__ float distance() const { return __uint_as_float(bits_); }

 private:
  uint32_t bits_;
  int32_t row_ = -1;  // -1 where none was found
};

template <class Visitor>
class TreeWalk {
 public:
  __device__ __forceinline__ TreeWalk(const Tree& tree, int32_t segment, Visitor& visitor)
      : tree_(tree),
        visitor_(visitor),
        lane_(threadIdx.x % kFanout),
        segment_(segment),
        points_(tree.points_of(segment)) {}

  __device__ __forceinline__ void run() {
    if (points_ <= 0) return;
    int top = 0;
    while (Tree::boxes_of(top, points_) > kFanout) ++top;
    level_ = top;
    unsigned pending = open(0);
    while (true) {
      const bool wanted = pending >> lane_ & 1 && visitor_.wants(bound_, lowest_row_);
      if (__ballot_sync(kAllLanes, wanted) == 0) {
        do {
          if (level_ == top) return;
          ++level_;
          base_ = (base_ >> kFanoutBits) & ~(kFanout - 1);
        } while (!visitor_.wants(__shfl_sync(kAllLanes, saved_bound_, level_), 0));
        pending = __shfl_sync(kAllLanes, saved_, level_);
        open(base_);
        continue;
      }
      const uint32_t order = wanted ? bound_ : kAllLanes;
      const uint32_t least = __reduce_min_sync(kAllLanes, order);
      const int child = __ffs(static_cast<int>(__ballot_sync(kAllLanes, order == least))) - 1;
      pending &= ~(1U << child);
      if (level_ == 0) {
        visitor_.visit(tree_.start(0, segment_) + base_ + child);
      } else {
        const bool left = pending >> lane_ & 1;
        const uint32_t bound = __reduce_min_sync(kAllLanes, left ? bound_ : kAllLanes);
        if (lane_ == level_) saved_ = pending, saved_bound_ = bound;
        --level_;
        pending = open((base_ + child) << kFanoutBits);
      }
    }
  }

 private:
  // Bounds the boxes from `base` on of the present level, a lane each; returns which there are.
  __device__ __forceinline__ unsigned open(int32_t base) {
    base_ = base;
    const bool exists = base + lane_ < Tree::boxes_of(level_, points_);
    if (exists) {
      const Box box =
          tree_.boxes[tree_.first[level_] + tree_.start(level_, segment_) + base + lane_];
      bound_ = visitor_.bound(box);
      lowest_row_ = __float_as_int(box.low.w);
    }
    return __ballot_sync(kAllLanes, exists);
  }

  const Tree& tree_;
  Visitor& visitor_;
  const int lane_;
  const int32_t segment_;
  const int64_t points_;
  int level_ = 0;
  int32_t base_ = 0;          // first of the boxes at hand, within the level of the segment
  uint32_t bound_ = 0;        // of the lane's box
  int32_t lowest_row_ = 0;    // in the lane's box
  unsigned saved_ = 0;        // lane l keeps which boxes of level l are still to come,
  uint32_t saved_bound_ = 0;  // and the least bound among them
};

template <class Visitor>
__device__ __forceinline__ void walk(const Tree& tree, int32_t segment, Visitor& visitor) {
  TreeWalk<Visitor>(tree, segment, visitor).run();
}

}  // namespace g2vlm
