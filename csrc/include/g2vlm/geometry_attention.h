// Attention with a geometric bias over packed tokens.
//
// score(i, j, h) = scale * q_ih . k_jg + gate_ih * bias_h(i, j), g = the key head of h; a row whose
// gate is 0 has bias 0, whatever its position and parameters. Queries see the keys of their segment
// that the mask lets through; if causal, the last query sees all of them and each one before it one
// less. Nothing of a masked key is read, and its gradients are 0. Dropout keeps a pair where 24
// random bits of (seed, key, query, head), as a fraction of 1, reach it, and divides what it keeps
// by 1 - dropout; lse, mean and variance are those without dropout.
// Accumulation order depends on the shapes alone, never on the number of threads.
#pragma once

#include <cstdint>

namespace g2vlm {

// Which terms a bias has: the first column of each in the bias parameters, or of a table in the
// bias tables, -1 where absent. With d = k_position - q_position, r = sqrt(|d|^2 + eps^2) and the
// normal n of the key, bias is the sum of those that are there.
struct BiasTerms {
  static constexpr int32_t kMaxGaussianPowers = 8;
  static constexpr int32_t kMaxRadialBasis = 16;
  static constexpr int32_t kMaxParameters = 9 + kMaxGaussianPowers + 3 * kMaxRadialBasis;
  static constexpr int32_t kMaxKnots = 64;
  static constexpr int32_t kMaxReach = 63;

  int32_t distance = -1;          // -slope * r
  int32_t squared_distance = -1;  // -slope * |d|^2
  int32_t direction = -1;         // w . d, three columns
  int32_t normal = -1;            // w . n, three columns
  // sum_m w_m t^m, m from 1, t = exp(-precision * |d|^2): the precision, then the w_m
  int32_t gaussian_powers = -1;
  int32_t num_gaussian_powers = 0;
  // sum_m w_m exp(-precision_m * (r - center_m)^2): the w_m, the centers, the precisions
  int32_t radial_basis = -1;
  int32_t num_radial_basis = 0;
  int32_t num_parameters = 0;
  // the value at knot k, where r = maximum * k / (num_knots - 1); linear between, constant beyond
  int32_t radial_table = -1;
  int32_t num_knots = 0;
  // sum over axes of table_axis[clamp(floor(d_axis / cell + 0.5), -reach, reach) + reach]: the
  // tables of x, y and z
  int32_t axis_table = -1;
  int32_t reach = 0;
  int32_t num_table_columns = 0;
  double eps = 0;
  double maximum = 0;
  double cell = 0;

  bool any() const { return num_parameters > 0 || num_table_columns > 0; }
  bool use_length() const { return distance >= 0 || radial_basis >= 0 || radial_table >= 0; }
};

template <class T>
struct GeometryAttentionProblem {
  const T* q;                // [num_queries, num_heads, dim]
  const T* k;                // [num_keys, num_kv_heads, dim]
  const T* v;                // [num_keys, num_kv_heads, dim]
  const T* bias_parameters;  // [num_queries or 1, num_heads, num_parameters]; null without terms
  const T* bias_tables;  // [num_queries or 1, num_heads, num_table_columns]; null without tables
  const T* q_position;   // [num_queries, num_heads or 1, 3]; null without terms
  const T* k_position;   // [num_keys, 3]; null without terms and without mean
  const T* k_normal;     // [num_keys, 3]; null without a term of normals
  const T* q_gate;       // [num_queries, num_heads]; null for 1
  const bool* k_mask;    // [num_keys], false = nobody sees the key; null for true
  const int32_t* q_offsets;  // [num_segments + 1]; null for one segment
  const int32_t* k_offsets;  // [num_segments + 1]; null for one segment
  int64_t num_queries;
  int64_t num_keys;
  int32_t num_segments;
  int32_t num_heads;
  int32_t num_kv_heads;
  int32_t dim;
  bool position_per_head;
  bool parameters_per_row;
  bool tables_per_row;
  bool causal;
  double scale;
  double dropout;  // probability
  int64_t dropout_seed;
  BiasTerms terms;
};

// Rows without a visible key: out, mean and variance 0, lse -infinity.
template <class T>
struct GeometryAttentionResult {
  T* out;       // [num_queries, num_heads, dim]
  T* lse;       // [num_queries, num_heads], natural logarithm
  T* mean;      // [num_queries, num_heads, 3]; null where not wanted
  T* variance;  // [num_queries, num_heads]; null where not wanted
};

template <class T>
struct GeometryAttentionGradient {
  const T* grad_out;       // as out
  const T* grad_lse;       // as lse; null for zero, as the next two
  const T* grad_mean;      // as mean
  const T* grad_variance;  // as variance
  const T* out;            // what the forward pass returned, as the next three
  const T* lse;
  const T* mean;
  const T* variance;
  T* grad_q;                // as q
  T* grad_k;                // as k
  T* grad_v;                // as v
  T* grad_bias_parameters;  // as bias_parameters; null without terms
  T* grad_bias_tables;      // as bias_tables; null without tables
  T* grad_q_position;       // as q_position; null where not wanted
  T* grad_k_position;       // as k_position; null where not wanted
  T* grad_k_normal;         // as k_normal; null where not wanted
  T* grad_gate;             // as q_gate; null without gate
};

template <class T>
void geometry_attention_cpu(const GeometryAttentionProblem<T>& problem,
                            const GeometryAttentionResult<T>& result, int threads);

template <class T>
void geometry_attention_backward_cpu(const GeometryAttentionProblem<T>& problem,
                                     const GeometryAttentionGradient<T>& gradient, int threads);

}  // namespace g2vlm
