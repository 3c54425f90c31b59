#include "g2vlm/edge_attention.h"

#include <cmath>
#include <limits>

#include "edge_attention_rows.h"
#include "exponential.h"

namespace g2vlm {
namespace {

// Up to kChunk edges of a row: their sources, and their weights in the sum so far.
template <class T>
struct Chunk {
  int32_t count;
  int32_t source[kChunk];
  T weight[kChunk];
};

// What one head of a row has attended to so far, under the scores relative to `shift`.
template <class T>
struct Attended {
  T highest = -std::numeric_limits<T>::infinity();
  T shift = 0;
  T total = 0;
};

// Turns the scores of a chunk, in `weight`, into weights, and returns by how much those before it
// are rescaled. Where no score so far is above minus infinity, all weights are 0.
template <class T>
G2VLM_ALWAYS_INLINE T weigh(Chunk<T>& chunk, Attended<T>& so_far) {
  const T before = so_far.highest;
  for (int32_t k = 0; k < chunk.count; ++k)
    so_far.highest = chunk.weight[k] > so_far.highest ? chunk.weight[k] : so_far.highest;
  so_far.shift = so_far.highest == -std::numeric_limits<T>::infinity() ? T{0} : so_far.highest;
  const T decay = std::exp(before - so_far.shift);
  for (int32_t k = 0; k < chunk.count; ++k)
    chunk.weight[k] = exponential(chunk.weight[k] - so_far.shift);
  T total = 0;
  for (int32_t k = 0; k < chunk.count; ++k) total += chunk.weight[k];
  so_far.total = so_far.total * decay + total;
  return decay;
}

template <class T>
G2VLM_ALWAYS_INLINE void add_values(const EdgeAttentionProblem<T>& p, const Chunk<T>& chunk,
                                    int32_t head, T decay, T* out) {
  for_each_tile<T>(p.dim, [&](int32_t first, auto n) G2VLM_INLINE_LAMBDA {
    TileSum<T, decltype(n)> sum(n);
    for (int32_t k = 0; k < chunk.count; ++k)
      sum.add(chunk.weight[k], value_of(p, chunk.source[k], head) + first);
    T added[kTile<T>];
    sum.store(T{1}, added);
    for (int32_t c = 0; c < n; ++c) out[first + c] = out[first + c] * decay + added[c];
  });
}

template <class T>
G2VLM_ALWAYS_INLINE void attend(const EdgeAttentionProblem<T>& p, int64_t row, int32_t head) {
  const Range range = row_range(p.graph.offsets, row, p.graph.num_edges);
  T* out = head_of(p, p.out, row, head);
  std::fill_n(out, p.dim, T{0});
  Attended<T> so_far;
  Chunk<T> chunk;
  for (int32_t begin = range.begin; begin < range.end; begin += chunk.count) {
    chunk.count = std::min(kChunk, range.end - begin);
    for (int32_t k = 0; k < chunk.count; ++k) {
      chunk.source[k] = checked(p.graph.columns[begin + k], p.graph.num_sources, "columns");
      chunk.weight[k] = score_of(p, EdgeHead<T>(p, row, chunk.source[k], begin + k, head));
    }
    const T decay = weigh(chunk, so_far);
    add_values(p, chunk, head, decay, out);
  }
  p.lse[row * p.heads + head] = so_far.shift + std::log(so_far.total);
  if (range.begin == range.end) return;
  for (int32_t c = 0; c < p.dim; ++c) out[c] /= so_far.total;
}

template <class T>
struct AttendRows {
  const EdgeAttentionProblem<T>& p;
  G2VLM_ALWAYS_INLINE void operator()(int64_t begin, int64_t end) const {
    for (int64_t row = begin; row < end; ++row)
      for (int32_t head = 0; head < p.heads; ++head) attend(p, row, head);
  }
};

}  // namespace

template <class T>
void edge_attention_cpu(const EdgeAttentionProblem<T>& p, int threads) {
  const int64_t channels = int64_t{p.heads} * p.dim;
  const int64_t rows = rows_per_piece(p.graph.num_rows, p.graph.num_edges, channels);
  run_widest(p.graph.num_rows, rows, threads, AttendRows<T>{p});
}

template void edge_attention_cpu(const EdgeAttentionProblem<float>&, int);
template void edge_attention_cpu(const EdgeAttentionProblem<double>&, int);

}  // namespace g2vlm
