#include "g2vlm/nearest.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "g2vlm/parallel.h"

namespace g2vlm {
namespace {

constexpr int64_t kQueriesPerPiece = 64;

template <class T>
T distance_of(const T* a, const T* b, int32_t dim, int32_t norm) {
  T sum = a[0] - b[0];
  sum = norm == 1 ? std::abs(sum) : sum * sum;
  for (int32_t axis = 1; axis < dim; ++axis) {
    const T difference = a[axis] - b[axis];
    sum = norm == 1 ? sum + std::abs(difference) : std::fma(difference, difference, sum);
  }
  return sum;
}

// Keeps `k` neighbours sorted by (distance, index); candidates come with rising index, so a
// candidate enters only in front of strictly larger distances.
template <class T>
void search(const NearestProblem<T>& p, int64_t query, int32_t begin, int32_t end) {
  const T* point = p.query + query * p.dim;
  T* distance = p.distance + query * p.k;
  int32_t* index = p.index + query * p.k;
  std::fill(distance, distance + p.k, std::numeric_limits<T>::infinity());
  std::fill(index, index + p.k, -1);
  if (std::any_of(point, point + p.dim, [](T x) { return std::isnan(x); })) {
    std::fill(distance, distance + p.k, std::numeric_limits<T>::quiet_NaN());
    return;
  }
  int32_t found = 0;
  for (int32_t candidate = begin; candidate < end; ++candidate) {
    const T value = distance_of(point, p.target + int64_t{candidate} * p.dim, p.dim, p.norm);
    if (!(value <= p.max_distance)) continue;
    if (found == p.k && !(value < distance[p.k - 1])) continue;
    int32_t slot = found < p.k ? found++ : p.k - 1;
    for (; slot > 0 && value < distance[slot - 1]; --slot) {
      distance[slot] = distance[slot - 1];
      index[slot] = index[slot - 1];
    }
    distance[slot] = value;
    index[slot] = candidate;
  }
}

}  // namespace

template <class T>
void nearest_cpu(const NearestProblem<T>& p, int threads) {
  const int32_t whole_queries[] = {0, static_cast<int32_t>(p.num_queries)};
  const int32_t whole_targets[] = {0, static_cast<int32_t>(p.num_targets)};
  const int32_t* queries = p.query_offsets != nullptr ? p.query_offsets : whole_queries;
  const int32_t* targets = p.target_offsets != nullptr ? p.target_offsets : whole_targets;
  parallel_for(p.num_queries, kQueriesPerPiece, threads, [&](int64_t begin, int64_t end) {
    int32_t segment = static_cast<int32_t>(std::upper_bound(queries, queries + p.num_segments + 1,
                                                            static_cast<int32_t>(begin)) -
                                           queries - 1);
    for (int64_t query = begin; query < end; ++query) {
      while (query >= queries[segment + 1]) ++segment;
      search(p, query, targets[segment], targets[segment + 1]);
    }
  });
}

template void nearest_cpu(const NearestProblem<float>&, int);
template void nearest_cpu(const NearestProblem<double>&, int);

}  // namespace g2vlm
