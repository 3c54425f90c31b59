// Two-layer messages of edges: out_i = max_j (activation(a_i + b_j) weight) + bias.
//
// Contract: edge order, winners, empty rows (whatever the bias), NaN and out-of-range indices as in
// graph_reduce.h. a_i + b_j and its activation are taken in float and rounded to T once; products
// are summed in float, in an order that the sizes alone decide. No implementation holds a tensor of
// [num_edges, hidden] or [num_edges, channels].
#pragma once

#include <cstdint>

#include "g2vlm/edge_conv.h"

namespace g2vlm {

constexpr int32_t kEdgeMlpMaxHidden = 128;
// What `hidden` and `channels` are multiples of; every pointer is aligned to 16 bytes.
constexpr int32_t kEdgeMlpMultiple = 8;

template <class T, class Slot>
struct EdgeMlpProblem {
  const T* a;       // [num_rows, hidden]
  const T* b;       // [num_sources, hidden]
  const T* weight;  // [hidden, channels]
  const T* bias;    // [channels] or null for 0
  T* out;           // [num_rows, channels]
  Slot* winner;     // [num_rows, channels] or null
  Csr graph;
  int32_t hidden;
  int32_t channels;
  Activation activation;
};

// T is BFloat16 or Float16. Enqueues on `stream` of `device`; never synchronises. Throws
// std::runtime_error on sizes or pointers that it does not take, and on launch errors.
template <class T, class Slot>
void edge_mlp_cuda(const EdgeMlpProblem<T, Slot>& problem, int device, void* stream);

}  // namespace g2vlm
