#include "g2vlm/nearest_pair.h"

#include <nanobind/stl/optional.h>

#include <optional>

#include "bindings.h"

#ifdef G2VLM_WITH_CUDA
namespace g2vlm::python {
namespace {

namespace nb = nanobind;
using namespace nb::literals;

constexpr int32_t kMostSegments = 1 << 28;

using Floats = Tensor<const float>;
using Indices = Tensor<const int32_t>;
template <class T>
using Maybe = std::optional<Tensor<T>>;

NearestPairProblem problem_of(const Floats& x, const Floats& y,
                              const Maybe<const int32_t>& x_offsets,
                              const Maybe<const int32_t>& y_offsets) {
  NearestPairProblem problem{};
  problem.points[0] = x.data();
  problem.points[1] = y.data();
  problem.offsets[0] = x_offsets ? x_offsets->data() : nullptr;
  problem.offsets[1] = y_offsets ? y_offsets->data() : nullptr;
  problem.length[0] = x.size(0);
  problem.length[1] = y.size(0);
  problem.segments = x_offsets ? static_cast<int32_t>(x_offsets->size(0) - 1) : 1;
  if (problem.segments > kMostSegments)
    throw nb::value_error("nearest_pair: offsets must describe at most 2^28 segments");
  return problem;
}

NearestPairGradient gradient_of(const Floats& x, const Floats& y) {
  NearestPairGradient problem{};
  problem.points[0] = x.data();
  problem.points[1] = y.data();
  problem.length[0] = x.size(0);
  problem.length[1] = y.size(0);
  return problem;
}

}  // namespace

void bind_nearest_pair(nb::module_& module) {
  module.def(
      "nearest_pair_workspace_cuda",
      [](Floats x, Floats y, Maybe<const int32_t> x_offsets, Maybe<const int32_t> y_offsets,
         bool tree) {
        const auto problem = problem_of(x, y, x_offsets, y_offsets);
        return tree ? nearest_pair_tree_workspace(problem, x.device())
                    : nearest_pair_brute_workspace(problem);
      },
      "x"_a, "y"_a, "x_offsets"_a.none(), "y_offsets"_a.none(), "tree"_a);
  module.def(
      "nearest_pair_cuda",
      [](Floats x, Floats y, Maybe<const int32_t> x_offsets, Maybe<const int32_t> y_offsets,
         Tensor<float> x_distance, Tensor<int32_t> x_index, Tensor<float> y_distance,
         Tensor<int32_t> y_index, bool tree, Tensor<uint8_t> workspace) {
        auto problem = problem_of(x, y, x_offsets, y_offsets);
        problem.distance[0] = x_distance.data();
        problem.index[0] = x_index.data();
        problem.distance[1] = y_distance.data();
        problem.index[1] = y_index.data();
        void* stream = x.stream();
        nb::gil_scoped_release release;
        if (tree)
          nearest_pair_tree_cuda(problem, workspace.data(), x.device(), stream);
        else
          nearest_pair_brute_cuda(problem, workspace.data(), x.device(), stream);
      },
      "x"_a, "y"_a, "x_offsets"_a.none(), "y_offsets"_a.none(), "x_distance"_a, "x_index"_a,
      "y_distance"_a, "y_index"_a, "tree"_a, "workspace"_a);
  module.def(
      "nearest_pair_backward_workspace_cuda",
      [](Floats x, Floats y) {
        return nearest_pair_backward_workspace(x.size(0) + y.size(0), x.device());
      },
      "x"_a, "y"_a);
  module.def(
      "nearest_pair_backward_cuda",
      [](Floats x_grad_distance, Floats y_grad_distance, Floats x, Floats y, Indices x_index,
         Indices y_index, Maybe<float> x_grad, Maybe<float> y_grad, Tensor<uint8_t> workspace) {
        auto problem = gradient_of(x, y);
        problem.grad_distance[0] = x_grad_distance.data();
        problem.grad_distance[1] = y_grad_distance.data();
        problem.index[0] = x_index.data();
        problem.index[1] = y_index.data();
        problem.grad[0] = x_grad ? x_grad->data() : nullptr;
        problem.grad[1] = y_grad ? y_grad->data() : nullptr;
        void* stream = x.stream();
        nb::gil_scoped_release release;
        nearest_pair_backward_cuda(problem, workspace.data(), x.device(), stream);
      },
      "x_grad_distance"_a, "y_grad_distance"_a, "x"_a, "y"_a, "x_index"_a, "y_index"_a,
      "x_grad"_a.none(), "y_grad"_a.none(), "workspace"_a);
}

}  // namespace g2vlm::python
#endif
