// A tree over packed points that many searches share: the contract of nearest.h, to the bit.
//
// The tree lies in memory that the caller holds, aligned to 64 bytes. What it needs of it is a
// function of the segments' lengths; the rest is set to zero, so that equal points give equal
// bytes. The functions throw std::invalid_argument where the memory is too small or not aligned, or
// holds no tree over such points; what a tree of theirs says is not checked beyond that.
#pragma once

#include <cstdint>

#include "g2vlm/nearest.h"

namespace g2vlm {

template <class T>
struct NearestTargets {
  const T* target;         // [num_targets, dim]
  const int32_t* offsets;  // [num_segments + 1]; null for one segment
  int64_t num_targets;
  int32_t num_segments;
  int32_t dim;  // at most 3
};

template <class T>
int64_t nearest_index_bytes_cpu(const NearestTargets<T>& targets);

template <class T>
void nearest_index_build_cpu(const NearestTargets<T>& targets, uint8_t* tree, int64_t bytes,
                             int threads);

// Builds a tree over points that lie in the order of those of `old`, which is left as it is. Exact
// wherever the points are now, and the slower the more they have moved apart.
template <class T>
void nearest_index_refit_cpu(const NearestTargets<T>& targets, const uint8_t* old,
                             int64_t old_bytes, uint8_t* tree, int64_t bytes, int threads);

// Searches a tree over the targets of `problem`.
template <class T>
void nearest_index_query_cpu(const NearestProblem<T>& problem, const uint8_t* tree, int64_t bytes,
                             int threads);

}  // namespace g2vlm
