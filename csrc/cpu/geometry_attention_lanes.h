// What the forward and backward CPU kernels of geometry_attention share.
//
// A block is up to kLanes rows of one side (queries, or keys), transposed once so that every inner
// loop runs over its lanes; the rows of the other side are read where they lie and broadcast.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "exponential.h"
#include "g2vlm/geometry_attention.h"

#if defined(__GNUC__)
#define G2VLM_INLINE inline __attribute__((always_inline))
#else
#define G2VLM_INLINE inline
#endif

// Compiles `name(arguments)` for the instruction sets that change its speed and picks at run time.
#if defined(__GNUC__) && defined(__x86_64__)
#define G2VLM_DISPATCH(name, declaration, call)                                                  \
  __attribute__((target("avx512f,avx512dq,avx512vl,avx2,fma"))) void name##_avx512 declaration { \
    call;                                                                                        \
  }                                                                                              \
  __attribute__((target("avx2,fma"))) void name##_avx2 declaration {                             \
    call;                                                                                        \
  }                                                                                              \
  void name##_baseline declaration {                                                             \
    call;                                                                                        \
  }
#define G2VLM_SELECT(name)                                                                  \
  (__builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") ? name##_avx512 \
   : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")        ? name##_avx2   \
                                                                            : name##_baseline)
#else
#define G2VLM_DISPATCH(name, declaration, call) \
  void name##_baseline declaration {            \
    call;                                       \
  }
#define G2VLM_SELECT(name) name##_baseline
#endif

namespace g2vlm::lanes {

constexpr int kLanes = 16;
constexpr int kTile = 32;   // rows of the other side that are visited together
constexpr int kUnroll = 4;  // divides kTile

template <class T>
struct alignas(64) Lanes {
  T at[kLanes];
};

// packed[d].at[lane] = factor * rows[lane][d]; lanes past the last row repeat it.
template <class T>
G2VLM_INLINE void pack(const T* rows, int64_t stride, int count, int dim, T factor,
                       Lanes<T>* packed) {
  for (int lane = 0; lane < kLanes; ++lane) {
    const T* row = rows + std::min(lane, count - 1) * stride;
    for (int d = 0; d < dim; ++d) packed[d].at[lane] = factor * row[d];
  }
}

template <class T>
G2VLM_INLINE void unpack(const Lanes<T>* packed, int count, int dim, T* rows, int64_t stride) {
  for (int lane = 0; lane < count; ++lane)
    for (int d = 0; d < dim; ++d) rows[lane * stride + d] = packed[d].at[lane];
}

template <class T>
G2VLM_INLINE Lanes<T> load(const T* values, int64_t stride, int count) {
  Lanes<T> lanes;
  for (int lane = 0; lane < kLanes; ++lane)
    lanes.at[lane] = values[std::min(lane, count - 1) * stride];
  return lanes;
}

template <class T>
G2VLM_INLINE void fill(Lanes<T>* lanes, int count, T value) {
  for (int i = 0; i < count; ++i)
    for (int lane = 0; lane < kLanes; ++lane) lanes[i].at[lane] = value;
}

// out[r] = sum_d rows[r][d] * packed[d] for up to kTile rows.
template <class T>
G2VLM_INLINE void dot_rows(const T* rows, int64_t stride, int count, const Lanes<T>* packed,
                           int dim, Lanes<T>* out) {
  for (int r = 0; r < count; r += kUnroll) {
    const T* row[kUnroll];
    T sum[kUnroll][kLanes] = {};
    for (int u = 0; u < kUnroll; ++u) row[u] = rows + std::min(r + u, count - 1) * stride;
    for (int d = 0; d < dim; ++d)
      for (int u = 0; u < kUnroll; ++u)
        for (int lane = 0; lane < kLanes; ++lane) sum[u][lane] += row[u][d] * packed[d].at[lane];
    for (int u = 0; u < kUnroll; ++u)
      for (int lane = 0; lane < kLanes; ++lane) out[r + u].at[lane] = sum[u][lane];
  }
}

// accumulator[d] += sum_r rows[r][d] * weight[r].
template <class T>
G2VLM_INLINE void accumulate_rows(const T* rows, int64_t stride, int count, const Lanes<T>* weight,
                                  int dim, Lanes<T>* accumulator) {
  for (int d = 0; d < dim; d += kUnroll) {
    int column[kUnroll];
    T sum[kUnroll][kLanes] = {};
    for (int u = 0; u < kUnroll; ++u) column[u] = std::min(d + u, dim - 1);
    for (int r = 0; r < count; ++r)
      for (int u = 0; u < kUnroll; ++u)
        for (int lane = 0; lane < kLanes; ++lane)
          sum[u][lane] += rows[r * stride + column[u]] * weight[r].at[lane];
    for (int u = 0; u < kUnroll && d + u < dim; ++u)
      for (int lane = 0; lane < kLanes; ++lane) accumulator[d + u].at[lane] += sum[u][lane];
  }
}

template <class T>
G2VLM_INLINE T value_at(const Lanes<T>& lanes, int lane) {
  return lanes.at[lane];
}
template <class T>
G2VLM_INLINE T value_at(const T& value, int) {
  return value;
}

}  // namespace g2vlm::lanes
