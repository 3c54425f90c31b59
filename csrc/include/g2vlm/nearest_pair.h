// Exact nearest neighbours between two packed clouds in three dimensions, both ways.
//
// The contract of nearest.h for k = 1 and squared distances: the same bits and the same rows,
// whether all pairs are compared ("brute") or trees of boxes are searched ("tree").
#pragma once

#include <cstddef>
#include <cstdint>

namespace g2vlm {

struct NearestPairProblem {
  const float* points[2];     // [length, 3]
  const int32_t* offsets[2];  // [segments + 1]; null for one segment
  int64_t length[2];          // at most 2^31 - 2 together
  int32_t segments;           // at most 2^28
  float* distance[2];         // [length], from each point to the other cloud
  int32_t* index[2];          // [length], within the other packed cloud
};

// Bytes of device memory that the searches need.
size_t nearest_pair_brute_workspace(const NearestPairProblem& problem);
size_t nearest_pair_tree_workspace(const NearestPairProblem& problem, int device);

// Enqueue on `stream` of `device`; never synchronise. Throw std::runtime_error on launch errors.
// Offsets are read on the device only, as in `nearest_cuda`.
void nearest_pair_brute_cuda(const NearestPairProblem& problem, void* workspace, int device,
                             void* stream);

void nearest_pair_tree_cuda(const NearestPairProblem& problem, void* workspace, int device,
                            void* stream);

// The gradient of these distances: a point gets 2 (point - neighbour) times its own
// `grad_distance`, and the same with its own part for every point of the other cloud whose
// neighbour it is. The sums run in an order fixed by the sizes and by which gradients are wanted,
// or in integers, where no order counts: two runs agree to the bit. Indices that name no point
// count for nothing.
struct NearestPairGradient {
  const float* points[2];         // [length, 3]
  const int32_t* index[2];        // [length], within the other cloud
  const float* grad_distance[2];  // [length]
  float* grad[2];                 // [length, 3], or null where it is not wanted
  int64_t length[2];              // at most 2^31 - 2 together
};

// Bytes of device memory for `points` points of both clouds together.
size_t nearest_pair_backward_workspace(int64_t points, int device);

void nearest_pair_backward_cuda(const NearestPairGradient& problem, void* workspace, int device,
                                void* stream);

}  // namespace g2vlm
