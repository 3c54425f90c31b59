#include "g2vlm/nearest.h"

#include <nanobind/stl/optional.h>

#include <optional>

#include "nearest_problem.h"

namespace g2vlm::python {
namespace {

namespace nb = nanobind;
using namespace nb::literals;

template <class T>
NearestGradient<T> gradient_of(const Tensor<const T>& grad_distance, const Tensor<const T>& query,
                               const Tensor<const T>& target, const Tensor<const int32_t>& index,
                               const std::optional<Tensor<T>>& grad_query,
                               const std::optional<Tensor<T>>& grad_target, int norm) {
  NearestGradient<T> problem{};
  problem.grad_distance = grad_distance.data();
  problem.query = query.data();
  problem.target = target.data();
  problem.index = index.data();
  problem.grad_query = grad_query ? grad_query->data() : nullptr;
  problem.grad_target = grad_target ? grad_target->data() : nullptr;
  problem.num_queries = query.size(0);
  problem.num_targets = target.size(0);
  problem.dim = static_cast<int32_t>(query.size(1));
  problem.k = static_cast<int32_t>(index.size(1));
  problem.norm = norm;
  return problem;
}

template <class T>
void bind(nb::module_& module) {
  module.def(
      "nearest_cpu",
      [](Tensor<const T> query, Tensor<const T> target, Offsets query_offsets,
         Offsets target_offsets, Tensor<T> distance, Tensor<int32_t> index, int norm,
         double max_distance, int method, int threads) {
        auto problem = nearest_problem(query, target, query_offsets, target_offsets, distance,
                                       index, norm, max_distance);
        problem.method = static_cast<NearestMethod>(method);
        nb::gil_scoped_release release;
        nearest_cpu(problem, threads);
      },
      "query"_a, "target"_a, "query_offsets"_a.none(), "target_offsets"_a.none(), "distance"_a,
      "index"_a, "norm"_a, "max_distance"_a, "method"_a, "threads"_a);
  module.def(
      "nearest_backward_cpu",
      [](Tensor<const T> grad_distance, Tensor<const T> query, Tensor<const T> target,
         Tensor<const int32_t> index, std::optional<Tensor<T>> grad_query,
         std::optional<Tensor<T>> grad_target, int norm, int threads) {
        const auto problem =
            gradient_of(grad_distance, query, target, index, grad_query, grad_target, norm);
        nb::gil_scoped_release release;
        nearest_backward_cpu(problem, threads);
      },
      "grad_distance"_a, "query"_a, "target"_a, "index"_a, "grad_query"_a.none(),
      "grad_target"_a.none(), "norm"_a, "threads"_a);
#ifdef G2VLM_WITH_CUDA
  module.def(
      "nearest_backward_cuda",
      [](Tensor<const T> grad_distance, Tensor<const T> query, Tensor<const T> target,
         Tensor<const int32_t> index, std::optional<Tensor<const int32_t>> sorted,
         std::optional<Tensor<const int64_t>> order, std::optional<Tensor<T>> grad_query,
         std::optional<Tensor<T>> grad_target, int norm) {
        auto problem =
            gradient_of(grad_distance, query, target, index, grad_query, grad_target, norm);
        problem.sorted = sorted ? sorted->data() : nullptr;
        problem.order = order ? order->data() : nullptr;
        void* stream = query.stream();
        nb::gil_scoped_release release;
        nearest_backward_cuda(problem, query.device(), stream);
      },
      "grad_distance"_a, "query"_a, "target"_a, "index"_a, "sorted"_a.none(), "order"_a.none(),
      "grad_query"_a.none(), "grad_target"_a.none(), "norm"_a);
  module.def(
      "nearest_cuda",
      [](Tensor<const T> query, Tensor<const T> target, Offsets query_offsets,
         Offsets target_offsets, Tensor<T> distance, Tensor<int32_t> index, int norm,
         double max_distance, std::optional<Tensor<int64_t>> workspace) {
        const auto problem = nearest_problem(query, target, query_offsets, target_offsets, distance,
                                             index, norm, max_distance);
        auto* keys = workspace ? reinterpret_cast<uint64_t*>(workspace->data()) : nullptr;
        void* stream = distance.stream();
        nb::gil_scoped_release release;
        nearest_cuda(problem, keys, distance.device(), stream);
      },
      "query"_a, "target"_a, "query_offsets"_a.none(), "target_offsets"_a.none(), "distance"_a,
      "index"_a, "norm"_a, "max_distance"_a, "workspace"_a.none());
#endif
}

}  // namespace

void bind_nearest(nb::module_& module) {
  bind<float>(module);
  bind<double>(module);
}

}  // namespace g2vlm::python
