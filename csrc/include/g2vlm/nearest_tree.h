// Exact nearest neighbours through a tree of boxes, in up to three dimensions, on CUDA.
//
// The contract of nearest.h: the same bits and the same rows, for any k and either norm.
#pragma once

#include <cstddef>
#include <cstdint>

#include "g2vlm/nearest.h"

namespace g2vlm {

// Queries and targets together are at most 2^31 - 2, segments at most 2^24.
//
// These enqueue on `stream` of `device` and never synchronise; they throw std::runtime_error on
// launch errors. Offsets are read on the device only, as in `nearest_cuda`.
size_t nearest_tree_workspace(const NearestProblem<float>& problem, int device);

void nearest_tree_cuda(const NearestProblem<float>& problem, void* workspace, int device,
                       void* stream);

}  // namespace g2vlm
