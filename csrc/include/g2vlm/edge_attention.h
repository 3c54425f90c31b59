// Attention over the edges of a graph: out_i = sum_e p_e value_j over the edges e = (j, i) of row
// i, where p is the softmax over these edges, head by head, of
//   scale * attention . leaky_relu(key_e + right_i)    (GATv2), or without attention
//   scale * right_i . key_e                            (dot products),
// and key_e = left_j + sum_g geometry[e, g] geometry_weight[g].
//
// Contract: edge order, empty rows (0) and out-of-range indices as in graph_reduce.h. A row's edges
// are taken 64 at a time, and what was summed before is rescaled to the highest score so far. Sums
// over the edges of a row or a source run over 64 edges in order, and then over these sums; sums
// over a head's channels run over tiles of 128 bytes, each of them folded in halves, and then over
// the tiles; gradients of parameters are summed by blocks of rows, and then over the blocks. So
// results depend on neither the number of threads nor the instruction set. The backward pass holds
// two numbers an edge and head.
#pragma once

#include <cstdint>

#include "g2vlm/graph_reduce.h"

namespace g2vlm {

template <class T>
struct EdgeAttentionProblem {
  const T* left;             // [num_sources, heads, dim]
  const T* right;            // [num_rows, heads, dim]
  const T* attention;        // [heads, dim] or null for dot products
  const T* value;            // [num_sources, heads, dim] or null for `left`
  const T* geometry;         // [num_edges, terms]; read where terms > 0
  const T* geometry_weight;  // [terms, heads, dim]; read where terms > 0
  T* out;                    // [num_rows, heads, dim]
  T* lse;                    // [num_rows, heads], log of the sum of exponentials of the scores
  Csr graph;
  int32_t heads;
  int32_t dim;
  int32_t terms;
  T negative_slope;
  T scale;
};

template <class T>
struct EdgeAttentionBackwardProblem {
  EdgeAttentionProblem<T> forward;  // `lse` is read, `out` is not
  const T* grad;                    // [num_rows, heads, dim]
  const T* grad_lse;                // [num_rows, heads] or null
  T* probability;                   // [num_edges, heads], scratch
  T* score_gradient;                // [num_edges, heads], scratch: of the scores before `scale`
  T* partial;                       // [blocks, parameters, heads, dim], scratch: sums for
                                    // grad_attention, where there is attention, and then terms
  T* grad_left;             // as `left`, or null; with the value's part where that is `left`
  T* grad_right;            // as `right`, or null
  T* grad_attention;        // as `attention`, or null
  T* grad_value;            // as `value`, or null
  T* grad_geometry;         // as `geometry`, or null
  T* grad_geometry_weight;  // as `geometry_weight`, or null
  int32_t blocks;
  TransposedCsr transpose;  // read for grad_left and grad_value alone
};

template <class T>
void edge_attention_cpu(const EdgeAttentionProblem<T>& problem, int threads);
template <class T>
void edge_attention_backward_cpu(const EdgeAttentionBackwardProblem<T>& problem, int threads);

}  // namespace g2vlm
