#include "g2vlm/graph_reduce.h"
#include "graph_rows.cuh"

namespace g2vlm {
namespace {

constexpr int kInFlight = 4;  // edges whose loads overlap
// Blocks of `weighted_sum` on a multiprocessor; with more, it spills.
template <class T, int kWidth, bool kScaled>
constexpr int kSumBlocks = (kWidth > kVectorWidth<T> ? 3 : 5) - kScaled;

// out[row] = sum over the entries t of a row of scale_t x[columns[t]], where scale_t is the weight
// of edge t (of edges[t] where given) over the length of a row of `divided_by`, where given.
template <class T>
struct WeightedSum {
  const T* x;
  const int32_t* offsets;
  const int32_t* columns;
  const int32_t* edges;
  const float* weight;
  const int32_t* divided_by;  // offsets of the rows that `columns` index
  T* out;
  int32_t rows, sources, num_edges, channels;
  int lane_bits;
  bool is_mean;  // divides by the length of the row itself

  __device__ float weight_of(int32_t entry) const {
    if (weight == nullptr) return 1.0f;
    const int32_t edge = edges == nullptr ? entry : __ldg(edges + entry);
    return in_range(edge, num_edges) ? __ldg(weight + edge) : 0.0f;
  }
};

// A few entries of a row: loaded together, added in order.
template <class T, int kWidth, bool kScaled>
struct Entries {
  Packed<T, kWidth> x[kInFlight];
  float scale[kScaled ? kInFlight : 1];

  // Those of `range`, whose columns are known; zeros where there are fewer.
  __device__ void load(const WeightedSum<T>& p, const SourceRows<T, kWidth>& sources,
                       RowRange range, const int32_t (&source)[kInFlight]) {
    const int32_t count = range.end - range.begin;
    sources.load(source, count, x);
    if constexpr (kScaled) {
      RowRange bounds[kInFlight];  // all of them before the first is used
#pragma unroll
      for (int i = 0; i < kInFlight; ++i) {
        const bool counts = i < count && sources.has(source[i]);
        bounds[i] = counts && p.divided_by != nullptr ? row_bounds(p.divided_by, source[i])
                                                      : RowRange{0, 1};
        scale[i] = counts ? p.weight_of(range.begin + i) : 0.0f;
      }
      if (p.divided_by == nullptr) return;
#pragma unroll
      for (int i = 0; i < kInFlight; ++i)
        scale[i] /= static_cast<float>(bounds[i].end - bounds[i].begin);
    }
  }

  template <int kBegin, int kEnd>
  __device__ void add_to(float (&sum)[kWidth]) const {
#pragma unroll
    for (int i = kBegin; i < kEnd; ++i) {
      float values[kWidth];
      to_floats(x[i], values);
#pragma unroll
      for (int c = 0; c < kWidth; ++c)
        sum[c] = kScaled ? fmaf(scale[i], values[c], sum[c]) : sum[c] + values[c];
    }
  }
};

// Sums rows `step` apart. Three stages overlap: the features of a few entries of a row arrive, the
// columns of the next few, be they of this row or the next, and the bounds of the row after that.
template <class T, int kWidth, bool kScaled>
__global__ void __launch_bounds__(kRowThreads, kSumBlocks<T, kWidth, kScaled>)
    weighted_sum(const __grid_constant__ WeightedSum<T> p) {
  constexpr int kWords = Packed<T, kWidth>::kWords;
  const int lanes = 1 << p.lane_bits, lane = threadIdx.x & (lanes - 1);
  const int first = (blockIdx.y * lanes * kWords + lane) * (kWidth / kWords);
  const uint32_t rows = p.rows, rows_per_block = kRowThreads >> p.lane_bits;
  const uint32_t step = gridDim.x * rows_per_block;
  uint32_t row = blockIdx.x * rows_per_block + (threadIdx.x >> p.lane_bits);
  if (row >= rows || first >= p.channels) return;
  const SourceRows<T, kWidth> sources(p.x + first, p.sources, p.channels, lanes);
  T* const out = kept_in_register(p.out + first);
  const auto bounds_of = [&](uint32_t of) { return row_bounds(p.offsets, min(of, rows - 1)); };
  RowRange range = within(bounds_of(row), p.num_edges), next_bounds = bounds_of(row + step);
  int32_t source[kInFlight] = {};
  load_columns(p.columns, range, source);
  while (true) {
    Entries<T, kWidth, kScaled> entries;
    float sum[kWidth] = {};
    RowRange rest = range;
    while (rest.end - rest.begin > kInFlight) {
      entries.load(p, sources, rest, source);
      rest.begin += kInFlight;
      load_columns(p.columns, rest, source);
      entries.template add_to<0, kInFlight>(sum);
    }
    entries.load(p, sources, rest, source);
    const RowRange next = within(next_bounds, p.num_edges);
    load_columns(p.columns, next, source);
    next_bounds = bounds_of(row + 2 * step);
    entries.template add_to<0, kInFlight / 2>(sum);
    if (rest.end - rest.begin > kInFlight / 2)
      entries.template add_to<kInFlight / 2, kInFlight>(sum);
    if (p.is_mean && range.end > range.begin)
      divide(sum, static_cast<float>(range.end - range.begin));
    packed<T>(sum).stream(out + int64_t{row} * p.channels, lanes);
    row += step;
    if (row >= rows) return;
    range = next;
  }
}

template <class T, int kWidth>
void launch_sum(WeightedSum<T> p, int device, cudaStream_t stream) {
  const RowMap map(p.channels, kWidth);
  p.lane_bits = map.lane_bits;
  const auto run = [&](auto kernel, int blocks) {
    kernel<<<map.resident_grid(p.rows, blocks, device), kRowThreads, 0, stream>>>(p);
  };
  if (p.weight != nullptr || p.divided_by != nullptr)
    run(weighted_sum<T, kWidth, true>, kSumBlocks<T, kWidth, true>);
  else
    run(weighted_sum<T, kWidth, false>, kSumBlocks<T, kWidth, false>);
}

// Two words a thread, where they fill the rows, share what a row and an edge cost beside them.
template <class T>
void launch(const WeightedSum<T>& p, int device, cudaStream_t stream) {
  if (p.rows == 0 || p.channels == 0) return;
  constexpr int kTwoWords = 2 * kVectorWidth<T>;
  const bool is_wide = aligned(p.x, p.out) && sizeof(T) * p.channels <= UINT32_MAX;
  if (is_wide && RowMap(p.channels, kTwoWords).is_full(p.channels, kTwoWords))
    launch_sum<T, kTwoWords>(p, device, stream);
  else
    with_width<T>(p.channels, is_wide,
                  [&](auto width) { launch_sum<T, width>(p, device, stream); });
  check_cuda(cudaGetLastError(), "graph_reduce: weighted_sum");
}

template <class T>
struct Extreme {
  const T* x;
  const float* weight;
  T* out;
  Winners winners;
  Csr graph;
  int32_t channels;
  int lane_bits;
  float sign;  // the minimum is the maximum of the opposites
};

template <class T, int kWidth>
__global__ void __launch_bounds__(kRowThreads) extreme(const Extreme<T> p) {
  const int64_t thread = int64_t{blockIdx.x} * kRowThreads + threadIdx.x;
  const int64_t row = thread >> p.lane_bits;
  const int lane = threadIdx.x & ((1 << p.lane_bits) - 1);
  const int first = ((blockIdx.y << p.lane_bits) + lane) * kWidth;
  if (row >= p.graph.num_rows || first >= p.channels) return;
  const RowRange range = row_range(p.graph.offsets, row, p.graph.num_edges);
  const int none = p.winners.none();
  float best[kWidth];
  int slot[kWidth];
#pragma unroll
  for (int c = 0; c < kWidth; ++c) slot[c] = none, best[c] = 0.0f;
  for (int32_t base = range.begin; base < range.end; base += kInFlight) {
    Packed<T, kWidth> x[kInFlight];
    bool ok[kInFlight];
    int32_t source[kInFlight];
#pragma unroll
    for (int i = 0; i < kInFlight; ++i)
      source[i] = base + i < range.end ? __ldg(p.graph.columns + base + i) : -1;
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) {
      ok[i] = in_range(source[i], p.graph.num_sources);
      if (ok[i]) x[i] = Packed<T, kWidth>::load(p.x + int64_t{source[i]} * p.channels + first);
    }
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) {
      if (!ok[i]) continue;
      const float factor = p.weight == nullptr ? p.sign : p.sign * __ldg(p.weight + base + i);
      const int here = base + i - range.begin;
      float values[kWidth];
      to_floats(x[i], values);
#pragma unroll
      for (int c = 0; c < kWidth; ++c) {
        const float value = factor * values[c];
        if (slot[c] == none || leads(value, best[c])) best[c] = value, slot[c] = here;
      }
    }
  }
#pragma unroll
  for (int c = 0; c < kWidth; ++c) best[c] = slot[c] == none ? 0.0f : p.sign * best[c];
  const int64_t at = row * p.channels + first;
  store_floats(best, p.out + at);
  if (p.winners.slots != nullptr) p.winners.store(at, slot);
}

template <class T>
struct ExtremeBackward {
  const T* grad;
  const float* weight;
  Winners winners;
  T* grad_x;
  Csr graph;
  TransposedCsr transpose;
  int32_t channels;
  int lane_bits;
};

template <class T, int kWidth>
__global__ void __launch_bounds__(kRowThreads) extreme_backward(const ExtremeBackward<T> p) {
  const int64_t thread = int64_t{blockIdx.x} * kRowThreads + threadIdx.x;
  const int64_t source = thread >> p.lane_bits;
  const int lane = threadIdx.x & ((1 << p.lane_bits) - 1);
  const int first = ((blockIdx.y << p.lane_bits) + lane) * kWidth;
  if (source >= p.graph.num_sources || first >= p.channels) return;
  const RowRange range = row_range(p.transpose.offsets, source, p.graph.num_edges);
  float sum[kWidth] = {};
#pragma unroll 2
  for (int32_t i = range.begin; i < range.end; ++i) {
    const int32_t row = __ldg(p.transpose.rows + i);
    const int32_t edge = __ldg(p.transpose.edges + i);
    if (!in_range(row, p.graph.num_rows) || !in_range(edge, p.graph.num_edges)) continue;
    const int here = edge - __ldg(p.graph.offsets + row);
    const float factor = p.weight == nullptr ? 1.0f : __ldg(p.weight + edge);
    const int64_t at = int64_t{row} * p.channels + first;
    float grad[kWidth];
    int slot[kWidth];
    load_floats(p.grad + at, grad);
    p.winners.load(at, slot);
#pragma unroll
    for (int c = 0; c < kWidth; ++c)
      if (slot[c] == here) sum[c] = fmaf(factor, grad[c], sum[c]);
  }
  store_floats(sum, p.grad_x + source * p.channels + first);
}

template <class T>
struct WeightGradient {
  const T* grad;
  const T* x;
  Winners winners;  // null for sums
  float* grad_weight;
  Csr graph;
  int32_t channels;
  int lane_bits;
  bool is_mean;
};

template <class T, int kWidth>
__global__ void __launch_bounds__(kRowThreads) weight_gradient(const WeightGradient<T> p) {
  const int64_t thread = int64_t{blockIdx.x} * kRowThreads + threadIdx.x;
  const int64_t row = thread >> p.lane_bits;
  const int lanes = 1 << p.lane_bits;
  const int lane = threadIdx.x & (lanes - 1);
  if (row >= p.graph.num_rows) return;
  const RowRange range = row_range(p.graph.offsets, row, p.graph.num_edges);
  for (int32_t edge = range.begin; edge < range.end; ++edge) {
    const int32_t source = __ldg(p.graph.columns + edge);
    float sum = 0.0f;
    if (in_range(source, p.graph.num_sources)) {
      for (int first = lane * kWidth; first < p.channels; first += lanes * kWidth) {
        const int64_t at = row * p.channels + first;
        float grad[kWidth], x[kWidth];
        load_floats(p.grad + at, grad);
        load_floats(p.x + int64_t{source} * p.channels + first, x);
        if (p.winners.slots != nullptr) {
          int slot[kWidth];
          p.winners.load(at, slot);
#pragma unroll
          for (int c = 0; c < kWidth; ++c)
            if (slot[c] == edge - range.begin) sum = fmaf(grad[c], x[c], sum);
        } else {
#pragma unroll
          for (int c = 0; c < kWidth; ++c) sum = fmaf(grad[c], x[c], sum);
        }
      }
    }
    sum = sum_over_lanes(sum, p.lane_bits);
    if (p.is_mean) sum /= static_cast<float>(range.end - range.begin);
    if (lane == 0) p.grad_weight[edge] = sum;
  }
}

bool is_extreme(Reduce reduce) {
  return reduce == Reduce::kMax || reduce == Reduce::kMin;
}

template <class T>
const DeviceType<T>* device(const T* pointer) {
  return reinterpret_cast<const DeviceType<T>*>(pointer);
}
template <class T>
DeviceType<T>* device(T* pointer) {
  return reinterpret_cast<DeviceType<T>*>(pointer);
}

}  // namespace

template <class T, class Slot>
void graph_reduce_cuda(const GraphReduceProblem<T, Slot>& p, int device_index, void* stream_) {
  using D = DeviceType<T>;
  const DeviceGuard guard(device_index);
  const auto stream = static_cast<cudaStream_t>(stream_);
  const Csr& graph = p.graph;
  if (!is_extreme(p.reduce)) {
    return launch<D>({device(p.x), graph.offsets, graph.columns, nullptr, p.weight, nullptr,
                      device(p.out), graph.num_rows, graph.num_sources, graph.num_edges, p.channels,
                      0, p.reduce == Reduce::kMean},
                     device_index, stream);
  }
  if (graph.num_rows == 0 || p.channels == 0) return;
  with_width<D>(p.channels, aligned(p.x, p.out, p.winner), [&](auto width) {
    const RowMap map(p.channels, width);
    extreme<D, width><<<map.grid(graph.num_rows), kRowThreads, 0, stream>>>(
        {device(p.x), p.weight, device(p.out), Winners(p.winner), graph, p.channels, map.lane_bits,
         p.reduce == Reduce::kMin ? -1.0f : 1.0f});
  });
  check_cuda(cudaGetLastError(), "graph_reduce: extreme");
}

template <class T, class Slot>
void graph_reduce_backward_cuda(const GraphReduceBackwardProblem<T, Slot>& p, int device_index,
                                void* stream_) {
  using D = DeviceType<T>;
  const DeviceGuard guard(device_index);
  const auto stream = static_cast<cudaStream_t>(stream_);
  const Csr& graph = p.graph;
  const Slot* winner = is_extreme(p.reduce) ? p.winner : nullptr;
  if (p.grad_x != nullptr && !is_extreme(p.reduce)) {
    const int32_t* divided_by = p.reduce == Reduce::kMean ? graph.offsets : nullptr;
    launch<D>({device(p.grad), p.transpose.offsets, p.transpose.rows, p.transpose.edges, p.weight,
               divided_by, device(p.grad_x), graph.num_sources, graph.num_rows, graph.num_edges,
               p.channels, 0, false},
              device_index, stream);
  }
  if (p.grad_x != nullptr && is_extreme(p.reduce) && graph.num_sources > 0 && p.channels > 0) {
    with_width<D>(p.channels, aligned(p.grad, p.grad_x, winner), [&](auto width) {
      const RowMap map(p.channels, width);
      extreme_backward<D, width><<<map.grid(graph.num_sources), kRowThreads, 0, stream>>>(
          {device(p.grad), p.weight, Winners(winner), device(p.grad_x), graph, p.transpose,
           p.channels, map.lane_bits});
    });
    check_cuda(cudaGetLastError(), "graph_reduce: extreme_backward");
  }
  if (p.grad_weight != nullptr && graph.num_rows > 0) {
    with_width<D>(p.channels, aligned(p.grad, p.x, winner), [&](auto width) {
      RowMap map(p.channels, width);
      map.tiles = 1;  // each group walks all channels
      weight_gradient<D, width><<<map.grid(graph.num_rows), kRowThreads, 0, stream>>>(
          {device(p.grad), device(p.x), Winners(winner), p.grad_weight, graph, p.channels,
           map.lane_bits, p.reduce == Reduce::kMean});
    });
    check_cuda(cudaGetLastError(), "graph_reduce: weight_gradient");
  }
}

#define G2VLM_INSTANTIATE(T, Slot)                                                 \
  template void graph_reduce_cuda(const GraphReduceProblem<T, Slot>&, int, void*); \
  template void graph_reduce_backward_cuda(const GraphReduceBackwardProblem<T, Slot>&, int, void*);
G2VLM_INSTANTIATE(float, uint8_t)
G2VLM_INSTANTIATE(float, int32_t)
G2VLM_INSTANTIATE(BFloat16, uint8_t)
G2VLM_INSTANTIATE(BFloat16, int32_t)
G2VLM_INSTANTIATE(Float16, uint8_t)
G2VLM_INSTANTIATE(Float16, int32_t)
#undef G2VLM_INSTANTIATE

}  // namespace g2vlm
