#include "g2vlm/nearest_tree.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>

#include <string>
#include <utility>

#include "g2vlm/nearest_index.h"
#include "nearest_problem.h"

#ifdef G2VLM_WITH_CUDA
namespace g2vlm::python {
namespace {

namespace nb = nanobind;
using namespace nb::literals;

using Floats = Tensor<const float>;
using Bytes = Tensor<uint8_t>;

constexpr int32_t kMostSegments = 1 << 24;
constexpr int64_t kMostPoints = 0x7FFFFFFE;

void check_sizes(const char* op, int64_t points, int32_t segments) {
  if (segments > kMostSegments)
    throw nb::value_error(
        (std::string(op) + ": offsets must describe at most 2^24 segments").c_str());
  if (points > kMostPoints)
    throw nb::value_error(
        (std::string(op) + ": a tree takes at most 2^31 - 2 points in all").c_str());
}

NearestTargets<float> targets_of(const Floats& target, const Offsets& offsets) {
  const NearestTargets<float> targets{target.data(), data_of(offsets), target.size(0),
                                      segments_of(offsets), static_cast<int32_t>(target.size(1))};
  check_sizes("nearest_index", targets.num_targets, targets.num_segments);
  return targets;
}

NearestProblem<float> problem_of(const Floats& query, const Floats& target,
                                 const Offsets& query_offsets, const Offsets& target_offsets,
                                 const Tensor<float>& distance, const Tensor<int32_t>& index,
                                 int norm, double max_distance) {
  const auto problem = nearest_problem(query, target, query_offsets, target_offsets, distance,
                                       index, norm, max_distance);
  check_sizes("nearest", problem.num_queries + problem.num_targets, problem.num_segments);
  return problem;
}

}  // namespace

void bind_nearest_tree(nb::module_& module) {
  module.def(
      "nearest_tree_workspace_cuda",
      [](Floats query, Floats target, Offsets query_offsets, Offsets target_offsets,
         Tensor<float> distance, Tensor<int32_t> index, bool indexed) {
        const auto problem = problem_of(query, target, query_offsets, target_offsets, distance,
                                        index, 2, std::numeric_limits<double>::infinity());
        return indexed ? nearest_index_query_workspace(problem, query.device())
                       : nearest_tree_workspace(problem, query.device());
      },
      "query"_a, "target"_a, "query_offsets"_a.none(), "target_offsets"_a.none(), "distance"_a,
      "index"_a, "indexed"_a);
  module.def(
      "nearest_tree_cuda",
      [](Floats query, Floats target, Offsets query_offsets, Offsets target_offsets,
         Tensor<float> distance, Tensor<int32_t> index, int norm, double max_distance,
         std::optional<Tensor<const uint8_t>> tree, Bytes workspace) {
        const auto problem = problem_of(query, target, query_offsets, target_offsets, distance,
                                        index, norm, max_distance);
        void* stream = query.stream();
        nb::gil_scoped_release release;
        if (tree)
          nearest_index_query_cuda(problem, tree->data(), workspace.data(), query.device(), stream);
        else
          nearest_tree_cuda(problem, workspace.data(), query.device(), stream);
      },
      "query"_a, "target"_a, "query_offsets"_a.none(), "target_offsets"_a.none(), "distance"_a,
      "index"_a, "norm"_a, "max_distance"_a, "tree"_a.none(), "workspace"_a);
  module.def(
      "nearest_index_bytes_cuda",
      [](Floats target, Offsets target_offsets) {
        const auto bytes =
            nearest_index_bytes_cuda(targets_of(target, target_offsets), target.device());
        return std::pair(bytes.tree, bytes.workspace);
      },
      "target"_a, "target_offsets"_a.none());
  module.def(
      "nearest_index_build_cuda",
      [](Floats target, Offsets target_offsets, Bytes tree, Bytes workspace) {
        const auto targets = targets_of(target, target_offsets);
        void* stream = target.stream();
        nb::gil_scoped_release release;
        nearest_index_build_cuda(targets, tree.data(), workspace.data(), target.device(), stream);
      },
      "target"_a, "target_offsets"_a.none(), "tree"_a, "workspace"_a);
  module.def(
      "nearest_index_refit_cuda",
      [](Floats target, Offsets target_offsets, Bytes tree) {
        const auto targets = targets_of(target, target_offsets);
        void* stream = target.stream();
        nb::gil_scoped_release release;
        nearest_index_refit_cuda(targets, tree.data(), target.device(), stream);
      },
      "target"_a, "target_offsets"_a.none(), "tree"_a);
}

}  // namespace g2vlm::python
#endif
