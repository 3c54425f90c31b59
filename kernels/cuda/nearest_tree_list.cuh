// The search of a warp for the nearest up to 32 of a single point: each lane holds one of them.
#pragma once

#include "nearest_tree_walk.cuh"

namespace g2vlm {

// Pairs as numbers that order by (distance, row).
__device__ inline uint64_t pair_key(uint32_t distance_bits, int32_t row) {
  return uint64_t{distance_bits} << 32 | static_cast<uint32_t>(row);
}

template <int kNorm>
class ListSearch {
 public:
  // Of `places` neighbours whose keys are in [from, limit).
  __device__ __forceinline__ ListSearch(const Tree& tree, float4 query, int places, uint64_t from,
                                        uint64_t limit)
      : tree_(tree),
        query_(query),
        lane_(threadIdx.x % kFanout),
        last_(places - 1),
        from_(from),
        worst_(limit),
        kept_(limit) {}

  // The lane's neighbour, or the limit: they rise with the lane.
  __device__ __forceinline__ uint64_t kept() const { return kept_; }

  __device__ __forceinline__ uint32_t bound(const Box& box) const {
    return distance_bits(gap(query_.x, query_.x, box.low.x, box.high.x),
                         gap(query_.y, query_.y, box.low.y, box.high.y),
                         gap(query_.z, query_.z, box.low.z, box.high.z));
  }

  __device__ __forceinline__ bool wants(uint32_t bound, int32_t lowest_row) const {
    return pair_key(bound, lowest_row) < worst_;
  }

  __device__ __forceinline__ void visit(int64_t leaf) {
    const float4 point = tree_.sorted[leaf * kFanout + lane_];
    uint64_t candidate =
        pair_key(distance_bits(subtract(query_.x, point.x), subtract(query_.y, point.y),
                               subtract(query_.z, point.z)),
                 __float_as_int(point.w));
    if (candidate < from_) candidate = ~uint64_t{0};
    unsigned entering = __ballot_sync(kAllLanes, candidate < worst_);
    if (__popc(entering) > kOneByOne) return merge(candidate);
    while (entering != 0) {
      insert(__shfl_sync(kAllLanes, candidate, __ffs(static_cast<int>(entering)) - 1));
      entering = entering & (entering - 1) & __ballot_sync(kAllLanes, candidate < worst_);
    }
  }

 private:
  static constexpr int kOneByOne = 6;  // candidates up to which that is faster than merging

  __device__ __forceinline__ static uint32_t distance_bits(float x, float y, float z) {
    return __float_as_uint(next_term<kNorm>(next_term<kNorm>(first_term<kNorm>(x), y), z));
  }

  __device__ __forceinline__ void insert(uint64_t candidate) {
    const int place = __popc(__ballot_sync(kAllLanes, kept_ < candidate));
    const uint64_t before = __shfl_up_sync(kAllLanes, kept_, 1);
    if (lane_ >= place) kept_ = lane_ == place ? candidate : before;
    worst_ = __shfl_sync(kAllLanes, kept_, last_);
  }

  // Sorts the candidates falling; the smaller ones of both lists then rise and fall, or the
  // reverse, and are sorted rising (Batcher, "Sorting Networks and Their Applications", 1968).
  __device__ __forceinline__ void merge(uint64_t candidate) {
#pragma unroll
    for (int size = 2; size <= kFanout; size *= 2)
#pragma unroll
      for (int stride = size / 2; stride > 0; stride /= 2)
        candidate = exchange(candidate, stride, (lane_ & size) != 0);
    kept_ = min(kept_, candidate);
#pragma unroll
    for (int stride = kFanout / 2; stride > 0; stride /= 2) kept_ = exchange(kept_, stride, true);
    worst_ = __shfl_sync(kAllLanes, kept_, last_);
  }

  // Puts the smaller of a lane's and its partner's number into the lower lane where it is to rise.
  __device__ __forceinline__ uint64_t exchange(uint64_t own, int stride, bool rises) const {
    const uint64_t other = __shfl_xor_sync(kAllLanes, own, stride);
    const bool lower = (lane_ & stride) == 0;
    return (own < other) == (lower == rises) ? own : other;
  }

  const Tree& tree_;
  const float4 query_;
  const int lane_, last_;
  const uint64_t from_;
  uint64_t worst_;  // candidates below it enter
  uint64_t kept_;
};

}  // namespace g2vlm
