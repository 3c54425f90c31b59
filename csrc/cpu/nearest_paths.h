// The ways in which the CPU searches a segment for neighbours; all give the same bits.
#pragma once

#include <cstdint>
#include <vector>

#include "g2vlm/nearest.h"

namespace g2vlm {

// Packed rows of one segment.
struct NearestSegment {
  int32_t query_begin, query_end;
  int32_t target_begin, target_end;
};

constexpr int32_t kMaxTreeDim = 3;

// Looks at every pair.
template <class T>
void search_nearest_brute(const NearestProblem<T>& problem,
                          const std::vector<NearestSegment>& segments, int threads);

// Builds a tree over the targets and searches it; at most kMaxTreeDim coordinates.
template <class T>
void search_nearest_tree(const NearestProblem<T>& problem, const NearestSegment& segment,
                         int threads);

}  // namespace g2vlm
