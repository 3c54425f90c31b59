// Reductions over the neighbours of each row of a graph.
//
// Contract: messages are visited in edge order, and sums run in Accumulator<T>; the CPU sums runs
// of 512 messages of a row, and then the runs, so that long rows keep their digits. Extremes: the
// first edge that attains the extreme wins; a NaN beats every number, and the first NaN wins. The
// winner is the slot of the edge within its row, the largest Slot where the row is empty. Empty
// rows are 0. The mean divides by the number of edges. Offsets and columns out of range raise on
// the CPU and are skipped on the GPU, where checking them would stop the stream.
#pragma once

#include <cstdint>

#include "g2vlm/half.h"

namespace g2vlm {

enum class Reduce : int32_t { kSum, kMean, kMax, kMin };

struct Csr {
  const int32_t* offsets;  // [num_rows + 1]
  const int32_t* columns;  // [num_edges]
  int32_t num_rows;
  int32_t num_sources;
  int32_t num_edges;
};

// The edges by source, those of one source by rising edge.
struct TransposedCsr {
  const int32_t* offsets;  // [num_sources + 1]
  const int32_t* rows;     // [num_edges]
  const int32_t* edges;    // [num_edges], positions in Csr::columns
};

template <class T, class Slot>
struct GraphReduceProblem {
  const T* x;                    // [num_sources, channels]
  const Accumulator<T>* weight;  // [num_edges] or null for 1
  T* out;                        // [num_rows, channels]
  Slot* winner;                  // [num_rows, channels] or null
  Csr graph;
  int32_t channels;
  Reduce reduce;
};

template <class T, class Slot>
struct GraphReduceBackwardProblem {
  const T* grad;                 // [num_rows, channels]
  const T* x;                    // [num_sources, channels]; read for grad_weight alone
  const Accumulator<T>* weight;  // [num_edges] or null for 1
  const Slot* winner;            // [num_rows, channels]; read for extremes alone
  T* grad_x;                     // [num_sources, channels] or null
  Accumulator<T>* grad_weight;   // [num_edges] or null
  Csr graph;
  TransposedCsr transpose;  // read for grad_x alone
  int32_t channels;
  Reduce reduce;
};

template <class T, class Slot>
void graph_reduce_cpu(const GraphReduceProblem<T, Slot>& problem, int threads);
template <class T, class Slot>
void graph_reduce_backward_cpu(const GraphReduceBackwardProblem<T, Slot>& problem, int threads);

// Enqueues on `stream` of `device`; never synchronises. Throws std::runtime_error on launch errors.
template <class T, class Slot>
void graph_reduce_cuda(const GraphReduceProblem<T, Slot>& problem, int device, void* stream);
template <class T, class Slot>
void graph_reduce_backward_cuda(const GraphReduceBackwardProblem<T, Slot>& problem, int device,
                                void* stream);

}  // namespace g2vlm
