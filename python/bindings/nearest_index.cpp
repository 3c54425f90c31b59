#include "g2vlm/nearest_index.h"

#include <nanobind/stl/optional.h>

#include "nearest_problem.h"

namespace g2vlm::python {
namespace {

namespace nb = nanobind;
using namespace nb::literals;

template <class T>
NearestTargets<T> targets_of(const Tensor<const T>& target, const Offsets& offsets) {
  return {target.data(), data_of(offsets), target.size(0), segments_of(offsets),
          static_cast<int32_t>(target.size(1))};
}

template <class T>
void bind(nb::module_& module) {
  module.def(
      "nearest_index_bytes_cpu",
      [](Tensor<const T> target, Offsets offsets) {
        return nearest_index_bytes_cpu(targets_of(target, offsets));
      },
      "target"_a, "offsets"_a.none());
  module.def(
      "nearest_index_build_cpu",
      [](Tensor<const T> target, Offsets offsets, Tensor<uint8_t> tree, int threads) {
        const auto targets = targets_of(target, offsets);
        nb::gil_scoped_release release;
        nearest_index_build_cpu(targets, tree.data(), tree.size(0), threads);
      },
      "target"_a, "offsets"_a.none(), "tree"_a, "threads"_a);
  module.def(
      "nearest_index_refit_cpu",
      [](Tensor<const T> target, Offsets offsets, Tensor<const uint8_t> old, Tensor<uint8_t> tree,
         int threads) {
        const auto targets = targets_of(target, offsets);
        nb::gil_scoped_release release;
        nearest_index_refit_cpu(targets, old.data(), old.size(0), tree.data(), tree.size(0),
                                threads);
      },
      "target"_a, "offsets"_a.none(), "old"_a, "tree"_a, "threads"_a);
  module.def(
      "nearest_index_query_cpu",
      [](Tensor<const T> query, Tensor<const T> target, Offsets query_offsets,
         Offsets target_offsets, Tensor<const uint8_t> tree, Tensor<T> distance,
         Tensor<int32_t> index, int norm, double max_distance, int threads) {
        const auto problem = nearest_problem(query, target, query_offsets, target_offsets, distance,
                                             index, norm, max_distance);
        nb::gil_scoped_release release;
        nearest_index_query_cpu(problem, tree.data(), tree.size(0), threads);
      },
      "query"_a, "target"_a, "query_offsets"_a.none(), "target_offsets"_a.none(), "tree"_a,
      "distance"_a, "index"_a, "norm"_a, "max_distance"_a, "threads"_a);
}

}  // namespace

void bind_nearest_index(nb::module_& module) {
  bind<float>(module);
  bind<double>(module);
}

}  // namespace g2vlm::python
