// Exact nearest neighbours through a tree of boxes, in up to three dimensions, on CUDA.
//
// The contract of nearest.h: the same bits and the same rows, for any k and either norm.
#pragma once

#include <cstddef>
#include <cstdint>

#include "g2vlm/nearest.h"

namespace g2vlm {

// Queries and targets together are at most 2^31 - 2, segments at most 2^28.
//
// These enqueue on `stream` of `device` and never synchronise; they throw std::runtime_error on
// launch errors. Offsets are read on the device only, as in `nearest_cuda`.
size_t nearest_tree_workspace(const NearestProblem<float>& problem, int device);

void nearest_tree_cuda(const NearestProblem<float>& problem, void* workspace, int device,
                       void* stream);

// A tree over targets that many searches share. Where it lies belongs to the caller.
struct NearestIndexTargets {
  const float* target;            // [num_targets, dim]
  const int32_t* target_offsets;  // [num_segments + 1]; null for one segment
  int64_t num_targets;
  int32_t num_segments;
  int32_t dim;  // at most 3
};

struct NearestIndexBytes {
  size_t index, workspace;  // what is kept, and what only building needs
};
NearestIndexBytes nearest_index_bytes(const NearestIndexTargets& targets, int device);

void nearest_index_build_cuda(const NearestIndexTargets& targets, void* index, void* workspace,
                              int device, void* stream);

// Takes a copy of an index from where its targets were to where they are: the order stays.
void nearest_index_refit_cuda(const NearestIndexTargets& targets, void* index, int device,
                              void* stream);

size_t nearest_index_query_workspace(const NearestProblem<float>& problem, int device);

// Searches an index of the targets of `problem`, which has as many segments.
void nearest_index_query_cuda(const NearestProblem<float>& problem, const void* index,
                              void* workspace, int device, void* stream);

}  // namespace g2vlm
