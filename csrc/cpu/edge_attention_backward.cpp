#include "edge_attention_rows.h"
#include "exponential.h"
#include "g2vlm/edge_conv.h"

namespace g2vlm {
namespace {

// What one edge adds to the gradients of its ends, channels from `first`.
template <class T, class Count>
struct EdgeGradient {
  G2VLM_ALWAYS_INLINE EdgeGradient(const EdgeAttentionProblem<T>& p, const EdgeHead<T>& edge,
                                   T score_gradient, int32_t first, Count n) {
    const T* of_right = edge.right + first;
    key_of(p, edge, first, n, mixed);
    if (p.attention == nullptr) {
      for (int32_t c = 0; c < n; ++c) {
        key[c] = score_gradient * of_right[c];
        mixed[c] *= score_gradient;
      }
      return;
    }
    const T* attention = head_of(p, p.attention, 0, edge.head) + first;
    for (int32_t c = 0; c < n; ++c) {
      const T z = mixed[c] + of_right[c], leaked = p.negative_slope * z;
      const T weighed = score_gradient * attention[c], leaked_weighed = p.negative_slope * weighed;
      mixed[c] = z > 0 ? z : leaked;
      key[c] = z > 0 ? weighed : leaked_weighed;
    }
  }

  G2VLM_ALWAYS_INLINE const T* right(const EdgeAttentionProblem<T>& p) const {
    return p.attention == nullptr ? mixed : key;
  }

  T key[kTile<T>];
  T mixed[kTile<T>];  // what `attention` weighs; without it, what `right` gets
};

// Fills `probability` and `score_gradient` of the edges of one head of a row.
template <class T>
G2VLM_ALWAYS_INLINE void differentiate_softmax(const EdgeAttentionBackwardProblem<T>& p,
                                               const Range& range, int64_t row, int32_t head) {
  const auto& forward = p.forward;
  const int64_t place = row * forward.heads + head;
  const T* grad = head_of(forward, p.grad, row, head);
  T delta = p.grad_lse == nullptr ? T{0} : -p.grad_lse[place];
  for_each_chunk(range, [&](const Range& chunk) G2VLM_INLINE_LAMBDA {
    const int32_t count = chunk.end - chunk.begin;
    T probability[kChunk], pull[kChunk], added = 0;
    for (int32_t k = 0; k < count; ++k) {
      const int32_t index = chunk.begin + k;
      const int32_t source =
          checked(forward.graph.columns[index], forward.graph.num_sources, "columns");
      const EdgeHead<T> edge(forward, row, source, index, head);
      probability[k] = score_of(forward, edge) - forward.lse[place];
      pull[k] = dot(forward.dim, grad, value_of(forward, source, head));
    }
    for (int32_t k = 0; k < count; ++k) probability[k] = exponential(probability[k]);
    for (int32_t k = 0; k < count; ++k) {
      const int64_t at = int64_t{chunk.begin + k} * forward.heads + head;
      added += probability[k] * pull[k];
      p.probability[at] = probability[k];
      p.score_gradient[at] = pull[k];
    }
    delta += added;
  });
  for (int64_t edge = range.begin; edge < range.end; ++edge) {
    const int64_t at = edge * forward.heads + head;
    p.score_gradient[at] = forward.scale * p.probability[at] * (p.score_gradient[at] - delta);
  }
}

// Adds, of one head and a few edges of a row and the channels from `first`, to the gradients of the
// row, of the geometry of the edges, and of the parameters.
template <class T, class Count>
G2VLM_ALWAYS_INLINE void add_gradients_of_row(const EdgeAttentionBackwardProblem<T>& p,
                                              const Range& chunk, int64_t row, int32_t head,
                                              T* partial, int32_t first, Count n) {
  const auto& forward = p.forward;
  T of_right[kTile<T>] = {}, of_attention[kTile<T>] = {}, of_weight[kMaxGeometryTerms][kTile<T>];
  for (int32_t term = 0; term < forward.terms; ++term)
    for (int32_t c = 0; c < n; ++c) of_weight[term][c] = T{0};
  for (int32_t index = chunk.begin; index < chunk.end; ++index) {
    const EdgeHead<T> edge(forward, row, forward.graph.columns[index], index, head);
    const T score_gradient = p.score_gradient[int64_t{index} * forward.heads + head];
    const EdgeGradient<T, Count> grad(forward, edge, score_gradient, first, n);
    add_to(of_right, grad.right(forward), n);
    for (int32_t c = 0; c < n; ++c) of_attention[c] += score_gradient * grad.mixed[c];
    for (int32_t term = 0; term < forward.terms; ++term) {
      if (p.grad_geometry != nullptr) {
        const T* weight = head_of(forward, forward.geometry_weight, term, head) + first;
        T product[kTile<T>];
        for (int32_t c = 0; c < n; ++c) product[c] = weight[c] * grad.key[c];
        p.grad_geometry[int64_t{index} * forward.terms + term] += fold(product, n);
      }
      for (int32_t c = 0; c < n; ++c) of_weight[term][c] += edge.geometry[term] * grad.key[c];
    }
  }
  if (p.grad_right != nullptr)
    add_to(head_of(forward, p.grad_right, row, head) + first, of_right, n);
  if (p.grad_attention != nullptr)
    add_to(head_of(forward, partial, 0, head) + first, of_attention, n);
  if (p.grad_geometry_weight == nullptr) return;
  for (int32_t term = 0; term < forward.terms; ++term) {
    const int32_t parameter = term + (forward.attention != nullptr);
    add_to(head_of(forward, partial, parameter, head) + first, of_weight[term], n);
  }
}

template <class T>
G2VLM_ALWAYS_INLINE void gradients_of_row(const EdgeAttentionBackwardProblem<T>& p, int64_t row,
                                          T* partial) {
  const auto& forward = p.forward;
  const Range range = row_range(forward.graph.offsets, row, forward.graph.num_edges);
  if (p.grad_geometry != nullptr)
    std::fill(p.grad_geometry + int64_t{range.begin} * forward.terms,
              p.grad_geometry + int64_t{range.end} * forward.terms, T{0});
  for (int32_t head = 0; head < forward.heads; ++head) {
    if (p.grad_right != nullptr)
      std::fill_n(head_of(forward, p.grad_right, row, head), forward.dim, T{0});
    differentiate_softmax(p, range, row, head);
    for_each_tile<T>(forward.dim, [&](int32_t first, auto n) G2VLM_INLINE_LAMBDA {
      for_each_chunk(range, [&](const Range& chunk) G2VLM_INLINE_LAMBDA {
        add_gradients_of_row(p, chunk, row, head, partial, first, n);
      });
    });
  }
}

// Adds, of one head and a few edges of a source and the channels from `first`, to the gradients of
// its left end and of its value.
template <class T, class Count>
G2VLM_ALWAYS_INLINE void add_gradients_of_source(const EdgeAttentionBackwardProblem<T>& p,
                                                 const Range& chunk, int64_t source, int32_t head,
                                                 int32_t first, Count n) {
  const auto& forward = p.forward;
  T of_left[kTile<T>] = {}, of_value[kTile<T>] = {};
  for (int32_t i = chunk.begin; i < chunk.end; ++i) {
    const int32_t row = checked(p.transpose.rows[i], forward.graph.num_rows, "transposed rows");
    const int32_t index =
        checked(p.transpose.edges[i], forward.graph.num_edges, "transposed edges");
    const int64_t at = int64_t{index} * forward.heads + head;
    const T probability = p.probability[at];
    const T* pulled = head_of(forward, p.grad, row, head) + first;
    for (int32_t c = 0; c < n; ++c) of_value[c] += probability * pulled[c];
    if (p.grad_left == nullptr) continue;
    const EdgeHead<T> edge(forward, row, source, index, head);
    const EdgeGradient<T, Count> grad(forward, edge, p.score_gradient[at], first, n);
    add_to(of_left, grad.key, n);
  }
  if (p.grad_value != nullptr)
    add_to(head_of(forward, p.grad_value, source, head) + first, of_value, n);
  if (p.grad_left == nullptr) return;
  if (forward.value == nullptr) add_to(of_left, of_value, n);
  add_to(head_of(forward, p.grad_left, source, head) + first, of_left, n);
}

template <class T>
G2VLM_ALWAYS_INLINE void gradients_of_source(const EdgeAttentionBackwardProblem<T>& p,
                                             int64_t source, int32_t head) {
  const auto& forward = p.forward;
  const Range range = row_range(p.transpose.offsets, source, forward.graph.num_edges);
  for (T* grad : {p.grad_left, p.grad_value})
    if (grad != nullptr) std::fill_n(head_of(forward, grad, source, head), forward.dim, T{0});
  for_each_tile<T>(forward.dim, [&](int32_t first, auto n) G2VLM_INLINE_LAMBDA {
    for_each_chunk(range, [&](const Range& chunk) G2VLM_INLINE_LAMBDA {
      add_gradients_of_source(p, chunk, source, head, first, n);
    });
  });
}

template <class T>
struct GradientsOfRows {
  const EdgeAttentionBackwardProblem<T>& p;
  int64_t rows;  // of a block
  int64_t size;  // of a block's sums
  G2VLM_ALWAYS_INLINE void operator()(int64_t begin, int64_t end) const {
    T* partial = p.partial + begin / rows * size;
    for (int64_t row = begin; row < end; ++row) gradients_of_row(p, row, partial);
  }
};

template <class T>
struct GradientsOfSources {
  const EdgeAttentionBackwardProblem<T>& p;
  G2VLM_ALWAYS_INLINE void operator()(int64_t begin, int64_t end) const {
    for (int64_t source = begin; source < end; ++source)
      for (int32_t head = 0; head < p.forward.heads; ++head) gradients_of_source(p, source, head);
  }
};

}  // namespace

template <class T>
void edge_attention_backward_cpu(const EdgeAttentionBackwardProblem<T>& p, int threads) {
  const auto& forward = p.forward;
  const Csr& graph = forward.graph;
  const int64_t channels = int64_t{forward.heads} * forward.dim;
  const int64_t weighs = forward.attention == nullptr ? 0 : channels;  // attention's share
  const int64_t size = weighs + forward.terms * channels;
  const int64_t rows = std::max<int64_t>((int64_t{graph.num_rows} + p.blocks - 1) / p.blocks, 1);
  std::fill_n(p.partial, p.blocks * size, T{0});
  run_widest(graph.num_rows, rows, threads, GradientsOfRows<T>{p, rows, size});
  const auto add_blocks = [&](T* total, int64_t from, int64_t count) {
    if (total == nullptr) return;
    std::fill_n(total, count, T{0});
    for (int64_t block = 0; block < p.blocks; ++block)
      for (int64_t i = 0; i < count; ++i) total[i] += p.partial[block * size + from + i];
  };
  add_blocks(p.grad_attention, 0, weighs);
  add_blocks(p.grad_geometry_weight, weighs, size - weighs);
  if (p.grad_left == nullptr && p.grad_value == nullptr) return;
  const int64_t sources = rows_per_piece(graph.num_sources, graph.num_edges, channels);
  run_widest(graph.num_sources, sources, threads, GradientsOfSources<T>{p});
}

template void edge_attention_backward_cpu(const EdgeAttentionBackwardProblem<float>&, int);
template void edge_attention_backward_cpu(const EdgeAttentionBackwardProblem<double>&, int);

}  // namespace g2vlm
