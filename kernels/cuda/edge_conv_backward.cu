#include "edge_conv.cuh"

namespace g2vlm {
namespace {

template <class T>
struct Backward {
  EdgeConvInputs<T> in;
  const T* out;  // read for the maximum of an activation whose slope follows from its value
  const T* grad;
  Winners winners;
  T* grad_a;
  T* grad_b;
  float* grad_geometry;
  float* partial;  // [gridDim.x, terms, channels] or null
  TransposedCsr transpose;
  int32_t chunk;  // rows of a block
  bool is_mean;
  bool pulls_geometry;  // whether `rows_backward` finds the gradient of the geometry as well

  __device__ bool slope_follows_from_value() const { return in.activation != Activation::kSilu; }
};

// Writes the sums over the block's groups of threads to partial[block, term, first...].
template <int kTerms, int kWidth, class T>
__device__ void store_partials(const Backward<T>& p, const float (&sums)[kTerms][kWidth]) {
  __shared__ float buffer[kRowThreads * kWidth];
  const int reach = kWidth << p.in.lane_bits;  // channels of a group
  const int groups = kRowThreads >> p.in.lane_bits;
#pragma unroll
  for (int term = 0; term < kTerms; ++term) {
    if (term >= p.in.terms) break;
#pragma unroll
    for (int c = 0; c < kWidth; ++c) buffer[threadIdx.x * kWidth + c] = sums[term][c];
    __syncthreads();
    for (int i = threadIdx.x; i < reach; i += kRowThreads) {
      const int channel = blockIdx.y * reach + i;
      if (channel >= p.in.channels) break;
      float sum = 0.0f;
      for (int group = 0; group < groups; ++group) sum += buffer[group * reach + i];
      p.partial[(int64_t{blockIdx.x} * p.in.terms + term) * p.in.channels + channel] = sum;
    }
    __syncthreads();
  }
}

// Writes the gradient of the geometry of one edge: the products of what its message pulls and each
// row of the weight. By a whole group, each of whose threads holds other channels.
template <int kTerms, int kWidth, class T>
__device__ void store_geometry(const Backward<T>& p, const GeometryWeights<kTerms, kWidth>& weights,
                               const float (&pulled)[kWidth], int32_t edge, int lane) {
  float products[kTerms] = {};
#pragma unroll
  for (int term = 0; term < kTerms; ++term)
#pragma unroll
    for (int c = 0; c < kWidth; ++c)
      products[term] = fmaf(pulled[c], weights.values[term][c], products[term]);
  const float sum = sum_terms_over_lanes(products, lane, p.in.lane_bits);
  const int lanes_per_term = (1 << p.in.lane_bits) / kTerms;
  const int term = lane / lanes_per_term;
  if (lane % lanes_per_term == 0 && term < p.in.terms)
    p.grad_geometry[int64_t{edge} * p.in.terms + term] = sum;
}

// The gradient of a, and sums over chunks of rows for the gradient of the weight.
template <class T, int kWidth, int kTerms, bool kMax>
__global__ void __launch_bounds__(kRowThreads, kTerms <= 4 && !kMax ? 2 : 1)
    rows_backward(const Backward<T> p) {
  constexpr int kInFlight = 2;  // edges whose loads overlap
  const EdgeConvInputs<T>& in = p.in;
  const int groups = kRowThreads >> in.lane_bits;
  const int lane = threadIdx.x & ((1 << in.lane_bits) - 1);
  const int first = ((blockIdx.y << in.lane_bits) + lane) * kWidth;
  const int64_t chunk_begin = int64_t{blockIdx.x} * p.chunk;
  const int64_t chunk_end =
      first < in.channels ? min(chunk_begin + p.chunk, int64_t{in.graph.num_rows}) : 0;
  float sums[kTerms == 0 ? 1 : kTerms][kWidth] = {};
  const bool needs_z =
      in.activation != Activation::kNone && !(kMax && p.slope_follows_from_value());
  const bool needs_edges = needs_z || !kMax || (kTerms > 0 && p.partial != nullptr);
  const GeometryWeights<kTerms, kWidth> weights(in, first < in.channels ? first : 0);
  for (int64_t row = chunk_begin + (threadIdx.x >> in.lane_bits); row < chunk_end; row += groups) {
    const RowRange range = row_range(in.graph.offsets, row, in.graph.num_edges);
    const int64_t at = row * in.channels + first;
    float grad[kWidth], total[kWidth] = {};
    int slot[kWidth];
    load_floats(p.grad + at, grad);
    Packed<T, kWidth> a;  // as it lies, for want of registers
    if (needs_z) a = Packed<T, kWidth>::load(in.a + at);
    if (kMax) {
      p.winners.load(at, slot);
      if (p.slope_follows_from_value()) {
        float out[kWidth];
        load_floats(p.out + at, out);
        multiply_by_slope(in.activation, out, grad);
      }
    } else if (p.is_mean && range.end > range.begin) {
      divide(grad, static_cast<float>(range.end - range.begin));
    }
    if (!needs_edges) {
#pragma unroll
      for (int c = 0; c < kWidth; ++c) total[c] = slot[c] == p.winners.none() ? 0.0f : grad[c];
    }
    for (int32_t base = range.begin; needs_edges && base < range.end; base += kInFlight) {
      Packed<T, kWidth> b[kInFlight];
      EdgeGeometry<kTerms> geometry[kInFlight];
      int32_t source[kInFlight];
#pragma unroll
      for (int i = 0; i < kInFlight; ++i)
        source[i] = base + i < range.end ? __ldg(in.graph.columns + base + i) : -1;
#pragma unroll
      for (int i = 0; i < kInFlight; ++i) {
        if (!in_range(source[i], in.graph.num_sources)) continue;
        if (needs_z)
          b[i] = Packed<T, kWidth>::load(in.b + int64_t{source[i]} * in.channels + first);
        geometry[i].load(in, base + i);
      }
#pragma unroll
      for (int i = 0; i < kInFlight; ++i) {
        const int32_t edge = base + i;
        float pulled[kWidth] = {};
        if (!in_range(source[i], in.graph.num_sources)) {
          if constexpr (kTerms > 0 && !kMax) {
            if (p.pulls_geometry && edge < range.end)
              store_geometry(p, weights, pulled, edge, lane);
          }
          continue;
        }
#pragma unroll
        for (int c = 0; c < kWidth; ++c)
          pulled[c] = !kMax || slot[c] == edge - range.begin ? grad[c] : 0.0f;
        if (needs_z) {
          float z[kWidth], of_row[kWidth];
          to_floats(b[i], z);
          to_floats(a, of_row);
#pragma unroll
          for (int c = 0; c < kWidth; ++c) z[c] += of_row[c];
          weights.add_to(geometry[i], z);
          multiply_by_slope(in.activation, z, pulled);
        }
#pragma unroll
        for (int c = 0; c < kWidth; ++c) total[c] += pulled[c];
        if constexpr (kTerms > 0 && !kMax) {
          if (p.pulls_geometry) store_geometry(p, weights, pulled, edge, lane);
        }
        if constexpr (kTerms > 0) {
          if (p.partial == nullptr) continue;
#pragma unroll
          for (int term = 0; term < kTerms; ++term)
#pragma unroll
            for (int c = 0; c < kWidth; ++c)
              sums[term][c] = fmaf(geometry[i].values[term], pulled[c], sums[term][c]);
        }
      }
    }
    store_floats(total, p.grad_a + at);
  }
  if constexpr (kTerms > 0) {
    if (p.partial != nullptr) store_partials(p, sums);
  }
}

// grad_weight[i] = sum over the blocks of partial[block, i]: 8 threads a value take every eighth
// block, and their sums are added in order.
constexpr int kSlices = 8;

__global__ void __launch_bounds__(kRowThreads)
    sum_partials(const float* partial, int32_t blocks, int32_t size, float* grad_weight) {
  constexpr int kValues = kRowThreads / kSlices;
  __shared__ float buffer[kSlices][kValues];
  const int value = threadIdx.x % kValues, slice = threadIdx.x / kValues;
  const int i = blockIdx.x * kValues + value;
  float sum = 0.0f;
  if (i < size)
    for (int block = slice; block < blocks; block += kSlices)
      sum += __ldg(partial + int64_t{block} * size + i);
  buffer[slice][value] = sum;
  __syncthreads();
  if (slice != 0 || i >= size) return;
  for (int other = 1; other < kSlices; ++other) sum += buffer[other][value];
  grad_weight[i] = sum;
}

// The gradient of b where messages are summed.
template <class T, int kWidth, int kTerms>
__global__ void __launch_bounds__(kRowThreads) sources_backward(const Backward<T> p) {
  constexpr int kInFlight = 3;  // edges whose loads overlap: half the degree of a mesh's vertices
  const EdgeConvInputs<T>& in = p.in;
  const int64_t thread = int64_t{blockIdx.x} * kRowThreads + threadIdx.x;
  const int64_t source = thread >> in.lane_bits;
  const int lane = threadIdx.x & ((1 << in.lane_bits) - 1);
  const int first = ((blockIdx.y << in.lane_bits) + lane) * kWidth;
  if (source >= in.graph.num_sources || first >= in.channels) return;
  const RowRange range = row_range(p.transpose.offsets, source, in.graph.num_edges);
  const GeometryWeights<kTerms, kWidth> weights(in, first);
  float b[kWidth], total[kWidth] = {};
  load_floats(in.b + source * in.channels + first, b);
  for (int32_t base = range.begin; base < range.end; base += kInFlight) {
    Packed<T, kWidth> a[kInFlight], grad[kInFlight];
    EdgeGeometry<kTerms> geometry[kInFlight];
    int32_t row[kInFlight], edge[kInFlight];
    float share[kInFlight];
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) {
      row[i] = base + i < range.end ? __ldg(p.transpose.rows + base + i) : -1;
      edge[i] = base + i < range.end ? __ldg(p.transpose.edges + base + i) : -1;
    }
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) {
      // So that what follows looks at one of the two alone.
      if (!in_range(edge[i], in.graph.num_edges)) row[i] = -1;
      if (!in_range(row[i], in.graph.num_rows)) continue;
      geometry[i].load(in, edge[i]);
      const int64_t at = int64_t{row[i]} * in.channels + first;
      a[i] = Packed<T, kWidth>::load(in.a + at);
      grad[i] = Packed<T, kWidth>::load(p.grad + at);
      const RowRange bounds = row_bounds(in.graph.offsets, row[i]);
      share[i] = p.is_mean ? 1.0f / static_cast<float>(bounds.end - bounds.begin) : 1.0f;
    }
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) {
      if (!in_range(row[i], in.graph.num_rows)) continue;
      float z[kWidth], pulled[kWidth];
      to_floats(a[i], z);
      to_floats(grad[i], pulled);
#pragma unroll
      for (int c = 0; c < kWidth; ++c) z[c] += b[c];
      weights.add_to(geometry[i], z);
      multiply_by_slope(in.activation, z, pulled);
#pragma unroll
      for (int c = 0; c < kWidth; ++c) total[c] = fmaf(share[i], pulled[c], total[c]);
    }
  }
  store_floats(total, p.grad_b + source * in.channels + first);
}

// The gradient of the geometry, edge by edge. For the maximum it follows from that of a.
template <class T, int kWidth, int kTerms, bool kMax>
__global__ void __launch_bounds__(kRowThreads) geometry_backward(const Backward<T> p) {
  const EdgeConvInputs<T>& in = p.in;
  const int64_t thread = int64_t{blockIdx.x} * kRowThreads + threadIdx.x;
  const int64_t row = thread >> in.lane_bits;
  const int lanes = 1 << in.lane_bits;
  const int lane = threadIdx.x & (lanes - 1);
  if (row >= in.graph.num_rows) return;
  const RowRange range = row_range(in.graph.offsets, row, in.graph.num_edges);
  for (int32_t edge = range.begin; edge < range.end; ++edge) {
    const int32_t source = __ldg(in.graph.columns + edge);
    float sums[kTerms] = {};
    if (in_range(source, in.graph.num_sources)) {
      for (int first = lane * kWidth; first < in.channels; first += lanes * kWidth) {
        const int64_t at = row * in.channels + first;
        const GeometryWeights<kTerms, kWidth> weights(in, first);
        float pulled[kWidth];
        if (kMax) {
          int slot[kWidth];
          load_floats(const_cast<const T*>(p.grad_a) + at, pulled);
          p.winners.load(at, slot);
#pragma unroll
          for (int c = 0; c < kWidth; ++c)
            pulled[c] = slot[c] == edge - range.begin ? pulled[c] : 0.0f;
        } else {
          float z[kWidth], b[kWidth];
          EdgeGeometry<kTerms> geometry;
          geometry.load(in, edge);
          load_floats(p.grad + at, pulled);
          load_floats(in.a + at, z);
          load_floats(in.b + int64_t{source} * in.channels + first, b);
#pragma unroll
          for (int c = 0; c < kWidth; ++c) z[c] += b[c];
          weights.add_to(geometry, z);
          multiply_by_slope(in.activation, z, pulled);
        }
#pragma unroll
        for (int term = 0; term < kTerms; ++term) {
          if (term >= in.terms) break;
#pragma unroll
          for (int c = 0; c < kWidth; ++c)
            sums[term] = fmaf(pulled[c], weights.values[term][c], sums[term]);
        }
      }
    }
#pragma unroll
    for (int term = 0; term < kTerms; ++term) {
      if (term >= in.terms) break;
      float sum = sum_over_lanes(sums[term], in.lane_bits);
      if (p.is_mean) sum /= static_cast<float>(range.end - range.begin);
      if (lane == 0) p.grad_geometry[int64_t{edge} * in.terms + term] = sum;
    }
  }
}

// The gradient of b is that of the reduction wherever the gradient of a message does not depend on
// its preactivation any more.
template <class T, class Slot>
GraphReduceBackwardProblem<T, Slot> reduction_of(const EdgeConvBackwardProblem<T, Slot>& p) {
  const auto& forward = p.forward;
  const bool is_max = forward.reduce == Reduce::kMax;
  return {is_max ? p.grad_a : p.grad,
          nullptr,
          nullptr,
          forward.winner,
          p.grad_b,
          nullptr,
          forward.graph,
          p.transpose,
          forward.channels,
          forward.reduce};
}

}  // namespace

template <class T, class Slot>
void edge_conv_backward_cuda(const EdgeConvBackwardProblem<T, Slot>& problem, int device,
                             void* stream_) {
  using D = DeviceType<T>;
  const DeviceGuard guard(device);
  const auto stream = static_cast<cudaStream_t>(stream_);
  const auto& forward = problem.forward;
  const Csr& graph = forward.graph;
  const int channels = forward.channels;
  const bool is_max = forward.reduce == Reduce::kMax;
  const bool want_weight = problem.grad_weight != nullptr && forward.terms > 0;
  const Slot* winner = is_max ? forward.winner : nullptr;
  Backward<D> p{inputs_of(forward),
                reinterpret_cast<const D*>(forward.out),
                reinterpret_cast<const D*>(problem.grad),
                Winners(winner),
                reinterpret_cast<D*>(problem.grad_a),
                reinterpret_cast<D*>(problem.grad_b),
                problem.grad_geometry,
                want_weight ? problem.partial : nullptr,
                problem.transpose,
                0,
                forward.reduce == Reduce::kMean,
                false};
  const bool is_aligned = aligned(forward.a, forward.b, forward.weight, forward.out, problem.grad,
                                  winner, problem.grad_a, problem.grad_b);
  const bool sums_activations = !is_max && forward.activation != Activation::kNone;
  if (channels > 0) {
    with_width_and_terms<D>(channels, forward.terms, is_aligned, [&](auto width, auto terms) {
      const RowMap map(channels, width);
      p.in.lane_bits = map.lane_bits;
      const int64_t num_rows = graph.num_rows;
      const int64_t chunk =
          want_weight ? (num_rows + problem.blocks - 1) / problem.blocks : map.rows_per_block();
      const int64_t blocks = want_weight ? problem.blocks : (num_rows + chunk - 1) / chunk;
      p.chunk = static_cast<int32_t>(chunk);
      // Where one group holds all channels, and each of its threads some.
      p.pulls_geometry = problem.grad_geometry != nullptr && terms > 0 && !is_max &&
                         width << map.lane_bits == channels && terms <= 1 << map.lane_bits;
      const auto rows =
          is_max ? rows_backward<D, width, terms, true> : rows_backward<D, width, terms, false>;
      const dim3 grid(static_cast<unsigned>(blocks), map.tiles);
      if (blocks > 0) rows<<<grid, kRowThreads, 0, stream>>>(p);
      if (problem.grad_b != nullptr && sums_activations && graph.num_sources > 0)
        sources_backward<D, width, terms>
            <<<map.grid(graph.num_sources), kRowThreads, 0, stream>>>(p);
    });
    check_cuda(cudaGetLastError(), "edge_conv: rows_backward");
  }
  if (want_weight && channels > 0) {
    const int32_t size = forward.terms * channels;
    constexpr int kValues = kRowThreads / kSlices;
    sum_partials<<<(size + kValues - 1) / kValues, kRowThreads, 0, stream>>>(
        problem.partial, problem.blocks, size, problem.grad_weight);
    check_cuda(cudaGetLastError(), "edge_conv: sum_partials");
  }
  if (problem.grad_geometry != nullptr && !p.pulls_geometry && forward.terms > 0 &&
      graph.num_rows > 0) {
    with_width_and_terms<D>(channels, forward.terms, is_aligned, [&](auto width, auto terms) {
      if constexpr (terms > 0) {
        RowMap map(channels, width);
        map.tiles = 1;  // each group walks all channels
        p.in.lane_bits = map.lane_bits;
        const auto kernel = is_max ? geometry_backward<D, width, terms, true>
                                   : geometry_backward<D, width, terms, false>;
        kernel<<<map.grid(graph.num_rows), kRowThreads, 0, stream>>>(p);
      }
    });
    check_cuda(cudaGetLastError(), "edge_conv: geometry_backward");
  }
  if (problem.grad_b != nullptr && !sums_activations)
    graph_reduce_backward_cuda(reduction_of(problem), device, stream_);
}

#define G2VLM_INSTANTIATE(T)                                                                     \
  template void edge_conv_backward_cuda(const EdgeConvBackwardProblem<T, uint8_t>&, int, void*); \
  template void edge_conv_backward_cuda(const EdgeConvBackwardProblem<T, int32_t>&, int, void*);
G2VLM_INSTANTIATE(float)
G2VLM_INSTANTIATE(BFloat16)
G2VLM_INSTANTIATE(Float16)
#undef G2VLM_INSTANTIATE

}  // namespace g2vlm
