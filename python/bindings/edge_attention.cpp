#include "g2vlm/edge_attention.h"

#include <nanobind/stl/optional.h>

#include <optional>

#include "bindings.h"
#include "graph.h"

namespace g2vlm::python {
namespace {

namespace nb = nanobind;
using namespace nb::literals;

template <class T>
EdgeAttentionProblem<T> problem_of(const Tensor<const T>& left, const Tensor<const T>& right,
                                   const Optional<const T>& attention,
                                   const Optional<const T>& value, const Indices& row_offsets,
                                   const Indices& columns, const Optional<const T>& geometry,
                                   const Optional<const T>& geometry_weight, double negative_slope,
                                   double scale, const Tensor<T>& lse) {
  EdgeAttentionProblem<T> problem{};
  problem.left = left.data();
  problem.right = right.data();
  problem.attention = data_or_null(attention);
  problem.value = data_or_null(value);
  problem.geometry = data_or_null(geometry);
  problem.geometry_weight = data_or_null(geometry_weight);
  problem.lse = lse.data();
  problem.graph = csr_of(row_offsets, columns, left.size(0));
  problem.heads = static_cast<int32_t>(left.size(1));
  problem.dim = static_cast<int32_t>(left.size(2));
  problem.terms = geometry && geometry_weight ? static_cast<int32_t>(geometry->size(1)) : 0;
  problem.negative_slope = static_cast<T>(negative_slope);
  problem.scale = static_cast<T>(scale);
  return problem;
}

template <class T>
void bind(nb::module_& module) {
  module.def(
      "edge_attention_cpu",
      [](Tensor<const T> left, Tensor<const T> right, Optional<const T> attention,
         Optional<const T> value, Indices row_offsets, Indices columns, Optional<const T> geometry,
         Optional<const T> geometry_weight, double negative_slope, double scale, Tensor<T> out,
         Tensor<T> lse, int threads) {
        auto problem = problem_of<T>(left, right, attention, value, row_offsets, columns, geometry,
                                     geometry_weight, negative_slope, scale, lse);
        problem.out = out.data();
        nb::gil_scoped_release release;
        edge_attention_cpu(problem, threads);
      },
      "left"_a, "right"_a, "attention"_a.none(), "value"_a.none(), "row_offsets"_a, "columns"_a,
      "geometry"_a.none(), "geometry_weight"_a.none(), "negative_slope"_a, "scale"_a, "out"_a,
      "lse"_a, "threads"_a);
  module.def(
      "edge_attention_backward_cpu",
      [](Tensor<const T> grad, Optional<const T> grad_lse, Tensor<const T> left,
         Tensor<const T> right, Optional<const T> attention, Optional<const T> value,
         Indices row_offsets, Indices columns, Optional<const T> geometry,
         Optional<const T> geometry_weight, OptionalIndices transpose_offsets,
         OptionalIndices transpose_rows, OptionalIndices transpose_edges, Tensor<T> lse,
         double negative_slope, double scale, Tensor<T> probability, Tensor<T> score_gradient,
         Tensor<T> partial, Optional<T> grad_left, Optional<T> grad_right,
         Optional<T> grad_attention, Optional<T> grad_value, Optional<T> grad_geometry,
         Optional<T> grad_geometry_weight, int threads) {
        EdgeAttentionBackwardProblem<T> problem{};
        problem.forward = problem_of<T>(left, right, attention, value, row_offsets, columns,
                                        geometry, geometry_weight, negative_slope, scale, lse);
        problem.grad = grad.data();
        problem.grad_lse = data_or_null(grad_lse);
        problem.probability = probability.data();
        problem.score_gradient = score_gradient.data();
        problem.partial = partial.data();
        problem.blocks = static_cast<int32_t>(partial.size(0));
        problem.grad_left = data_or_null(grad_left);
        problem.grad_right = data_or_null(grad_right);
        problem.grad_attention = data_or_null(grad_attention);
        problem.grad_value = data_or_null(grad_value);
        problem.grad_geometry = data_or_null(grad_geometry);
        problem.grad_geometry_weight = data_or_null(grad_geometry_weight);
        problem.transpose = {data_or_null(transpose_offsets), data_or_null(transpose_rows),
                             data_or_null(transpose_edges)};
        nb::gil_scoped_release release;
        edge_attention_backward_cpu(problem, threads);
      },
      "grad"_a, "grad_lse"_a.none(), "left"_a, "right"_a, "attention"_a.none(), "value"_a.none(),
      "row_offsets"_a, "columns"_a, "geometry"_a.none(), "geometry_weight"_a.none(),
      "transpose_offsets"_a.none(), "transpose_rows"_a.none(), "transpose_edges"_a.none(), "lse"_a,
      "negative_slope"_a, "scale"_a, "probability"_a, "score_gradient"_a, "partial"_a,
      "grad_left"_a.none(), "grad_right"_a.none(), "grad_attention"_a.none(), "grad_value"_a.none(),
      "grad_geometry"_a.none(), "grad_geometry_weight"_a.none(), "threads"_a);
}

}  // namespace

void bind_edge_attention(nb::module_& module) {
  bind<float>(module);
  bind<double>(module);
}

}  // namespace g2vlm::python
