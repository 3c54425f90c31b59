#include "g2vlm/graph_reduce.h"

#include <numeric>

#include "graph_rows.h"

namespace g2vlm {
namespace {

bool is_extreme(Reduce reduce) {
  return reduce == Reduce::kMax || reduce == Reduce::kMin;
}

template <class T, class Slot>
G2VLM_ALWAYS_INLINE void sum_row(const GraphReduceProblem<T, Slot>& p, int64_t row) {
  const Range range = row_range(p.graph.offsets, row, p.graph.num_edges);
  const T divisor = p.reduce == Reduce::kMean && range.end > range.begin
                        ? static_cast<T>(range.end - range.begin)
                        : T{1};
  for_each_tile<T>(p.channels, [&](int32_t first, auto n) G2VLM_INLINE_LAMBDA {
    const auto add = [&](int32_t edge, auto& sum) G2VLM_INLINE_LAMBDA {
      const int64_t source = checked(p.graph.columns[edge], p.graph.num_sources, "columns");
      const T* x = p.x + source * p.channels + first;
      p.weight == nullptr ? sum.add(x) : sum.add(p.weight[edge], x);
    };
    sum_in_runs<T>(n, range, add).store(divisor, p.out + row * p.channels + first);
  });
}

// The minimum is the maximum of the opposites.
template <class T, class Slot>
G2VLM_ALWAYS_INLINE void extreme_row(const GraphReduceProblem<T, Slot>& p, int64_t row) {
  const Range range = row_range(p.graph.offsets, row, p.graph.num_edges);
  T* out = p.out + row * p.channels;
  Slot* winner = p.winner == nullptr ? nullptr : p.winner + row * p.channels;
  if (range.begin == range.end) {
    std::fill_n(out, p.channels, T{0});
    if (winner != nullptr) std::fill_n(winner, p.channels, kNoWinner<Slot>);
    return;
  }
  const T sign = p.reduce == Reduce::kMin ? T{-1} : T{1};
  for_each_tile<T>(p.channels, [&](int32_t first, auto n) G2VLM_INLINE_LAMBDA {
    T best[kTile<T>] = {};
    SlotOf<T> slot[kTile<T>] = {};
    for (int32_t edge = range.begin; edge < range.end; ++edge) {
      const int64_t source = checked(p.graph.columns[edge], p.graph.num_sources, "columns");
      const T* x = p.x + source * p.channels + first;
      const T factor = p.weight == nullptr ? sign : sign * p.weight[edge];
      const SlotOf<T> here = edge - range.begin;
      if (here == 0) {
        for (int32_t c = 0; c < n; ++c) best[c] = factor * x[c];
        continue;
      }
      for (int32_t c = 0; c < n; ++c) {
        const T value = factor * x[c];
        const bool better = (value > best[c]) | ((value != value) & (best[c] == best[c]));
        best[c] = better ? value : best[c];
        slot[c] = better ? here : slot[c];
      }
    }
    for (int32_t c = 0; c < n; ++c) out[first + c] = sign * best[c];
    if (winner == nullptr) return;
    for (int32_t c = 0; c < n; ++c) winner[first + c] = static_cast<Slot>(slot[c]);
  });
}

template <class T, class Slot>
G2VLM_ALWAYS_INLINE void gradient_of_source(const GraphReduceBackwardProblem<T, Slot>& p,
                                            int64_t source) {
  const Range range = row_range(p.transpose.offsets, source, p.graph.num_edges);
  for_each_tile<T>(p.channels, [&](int32_t first, auto n) G2VLM_INLINE_LAMBDA {
    T won[kTile<T>] = {};
    const auto add = [&](int32_t i, auto& sum) G2VLM_INLINE_LAMBDA {
      const int64_t row = checked(p.transpose.rows[i], p.graph.num_rows, "transposed rows");
      const int32_t edge = checked(p.transpose.edges[i], p.graph.num_edges, "transposed edges");
      const Range edges = row_range(p.graph.offsets, row, p.graph.num_edges);
      const T* grad = p.grad + row * p.channels + first;
      T factor = p.weight == nullptr ? T{1} : p.weight[edge];
      if (is_extreme(p.reduce)) {
        const Slot* winner = p.winner + row * p.channels + first;
        const auto here = static_cast<Slot>(edge - edges.begin);
        for (int32_t c = 0; c < n; ++c) won[c] = winner[c] == here ? grad[c] : T{0};
        grad = won;
      } else if (p.reduce == Reduce::kMean) {
        factor /= static_cast<T>(edges.end - edges.begin);
      }
      sum.add(factor, grad);
    };
    sum_in_runs<T>(n, range, add).store(T{1}, p.grad_x + source * p.channels + first);
  });
}

template <class T, class Slot>
G2VLM_ALWAYS_INLINE void gradient_of_weights(const GraphReduceBackwardProblem<T, Slot>& p,
                                             int64_t row) {
  const Range range = row_range(p.graph.offsets, row, p.graph.num_edges);
  const T* grad = p.grad + row * p.channels;
  for (int32_t edge = range.begin; edge < range.end; ++edge) {
    const int64_t source = checked(p.graph.columns[edge], p.graph.num_sources, "columns");
    const T* x = p.x + source * p.channels;
    T lanes[kTile<T>] = {};
    for_each_tile<T>(p.channels, [&](int32_t first, auto n) G2VLM_INLINE_LAMBDA {
      if (is_extreme(p.reduce)) {
        const Slot* winner = p.winner + row * p.channels + first;
        const auto here = static_cast<Slot>(edge - range.begin);
        for (int32_t c = 0; c < n; ++c)
          lanes[c] += winner[c] == here ? grad[first + c] * x[first + c] : T{0};
      } else {
        for (int32_t c = 0; c < n; ++c) lanes[c] += grad[first + c] * x[first + c];
      }
    });
    const T sum = std::accumulate(lanes, lanes + kTile<T>, T{0});
    p.grad_weight[edge] =
        p.reduce == Reduce::kMean ? sum / static_cast<T>(range.end - range.begin) : sum;
  }
}

template <class T, class Slot>
struct ReduceRows {
  const GraphReduceProblem<T, Slot>& p;
  G2VLM_ALWAYS_INLINE void operator()(int64_t begin, int64_t end) const {
    for (int64_t row = begin; row < end; ++row)
      is_extreme(p.reduce) ? extreme_row(p, row) : sum_row(p, row);
  }
};

template <class T, class Slot>
struct GradientOfSources {
  const GraphReduceBackwardProblem<T, Slot>& p;
  G2VLM_ALWAYS_INLINE void operator()(int64_t begin, int64_t end) const {
    for (int64_t source = begin; source < end; ++source) gradient_of_source(p, source);
  }
};

template <class T, class Slot>
struct GradientOfWeights {
  const GraphReduceBackwardProblem<T, Slot>& p;
  G2VLM_ALWAYS_INLINE void operator()(int64_t begin, int64_t end) const {
    for (int64_t row = begin; row < end; ++row) gradient_of_weights(p, row);
  }
};

template <class Kernel>
void for_rows(int64_t rows, const Csr& graph, int32_t channels, int threads, const Kernel& kernel) {
  run_widest(rows, rows_per_piece(rows, graph.num_edges, channels), threads, kernel);
}

}  // namespace

template <class T, class Slot>
void graph_reduce_cpu(const GraphReduceProblem<T, Slot>& p, int threads) {
  for_rows(p.graph.num_rows, p.graph, p.channels, threads, ReduceRows<T, Slot>{p});
}

template <class T, class Slot>
void graph_reduce_backward_cpu(const GraphReduceBackwardProblem<T, Slot>& p, int threads) {
  if (p.grad_x != nullptr)
    for_rows(p.graph.num_sources, p.graph, p.channels, threads, GradientOfSources<T, Slot>{p});
  if (p.grad_weight != nullptr)
    for_rows(p.graph.num_rows, p.graph, p.channels, threads, GradientOfWeights<T, Slot>{p});
}

#define G2VLM_INSTANTIATE(T, Slot)                                         \
  template void graph_reduce_cpu(const GraphReduceProblem<T, Slot>&, int); \
  template void graph_reduce_backward_cpu(const GraphReduceBackwardProblem<T, Slot>&, int);
G2VLM_INSTANTIATE(float, uint8_t)
G2VLM_INSTANTIATE(float, int32_t)
G2VLM_INSTANTIATE(double, uint8_t)
G2VLM_INSTANTIATE(double, int32_t)
#undef G2VLM_INSTANTIATE

}  // namespace g2vlm
