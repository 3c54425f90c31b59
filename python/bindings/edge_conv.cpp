#include "g2vlm/edge_conv.h"

#include <nanobind/stl/optional.h>

#include <optional>

#include "bindings.h"
#include "graph.h"

namespace g2vlm::python {
namespace {

namespace nb = nanobind;
using namespace nb::literals;

template <class T, class Slot>
EdgeConvProblem<T, Slot> problem_of(const Tensor<const T>& a, const Tensor<const T>& b,
                                    const Indices& row_offsets, const Indices& columns,
                                    const Optional<const Accumulator<T>>& geometry,
                                    const Optional<const Accumulator<T>>& weight, int activation,
                                    int reduce) {
  EdgeConvProblem<T, Slot> problem{};
  problem.a = a.data();
  problem.b = b.data();
  problem.geometry = data_or_null(geometry);
  problem.weight = data_or_null(weight);
  problem.graph = csr_of(row_offsets, columns, b.size(0));
  problem.channels = static_cast<int32_t>(a.size(1));
  problem.terms = geometry && weight ? static_cast<int32_t>(geometry->size(1)) : 0;
  problem.activation = static_cast<Activation>(activation);
  problem.reduce = static_cast<Reduce>(reduce);
  return problem;
}

// As in graph_reduce.cpp: `run` and `run_backward` take a problem, a tensor that says where to run,
// and the number of threads.
template <class T, class Slot, class Run, class RunBackward>
void bind(nb::module_& module, const char* name, const char* backward_name, Run run,
          RunBackward run_backward) {
  module.def(
      name,
      [run](Tensor<const T> a, Tensor<const T> b, Indices row_offsets, Indices columns,
            Optional<const Accumulator<T>> geometry, Optional<const Accumulator<T>> weight,
            int activation, int reduce, Tensor<T> out, Optional<Slot> winner, int threads) {
        auto problem =
            problem_of<T, Slot>(a, b, row_offsets, columns, geometry, weight, activation, reduce);
        problem.out = out.data();
        problem.winner = data_or_null(winner);
        run(problem, out, threads);
      },
      "a"_a, "b"_a, "row_offsets"_a, "columns"_a, "geometry"_a.none(), "weight"_a.none(),
      "activation"_a, "reduce"_a, "out"_a, "winner"_a.none(), "threads"_a);
  module.def(
      backward_name,
      [run_backward](Tensor<const T> grad, Tensor<const T> a, Tensor<const T> b,
                     Indices row_offsets, Indices columns, Optional<const Accumulator<T>> geometry,
                     Optional<const Accumulator<T>> weight, OptionalIndices transpose_offsets,
                     OptionalIndices transpose_rows, OptionalIndices transpose_edges,
                     Tensor<Slot> winner, Tensor<T> out, int activation, int reduce,
                     Tensor<T> grad_a, Optional<T> grad_b, Optional<Accumulator<T>> grad_geometry,
                     Optional<Accumulator<T>> grad_weight, Optional<Accumulator<T>> partial,
                     int threads) {
        EdgeConvBackwardProblem<T, Slot> problem{};
        problem.forward =
            problem_of<T, Slot>(a, b, row_offsets, columns, geometry, weight, activation, reduce);
        problem.forward.winner = winner.data();
        problem.forward.out = out.data();
        problem.grad = grad.data();
        problem.grad_a = grad_a.data();
        problem.grad_b = data_or_null(grad_b);
        problem.grad_geometry = data_or_null(grad_geometry);
        problem.grad_weight = data_or_null(grad_weight);
        problem.partial = data_or_null(partial);
        problem.blocks = partial ? static_cast<int32_t>(partial->size(0)) : 1;
        problem.transpose = {data_or_null(transpose_offsets), data_or_null(transpose_rows),
                             data_or_null(transpose_edges)};
        run_backward(problem, grad, threads);
      },
      "grad"_a, "a"_a, "b"_a, "row_offsets"_a, "columns"_a, "geometry"_a.none(), "weight"_a.none(),
      "transpose_offsets"_a.none(), "transpose_rows"_a.none(), "transpose_edges"_a.none(),
      "winner"_a, "out"_a, "activation"_a, "reduce"_a, "grad_a"_a, "grad_b"_a.none(),
      "grad_geometry"_a.none(), "grad_weight"_a.none(), "partial"_a.none(), "threads"_a);
}

template <class T, class Slot>
void bind_cpu(nb::module_& module) {
  bind<T, Slot>(
      module, "edge_conv_cpu", "edge_conv_backward_cpu",
      [](const auto& problem, const auto&, int threads) {
        nb::gil_scoped_release release;
        edge_conv_cpu(problem, threads);
      },
      [](const auto& problem, const auto&, int threads) {
        nb::gil_scoped_release release;
        edge_conv_backward_cpu(problem, threads);
      });
}

#ifdef G2VLM_WITH_CUDA
template <class T, class Slot>
void bind_cuda(nb::module_& module) {
  bind<T, Slot>(
      module, "edge_conv_cuda", "edge_conv_backward_cuda",
      [](const auto& problem, const auto& where, int) {
        void* stream = where.stream();
        nb::gil_scoped_release release;
        edge_conv_cuda(problem, where.device(), stream);
      },
      [](const auto& problem, const auto& where, int) {
        void* stream = where.stream();
        nb::gil_scoped_release release;
        edge_conv_backward_cuda(problem, where.device(), stream);
      });
}
#endif

}  // namespace

void bind_edge_conv(nb::module_& module) {
  module.def("edge_conv_blocks", &edge_conv_blocks, "num_rows"_a);
  bind_cpu<float, int32_t>(module);
  bind_cpu<float, uint8_t>(module);
  bind_cpu<double, int32_t>(module);
  bind_cpu<double, uint8_t>(module);
#ifdef G2VLM_WITH_CUDA
  bind_cuda<float, int32_t>(module);
  bind_cuda<float, uint8_t>(module);
  bind_cuda<BFloat16, int32_t>(module);
  bind_cuda<BFloat16, uint8_t>(module);
  bind_cuda<Float16, int32_t>(module);
  bind_cuda<Float16, uint8_t>(module);
#endif
}

}  // namespace g2vlm::python
