#include <algorithm>
#include <vector>

#include "g2vlm/nearest.h"
#include "g2vlm/parallel.h"
#include "hits_by_range.h"
#include "nearest_arithmetic.h"
#include "strict_floating_point.h"

namespace g2vlm {
namespace {

constexpr int64_t kQueriesPerPiece = 4096;
constexpr int64_t kPrefetch = 16;  // hits ahead; their rows lie far apart in memory

double sign(double x) {
  return (x > 0) - (x < 0);
}

template <class T>
bool names_target(const NearestGradient<T>& p, int64_t entry) {
  return p.index[entry] >= 0 && p.index[entry] < p.num_targets;
}

// Adds the derivative of an entry's distance in the query's coordinates, times the gradient. Sums
// are held in double precision and rounded once: a target may be hit by everyone.
template <class T>
void add_slope(const NearestGradient<T>& p, int64_t entry, double* sum) {
  const double grad = static_cast<double>(p.grad_distance[entry]);
  const T* query = p.query + entry / p.k * p.dim;
  const T* target = p.target + int64_t{p.index[entry]} * p.dim;
  for (int32_t axis = 0; axis < p.dim; ++axis) {
    const double difference = static_cast<double>(query[axis]) - static_cast<double>(target[axis]);
    sum[axis] += grad * (p.norm == 1 ? sign(difference) : 2 * difference);
  }
}

template <class T>
void prefetch_entry(const NearestGradient<T>& p, int64_t entry) {
  prefetch_to_read(p.index + entry);
  prefetch_to_read(p.grad_distance + entry);
  prefetch_to_read(p.query + entry / p.k * p.dim);
}

template <class T>
void query_gradients(const NearestGradient<T>& p, int64_t begin, int64_t end) {
  std::vector<double> sum(static_cast<size_t>(p.dim));
  for (int64_t query = begin; query < end; ++query) {
    std::fill(sum.begin(), sum.end(), 0.0);
    const int64_t later = query * p.k + kPrefetch;
    if (later < end * p.k && names_target(p, later))
      prefetch_to_read(p.target + int64_t{p.index[later]} * p.dim);
    for (int64_t entry = query * p.k; entry < (query + 1) * p.k; ++entry)
      if (names_target(p, entry)) add_slope(p, entry, sum.data());
    for (int32_t axis = 0; axis < p.dim; ++axis)
      p.grad_query[query * p.dim + axis] = static_cast<T>(sum[static_cast<size_t>(axis)]);
  }
}

template <class T>
void target_gradients(const NearestGradient<T>& p, int threads) {
  const auto target_of = [&](int64_t entry) {
    return names_target(p, entry) ? int64_t{p.index[entry]} : int64_t{-1};
  };
  const HitsByRange hits(p.num_queries * p.k, p.num_targets, target_of, threads);
  const int64_t range = targets_per_range(p.num_targets);
  parallel_for(p.num_targets, range, threads, [&](int64_t begin, int64_t end) {
    const StrictFloatingPoint strict;
    std::vector<double> sums(static_cast<size_t>((end - begin) * p.dim));
    const int64_t* stop = hits.end(begin / range);
    for (const int64_t* hit = hits.begin(begin / range); hit < stop; ++hit) {
      if (stop - hit > kPrefetch) prefetch_entry(p, hit[kPrefetch]);
      add_slope(p, *hit, sums.data() + (p.index[*hit] - begin) * p.dim);
    }
    std::transform(sums.begin(), sums.end(), p.grad_target + begin * p.dim,
                   [](double sum) { return static_cast<T>(0.0 - sum); });
  });
}

}  // namespace

template <class T>
void nearest_backward_cpu(const NearestGradient<T>& p, int threads) {
  if (p.grad_query != nullptr)
    parallel_for(p.num_queries, kQueriesPerPiece, threads, [&](int64_t begin, int64_t end) {
      const StrictFloatingPoint strict;
      query_gradients(p, begin, end);
    });
  if (p.grad_target != nullptr) target_gradients(p, threads);
}

template void nearest_backward_cpu(const NearestGradient<float>&, int);
template void nearest_backward_cpu(const NearestGradient<double>&, int);

}  // namespace g2vlm
