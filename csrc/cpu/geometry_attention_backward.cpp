// Gradients of geometry_attention: one pass over blocks of queries, one over blocks of keys; each
// recomputes the probabilities from the saved lse and owns what it writes.
#include "g2vlm/geometry_attention.h"
#include "g2vlm/parallel.h"
#include "geometry_attention_blocks.h"

namespace g2vlm {
namespace {

using namespace lanes;

// What the first pass leaves for the second and for the sums over heads and rows.
template <class T>
struct Workspace {
  std::vector<T> delta;  // [num_queries, num_heads], sum_j P_ij dP_ij - grad_lse
  std::vector<T>
      features;  // [num_queries, num_heads, num_parameters], sum_j dS_ij dbias_ij / dparameter
  std::vector<T> tables;       // [blocks of queries, num_heads, num_table_columns], with the gate
  std::vector<T> table_slope;  // [num_queries, num_heads], what tables add to grad_gate
  std::vector<T> q_position;   // [num_queries, num_heads, 3]
  std::vector<T> k_position;   // [num_keys, num_kv_heads, 3]
  std::vector<T> k_normal;     // [num_keys, num_kv_heads, 3]
};

// How mean and variance of a row pull on the key positions: with e = k_position - mean, a key adds
// e . (grad_mean + grad_variance * e) to its grad_probability.
template <class T, class C>
struct MomentGradient {
  C mean[3], grad_mean[3], grad_variance;

  G2VLM_INLINE T offset(const T* key, int axis, int lane) const {
    return key[axis] - value_at(mean[axis], lane);
  }
};

template <class T>
G2VLM_INLINE MomentGradient<T, T> moment_gradient_of(const GeometryAttentionGradient<T>& g,
                                                     int64_t row) {
  MomentGradient<T, T> moment{};
  for (int axis = 0; axis < 3; ++axis) {
    moment.mean[axis] = g.mean[row * 3 + axis];
    if (g.grad_mean != nullptr) moment.grad_mean[axis] = g.grad_mean[row * 3 + axis];
  }
  if (g.grad_variance != nullptr) moment.grad_variance = g.grad_variance[row];
  return moment;
}

template <class T>
inline bool has_moments(const GeometryAttentionGradient<T>& g) {
  return g.grad_mean != nullptr || g.grad_variance != nullptr;
}

// Rows that saw no key get probabilities of exactly 0 from a lse of +infinity.
template <class T>
inline T lse_or_blind(T lse) {
  constexpr T kInfinity = std::numeric_limits<T>::infinity();
  return lse == -kInfinity ? kInfinity : lse;
}

template <class T>
G2VLM_INLINE T delta_of(const GeometryAttentionProblem<T>& p, const GeometryAttentionGradient<T>& g,
                        int64_t row) {
  if (g.lse[row] == -std::numeric_limits<T>::infinity()) return 0;
  T sum = 0;
  for (int d = 0; d < p.dim; ++d) sum += g.grad_out[row * p.dim + d] * g.out[row * p.dim + d];
  if (g.grad_lse != nullptr) sum -= g.grad_lse[row];
  if (g.grad_variance != nullptr) sum += g.grad_variance[row] * g.variance[row];
  return sum;
}

template <class T>
G2VLM_INLINE void query_pass(const GeometryAttentionProblem<T>& p,
                             const GeometryAttentionGradient<T>& g, Workspace<T>& w,
                             const Block& block, int32_t head, Lanes<T>* scratch) {
  const int count = static_cast<int>(block.end - block.begin);
  const int64_t q_stride = int64_t{p.num_heads} * p.dim;
  const int64_t k_stride = int64_t{p.num_kv_heads} * p.dim;
  const int64_t kv_column = int64_t{head / (p.num_heads / p.num_kv_heads)} * p.dim;
  const int64_t first_row = block.begin * p.num_heads + head;
  Lanes<T>*packed_q = scratch, *packed_grad = scratch + p.dim, *grad_q = scratch + 2 * p.dim;
  Lanes<T>* table_features = scratch + 3 * p.dim;
  pack(p.q + first_row * p.dim, q_stride, count, p.dim, static_cast<T>(p.scale), packed_q);
  pack(g.grad_out + first_row * p.dim, q_stride, count, p.dim, T{1}, packed_grad);
  fill(grad_q, p.dim, T{0});
  QueryGeometry<T> geometry;
  if (p.terms.any()) geometry.gather(p, block.begin, block.end, head);
  const Dropout<T> dropout(p);
  Lanes<T> lse, delta, features[kMaxParameters], grad_position[3], score[kTile], grad[kTile];
  MomentGradient<T, Lanes<T>> moment;
  Pairs<T> pairs{};
  fill(features, p.terms.num_parameters, T{0});
  fill(table_features, p.terms.num_table_columns, T{0});
  fill(grad_position, 3, T{0});
  for (int lane = 0; lane < kLanes; ++lane) {
    const int64_t row = first_row + int64_t{std::min(lane, count - 1)} * p.num_heads;
    lse.at[lane] = lse_or_blind(g.lse[row]);
    delta.at[lane] = w.delta[row] = delta_of(p, g, row);
    if (!has_moments(g)) continue;
    const auto own = moment_gradient_of(g, row);
    for (int axis = 0; axis < 3; ++axis) {
      moment.mean[axis].at[lane] = own.mean[axis];
      moment.grad_mean[axis].at[lane] = own.grad_mean[axis];
    }
    moment.grad_variance.at[lane] = own.grad_variance;
  }
  const int64_t end = visible_end(p, block);
  Tile tile;
  for (int64_t next = block.other_begin; tile.take(next, end, p.k_mask);) {
    score_keys(p, block, head, tile, packed_q, geometry, score);
    dot_rows(p.v + tile.first * k_stride + kv_column, k_stride, tile.count, packed_grad, p.dim,
             grad);
    for (int r = 0; r < tile.count; ++r) {
      if (dropout.active()) dropout.drop_queries(tile.first + r, block.begin, head, grad[r]);
      if (has_moments(g)) {
        const T* key = p.k_position + (tile.first + r) * 3;
        for (int axis = 0; axis < 3; ++axis)
          for (int lane = 0; lane < kLanes; ++lane) {
            const T offset = moment.offset(key, axis, lane);
            grad[r].at[lane] +=
                offset * (moment.grad_mean[axis].at[lane] + moment.grad_variance.at[lane] * offset);
          }
      }
      for (int lane = 0; lane < kLanes; ++lane)
        grad[r].at[lane] =
            exponential(score[r].at[lane] - lse.at[lane]) * (grad[r].at[lane] - delta.at[lane]);
      if (has_bias(p)) {
        pairs.to_key(p, tile.first + r, geometry.position);
        const BiasRow<T, Lanes<T>> bias = geometry.bias_row();
        bias.add_features(p.terms, pairs, grad[r], features);
        if (g.grad_q_position != nullptr)
          bias.add_position_gradient(p.terms, pairs, grad[r], T{-1}, grad_position);
      }
    }
    for (int r = 0; r < tile.count && has_tables(p); ++r) {
      const auto tables = table_row_of(p, block.begin, block.end, head, geometry.gate);
      pairs.to_key(p, tile.first + r, geometry.position);
      tables.add_features(p.terms, pairs, grad[r], table_features);
      if (g.grad_q_position != nullptr)
        tables.add_position_gradient(p.terms, pairs, grad[r], T{-1}, grad_position);
    }
    accumulate_rows(p.k + tile.first * k_stride + kv_column, k_stride, tile.count, grad, p.dim,
                    grad_q);
  }
  for (int d = 0; d < p.dim; ++d)
    for (int lane = 0; lane < kLanes; ++lane) grad_q[d].at[lane] *= static_cast<T>(p.scale);
  unpack(grad_q, count, p.dim, g.grad_q + first_row * p.dim, q_stride);
  if (!p.terms.any()) return;
  if (has_tables(p)) {
    const auto tables = table_row_of(p, block.begin, block.end, head, geometry.gate);
    const int64_t owner = p.tables_per_row ? first_row : block.number * p.num_heads + head;
    unpack_features(tables, p.terms.num_table_columns, table_features,
                    (p.tables_per_row ? g.grad_bias_tables : w.tables.data()) +
                        owner * p.terms.num_table_columns,
                    g.grad_gate == nullptr ? nullptr : w.table_slope.data() + first_row,
                    p.num_heads);
  }
  const int32_t columns = p.terms.num_parameters;
  unpack(features, count, columns, w.features.data() + first_row * columns,
         int64_t{p.num_heads} * columns);
  if (g.grad_q_position != nullptr)
    unpack(grad_position, count, 3, w.q_position.data() + first_row * 3, int64_t{p.num_heads} * 3);
}

// Lanes do not mix, so that whatever a masked key holds has stayed in its own until here.
template <class T>
G2VLM_INLINE void clear_unseen(const bool* seen, int count, int rows, Lanes<T>* gradient) {
  for (int lane = 0; lane < count; ++lane)
    for (int i = 0; !seen[lane] && i < rows; ++i) gradient[i].at[lane] = 0;
}

template <class T>
G2VLM_INLINE void key_pass(const GeometryAttentionProblem<T>& p,
                           const GeometryAttentionGradient<T>& g, Workspace<T>& w,
                           const Block& block, int32_t kv_head, Lanes<T>* scratch) {
  const int count = static_cast<int>(block.end - block.begin);
  const int32_t group = p.num_heads / p.num_kv_heads;
  const int64_t q_stride = int64_t{p.num_heads} * p.dim;
  const int64_t k_stride = int64_t{p.num_kv_heads} * p.dim;
  const int64_t first_key = block.begin * p.num_kv_heads + kv_head;
  Lanes<T>*packed_k = scratch, *packed_v = scratch + p.dim;
  Lanes<T>*grad_k = scratch + 2 * p.dim, *grad_v = scratch + 3 * p.dim;
  pack(p.k + first_key * p.dim, k_stride, count, p.dim, static_cast<T>(p.scale), packed_k);
  pack(p.v + first_key * p.dim, k_stride, count, p.dim, T{1}, packed_v);
  fill(grad_k, 2 * p.dim, T{0});
  const Dropout<T> dropout(p);
  Lanes<T> position[3], grad_position[3], grad_normal[3], score[kTile], grad[kTile];
  Lanes<T> kept[kTile];
  Pairs<T> pairs{};
  fill(grad_position, 3, T{0});
  fill(grad_normal, 3, T{0});
  if (p.k_position != nullptr)
    for (int axis = 0; axis < 3; ++axis)
      position[axis] = load(p.k_position + block.begin * 3 + axis, 3, count);
  if (p.k_normal != nullptr)
    for (int axis = 0; axis < 3; ++axis)
      pairs.normal[axis] = load(p.k_normal + block.begin * 3 + axis, 3, count);
  // The queries of the segment are `other`; query i sees key j where j + lead <= i.
  const int64_t lead = block.other_end - block.segment_end;
  int64_t begin = p.causal ? std::max(block.other_begin, block.begin + lead) : block.other_begin;
  if (p.k_mask != nullptr && std::count(p.k_mask + block.begin, p.k_mask + block.end, true) == 0)
    begin = block.other_end;
  for (int32_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    Tile tile;
    for (int64_t next = begin; tile.take(next, block.other_end, nullptr);) {
      const int64_t first_row = tile.first * p.num_heads + head;
      dot_rows(p.q + first_row * p.dim, q_stride, tile.count, packed_k, p.dim, score);
      dot_rows(g.grad_out + first_row * p.dim, q_stride, tile.count, packed_v, p.dim, grad);
      for (int r = 0; r < tile.count && has_tables(p); ++r) {
        pairs.from_query(p.terms, position_of(p, tile.first + r, head), position);
        table_row_of(p, tile.first + r, head).add_values(p.terms, pairs, score[r]);
      }
      for (int r = 0; r < tile.count; ++r) {
        const int64_t query = tile.first + r, row = first_row + int64_t{r} * p.num_heads;
        BiasRow<T, T> bias{};
        if (has_bias(p)) {
          bias = bias_row_of(p, query, head);
          pairs.from_query(p.terms, position_of(p, query, head), position);
          bias.add_bias(p.terms, pairs, score[r]);
        }
        const T lse = lse_or_blind(g.lse[row]), delta = w.delta[row];
        for (int lane = 0; lane < kLanes; ++lane)
          score[r].at[lane] = p.causal && block.begin + lane + lead > query
                                  ? 0
                                  : exponential(score[r].at[lane] - lse);
        if (dropout.active()) {
          kept[r] = score[r];
          dropout.drop_keys(block.begin, query, head, kept[r]);
          dropout.drop_keys(block.begin, query, head, grad[r]);
        }
        if (has_moments(g)) {
          const auto moment = moment_gradient_of(g, row);
          for (int axis = 0; axis < 3; ++axis)
            for (int lane = 0; lane < kLanes; ++lane) {
              const T offset = position[axis].at[lane] - moment.mean[axis];
              const T pull = moment.grad_variance * offset;
              grad[r].at[lane] += offset * (moment.grad_mean[axis] + pull);
              grad_position[axis].at[lane] +=
                  score[r].at[lane] * (moment.grad_mean[axis] + 2 * pull);
            }
        }
        for (int lane = 0; lane < kLanes; ++lane)
          grad[r].at[lane] = score[r].at[lane] * (grad[r].at[lane] - delta);
        if (has_bias(p) && g.grad_k_position != nullptr)
          bias.add_position_gradient(p.terms, pairs, grad[r], T{1}, grad_position);
        if (g.grad_k_normal != nullptr) bias.add_normal_gradient(p.terms, grad[r], grad_normal);
      }
      const bool pulls = has_tables(p) && g.grad_k_position != nullptr;
      for (int r = 0; r < tile.count && pulls; ++r) {
        pairs.from_query(p.terms, position_of(p, tile.first + r, head), position);
        table_row_of(p, tile.first + r, head)
            .add_position_gradient(p.terms, pairs, grad[r], T{1}, grad_position);
      }
      accumulate_rows(g.grad_out + first_row * p.dim, q_stride, tile.count,
                      dropout.active() ? kept : score, p.dim, grad_v);
      accumulate_rows(p.q + first_row * p.dim, q_stride, tile.count, grad, p.dim, grad_k);
    }
  }
  for (int d = 0; d < p.dim; ++d)
    for (int lane = 0; lane < kLanes; ++lane) grad_k[d].at[lane] *= static_cast<T>(p.scale);
  if (p.k_mask != nullptr) {
    const bool* seen = p.k_mask + block.begin;
    clear_unseen(seen, count, 2 * p.dim, grad_k);
    clear_unseen(seen, count, 3, grad_position);
    clear_unseen(seen, count, 3, grad_normal);
  }
  unpack(grad_k, count, p.dim, g.grad_k + first_key * p.dim, k_stride);
  unpack(grad_v, count, p.dim, g.grad_v + first_key * p.dim, k_stride);
  if (g.grad_k_position != nullptr)
    unpack(grad_position, count, 3, w.k_position.data() + first_key * 3,
           int64_t{p.num_kv_heads} * 3);
  if (g.grad_k_normal != nullptr)
    unpack(grad_normal, count, 3, w.k_normal.data() + first_key * 3, int64_t{p.num_kv_heads} * 3);
}

// The precision of powers of a Gaussian, the centers and the precisions of a radial basis.
inline bool shapes_a_function(const BiasTerms& terms, int32_t column) {
  const int32_t centers = terms.radial_basis + terms.num_radial_basis;
  const bool in_basis = column >= centers && column < centers + 2 * terms.num_radial_basis;
  return in_basis || (terms.gaussian_powers >= 0 && column == terms.gaussian_powers);
}

// The gate multiplies a bias that is linear in all parameters but those that shape a function, so
// its gradient follows from the features as theirs does. A row whose gate is 0 and whose features
// are not finite stands nowhere: its gate gets 0.
template <class T>
void reduce_features(const GeometryAttentionProblem<T>& p, const GeometryAttentionGradient<T>& g,
                     const Workspace<T>& w) {
  const int32_t columns = p.terms.num_parameters;
  const int64_t owners = p.num_heads * (p.parameters_per_row ? p.num_queries : 1);
  std::fill(g.grad_bias_parameters, g.grad_bias_parameters + owners * columns, T{0});
  for (int64_t row = 0; row < p.num_queries * p.num_heads; ++row) {
    const int64_t first = (p.parameters_per_row ? row : row % p.num_heads) * columns;
    const T gate = p.q_gate == nullptr ? T{1} : p.q_gate[row];
    T slope = w.table_slope.empty() ? 0 : w.table_slope[row];
    for (int32_t column = 0; column < columns; ++column) {
      const T feature = w.features[row * columns + column];
      if (!shapes_a_function(p.terms, column)) slope += p.bias_parameters[first + column] * feature;
      if (gate != 0) g.grad_bias_parameters[first + column] += gate * feature;
    }
    if (g.grad_gate != nullptr) g.grad_gate[row] = gate == 0 && !std::isfinite(slope) ? 0 : slope;
  }
}

// out[row] = sum of `count` consecutive triples, in order.
template <class T>
void sum_triples(const std::vector<T>& triples, int64_t rows, int64_t count, T* out) {
  std::fill(out, out + rows * 3, T{0});
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t i = row * count; i < (row + 1) * count; ++i)
      for (int axis = 0; axis < 3; ++axis) out[row * 3 + axis] += triples[i * 3 + axis];
}

#define G2VLM_PASS(name, T)                                                                    \
  G2VLM_DISPATCH(name##_##T,                                                                   \
                 (const GeometryAttentionProblem<T>& p, const GeometryAttentionGradient<T>& g, \
                  Workspace<T>& w, const Block& block, int32_t head, Lanes<T>* scratch),       \
                 name(p, g, w, block, head, scratch))                                          \
  auto select_##name(T) {                                                                      \
    return G2VLM_SELECT(name##_##T);                                                           \
  }
G2VLM_PASS(query_pass, float)
G2VLM_PASS(query_pass, double)
G2VLM_PASS(key_pass, float)
G2VLM_PASS(key_pass, double)

}  // namespace

template <class T>
void geometry_attention_backward_cpu(const GeometryAttentionProblem<T>& p,
                                     const GeometryAttentionGradient<T>& g, int threads) {
  static const auto run_queries = select_query_pass(T{});
  static const auto run_keys = select_key_pass(T{});
  Workspace<T> w;
  const int64_t rows = p.num_queries * p.num_heads;
  w.delta.resize(rows);
  w.features.resize(rows * p.terms.num_parameters);
  const int64_t table_columns = int64_t{p.num_heads} * p.terms.num_table_columns;
  if (p.tables_per_row) {
    std::fill(g.grad_bias_tables, g.grad_bias_tables + p.num_queries * table_columns, T{0});
  } else {
    w.tables.resize(num_blocks(p.num_queries, p.num_segments) * table_columns);
  }
  if (has_tables(p) && g.grad_gate != nullptr) w.table_slope.resize(rows);
  if (g.grad_q_position != nullptr) w.q_position.resize(rows * 3);
  if (g.grad_k_position != nullptr) w.k_position.resize(p.num_keys * p.num_kv_heads * 3);
  if (g.grad_k_normal != nullptr) w.k_normal.resize(p.num_keys * p.num_kv_heads * 3);

  const int64_t q_blocks = num_blocks(p.num_queries, p.num_segments) * p.num_heads;
  const int64_t q_grain = blocks_per_piece(q_blocks, p.num_keys / p.num_segments, 2 * p.dim);
  parallel_for(q_blocks, q_grain, threads, [&](int64_t begin, int64_t end) {
    std::vector<Lanes<T>> scratch(3 * p.dim + p.terms.num_table_columns);
    for (int64_t i = begin; i < end; ++i) {
      const Block block = block_at(i / p.num_heads, p.q_offsets, p.k_offsets, p.num_queries,
                                   p.num_keys, p.num_segments);
      if (block.begin < block.end)
        run_queries(p, g, w, block, static_cast<int32_t>(i % p.num_heads), scratch.data());
    }
  });

  const int64_t k_blocks = num_blocks(p.num_keys, p.num_segments) * p.num_kv_heads;
  const int64_t group = p.num_heads / p.num_kv_heads;
  const int64_t k_grain =
      blocks_per_piece(k_blocks, p.num_queries / p.num_segments, 2 * p.dim * group);
  parallel_for(k_blocks, k_grain, threads, [&](int64_t begin, int64_t end) {
    std::vector<Lanes<T>> scratch(4 * p.dim);
    for (int64_t i = begin; i < end; ++i) {
      const Block block = block_at(i / p.num_kv_heads, p.k_offsets, p.q_offsets, p.num_keys,
                                   p.num_queries, p.num_segments);
      if (block.begin < block.end)
        run_keys(p, g, w, block, static_cast<int32_t>(i % p.num_kv_heads), scratch.data());
    }
  });

  if (p.terms.any()) {
    reduce_features(p, g, w);
    if (has_tables(p) && !p.tables_per_row) sum_parts(w.tables, table_columns, g.grad_bias_tables);
    if (g.grad_q_position != nullptr)
      sum_triples(w.q_position, p.position_per_head ? rows : p.num_queries,
                  p.position_per_head ? 1 : p.num_heads, g.grad_q_position);
  }
  if (g.grad_k_position != nullptr)
    sum_triples(w.k_position, p.num_keys, p.num_kv_heads, g.grad_k_position);
  if (g.grad_k_normal != nullptr)
    sum_triples(w.k_normal, p.num_keys, p.num_kv_heads, g.grad_k_normal);
}

template void geometry_attention_backward_cpu(const GeometryAttentionProblem<float>&,
                                              const GeometryAttentionGradient<float>&, int);
template void geometry_attention_backward_cpu(const GeometryAttentionProblem<double>&,
                                              const GeometryAttentionGradient<double>&, int);

}  // namespace g2vlm
