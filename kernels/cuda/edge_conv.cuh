// What the forward and the backward of edge convolutions share.
#pragma once

#include "g2vlm/edge_conv.h"
#include "graph_rows.cuh"

namespace g2vlm {

template <class T>
struct EdgeConvInputs {
  const T* a;
  const T* b;
  const float* geometry;
  const float* weight;
  Csr graph;
  int32_t channels;
  int32_t terms;
  int lane_bits;
  Activation activation;
};

template <class T, class Slot>
EdgeConvInputs<DeviceType<T>> inputs_of(const EdgeConvProblem<T, Slot>& p) {
  using D = DeviceType<T>;
  return {reinterpret_cast<const D*>(p.a),
          reinterpret_cast<const D*>(p.b),
          p.geometry,
          p.weight,
          p.graph,
          p.channels,
          p.terms,
          0,
          p.activation};
}

// The geometry of an edge, 0 for terms that there are not; with kTerms = 0 there is none.
template <int kTerms>
struct EdgeGeometry {
  float values[kTerms == 0 ? 1 : kTerms];

  template <class T>
  __device__ void load(const EdgeConvInputs<T>& p, int32_t edge) {
    const float* from = p.geometry + int64_t{edge} * p.terms;
#pragma unroll
    for (int term = 0; term < kTerms; ++term)
      values[term] = term < p.terms ? __ldg(from + term) : 0.0f;
  }
};

// The rows of the weight that a thread's channels need, 0 for terms that there are not.
template <int kTerms, int kWidth>
struct GeometryWeights {
  float values[kTerms == 0 ? 1 : kTerms][kWidth] = {};

  template <class T>
  __device__ GeometryWeights(const EdgeConvInputs<T>& p, int first) {
#pragma unroll
    for (int term = 0; term < kTerms; ++term)
      if (term < p.terms) load_floats(p.weight + int64_t{term} * p.channels + first, values[term]);
  }

  __device__ void add_to(const EdgeGeometry<kTerms>& geometry, float (&z)[kWidth]) const {
#pragma unroll
    for (int term = 0; term < kTerms; ++term)
#pragma unroll
      for (int c = 0; c < kWidth; ++c) z[c] = fmaf(geometry.values[term], values[term][c], z[c]);
  }
};

template <int kWidth>
__device__ void activate(Activation activation, float (&z)[kWidth]) {
  constexpr float leak = static_cast<float>(kLeakySlope);
  switch (activation) {
    case Activation::kNone:
      return;
    case Activation::kRelu:
#pragma unroll
      for (int c = 0; c < kWidth; ++c) z[c] = z[c] < 0.0f ? 0.0f : z[c];
      return;
    case Activation::kLeakyRelu:
#pragma unroll
      for (int c = 0; c < kWidth; ++c) z[c] = z[c] > 0.0f ? z[c] : leak * z[c];
      return;
    case Activation::kSilu:
#pragma unroll
      for (int c = 0; c < kWidth; ++c) z[c] = z[c] / (1.0f + expf(-z[c]));
      return;
  }
}

// Multiplies `grad` by the derivative of the activation at `z`. Where that depends on the sign of z
// alone, the activated value serves as well.
template <int kWidth>
__device__ void multiply_by_slope(Activation activation, const float (&z)[kWidth],
                                  float (&grad)[kWidth]) {
  constexpr float leak = static_cast<float>(kLeakySlope);
  switch (activation) {
    case Activation::kNone:
      return;
    case Activation::kRelu:
#pragma unroll
      for (int c = 0; c < kWidth; ++c) grad[c] = z[c] > 0.0f ? grad[c] : 0.0f;
      return;
    case Activation::kLeakyRelu:
#pragma unroll
      for (int c = 0; c < kWidth; ++c) grad[c] = z[c] > 0.0f ? grad[c] : leak * grad[c];
      return;
    case Activation::kSilu:
#pragma unroll
      for (int c = 0; c < kWidth; ++c) {
        const float sigmoid = 1.0f / (1.0f + expf(-z[c]));
        grad[c] *= sigmoid * (1.0f + z[c] * (1.0f - sigmoid));
      }
      return;
  }
}

// Calls `launch(width, terms)` with constants: the width as `with_width`, and room for 0, 4 or 8
// geometry terms.
template <class T, class Launch>
void with_width_and_terms(int channels, int terms, bool is_aligned, Launch launch) {
  with_width<T>(channels, is_aligned, [&](auto width) {
    if (terms == 0) return launch(width, std::integral_constant<int, 0>{});
    if constexpr (width > 1) {
      if (terms <= 4) return launch(width, std::integral_constant<int, 4>{});
    }
    launch(width, std::integral_constant<int, kMaxGeometryTerms>{});
  });
}

}  // namespace g2vlm
