// What the points of two packed clouds pay for their distances, and how that is summed.
//
// With squared distances d, weights w and a penalty p, a cloud's loss in a segment is
// (sum of w p(d)) / (sum of w), and the loss is the mean over the segments where both clouds have
// points of the sum over the clouds; or, as a sum, the sum of all w p(d) of these segments. Sums
// run over the points in an order that depends on nothing but their number, in double precision.
#pragma once

#include <cstddef>
#include <cstdint>

namespace g2vlm {

// In the order of `ROBUST` in g2vlm_fast/ops/chamfer.py.
enum class Penalty : int32_t { kNone, kHuber, kGemanMcClure, kTruncated };

struct ChamferLoss {
  const float* distance[2];   // [length], squared; [1] null where one-sided
  const float* weights[2];    // [length], or null for ones
  const int32_t* offsets[2];  // [segments + 1]; null for one segment
  int64_t length[2];
  int32_t segments;
  Penalty penalty;
  float scale;   // of the penalty
  bool squared;  // the penalty of squares, or of lengths
  bool mean;     // or sum
  float* loss;   // one number
  float* share;  // [2, segments, 2], 0 for a cloud without distances: d loss / d(w p), and what a
                 // mean takes off p for d loss / d w
};

// Bytes of device memory that `chamfer_loss_cuda` needs.
size_t chamfer_loss_workspace(const ChamferLoss& problem);

// Enqueue on `stream` of `device`; never synchronise. Throw std::runtime_error on launch errors.
void chamfer_loss_cuda(const ChamferLoss& problem, void* workspace, int device, void* stream);

// Derivatives in distances and weights, times the number at `grad_loss`; what is null is not
// wanted. `problem.loss` is not read.
struct ChamferLossGradient {
  ChamferLoss problem;
  const float* grad_loss;
  float* grad_distance[2];
  float* grad_weights[2];
};

void chamfer_loss_backward_cuda(const ChamferLossGradient& gradient, int device, void* stream);

}  // namespace g2vlm
