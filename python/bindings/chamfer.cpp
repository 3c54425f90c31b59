#include "g2vlm/chamfer.h"

#include <nanobind/stl/optional.h>

#include <optional>

#include "bindings.h"

#ifdef G2VLM_WITH_CUDA
namespace g2vlm::python {
namespace {

namespace nb = nanobind;
using namespace nb::literals;

template <class T>
using Maybe = std::optional<Tensor<T>>;

template <class T>
T* pointer(const Maybe<T>& tensor) {
  return tensor ? tensor->data() : nullptr;
}

// What forward and backward share; `y_length` is known where there are no distances of y.
ChamferLoss problem_of(const Tensor<const float>& x_distance, const Maybe<const float>& y_distance,
                       const Maybe<const float>& x_weights, const Maybe<const float>& y_weights,
                       const Maybe<const int32_t>& x_offsets, const Maybe<const int32_t>& y_offsets,
                       int64_t y_length, int penalty, double scale, bool squared, bool mean) {
  if (penalty < 0 || penalty > static_cast<int>(Penalty::kTruncated))
    throw nb::value_error("chamfer_loss: penalty must be 0 to 3");
  ChamferLoss problem{};
  problem.distance[0] = x_distance.data();
  problem.distance[1] = pointer(y_distance);
  problem.weights[0] = pointer(x_weights);
  problem.weights[1] = pointer(y_weights);
  problem.offsets[0] = pointer(x_offsets);
  problem.offsets[1] = pointer(y_offsets);
  problem.length[0] = x_distance.size(0);
  problem.length[1] = y_length;
  problem.segments = x_offsets ? static_cast<int32_t>(x_offsets->size(0) - 1) : 1;
  problem.penalty = static_cast<Penalty>(penalty);
  problem.scale = static_cast<float>(scale);
  problem.squared = squared;
  problem.mean = mean;
  return problem;
}

}  // namespace

void bind_chamfer(nb::module_& module) {
  module.def(
      "chamfer_loss_cuda",
      [](Tensor<const float> x_distance, Maybe<const float> y_distance,
         Maybe<const float> x_weights, Maybe<const float> y_weights, Maybe<const int32_t> x_offsets,
         Maybe<const int32_t> y_offsets, int64_t y_length, int penalty, double scale, bool squared,
         bool mean, Tensor<float> loss, Tensor<float> share, Tensor<uint8_t> workspace) {
        auto problem = problem_of(x_distance, y_distance, x_weights, y_weights, x_offsets,
                                  y_offsets, y_length, penalty, scale, squared, mean);
        problem.loss = loss.data();
        problem.share = share.data();
        void* stream = x_distance.stream();
        nb::gil_scoped_release release;
        chamfer_loss_cuda(problem, workspace.data(), x_distance.device(), stream);
      },
      "x_distance"_a, "y_distance"_a.none(), "x_weights"_a.none(), "y_weights"_a.none(),
      "x_offsets"_a.none(), "y_offsets"_a.none(), "y_length"_a, "penalty"_a, "scale"_a, "squared"_a,
      "mean"_a, "loss"_a, "share"_a, "workspace"_a);
  module.def(
      "chamfer_loss_workspace_cuda",
      [](int64_t x_length, int64_t y_length, int32_t segments) {
        ChamferLoss problem{};
        problem.length[0] = x_length;
        problem.length[1] = y_length;
        problem.segments = segments;
        return chamfer_loss_workspace(problem);
      },
      "x_length"_a, "y_length"_a, "segments"_a);
  module.def(
      "chamfer_loss_backward_cuda",
      [](Tensor<const float> grad_loss, Tensor<float> share, Tensor<const float> x_distance,
         Maybe<const float> y_distance, Maybe<const float> x_weights, Maybe<const float> y_weights,
         Maybe<const int32_t> x_offsets, Maybe<const int32_t> y_offsets, int64_t y_length,
         int penalty, double scale, bool squared, bool mean, Tensor<float> x_grad,
         Maybe<float> y_grad, Maybe<float> x_weights_grad, Maybe<float> y_weights_grad) {
        ChamferLossGradient gradient{};
        gradient.problem = problem_of(x_distance, y_distance, x_weights, y_weights, x_offsets,
                                      y_offsets, y_length, penalty, scale, squared, mean);
        gradient.problem.share = share.data();
        gradient.grad_loss = grad_loss.data();
        gradient.grad_distance[0] = x_grad.data();
        gradient.grad_distance[1] = pointer(y_grad);
        gradient.grad_weights[0] = pointer(x_weights_grad);
        gradient.grad_weights[1] = pointer(y_weights_grad);
        void* stream = x_distance.stream();
        nb::gil_scoped_release release;
        chamfer_loss_backward_cuda(gradient, x_distance.device(), stream);
      },
      "grad_loss"_a, "share"_a, "x_distance"_a, "y_distance"_a.none(), "x_weights"_a.none(),
      "y_weights"_a.none(), "x_offsets"_a.none(), "y_offsets"_a.none(), "y_length"_a, "penalty"_a,
      "scale"_a, "squared"_a, "mean"_a, "x_grad"_a, "y_grad"_a.none(), "x_weights_grad"_a.none(),
      "y_weights_grad"_a.none());
}

}  // namespace g2vlm::python
#endif
