// Runs attention with every term and option at its largest, forward and backward; exits with 1
// where the number of threads changes a bit, padding leaks, or Philox misses its published answers.
#include "g2vlm/geometry_attention.h"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "g2vlm/philox.h"

namespace {

using g2vlm::BiasTerms;

bool check(bool right, const char* what) {
  if (!right) std::fprintf(stderr, "wrong: %s\n", what);
  return right;
}

// Known-answer vectors that the authors of Random123 publish.
bool philox_is_right() {
  uint32_t words[4][3] = {{0, 0xffffffffu, 0x243f6a88u},
                          {0, 0xffffffffu, 0x85a308d3u},
                          {0, 0xffffffffu, 0x13198a2eu},
                          {0, 0xffffffffu, 0x03707344u}};
  const uint64_t keys[3] = {0, 0xffffffffffffffffu, 0x299f31d0a4093822u};
  const uint32_t expected[3][4] = {{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u},
                                   {0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu},
                                   {0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u}};
  bool right = true;
  for (int i = 0; i < 3; ++i) {
    uint32_t counter[4][3];
    std::memcpy(counter, words, sizeof words);
    g2vlm::philox_4x32_10(counter, keys[i]);
    for (int word = 0; word < 4; ++word) right = right && counter[word][i] == expected[i][word];
  }
  return check(right, "Philox");
}

BiasTerms every_term() {
  BiasTerms terms;
  terms.distance = 0;
  terms.squared_distance = 1;
  terms.direction = 2;
  terms.normal = 5;
  terms.gaussian_powers = 8;
  terms.num_gaussian_powers = BiasTerms::kMaxGaussianPowers;
  terms.radial_basis = 9 + BiasTerms::kMaxGaussianPowers;
  terms.num_radial_basis = BiasTerms::kMaxRadialBasis;
  terms.num_parameters = BiasTerms::kMaxParameters;
  terms.radial_table = 0;
  terms.num_knots = BiasTerms::kMaxKnots;
  terms.axis_table = BiasTerms::kMaxKnots;
  terms.reach = BiasTerms::kMaxReach;
  terms.num_table_columns = BiasTerms::kMaxKnots + 3 * (2 * BiasTerms::kMaxReach + 1);
  terms.eps = 0.01;
  terms.maximum = 1.5;
  terms.cell = 0.02;
  return terms;
}

// Segments without queries, without keys, without a visible key; padding holds NaN.
template <class T>
struct Case {
  static constexpr int kQueries = 57, kKeys = 83, kHeads = 4, kKvHeads = 2, kDim = 5;
  static constexpr int kColumns = BiasTerms::kMaxParameters;
  const int table_columns = every_term().num_table_columns;
  const bool own_tables;
  std::vector<int32_t> q_offsets{0, 20, 20, 27, 30, 57}, k_offsets{0, 41, 44, 44, 49, 83};
  std::vector<char> mask = std::vector<char>(kKeys, 1);
  std::vector<T> q, k, v, parameters, tables, q_position, k_position, k_normal, gate, grad_out,
      grad_lse;
  std::vector<T> grad_mean, grad_variance;

  Case(std::mt19937& random, bool each_query_has_its_tables)
      : own_tables(each_query_has_its_tables) {
    const auto draw = [&](std::vector<T>& values, int count, double low, double high) {
      std::uniform_real_distribution<double> uniform(low, high);
      values.resize(count);
      for (T& value : values) value = static_cast<T>(uniform(random));
    };
    draw(q, kQueries * kHeads * kDim, -1, 1);
    draw(k, kKeys * kKvHeads * kDim, -1, 1);
    draw(v, kKeys * kKvHeads * kDim, -1, 1);
    draw(parameters, kQueries * kHeads * kColumns, 0, 1);
    draw(tables, (own_tables ? kQueries : 1) * kHeads * table_columns, -1, 1);
    draw(q_position, kQueries * kHeads * 3, -1, 1);
    draw(k_position, kKeys * 3, -1, 1);
    draw(k_normal, kKeys * 3, -1, 1);
    draw(gate, kQueries * kHeads, 0, 1);
    draw(grad_out, kQueries * kHeads * kDim, -1, 1);
    draw(grad_lse, kQueries * kHeads, -1, 1);
    draw(grad_mean, kQueries * kHeads * 3, -1, 1);
    draw(grad_variance, kQueries * kHeads, -1, 1);
    for (int row = 0; row < kQueries * kHeads; row += 7) gate[row] = 0;
    parameters[0] = q_position[1] = std::numeric_limits<T>::quiet_NaN();
    for (int key = 0; key < kKeys; ++key) {
      if (random() % 3 > 0 && (key < 44 || key >= 49) && key != 0) continue;
      mask[key] = 0;
      const auto spoil = [&](std::vector<T>& values, int width) {
        for (int i = 0; i < width; ++i)
          values[key * width + i] = std::numeric_limits<T>::quiet_NaN();
      };
      spoil(k, kKvHeads * kDim);
      spoil(v, kKvHeads * kDim);
      spoil(k_position, 3);
      spoil(k_normal, 3);
    }
  }

  g2vlm::GeometryAttentionProblem<T> problem() const {
    g2vlm::GeometryAttentionProblem<T> problem{};
    problem.q = q.data();
    problem.k = k.data();
    problem.v = v.data();
    problem.bias_parameters = parameters.data();
    problem.bias_tables = tables.data();
    problem.tables_per_row = own_tables;
    problem.q_position = q_position.data();
    problem.k_position = k_position.data();
    problem.k_normal = k_normal.data();
    problem.q_gate = gate.data();
    problem.k_mask = reinterpret_cast<const bool*>(mask.data());
    problem.q_offsets = q_offsets.data();
    problem.k_offsets = k_offsets.data();
    problem.num_queries = kQueries;
    problem.num_keys = kKeys;
    problem.num_segments = static_cast<int32_t>(q_offsets.size() - 1);
    problem.num_heads = kHeads;
    problem.num_kv_heads = kKvHeads;
    problem.dim = kDim;
    problem.position_per_head = problem.parameters_per_row = problem.causal = true;
    problem.scale = 0.5;
    problem.dropout = 0.25;
    problem.dropout_seed = -77;
    problem.terms = every_term();
    return problem;
  }

  // Every output and gradient, one after the other.
  std::vector<std::vector<T>> run(int threads) const {
    const int rows = kQueries * kHeads;
    std::vector<T> out(q.size()), lse(rows), mean(rows * 3), variance(rows);
    std::vector<T> grad_q(q.size()), grad_k(k.size()), grad_v(v.size());
    std::vector<T> grad_tables(tables.size());
    std::vector<T> grad_parameters(parameters.size()), grad_q_position(q_position.size());
    std::vector<T> grad_k_position(k_position.size()), grad_k_normal(k_normal.size());
    std::vector<T> grad_gate(gate.size());
    g2vlm::geometry_attention_cpu<T>(
        problem(), {out.data(), lse.data(), mean.data(), variance.data()}, threads);
    g2vlm::GeometryAttentionGradient<T> gradient{};
    gradient.grad_out = grad_out.data();
    gradient.grad_lse = grad_lse.data();
    gradient.grad_mean = grad_mean.data();
    gradient.grad_variance = grad_variance.data();
    gradient.out = out.data();
    gradient.lse = lse.data();
    gradient.mean = mean.data();
    gradient.variance = variance.data();
    gradient.grad_q = grad_q.data();
    gradient.grad_k = grad_k.data();
    gradient.grad_v = grad_v.data();
    gradient.grad_bias_parameters = grad_parameters.data();
    gradient.grad_bias_tables = grad_tables.data();
    gradient.grad_q_position = grad_q_position.data();
    gradient.grad_k_position = grad_k_position.data();
    gradient.grad_k_normal = grad_k_normal.data();
    gradient.grad_gate = grad_gate.data();
    g2vlm::geometry_attention_backward_cpu<T>(problem(), gradient, threads);
    return {out,          mean,      variance,        grad_q,      grad_k,          grad_v,
            lse,          grad_gate, grad_parameters, grad_tables, grad_q_position, grad_k_position,
            grad_k_normal};
  }
};

template <class T>
bool attention_is_right(std::mt19937& random, bool own_tables) {
  const Case<T> drawn(random, own_tables);
  const auto alone = drawn.run(1), together = drawn.run(3);
  bool right = true;
  for (size_t i = 0; i < alone.size(); ++i) {
    right &=
        check(std::memcmp(alone[i].data(), together[i].data(), alone[i].size() * sizeof(T)) == 0,
              "bits on three threads");
    for (const T value : alone[i])
      right &= check(!std::isnan(value), "padding or a shut gate leaks");
  }
  for (int key = 0; key < drawn.kKeys; ++key)
    for (int i = 0; !drawn.mask[key] && i < drawn.kKvHeads * drawn.kDim; ++i)
      right &= check(alone[4][key * drawn.kKvHeads * drawn.kDim + i] == 0, "gradient of padding");
  return right;
}

}  // namespace

int main() {
  std::mt19937 random(5);
  bool right = philox_is_right();
  for (int round = 0; round < 3 && right; ++round)
    for (const bool own_tables : {false, true})
      right = right && attention_is_right<float>(random, own_tables) &&
              attention_is_right<double>(random, own_tables);
  return right ? 0 : 1;
}
