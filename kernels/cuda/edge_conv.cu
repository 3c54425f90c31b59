#include "edge_conv.cuh"
#include "g2vlm/edge_conv.h"

namespace g2vlm {
namespace {

template <class T>
struct Forward {
  EdgeConvInputs<T> in;
  T* out;
  Winners winners;
  bool is_mean;
};

template <class T, int kWidth, int kTerms, bool kMax>
__global__ void __launch_bounds__(kRowThreads, kTerms <= 4 && !kMax ? 3 : 1)
    convolve(const Forward<T> p) {
  constexpr int kInFlight = kTerms == 0 ? 4 : 2;  // edges whose loads overlap
  const EdgeConvInputs<T>& in = p.in;
  const int64_t thread = int64_t{blockIdx.x} * kRowThreads + threadIdx.x;
  const int64_t row = thread >> in.lane_bits;
  const int lane = threadIdx.x & ((1 << in.lane_bits) - 1);
  const int first = ((blockIdx.y << in.lane_bits) + lane) * kWidth;
  if (row >= in.graph.num_rows || first >= in.channels) return;
  const RowRange range = row_range(in.graph.offsets, row, in.graph.num_edges);
  const int64_t at = row * in.channels + first;
  const int none = p.winners.none();
  const GeometryWeights<kTerms, kWidth> weights(in, first);
  float a[kWidth], total[kWidth];
  int slot[kWidth];
  load_floats(in.a + at, a);
#pragma unroll
  for (int c = 0; c < kWidth; ++c) total[c] = 0.0f, slot[c] = none;
  for (int32_t base = range.begin; base < range.end; base += kInFlight) {
    Packed<T, kWidth> b[kInFlight];
    EdgeGeometry<kTerms> geometry[kInFlight];
    int32_t source[kInFlight];
#pragma unroll
    for (int i = 0; i < kInFlight; ++i)
      source[i] = base + i < range.end ? __ldg(in.graph.columns + base + i) : -1;
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) {
      if (!in_range(source[i], in.graph.num_sources)) continue;
      b[i] = Packed<T, kWidth>::load(in.b + int64_t{source[i]} * in.channels + first);
      geometry[i].load(in, base + i);
    }
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) {
      if (!in_range(source[i], in.graph.num_sources)) continue;
      float z[kWidth];
      to_floats(b[i], z);
#pragma unroll
      for (int c = 0; c < kWidth; ++c) z[c] += a[c];
      weights.add_to(geometry[i], z);
      activate(in.activation, z);
      const int here = base + i - range.begin;
#pragma unroll
      for (int c = 0; c < kWidth; ++c) {
        if (!kMax)
          total[c] += z[c];
        else if (slot[c] == none || leads(z[c], total[c]))
          total[c] = z[c], slot[c] = here;
      }
    }
  }
  if (p.is_mean && range.end > range.begin)
    divide(total, static_cast<float>(range.end - range.begin));
  store_floats(total, p.out + at);
  if (kMax && p.winners.slots != nullptr) p.winners.store(at, slot);
}

}  // namespace

template <class T, class Slot>
void edge_conv_cuda(const EdgeConvProblem<T, Slot>& p, int device, void* stream_) {
  using D = DeviceType<T>;
  const DeviceGuard guard(device);
  const auto stream = static_cast<cudaStream_t>(stream_);
  if (p.graph.num_rows == 0 || p.channels == 0) return;
  const bool is_aligned = aligned(p.a, p.b, p.weight, p.out, p.winner);
  with_width_and_terms<D>(p.channels, p.terms, is_aligned, [&](auto width, auto terms) {
    const RowMap map(p.channels, width);
    Forward<D> forward{inputs_of(p), reinterpret_cast<D*>(p.out), Winners(p.winner),
                       p.reduce == Reduce::kMean};
    forward.in.lane_bits = map.lane_bits;
    const auto kernel = p.reduce == Reduce::kMax ? convolve<D, width, terms, true>
                                                 : convolve<D, width, terms, false>;
    kernel<<<map.grid(p.graph.num_rows), kRowThreads, 0, stream>>>(forward);
  });
  check_cuda(cudaGetLastError(), "edge_conv");
}

#define G2VLM_INSTANTIATE(T)                                                    \
  template void edge_conv_cuda(const EdgeConvProblem<T, uint8_t>&, int, void*); \
  template void edge_conv_cuda(const EdgeConvProblem<T, int32_t>&, int, void*);
G2VLM_INSTANTIATE(float)
G2VLM_INSTANTIATE(BFloat16)
G2VLM_INSTANTIATE(Float16)
#undef G2VLM_INSTANTIATE

}  // namespace g2vlm
