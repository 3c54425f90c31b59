#include "g2vlm/graph_reduce.h"

#include <nanobind/stl/optional.h>

#include <optional>

#include "bindings.h"
#include "graph.h"

namespace g2vlm::python {
namespace {

namespace nb = nanobind;
using namespace nb::literals;

template <class T, class Slot>
GraphReduceProblem<T, Slot> problem_of(const Tensor<const T>& x, const Indices& row_offsets,
                                       const Indices& columns,
                                       const Optional<const Accumulator<T>>& weight, int reduce,
                                       const Tensor<T>& out, const Optional<Slot>& winner) {
  return {x.data(),
          data_or_null(weight),
          out.data(),
          data_or_null(winner),
          csr_of(row_offsets, columns, x.size(0)),
          static_cast<int32_t>(x.size(1)),
          static_cast<Reduce>(reduce)};
}

template <class T, class Slot>
GraphReduceBackwardProblem<T, Slot> problem_of(
    const Tensor<const T>& grad, const Optional<const T>& x, const Indices& row_offsets,
    const Indices& columns, const Optional<const Accumulator<T>>& weight,
    const OptionalIndices& transpose_offsets, const OptionalIndices& transpose_rows,
    const OptionalIndices& transpose_edges, const Tensor<const Slot>& winner, int reduce,
    const Optional<T>& grad_x, const Optional<Accumulator<T>>& grad_weight) {
  const int64_t num_sources = grad_x ? grad_x->size(0) : x ? x->size(0) : 0;
  return {grad.data(),
          data_or_null(x),
          data_or_null(weight),
          winner.data(),
          data_or_null(grad_x),
          data_or_null(grad_weight),
          csr_of(row_offsets, columns, num_sources),
          {data_or_null(transpose_offsets), data_or_null(transpose_rows),
           data_or_null(transpose_edges)},
          static_cast<int32_t>(grad.size(1)),
          static_cast<Reduce>(reduce)};
}

// Defines the forward and the backward of one dtype; `run` and `run_backward` take a problem, the
// output that says where to run, and the number of threads.
template <class T, class Slot, class Run, class RunBackward>
void bind(nb::module_& module, const char* name, const char* backward_name, Run run,
          RunBackward run_backward) {
  module.def(
      name,
      [run](Tensor<const T> x, Indices row_offsets, Indices columns,
            Optional<const Accumulator<T>> weight, int reduce, Tensor<T> out, Optional<Slot> winner,
            int threads) {
        run(problem_of<T, Slot>(x, row_offsets, columns, weight, reduce, out, winner), out,
            threads);
      },
      "x"_a, "row_offsets"_a, "columns"_a, "weight"_a.none(), "reduce"_a, "out"_a,
      "winner"_a.none(), "threads"_a);
  module.def(
      backward_name,
      [run_backward](Tensor<const T> grad, Optional<const T> x, Indices row_offsets,
                     Indices columns, Optional<const Accumulator<T>> weight,
                     OptionalIndices transpose_offsets, OptionalIndices transpose_rows,
                     OptionalIndices transpose_edges, Tensor<const Slot> winner, int reduce,
                     Optional<T> grad_x, Optional<Accumulator<T>> grad_weight, int threads) {
        run_backward(problem_of<T, Slot>(grad, x, row_offsets, columns, weight, transpose_offsets,
                                         transpose_rows, transpose_edges, winner, reduce, grad_x,
                                         grad_weight),
                     grad, threads);
      },
      "grad"_a, "x"_a.none(), "row_offsets"_a, "columns"_a, "weight"_a.none(),
      "transpose_offsets"_a.none(), "transpose_rows"_a.none(), "transpose_edges"_a.none(),
      "winner"_a, "reduce"_a, "grad_x"_a.none(), "grad_weight"_a.none(), "threads"_a);
}

template <class T, class Slot>
void bind_cpu(nb::module_& module) {
  bind<T, Slot>(
      module, "graph_reduce_cpu", "graph_reduce_backward_cpu",
      [](const auto& problem, const auto&, int threads) {
        nb::gil_scoped_release release;
        graph_reduce_cpu(problem, threads);
      },
      [](const auto& problem, const auto&, int threads) {
        nb::gil_scoped_release release;
        graph_reduce_backward_cpu(problem, threads);
      });
}

#ifdef G2VLM_WITH_CUDA
template <class T, class Slot>
void bind_cuda(nb::module_& module) {
  bind<T, Slot>(
      module, "graph_reduce_cuda", "graph_reduce_backward_cuda",
      [](const auto& problem, const auto& where, int) {
        void* stream = where.stream();
        nb::gil_scoped_release release;
        graph_reduce_cuda(problem, where.device(), stream);
      },
      [](const auto& problem, const auto& where, int) {
        void* stream = where.stream();
        nb::gil_scoped_release release;
        graph_reduce_backward_cuda(problem, where.device(), stream);
      });
}
#endif

}  // namespace

void bind_graph_reduce(nb::module_& module) {
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
