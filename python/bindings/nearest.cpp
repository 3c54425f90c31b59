#include "g2vlm/nearest.h"

#include "bindings.h"

namespace g2vlm::python {
namespace {

namespace nb = nanobind;
using namespace nb::literals;

template <class T>
NearestProblem<T> problem_of(const Tensor<const T>& query, const Tensor<const T>& target,
                             const Tensor<const int32_t>& query_offsets,
                             const Tensor<const int32_t>& target_offsets, const Tensor<T>& distance,
                             const Tensor<int32_t>& index, int norm, double max_distance) {
  NearestProblem<T> problem{};
  problem.query = query.data();
  problem.target = target.data();
  problem.query_offsets = query_offsets.data();
  problem.target_offsets = target_offsets.data();
  problem.distance = distance.data();
  problem.index = index.data();
  problem.num_queries = query.size(0);
  problem.num_targets = target.size(0);
  problem.num_segments = static_cast<int32_t>(query_offsets.size(0) - 1);
  problem.dim = static_cast<int32_t>(query.size(1));
  problem.k = static_cast<int32_t>(distance.size(1));
  problem.norm = norm;
  problem.max_distance = static_cast<T>(max_distance);
  return problem;
}

template <class T>
void bind(nb::module_& module) {
  module.def(
      "nearest_cpu",
      [](Tensor<const T> query, Tensor<const T> target, Tensor<const int32_t> query_offsets,
         Tensor<const int32_t> target_offsets, Tensor<T> distance, Tensor<int32_t> index, int norm,
         double max_distance, int threads) {
        const auto problem = problem_of(query, target, query_offsets, target_offsets, distance,
                                        index, norm, max_distance);
        nb::gil_scoped_release release;
        nearest_cpu(problem, threads);
      },
      "query"_a, "target"_a, "query_offsets"_a, "target_offsets"_a, "distance"_a, "index"_a,
      "norm"_a, "max_distance"_a, "threads"_a);
#ifdef G2VLM_WITH_CUDA
  module.def(
      "nearest_cuda",
      [](Tensor<const T> query, Tensor<const T> target, Tensor<const int32_t> query_offsets,
         Tensor<const int32_t> target_offsets, Tensor<T> distance, Tensor<int32_t> index, int norm,
         double max_distance) {
        const auto problem = problem_of(query, target, query_offsets, target_offsets, distance,
                                        index, norm, max_distance);
        void* stream = distance.stream();
        nb::gil_scoped_release release;
        nearest_cuda(problem, distance.device(), stream);
      },
      "query"_a, "target"_a, "query_offsets"_a, "target_offsets"_a, "distance"_a, "index"_a,
      "norm"_a, "max_distance"_a);
#endif
}

}  // namespace

void bind_nearest(nb::module_& module) {
  bind<float>(module);
  bind<double>(module);
}

}  // namespace g2vlm::python
