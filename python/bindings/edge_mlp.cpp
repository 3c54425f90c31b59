#include "g2vlm/edge_mlp.h"

#include <nanobind/stl/optional.h>

#include <optional>

#include "bindings.h"
#include "graph.h"

#ifdef G2VLM_WITH_CUDA
namespace g2vlm::python {
namespace {

namespace nb = nanobind;
using namespace nb::literals;

template <class T, class Slot>
void bind(nb::module_& module) {
  module.def(
      "edge_mlp_cuda",
      [](Tensor<const T> a, Tensor<const T> b, Indices row_offsets, Indices columns,
         Tensor<const T> weight, Optional<const T> bias, int activation, Tensor<T> out,
         Optional<Slot> winner) {
        EdgeMlpProblem<T, Slot> problem{};
        problem.a = a.data();
        problem.b = b.data();
        problem.weight = weight.data();
        problem.bias = data_or_null(bias);
        problem.out = out.data();
        problem.winner = data_or_null(winner);
        problem.graph = csr_of(row_offsets, columns, b.size(0));
        problem.hidden = static_cast<int32_t>(weight.size(0));
        problem.channels = static_cast<int32_t>(weight.size(1));
        problem.activation = static_cast<Activation>(activation);
        void* stream = out.stream();
        nb::gil_scoped_release release;
        edge_mlp_cuda(problem, out.device(), stream);
      },
      "a"_a, "b"_a, "row_offsets"_a, "columns"_a, "weight"_a, "bias"_a.none(), "activation"_a,
      "out"_a, "winner"_a.none());
}

}  // namespace

void bind_edge_mlp(nb::module_& module) {
  bind<BFloat16, int32_t>(module);
  bind<BFloat16, uint8_t>(module);
  bind<Float16, int32_t>(module);
  bind<Float16, uint8_t>(module);
}

}  // namespace g2vlm::python
#endif
