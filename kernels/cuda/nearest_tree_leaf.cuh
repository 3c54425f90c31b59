// The search of a warp: the 32 points of a leaf of one cloud look for their nearest in the tree of
// another.
//
// The warp walks the tree as one, nearest boxes first. A box is entered only if some lane needs it:
// if its bound is below the lane's best distance, or equal to it while the box holds a lower row.
// Distances are compared by their bits: they are never negative, so their bits order as integers,
// and NaN comes last. Only which eighth of points held the best is remembered; the row is looked up
// at the end, or earlier where equal distances meet.
#pragma once

#include "nearest_tree.cuh"

namespace g2vlm {

constexpr int kChunk = 8;
constexpr int kPatience = 40;  // visits after which a search for a leaf is weighed up
constexpr int kCrowd = 6;      // lanes a visit that make it worth while

class LeafSearch {
 public:
  __device__ __forceinline__ LeafSearch(const Tree& tree, float4* tile, float4 query,
                                        uint32_t limit)
      : tree_(tree), tile_(tile), lane_(threadIdx.x % kFanout), query_(query) {
    const bool known = is_known(query);
    best_ = known ? limit : 0;  // nothing is below 0: lanes without a query never need a box
    const float nan = NAN;
    group_.low = {warp_min(known ? query.x : nan), warp_min(known ? query.y : nan),
                  warp_min(known ? query.z : nan), 0.0F};
    group_.high = {warp_max(known ? query.x : nan), warp_max(known ? query.y : nan),
                   warp_max(known ? query.z : nan), 0.0F};
    middle_ = {group_.low.x + group_.high.x, group_.low.y + group_.high.y,
               group_.low.z + group_.high.z};
    worst_ = __reduce_max_sync(kAllLanes, best_);
  }

  // Returns false where many leaves were visited for few lanes each; what was found by then is a
  // bound, from which the points had better search one by one.
  __device__ __forceinline__ bool run(int32_t segment) {
    last_ = static_cast<int32_t>(tree_.points_of(segment)) - 1;
    if (last_ < 0 || worst_ == 0) return true;
    segment_ = segment;
    before_ = static_cast<int32_t>(tree_.points_before(segment));
    int top = 0;
    while (last_box(top) >= kFanout) ++top;
    level_ = top;
    unsigned pending = open(0);
    int patience = kPatience, surplus = 0;  // of lanes served, above `kCrowd` a visit
    while (true) {
      const unsigned near = __ballot_sync(kAllLanes, gap_ <= worst_) & pending;
      if (near == 0) {
        do {
          if (level_ == top) return true;
          ++level_;
          base_ = (base_ >> kFanoutBits) & ~(kFanout - 1);
        } while (__shfl_sync(kAllLanes, saved_gap_, level_) > worst_);
        pending = __shfl_sync(kAllLanes, saved_, level_);
        open(base_);
        continue;
      }
      const int child = nearest_of(near);
      pending &= ~(1U << child);
      const unsigned lanes = needing(child);
      if (lanes == 0) continue;
      if (level_ == 0) {
        surplus += __popc(lanes) - kCrowd;
        if (--patience == 0) {
          if (surplus < 0) return false;
          patience = kPatience;
        }
        visit(start(0) + base_ + child);
      } else {
        const uint32_t gap = __reduce_min_sync(kAllLanes, pending >> lane_ & 1 ? gap_ : kAllLanes);
        if (lane_ == level_) saved_ = pending, saved_gap_ = gap;
        --level_;
        pending = open((base_ + child) << kFanoutBits);
      }
    }
  }

  // The nearest row, -1 where there is none.
  __device__ __forceinline__ int32_t row() const {
    return chunk_ < 0 ? row_ : lowest(int64_t{chunk_} * kChunk, kChunk);
  }
  __device__ __forceinline__ uint32_t bound() const { return best_; }
  __device__ __forceinline__ float distance() const { return __uint_as_float(best_); }

 private:
  // What `Tree` says of levels, for the segment and in as few bits as its rows have.
  __device__ __forceinline__ int32_t last_box(int level) const {
    return last_ >> kFanoutBits * (level + 1);
  }
  __device__ __forceinline__ int32_t start(int level) const {
    return (before_ >> kFanoutBits * (level + 1)) + segment_;
  }

  // Loads the boxes from `base` on of the present level, a lane each; returns which there are.
  __device__ __forceinline__ unsigned open(int32_t base) {
    base_ = base;
    const int32_t last = last_box(level_) - base;
    boxes_ = tree_.boxes + tree_.first[level_] + (start(level_) + base);
    const Box a = group_, b = boxes_[min(lane_, last)];
    const float apart = squared_length(gap(a.low.x, a.high.x, b.low.x, b.high.x),
                                       gap(a.low.y, a.high.y, b.low.y, b.high.y),
                                       gap(a.low.z, a.high.z, b.low.z, b.high.z));
    const float x = middle_.x - b.low.x - b.high.x;
    const float y = middle_.y - b.low.y - b.high.y;
    const float z = middle_.z - b.low.z - b.high.z;
    gap_ = __float_as_uint(apart);
    order_ = __float_as_uint(apart + 1e-3F * (x * x + y * y + z * z));  // centres part equal gaps
    return __ballot_sync(kAllLanes, lane_ <= last);
  }

  __device__ __forceinline__ int nearest_of(unsigned near) const {
    const uint32_t order = near >> lane_ & 1 ? order_ : kAllLanes;
    const uint32_t least = __reduce_min_sync(kAllLanes, order);
    return __ffs(static_cast<int>(__ballot_sync(kAllLanes, order == least) & near)) - 1;
  }

  // The lanes that need a box.
  __device__ __forceinline__ unsigned needing(int child) const {
    const Box box = boxes_[child];  // for all lanes at once: cheaper than to pass on a lane's
    const uint32_t bound =
        __float_as_uint(squared_length(gap(query_.x, query_.x, box.low.x, box.high.x),
                                       gap(query_.y, query_.y, box.low.y, box.high.y),
                                       gap(query_.z, query_.z, box.low.z, box.high.z)));
    const int32_t lowest_row = __float_as_int(box.low.w);
    const bool lower = chunk_ >= 0 || lowest_row < row_;
    return __ballot_sync(kAllLanes, bound < best_ || (bound == best_ && lower));
  }

  __device__ __forceinline__ uint32_t distance_bits(float4 point) const {
    return __float_as_uint(squared_length(subtract(query_.x, point.x), subtract(query_.y, point.y),
                                          subtract(query_.z, point.z)));
  }

  __device__ __forceinline__ void visit(int32_t leaf) {
    __syncwarp();
    tile_[lane_] = tree_.sorted[int64_t{leaf} * kFanout + lane_];
    __syncwarp();
    const uint32_t before = best_;
    bool tied = false;
#pragma unroll
    for (int begin = 0; begin < kFanout; begin += kChunk) {
      uint32_t smallest = kAllLanes;
#pragma unroll
      for (int i = begin; i < begin + kChunk; i += 2)
        smallest = __vimin3_u32(smallest, distance_bits(tile_[i]), distance_bits(tile_[i + 1]));
      tied = smallest == best_ || (tied && smallest > best_);
      if (smallest < best_) {
        best_ = smallest;
        chunk_ = leaf * (kFanout / kChunk) + begin / kChunk;
      }
    }
    if (tied && (chunk_ >= 0 || row_ >= 0)) {
      row_ = min(row(), lowest(int64_t{leaf} * kFanout, kFanout));
      chunk_ = -1;
    }
    if (__any_sync(kAllLanes, best_ < before)) worst_ = __reduce_max_sync(kAllLanes, best_);
  }

  // The lowest row among the slots at the best distance.
  __device__ __forceinline__ int32_t lowest(int64_t slot, int count) const {
    int32_t row = kNoRow;
    for (int i = 0; i < count; ++i) {
      const float4 point = tree_.sorted[slot + i];
      if (distance_bits(point) == best_) row = min(row, __float_as_int(point.w));
    }
    return row;
  }

  const Tree& tree_;
  float4* const tile_;
  const int lane_;
  const float4 query_;
  Box group_;
  float3 middle_;       // twice the middle of `group_`
  uint32_t best_;       // bits of the best distance so far, or the limit that it must be below
  uint32_t worst_;      // the largest `best_` of the lanes
  int32_t chunk_ = -1;  // where the best was found; -1 once its row is known, or none was found
  int32_t row_ = -1;
  int32_t segment_ = 0;
  int32_t last_ = 0;  // number of its last point, and how many there are before its first
  int32_t before_ = 0;
  int level_ = 0;
  int32_t base_ = 0;            // first of the boxes at hand, within the level of the segment
  const Box* boxes_ = nullptr;  // these
  uint32_t gap_ = 0, order_ = 0;
  unsigned saved_ = 0;      // lane l keeps which boxes of level l are still to come,
  uint32_t saved_gap_ = 0;  // and the least gap among them
};

}  // namespace g2vlm
