#include "g2vlm/geometry_attention.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <stdexcept>
#include <vector>

#include "bindings.h"

namespace g2vlm::python {
namespace {

namespace nb = nanobind;
using namespace nb::literals;

template <class T>
using Optional = std::optional<Tensor<T>>;

template <class T>
T* data_or_null(const Optional<T>& tensor) {
  return tensor ? tensor->data() : nullptr;
}

void require(bool condition, const char* message) {
  if (!condition) throw std::invalid_argument(message);
}

// Codes as g2vlm_fast.ops.bias numbers them.
BiasTerms terms_of(const std::vector<int>& codes, const std::vector<int>& counts, double eps,
                   double maximum, double cell) {
  BiasTerms terms;
  terms.eps = eps;
  terms.maximum = maximum;
  terms.cell = cell;
  for (size_t i = 0; i < codes.size(); ++i) {
    const int count = counts.at(i);
    const bool is_table = codes[i] == 6 || codes[i] == 7;
    switch (codes[i]) {
      case 0:
        terms.distance = terms.num_parameters;
        break;
      case 1:
        terms.squared_distance = terms.num_parameters;
        break;
      case 2:
        terms.direction = terms.num_parameters;
        break;
      case 3:
        terms.normal = terms.num_parameters;
        break;
      case 4:
        terms.gaussian_powers = terms.num_parameters;
        terms.num_gaussian_powers = count - 1;
        break;
      case 5:
        terms.radial_basis = terms.num_parameters;
        terms.num_radial_basis = count / 3;
        break;
      case 6:
        terms.radial_table = terms.num_table_columns;
        terms.num_knots = count;
        require(2 <= count && count <= BiasTerms::kMaxKnots && maximum > 0,
                "geometry_attention: a table over distance needs knots and a maximum");
        break;
      case 7:
        terms.axis_table = terms.num_table_columns;
        terms.reach = (count / 3 - 1) / 2;
        require(
            count == 3 * (2 * terms.reach + 1) && terms.reach <= BiasTerms::kMaxReach && cell > 0,
            "geometry_attention: tables over axes need a reach and a cell");
        break;
      default:
        throw std::invalid_argument("geometry_attention: unknown bias term");
    }
    (is_table ? terms.num_table_columns : terms.num_parameters) += count;
  }
  require(terms.num_gaussian_powers <= BiasTerms::kMaxGaussianPowers &&
              terms.num_radial_basis <= BiasTerms::kMaxRadialBasis &&
              terms.num_parameters <= BiasTerms::kMaxParameters,
          "geometry_attention: a bias term has too many columns");
  return terms;
}

template <class T>
GeometryAttentionProblem<T> problem_of(
    const Tensor<const T>& q, const Tensor<const T>& k, const Tensor<const T>& v,
    const Optional<const T>& bias_parameters, const Optional<const T>& bias_tables,
    const Optional<const T>& q_position, const Optional<const T>& k_position,
    const Optional<const T>& k_normal, const Optional<const T>& q_gate,
    const Optional<const bool>& k_mask, const Optional<const int32_t>& q_offsets,
    const Optional<const int32_t>& k_offsets, const Optional<const int64_t>& dropout_seed,
    const std::vector<int>& codes, const std::vector<int>& counts, double eps, bool causal,
    double scale, double dropout, double maximum, double cell) {
  GeometryAttentionProblem<T> problem{};
  problem.q = q.data();
  problem.k = k.data();
  problem.v = v.data();
  problem.bias_parameters = data_or_null(bias_parameters);
  problem.bias_tables = data_or_null(bias_tables);
  problem.q_position = data_or_null(q_position);
  problem.k_position = data_or_null(k_position);
  problem.k_normal = data_or_null(k_normal);
  problem.q_gate = data_or_null(q_gate);
  problem.k_mask = data_or_null(k_mask);
  problem.q_offsets = data_or_null(q_offsets);
  problem.k_offsets = data_or_null(k_offsets);
  problem.num_queries = q.size(0);
  problem.num_keys = k.size(0);
  const auto& any = q_offsets ? q_offsets : k_offsets;
  problem.num_segments = any ? static_cast<int32_t>(any->size(0) - 1) : 1;
  problem.num_heads = static_cast<int32_t>(q.size(1));
  problem.num_kv_heads = static_cast<int32_t>(k.size(1));
  problem.dim = static_cast<int32_t>(q.size(2));
  problem.position_per_head = q_position && q_position->ndim() == 3;
  problem.parameters_per_row = bias_parameters && bias_parameters->ndim() == 3;
  problem.tables_per_row = bias_tables && bias_tables->ndim() == 3;
  problem.causal = causal;
  problem.scale = scale;
  problem.dropout = dropout;
  problem.dropout_seed = dropout_seed ? *dropout_seed->data() : 0;
  problem.terms = terms_of(codes, counts, eps, maximum, cell);
  require(!bias_parameters ||
              bias_parameters->size(bias_parameters->ndim() - 1) == problem.terms.num_parameters,
          "geometry_attention: bias_parameters must have the columns that the terms count");
  const int64_t table_columns = bias_tables ? bias_tables->size(bias_tables->ndim() - 1) : 0;
  require(table_columns == problem.terms.num_table_columns,
          "geometry_attention: bias_tables must have the columns that the terms count");
  require(problem.terms.normal < 0 || k_normal, "geometry_attention: NormalDot needs k_normal");
  return problem;
}

template <class T>
void bind(nb::module_& module) {
  module.def(
      "geometry_attention_cpu",
      [](Tensor<const T> q, Tensor<const T> k, Tensor<const T> v, Optional<const T> bias_parameters,
         Optional<const T> bias_tables, Optional<const T> q_position, Optional<const T> k_position,
         Optional<const T> k_normal, Optional<const T> q_gate, Optional<const bool> k_mask,
         Optional<const int32_t> q_offsets, Optional<const int32_t> k_offsets,
         Optional<const int64_t> dropout_seed, std::vector<int> terms, std::vector<int> counts,
         double eps, bool causal, double scale, double dropout, double maximum, double cell,
         Tensor<T> out, Tensor<T> lse, Optional<T> mean, Optional<T> variance, int threads) {
        const auto problem =
            problem_of(q, k, v, bias_parameters, bias_tables, q_position, k_position, k_normal,
                       q_gate, k_mask, q_offsets, k_offsets, dropout_seed, terms, counts, eps,
                       causal, scale, dropout, maximum, cell);
        const GeometryAttentionResult<T> result{out.data(), lse.data(), data_or_null(mean),
                                                data_or_null(variance)};
        nb::gil_scoped_release release;
        geometry_attention_cpu(problem, result, threads);
      },
      "q"_a, "k"_a, "v"_a, "bias_parameters"_a.none(), "bias_tables"_a.none(),
      "q_position"_a.none(), "k_position"_a.none(), "k_normal"_a.none(), "q_gate"_a.none(),
      "k_mask"_a.none(), "q_offsets"_a.none(), "k_offsets"_a.none(), "dropout_seed"_a.none(),
      "terms"_a, "counts"_a, "eps"_a, "causal"_a, "scale"_a, "dropout"_a, "maximum"_a, "cell"_a,
      "out"_a, "lse"_a, "mean"_a.none(), "variance"_a.none(), "threads"_a);
  module.def(
      "geometry_attention_backward_cpu",
      [](Tensor<const T> grad_out, Optional<const T> grad_lse, Optional<const T> grad_mean,
         Optional<const T> grad_variance, Tensor<const T> q, Tensor<const T> k, Tensor<const T> v,
         Optional<const T> bias_parameters, Optional<const T> bias_tables,
         Optional<const T> q_position, Optional<const T> k_position, Optional<const T> k_normal,
         Optional<const T> q_gate, Optional<const bool> k_mask, Optional<const int32_t> q_offsets,
         Optional<const int32_t> k_offsets, Optional<const int64_t> dropout_seed,
         Tensor<const T> out, Tensor<const T> lse, Tensor<const T> mean, Tensor<const T> variance,
         std::vector<int> terms, std::vector<int> counts, double eps, bool causal, double scale,
         double dropout, double maximum, double cell, Tensor<T> grad_q, Tensor<T> grad_k,
         Tensor<T> grad_v, Optional<T> grad_bias_parameters, Optional<T> grad_bias_tables,
         Optional<T> grad_q_position, Optional<T> grad_k_position, Optional<T> grad_k_normal,
         Optional<T> grad_gate, int threads) {
        const auto problem =
            problem_of(q, k, v, bias_parameters, bias_tables, q_position, k_position, k_normal,
                       q_gate, k_mask, q_offsets, k_offsets, dropout_seed, terms, counts, eps,
                       causal, scale, dropout, maximum, cell);
        const GeometryAttentionGradient<T> gradient{grad_out.data(),
                                                    data_or_null(grad_lse),
                                                    data_or_null(grad_mean),
                                                    data_or_null(grad_variance),
                                                    out.data(),
                                                    lse.data(),
                                                    mean.data(),
                                                    variance.data(),
                                                    grad_q.data(),
                                                    grad_k.data(),
                                                    grad_v.data(),
                                                    data_or_null(grad_bias_parameters),
                                                    data_or_null(grad_bias_tables),
                                                    data_or_null(grad_q_position),
                                                    data_or_null(grad_k_position),
                                                    data_or_null(grad_k_normal),
                                                    data_or_null(grad_gate)};
        nb::gil_scoped_release release;
        geometry_attention_backward_cpu(problem, gradient, threads);
      },
      "grad_out"_a, "grad_lse"_a.none(), "grad_mean"_a.none(), "grad_variance"_a.none(), "q"_a,
      "k"_a, "v"_a, "bias_parameters"_a.none(), "bias_tables"_a.none(), "q_position"_a.none(),
      "k_position"_a.none(), "k_normal"_a.none(), "q_gate"_a.none(), "k_mask"_a.none(),
      "q_offsets"_a.none(), "k_offsets"_a.none(), "dropout_seed"_a.none(), "out"_a, "lse"_a,
      "mean"_a, "variance"_a, "terms"_a, "counts"_a, "eps"_a, "causal"_a, "scale"_a, "dropout"_a,
      "maximum"_a, "cell"_a, "grad_q"_a, "grad_k"_a, "grad_v"_a, "grad_bias_parameters"_a.none(),
      "grad_bias_tables"_a.none(), "grad_q_position"_a.none(), "grad_k_position"_a.none(),
      "grad_k_normal"_a.none(), "grad_gate"_a.none(), "threads"_a);
}

}  // namespace

void bind_geometry_attention(nb::module_& module) {
  bind<float>(module);
  bind<double>(module);
}

}  // namespace g2vlm::python
