// The ways in which the CPU searches a segment for neighbours; all give the same bits.
#pragma once

#include <cstdint>
#include <vector>

#include "g2vlm/nearest.h"
#include "nearest_segments.h"

namespace g2vlm {

constexpr int32_t kMaxTreeDim = 3;

// Looks at every pair.
template <class T>
void search_nearest_brute(const NearestProblem<T>& problem,
                          const std::vector<NearestSegment>& segments, int threads);

// Builds a tree over the targets and searches it; at most kMaxTreeDim coordinates, at least one
// target.
template <class T>
void search_nearest_tree(const NearestProblem<T>& problem, const NearestSegment& segment,
                         int threads);

}  // namespace g2vlm
