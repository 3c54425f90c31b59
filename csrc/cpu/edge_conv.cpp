#include "g2vlm/edge_conv.h"

#include <cmath>
#include <numeric>

#include "graph_rows.h"

namespace g2vlm {
namespace {

template <class T>
G2VLM_ALWAYS_INLINE T sigmoid(T z) {
  return T{1} / (T{1} + std::exp(-z));
}

template <class T, class Count>
G2VLM_ALWAYS_INLINE void activate(Activation activation, Count n, T* z) {
  constexpr T leak = static_cast<T>(kLeakySlope);
  switch (activation) {
    case Activation::kNone:
      return;
    case Activation::kRelu:
      for (int32_t c = 0; c < n; ++c) z[c] = z[c] < 0 ? T{0} : z[c];
      return;
    case Activation::kLeakyRelu:
      for (int32_t c = 0; c < n; ++c) z[c] = z[c] > 0 ? z[c] : leak * z[c];
      return;
    case Activation::kSilu:
      for (int32_t c = 0; c < n; ++c) z[c] *= sigmoid(z[c]);
      return;
  }
}

// Multiplies `grad` by the derivative of the activation at `z`.
template <class T, class Count>
G2VLM_ALWAYS_INLINE void multiply_by_slope(Activation activation, Count n, const T* z, T* grad) {
  constexpr T leak = static_cast<T>(kLeakySlope);
  switch (activation) {
    case Activation::kNone:
      return;
    case Activation::kRelu:
      for (int32_t c = 0; c < n; ++c) grad[c] = z[c] > 0 ? grad[c] : T{0};
      return;
    case Activation::kLeakyRelu:
      for (int32_t c = 0; c < n; ++c) grad[c] = z[c] > 0 ? grad[c] : leak * grad[c];
      return;
    case Activation::kSilu:
      for (int32_t c = 0; c < n; ++c) {
        const T s = sigmoid(z[c]);
        grad[c] *= s * (T{1} + z[c] * (T{1} - s));
      }
      return;
  }
}

struct Edge {
  int64_t row, source;
  int32_t index;
  Range siblings;  // all edges of the row
};

// a_i + b_j + geometry weight, of one edge and the channels from `first`.
template <class T, class Slot, class Count>
G2VLM_ALWAYS_INLINE void preactivation(const EdgeConvProblem<T, Slot>& p, const Edge& edge,
                                       int32_t first, Count n, T* z) {
  const T* a = p.a + edge.row * p.channels + first;
  const T* b = p.b + edge.source * p.channels + first;
  for (int32_t c = 0; c < n; ++c) z[c] = a[c] + b[c];
  for (int32_t term = 0; term < p.terms; ++term) {
    const T geometry = p.geometry[int64_t{edge.index} * p.terms + term];
    const T* weight = p.weight + int64_t{term} * p.channels + first;
    for (int32_t c = 0; c < n; ++c) z[c] += geometry * weight[c];
  }
}

template <class T, class Slot>
G2VLM_ALWAYS_INLINE void convolve_row(const EdgeConvProblem<T, Slot>& p, int64_t row) {
  const Range range = row_range(p.graph.offsets, row, p.graph.num_edges);
  T* out = p.out + row * p.channels;
  Slot* winner = p.winner == nullptr ? nullptr : p.winner + row * p.channels;
  if (range.begin == range.end) {
    std::fill_n(out, p.channels, T{0});
    if (winner != nullptr) std::fill_n(winner, p.channels, kNoWinner<Slot>);
    return;
  }
  const bool is_max = p.reduce == Reduce::kMax;
  const T divisor = p.reduce == Reduce::kMean ? static_cast<T>(range.end - range.begin) : T{1};
  for_each_tile<T>(p.channels, [&](int32_t first, auto n) G2VLM_INLINE_LAMBDA {
    T total[kTile<T>] = {}, run[kTile<T>] = {}, z[kTile<T>];
    SlotOf<T> slot[kTile<T>] = {};
    for (int32_t index = range.begin; index < range.end; ++index) {
      const int32_t source = checked(p.graph.columns[index], p.graph.num_sources, "columns");
      preactivation(p, {row, source, index, range}, first, n, z);
      activate(p.activation, n, z);
      const SlotOf<T> here = index - range.begin;
      if (here == 0) {
        std::copy_n(z, static_cast<int32_t>(n), run);
      } else if (is_max) {
        for (int32_t c = 0; c < n; ++c) {
          const bool better = (z[c] > run[c]) | ((z[c] != z[c]) & (run[c] == run[c]));
          run[c] = better ? z[c] : run[c];
          slot[c] = better ? here : slot[c];
        }
      } else if (here % kRun == 0) {
        for (int32_t c = 0; c < n; ++c) total[c] += run[c];
        std::copy_n(z, static_cast<int32_t>(n), run);
      } else {
        for (int32_t c = 0; c < n; ++c) run[c] += z[c];
      }
    }
    for (int32_t c = 0; c < n; ++c) out[first + c] = (total[c] + run[c]) / divisor;
    if (winner == nullptr) return;
    for (int32_t c = 0; c < n; ++c) winner[first + c] = static_cast<Slot>(slot[c]);
  });
}

// The gradient of one edge's preactivation, of the channels from `first`.
template <class T, class Slot, class Count>
G2VLM_ALWAYS_INLINE void preactivation_gradient(const EdgeConvBackwardProblem<T, Slot>& p,
                                                const Edge& edge, int32_t first, Count n, T* grad) {
  const auto& forward = p.forward;
  const T* grad_out = p.grad + edge.row * forward.channels + first;
  if (forward.reduce == Reduce::kMax) {
    const Slot* winner = forward.winner + edge.row * forward.channels + first;
    const auto here = static_cast<Slot>(edge.index - edge.siblings.begin);
    for (int32_t c = 0; c < n; ++c) grad[c] = winner[c] == here ? grad_out[c] : T{0};
  } else {
    const T factor = forward.reduce == Reduce::kMean
                         ? T{1} / static_cast<T>(edge.siblings.end - edge.siblings.begin)
                         : T{1};
    for (int32_t c = 0; c < n; ++c) grad[c] = factor * grad_out[c];
  }
  if (forward.activation == Activation::kNone) return;
  T z[kTile<T>];
  preactivation(forward, edge, first, n, z);
  multiply_by_slope(forward.activation, n, z, grad);
}

template <class T, class Slot>
G2VLM_ALWAYS_INLINE void gradients_of_row(const EdgeConvBackwardProblem<T, Slot>& p, int64_t row,
                                          T* partial) {
  const auto& forward = p.forward;
  const Range range = row_range(forward.graph.offsets, row, forward.graph.num_edges);
  const int32_t terms = forward.terms;
  if (p.grad_geometry != nullptr)
    std::fill(p.grad_geometry + int64_t{range.begin} * terms,
              p.grad_geometry + int64_t{range.end} * terms, T{0});
  for_each_tile<T>(forward.channels, [&](int32_t first, auto n) G2VLM_INLINE_LAMBDA {
    T grad[kTile<T>];
    T run[kMaxGeometryTerms][kTile<T>] = {};
    const auto add = [&](int32_t index, auto& sum) G2VLM_INLINE_LAMBDA {
      const int32_t source =
          checked(forward.graph.columns[index], forward.graph.num_sources, "columns");
      preactivation_gradient(p, {row, source, index, range}, first, n, grad);
      sum.add(grad);
      const int32_t here = index - range.begin + 1;
      const bool last_of_run = here % kRun == 0 || index + 1 == range.end;
      for (int32_t term = 0; term < terms; ++term) {
        const int64_t at = int64_t{index} * terms + term;
        const int64_t from = int64_t{term} * forward.channels + first;
        if (p.grad_geometry != nullptr)
          p.grad_geometry[at] += std::inner_product(grad, grad + n, forward.weight + from, T{0});
        if (partial == nullptr) continue;
        for (int32_t c = 0; c < n; ++c) run[term][c] += forward.geometry[at] * grad[c];
        if (!last_of_run) continue;
        for (int32_t c = 0; c < n; ++c) partial[from + c] += run[term][c];
        std::fill_n(run[term], n, T{0});
      }
    };
    sum_in_runs<T>(n, range, add).store(T{1}, p.grad_a + row * forward.channels + first);
  });
}

template <class T, class Slot>
G2VLM_ALWAYS_INLINE void gradient_of_source(const EdgeConvBackwardProblem<T, Slot>& p,
                                            int64_t source) {
  const auto& forward = p.forward;
  const Range range = row_range(p.transpose.offsets, source, forward.graph.num_edges);
  for_each_tile<T>(forward.channels, [&](int32_t first, auto n) G2VLM_INLINE_LAMBDA {
    T grad[kTile<T>];
    const auto add = [&](int32_t i, auto& sum) G2VLM_INLINE_LAMBDA {
      const int32_t row = checked(p.transpose.rows[i], forward.graph.num_rows, "transposed rows");
      const int32_t index =
          checked(p.transpose.edges[i], forward.graph.num_edges, "transposed edges");
      const Range siblings = row_range(forward.graph.offsets, row, forward.graph.num_edges);
      preactivation_gradient(p, {row, source, index, siblings}, first, n, grad);
      sum.add(grad);
    };
    sum_in_runs<T>(n, range, add).store(T{1}, p.grad_b + source * forward.channels + first);
  });
}

template <class T, class Slot>
struct ConvolveRows {
  const EdgeConvProblem<T, Slot>& p;
  G2VLM_ALWAYS_INLINE void operator()(int64_t begin, int64_t end) const {
    for (int64_t row = begin; row < end; ++row) convolve_row(p, row);
  }
};

template <class T, class Slot>
struct GradientsOfRows {
  const EdgeConvBackwardProblem<T, Slot>& p;
  int64_t rows;  // of a block
  G2VLM_ALWAYS_INLINE void operator()(int64_t begin, int64_t end) const {
    const int64_t size = int64_t{p.forward.terms} * p.forward.channels;
    T* partial = p.grad_weight == nullptr ? nullptr : p.partial + begin / rows * size;
    for (int64_t row = begin; row < end; ++row) gradients_of_row(p, row, partial);
  }
};

template <class T, class Slot>
struct GradientOfSources {
  const EdgeConvBackwardProblem<T, Slot>& p;
  G2VLM_ALWAYS_INLINE void operator()(int64_t begin, int64_t end) const {
    for (int64_t source = begin; source < end; ++source) gradient_of_source(p, source);
  }
};

}  // namespace

template <class T, class Slot>
void edge_conv_cpu(const EdgeConvProblem<T, Slot>& p, int threads) {
  const int64_t rows = rows_per_piece(p.graph.num_rows, p.graph.num_edges, p.channels);
  run_widest(p.graph.num_rows, rows, threads, ConvolveRows<T, Slot>{p});
}

template <class T, class Slot>
void edge_conv_backward_cpu(const EdgeConvBackwardProblem<T, Slot>& p, int threads) {
  const Csr& graph = p.forward.graph;
  const int64_t size = int64_t{p.forward.terms} * p.forward.channels;
  const int64_t rows = std::max<int64_t>((int64_t{graph.num_rows} + p.blocks - 1) / p.blocks, 1);
  if (p.grad_weight != nullptr) std::fill_n(p.partial, p.blocks * size, T{0});
  run_widest(graph.num_rows, rows, threads, GradientsOfRows<T, Slot>{p, rows});
  if (p.grad_weight != nullptr) {
    std::fill_n(p.grad_weight, size, T{0});
    for (int64_t block = 0; block < p.blocks; ++block)
      for (int64_t i = 0; i < size; ++i) p.grad_weight[i] += p.partial[block * size + i];
  }
  if (p.grad_b == nullptr) return;
  const int64_t sources = rows_per_piece(graph.num_sources, graph.num_edges, p.forward.channels);
  run_widest(graph.num_sources, sources, threads, GradientOfSources<T, Slot>{p});
}

#define G2VLM_INSTANTIATE(T, Slot)                                   \
  template void edge_conv_cpu(const EdgeConvProblem<T, Slot>&, int); \
  template void edge_conv_backward_cpu(const EdgeConvBackwardProblem<T, Slot>&, int);
G2VLM_INSTANTIATE(float, uint8_t)
G2VLM_INSTANTIATE(float, int32_t)
G2VLM_INSTANTIATE(double, uint8_t)
G2VLM_INSTANTIATE(double, int32_t)
#undef G2VLM_INSTANTIATE

}  // namespace g2vlm
