// The arguments of nearest searches as the kernels want them.
#pragma once

#include <limits>
#include <optional>

#include "bindings.h"
#include "g2vlm/nearest.h"

namespace g2vlm::python {

using Offsets = std::optional<Tensor<const int32_t>>;

inline const int32_t* data_of(const Offsets& offsets) {
  return offsets ? offsets->data() : nullptr;
}

inline int32_t segments_of(const Offsets& offsets) {
  return offsets ? static_cast<int32_t>(offsets->size(0) - 1) : 1;
}

template <class T>
NearestProblem<T> nearest_problem(const Tensor<const T>& query, const Tensor<const T>& target,
                                  const Offsets& query_offsets, const Offsets& target_offsets,
                                  const Tensor<T>& distance, const Tensor<int32_t>& index, int norm,
                                  double max_distance) {
  NearestProblem<T> problem{};
  problem.query = query.data();
  problem.target = target.data();
  problem.query_offsets = data_of(query_offsets);
  problem.target_offsets = data_of(target_offsets);
  problem.distance = distance.data();
  problem.index = index.data();
  problem.num_queries = query.size(0);
  problem.num_targets = target.size(0);
  problem.num_segments = segments_of(query_offsets ? query_offsets : target_offsets);
  problem.dim = static_cast<int32_t>(query.size(1));
  problem.k = static_cast<int32_t>(distance.size(1));
  problem.norm = norm;
  problem.max_distance = max_distance > std::numeric_limits<T>::max()
                             ? std::numeric_limits<T>::infinity()
                             : static_cast<T>(max_distance);
  return problem;
}

}  // namespace g2vlm::python
