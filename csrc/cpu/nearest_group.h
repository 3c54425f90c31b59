// Queries that are searched together, one a lane, and what is kept of the targets that they meet.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "instruction_set.h"
#include "nearest_arithmetic.h"
#include "nearest_heap.h"
#include "nearest_tree.h"

namespace g2vlm {

// Queries next to each other on the curve, which descend together. What fills up an incomplete
// group lets nothing in.
template <class T>
struct alignas(64) Group {
  T point[kMaxTreeDim][kWidth];
  T low[kMaxTreeDim];
  T high[kMaxTreeDim];
  // A target enters where its (distance, index) is below these.
  T limit[kWidth];
  IndexOf<T> limit_index[kWidth];
  T widest;  // of the limits
  int32_t row[kWidth];
  int size;
};

template <class T>
G2VLM_ALWAYS_INLINE bool precedes(T distance, IndexOf<T> index, T limit, IndexOf<T> limit_index) {
  return (distance < limit) | ((distance == limit) & (index < limit_index));
}

// The nearest target alone: limits are the best pairs found.
template <class T>
class One {
 public:
  explicit One(const NearestProblem<T>& p) : p_(p) {}

  G2VLM_ALWAYS_INLINE void start(const Group<T>&) {}

  template <int kNorm>
  G2VLM_ALWAYS_INLINE void scan(const Leaf<T>& leaf, const IndexOf<T>*, Group<T>& group) {
    alignas(64) T best[kWidth];
    alignas(64) IndexOf<T> best_index[kWidth];
    for (int lane = 0; lane < kWidth; ++lane) best[lane] = group.limit[lane];
    for (int lane = 0; lane < kWidth; ++lane) best_index[lane] = group.limit_index[lane];
#pragma GCC unroll 1
    for (int i = 0; i < kWidth; ++i) {
      const T x = leaf.point[0][i], y = leaf.point[1][i], z = leaf.point[2][i];
      const IndexOf<T> index = leaf.index[i];
      for (int lane = 0; lane < kWidth; ++lane) {
        const T distance = distance_of<kNorm>(group.point[0][lane] - x, group.point[1][lane] - y,
                                              group.point[2][lane] - z);
        const bool nearer = precedes(distance, index, best[lane], best_index[lane]);
        best[lane] = nearer ? distance : best[lane];
        best_index[lane] = nearer ? index : best_index[lane];
      }
    }
    for (int lane = 0; lane < kWidth; ++lane) group.limit[lane] = best[lane];
    for (int lane = 0; lane < kWidth; ++lane) group.limit_index[lane] = best_index[lane];
  }

  G2VLM_ALWAYS_INLINE void finish(const Group<T>& group) {
    for (int lane = 0; lane < group.size; ++lane) {
      const bool found = group.limit_index[lane] != kNoIndex;
      p_.distance[group.row[lane]] = found ? group.limit[lane] : std::numeric_limits<T>::infinity();
      p_.index[group.row[lane]] = found ? static_cast<int32_t>(group.limit_index[lane]) : -1;
    }
  }

 private:
  const NearestProblem<T>& p_;
};

template <int kNorm, class T>
G2VLM_ALWAYS_INLINE void distances_from(const Group<T>& group, int lane, const Leaf<T>& leaf,
                                        T* __restrict distances) {
  const T x = group.point[0][lane], y = group.point[1][lane], z = group.point[2][lane];
  for (int i = 0; i < kWidth; ++i)
    distances[i] =
        distance_of<kNorm>(x - leaf.point[0][i], y - leaf.point[1][i], z - leaf.point[2][i]);
}

// The k nearest targets: a sorted list for each query, whose last pair is the limit. Free places
// hold the pair that lets in what is within the maximum distance.
template <class T>
class Many {
 public:
  explicit Many(const NearestProblem<T>& p)
      : p_(p),
        stride_((p.k + kWidth - 1) / kWidth * kWidth + 1),
        distances_(static_cast<size_t>(kWidth * stride_)),
        indices_(static_cast<size_t>(kWidth * stride_)) {}

  G2VLM_ALWAYS_INLINE void start(const Group<T>&) {
    std::fill(distances_.begin(), distances_.end(), p_.max_distance + T(0));
    std::fill(indices_.begin(), indices_.end(), kNoIndex);
    for (int lane = 0; lane < kWidth; ++lane) {  // what comes before every pair
      distances_of(lane)[-1] = -std::numeric_limits<T>::infinity();
      indices_of(lane)[-1] = -1;
    }
  }

  template <int kNorm>
  G2VLM_ALWAYS_INLINE void scan(const Leaf<T>& leaf, const IndexOf<T>* needing, Group<T>& group) {
    alignas(64) T distances[kWidth];
    int candidates[kWidth + 1];
    for (int lane = 0; lane < group.size; ++lane) {
      if (!needing[lane]) continue;
      distances_from<kNorm>(group, lane, leaf, distances);
      const T limit = group.limit[lane];
      int count = 0;
      for (int i = 0; i < kWidth; ++i) {
        candidates[count] = i;
        count += distances[i] <= limit;
      }
      for (int c = 0; c < count; ++c) {
        const int i = candidates[c];
        if (precedes<T>(distances[i], leaf.index[i], group.limit[lane], group.limit_index[lane]))
          insert(distances[i], leaf.index[i], lane, group);
      }
    }
  }

  G2VLM_ALWAYS_INLINE void finish(const Group<T>& group) {
    for (int lane = 0; lane < group.size; ++lane) {
      const int64_t row = int64_t{group.row[lane]} * p_.k;
      const T* distances = distances_of(lane);
      const IndexOf<T>* indices = indices_of(lane);
      for (int32_t slot = 0; slot < p_.k; ++slot) {
        const bool found = indices[slot] != kNoIndex;
        p_.distance[row + slot] = found ? distances[slot] : std::numeric_limits<T>::infinity();
        p_.index[row + slot] = found ? static_cast<int32_t>(indices[slot]) : -1;
      }
    }
  }

 private:
  T* distances_of(int lane) { return distances_.data() + lane * stride_ + 1; }
  IndexOf<T>* indices_of(int lane) { return indices_.data() + lane * stride_ + 1; }

  // Every place takes its own pair, the new one, or that of the place before; from the last on, so
  // that nothing is overwritten before it is read.
  G2VLM_ALWAYS_INLINE void insert(T distance, IndexOf<T> index, int lane, Group<T>& group) {
    T* distances = distances_of(lane);
    IndexOf<T>* indices = indices_of(lane);
    for (int begin = stride_ - 1 - kWidth; begin >= 0; begin -= kWidth) {
      alignas(64) T kept[kWidth], moved[kWidth];
      alignas(64) IndexOf<T> kept_index[kWidth], moved_index[kWidth];
      for (int i = 0; i < kWidth; ++i) kept[i] = distances[begin + i];
      for (int i = 0; i < kWidth; ++i) kept_index[i] = indices[begin + i];
      for (int i = 0; i < kWidth; ++i) moved[i] = distances[begin + i - 1];
      for (int i = 0; i < kWidth; ++i) moved_index[i] = indices[begin + i - 1];
      for (int i = 0; i < kWidth; ++i) {
        const bool enters = precedes<T>(moved[i], moved_index[i], distance, index);
        moved[i] = enters ? distance : moved[i];
        moved_index[i] = enters ? index : moved_index[i];
      }
      for (int i = 0; i < kWidth; ++i) {
        const bool stays = precedes<T>(kept[i], kept_index[i], distance, index);
        kept[i] = stays ? kept[i] : moved[i];
        kept_index[i] = stays ? kept_index[i] : moved_index[i];
      }
      for (int i = 0; i < kWidth; ++i) distances[begin + i] = kept[i];
      for (int i = 0; i < kWidth; ++i) indices[begin + i] = kept_index[i];
    }
    group.limit[lane] = distances[p_.k - 1];
    group.limit_index[lane] = indices[p_.k - 1];
  }

  const NearestProblem<T>& p_;
  int32_t stride_;
  std::vector<T> distances_;
  std::vector<IndexOf<T>> indices_;
};

// As many as there may be: a heap for each query, where its results go.
template <class T>
class Most {
 public:
  explicit Most(const NearestProblem<T>& p) : p_(p) {}

  G2VLM_ALWAYS_INLINE void start(const Group<T>& group) {
    for (int lane = 0; lane < group.size; ++lane) {
      const int64_t row = int64_t{group.row[lane]} * p_.k;
      heaps_[lane] = {p_.distance + row, p_.index + row, p_.k, 0};
    }
  }

  template <int kNorm>
  G2VLM_ALWAYS_INLINE void scan(const Leaf<T>& leaf, const IndexOf<T>* needing, Group<T>& group) {
    alignas(64) T distances[kWidth];
    for (int lane = 0; lane < group.size; ++lane) {
      if (!needing[lane]) continue;
      distances_from<kNorm>(group, lane, leaf, distances);
      for (int i = 0; i < kWidth; ++i) {
        if (!precedes<T>(distances[i], leaf.index[i], group.limit[lane], group.limit_index[lane]))
          continue;
        NearestHeap<T>& heap = heaps_[lane];
        heap.put(distances[i], leaf.index[i]);
        if (!heap.full()) continue;
        group.limit[lane] = heap.distance[0];
        group.limit_index[lane] = heap.index[0];
      }
    }
  }

  G2VLM_ALWAYS_INLINE void finish(const Group<T>& group) {
    for (int lane = 0; lane < group.size; ++lane) heaps_[lane].finish();
  }

 private:
  const NearestProblem<T>& p_;
  NearestHeap<T> heaps_[kWidth];
};

}  // namespace g2vlm
