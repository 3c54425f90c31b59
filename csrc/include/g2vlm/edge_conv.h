// Edge convolutions: out_i = reduce_j activation(a_i + b_j + sum_g geometry[e, g] weight[g]).
//
// Contract: edge order, winners, empty rows, NaN and out-of-range indices as in graph_reduce.h; all
// arithmetic in Accumulator<T>. No implementation holds a tensor of [num_edges, channels].
#pragma once

#include <cstdint>

#include "g2vlm/graph_reduce.h"

namespace g2vlm {

enum class Activation : int32_t { kNone, kRelu, kLeakyRelu, kSilu };

constexpr double kLeakySlope = 0.2;

// Most geometry terms that an edge may have.
constexpr int32_t kMaxGeometryTerms = 8;

template <class T, class Slot>
struct EdgeConvProblem {
  const T* a;                      // [num_rows, channels]
  const T* b;                      // [num_sources, channels]
  const Accumulator<T>* geometry;  // [num_edges, terms]; read where terms > 0
  const Accumulator<T>* weight;    // [terms, channels]; read where terms > 0
  T* out;                          // [num_rows, channels]
  Slot* winner;                    // [num_rows, channels] or null
  Csr graph;
  int32_t channels;
  int32_t terms;
  Activation activation;
  Reduce reduce;  // sum, mean or max
};

template <class T, class Slot>
struct EdgeConvBackwardProblem {
  EdgeConvProblem<T, Slot> forward;  // `winner` and `out` are read, for the maximum alone
  const T* grad;                     // [num_rows, channels]
  T* grad_a;                         // [num_rows, channels]
  T* grad_b;                         // [num_sources, channels] or null
  Accumulator<T>* grad_geometry;     // [num_edges, terms] or null
  Accumulator<T>* grad_weight;       // [terms, channels] or null
  Accumulator<T>* partial;           // [blocks, terms, channels], scratch for grad_weight
  int32_t blocks;                    // of edge_conv_blocks
  TransposedCsr transpose;           // read for grad_b alone
};

// How many partial sums of grad_weight are made; a function of the number of rows alone, so that
// results do not depend on the machine.
inline int32_t edge_conv_blocks(int64_t num_rows) {
  const int64_t blocks = (num_rows + 255) / 256;
  return static_cast<int32_t>(blocks < 1 ? 1 : blocks > 1024 ? 1024 : blocks);
}

template <class T, class Slot>
void edge_conv_cpu(const EdgeConvProblem<T, Slot>& problem, int threads);
template <class T, class Slot>
void edge_conv_backward_cpu(const EdgeConvBackwardProblem<T, Slot>& problem, int threads);

// Enqueues on `stream` of `device`; never synchronises. Throws std::runtime_error on launch errors.
template <class T, class Slot>
void edge_conv_cuda(const EdgeConvProblem<T, Slot>& problem, int device, void* stream);
template <class T, class Slot>
void edge_conv_backward_cuda(const EdgeConvBackwardProblem<T, Slot>& problem, int device,
                             void* stream);

}  // namespace g2vlm
