#include <algorithm>

#include "g2vlm/nearest.h"
#include "g2vlm/parallel.h"
#include "strict_floating_point.h"

namespace g2vlm {
namespace {

constexpr int64_t kQueriesPerPiece = 4096;

template <class T>
T sign(T x) {
  return static_cast<T>((x > 0) - (x < 0));
}

// Derivative of the distance of a pair in the query's coordinate, times `grad`.
template <class T>
T slope(T grad, T query, T target, int32_t norm) {
  const T difference = query - target;
  return grad * (norm == 1 ? sign(difference) : 2 * difference);
}

template <class T>
void query_gradient(const NearestGradient<T>& p, int64_t query) {
  T* out = p.grad_query + query * p.dim;
  std::fill(out, out + p.dim, T(0));
  for (int32_t slot = 0; slot < p.k; ++slot) {
    const int64_t entry = query * p.k + slot;
    const int64_t target = p.index[entry];
    if (target < 0 || target >= p.num_targets) continue;
    for (int32_t axis = 0; axis < p.dim; ++axis)
      out[axis] += slope(p.grad_distance[entry], p.query[query * p.dim + axis],
                         p.target[target * p.dim + axis], p.norm);
  }
}

// Every thread reads all indices and keeps the targets of its range, so that each target adds its
// hits in rising order whatever the number of threads.
template <class T>
void target_gradients(const NearestGradient<T>& p, int64_t first, int64_t last) {
  std::fill(p.grad_target + first * p.dim, p.grad_target + last * p.dim, T(0));
  for (int64_t query = 0; query < p.num_queries; ++query) {
    for (int32_t slot = 0; slot < p.k; ++slot) {
      const int64_t entry = query * p.k + slot;
      const int64_t target = p.index[entry];
      if (target < first || target >= last) continue;
      for (int32_t axis = 0; axis < p.dim; ++axis)
        p.grad_target[target * p.dim + axis] -=
            slope(p.grad_distance[entry], p.query[query * p.dim + axis],
                  p.target[target * p.dim + axis], p.norm);
    }
  }
}

}  // namespace

template <class T>
void nearest_backward_cpu(const NearestGradient<T>& p, int threads) {
  if (p.grad_query != nullptr)
    parallel_for(p.num_queries, kQueriesPerPiece, threads, [&](int64_t begin, int64_t end) {
      const StrictFloatingPoint strict;
      for (int64_t query = begin; query < end; ++query) query_gradient(p, query);
    });
  if (p.grad_target != nullptr) {
    const int64_t entries = p.num_queries * p.k;
    const int ranges = entries > kQueriesPerPiece ? std::max(threads, 1) : 1;
    parallel_for(p.num_targets, (p.num_targets + ranges - 1) / ranges, threads,
                 [&](int64_t begin, int64_t end) {
                   const StrictFloatingPoint strict;
                   target_gradients(p, begin, end);
                 });
  }
}

template void nearest_backward_cpu(const NearestGradient<float>&, int);
template void nearest_backward_cpu(const NearestGradient<double>&, int);

}  // namespace g2vlm
