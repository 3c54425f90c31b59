// A tree over packed points that many searches share: the contract of nearest.h, to the bit. It
// lies in memory that the caller holds.
//
// On the CPU the tree lies in memory aligned to 64 bytes. What it needs of it is a function of the
// segments' lengths; the rest is set to zero, so that equal points give equal bytes. The functions
// throw std::invalid_argument where the memory is too small or not aligned, or holds no tree over
// such points; what a tree of theirs says is not checked beyond that.
#pragma once

#include <cstddef>
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

// CUDA: at most 2^31 - 2 queries and targets together, and 2^24 segments. These enqueue on `stream`
// of `device` and never synchronise; they throw std::runtime_error on launch errors. Offsets are
// read on the device only, as in `nearest_cuda`.
struct NearestIndexBytes {
  size_t tree, workspace;  // what is kept, and what only building needs
};
NearestIndexBytes nearest_index_bytes_cuda(const NearestTargets<float>& targets, int device);

void nearest_index_build_cuda(const NearestTargets<float>& targets, void* tree, void* workspace,
                              int device, void* stream);

// Takes a copy of a tree from where its points were to where they are, in the order that they have.
void nearest_index_refit_cuda(const NearestTargets<float>& targets, void* tree, int device,
                              void* stream);

size_t nearest_index_query_workspace(const NearestProblem<float>& problem, int device);

void nearest_index_query_cuda(const NearestProblem<float>& problem, const void* tree,
                              void* workspace, int device, void* stream);

}  // namespace g2vlm
