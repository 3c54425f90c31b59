// The tables of a bias, looked up where they lie: values and derivatives over the lanes of a block.
// They have loops of their own, so that biases without tables do not wait for them.
#pragma once

#include "geometry_attention_bias.h"

namespace g2vlm::lanes {

using Entries = Lanes<int32_t>;

template <class T>
inline bool has_tables(const GeometryAttentionProblem<T>& p) {
  return p.terms.num_table_columns > 0;
}

// Where distances fall between the knots of the table over distance.
template <class T>
struct Knots {
  T per_metre;
  Entries near;       // the knot before; near + 1 is a knot as well
  Lanes<T> fraction;  // of the way to the next; exactly 1 from the last knot on

  G2VLM_INLINE Knots(const BiasTerms& terms, const Lanes<T>& length)
      : per_metre(static_cast<T>((terms.num_knots - 1) / terms.maximum)) {
    const T last = static_cast<T>(terms.num_knots - 1);
    for (int lane = 0; lane < kLanes; ++lane) {
      const T place = length.at[lane] * per_metre;
      // What is not a number gets some knot, and a fraction that is not a number.
      near.at[lane] = static_cast<int32_t>(place < last ? place : last - 1);
      fraction.at[lane] = place >= last ? 1 : place - static_cast<T>(near.at[lane]);
    }
  }
};

// The entries of the table of one axis; what is not a number gets the one in the middle.
template <class T>
G2VLM_INLINE Entries entries_of(const BiasTerms& terms, const Lanes<T>& way) {
  const T cell = static_cast<T>(terms.cell), reach = static_cast<T>(terms.reach);
  Entries entries;
  for (int lane = 0; lane < kLanes; ++lane) {
    const T step = std::floor(way.at[lane] / cell + T{0.5});
    const T inside = step > -reach ? (step < reach ? step : reach) : -reach;
    entries.at[lane] = static_cast<int32_t>(step == step ? inside + reach : reach);
  }
  return entries;
}

inline int32_t table_of_axis(const BiasTerms& terms, int axis) {
  return terms.axis_table + axis * (2 * terms.reach + 1);
}

// The gate and the tables of one head for each query: of each lane (C = Lanes<T>), or of all lanes
// (C = T).
template <class T, class C>
struct TableRow {
  C gate;
  const T* first;  // [num_table_columns], of lane 0
  int64_t stride;  // from lane to lane; 0 where all have the same
  int last;        // lanes past it repeat it

  // value += gate * what the tables hold
  G2VLM_INLINE void add_values(const BiasTerms& terms, const Pairs<T>& pairs,
                               Lanes<T>& value) const {
    Lanes<T> bias{};
    if (terms.radial_table >= 0) {
      const Knots<T> knots(terms, pairs.length);
      const Lanes<T> near = look_up(terms.radial_table, knots.near);
      const Lanes<T> far = look_up(terms.radial_table + 1, knots.near);
      for (int lane = 0; lane < kLanes; ++lane) {
        const T fraction = knots.fraction.at[lane];
        bias.at[lane] += (1 - fraction) * near.at[lane] + fraction * far.at[lane];
      }
    }
    for (int axis = 0; axis < 3 && terms.axis_table >= 0; ++axis) {
      const Lanes<T>& way = pairs.way[axis];
      const Lanes<T> held = look_up(table_of_axis(terms, axis), entries_of(terms, way));
      for (int lane = 0; lane < kLanes; ++lane)
        bias.at[lane] += way.at[lane] == way.at[lane] ? held.at[lane] : way.at[lane];
    }
    for (int lane = 0; lane < kLanes; ++lane)
      value.at[lane] += value_at(gate, lane) == 0 ? 0 : value_at(gate, lane) * bias.at[lane];
  }

  // features[c] += grad_score * d bias / d entry c, without the gate
  static G2VLM_INLINE void add_features(const BiasTerms& terms, const Pairs<T>& pairs,
                                        const Lanes<T>& grad_score, Lanes<T>* features) {
    if (terms.radial_table >= 0) {
      const Knots<T> knots(terms, pairs.length);
      for (int lane = 0; lane < kLanes; ++lane) {
        const T share = grad_score.at[lane] * knots.fraction.at[lane];
        Lanes<T>* near = features + terms.radial_table + knots.near.at[lane];
        near[0].at[lane] += grad_score.at[lane] - share;
        near[1].at[lane] += share;
      }
    }
    for (int axis = 0; axis < 3 && terms.axis_table >= 0; ++axis) {
      const Entries entries = entries_of(terms, pairs.way[axis]);
      Lanes<T>* table = features + table_of_axis(terms, axis);
      for (int lane = 0; lane < kLanes; ++lane)
        table[entries.at[lane]].at[lane] += grad_score.at[lane];
    }
  }

  // gradient[axis] += sign * gate * grad_score * d bias / d way[axis]: of the table over distance,
  // and exactly 0 where that is flat, be the key infinitely far.
  G2VLM_INLINE void add_position_gradient(const BiasTerms& terms, const Pairs<T>& pairs,
                                          const Lanes<T>& grad_score, T sign,
                                          Lanes<T>* gradient) const {
    if (terms.radial_table < 0) return;
    const Knots<T> knots(terms, pairs.length);
    const Lanes<T> near = look_up(terms.radial_table, knots.near);
    const Lanes<T> far = look_up(terms.radial_table + 1, knots.near);
    Lanes<T> pull;
    for (int lane = 0; lane < kLanes; ++lane) {
      const bool flat = value_at(gate, lane) == 0 || knots.fraction.at[lane] == 1;
      const T rise = (far.at[lane] - near.at[lane]) * knots.per_metre / pairs.length.at[lane];
      pull.at[lane] = flat ? 0 : sign * value_at(gate, lane) * grad_score.at[lane] * rise;
    }
    for (int axis = 0; axis < 3; ++axis)
      for (int lane = 0; lane < kLanes; ++lane)
        gradient[axis].at[lane] +=
            pull.at[lane] == 0 ? 0 : pull.at[lane] * pairs.way[axis].at[lane];
  }

 private:
  G2VLM_INLINE Lanes<T> look_up(int32_t table, const Entries& entries) const {
    const T* entry = first + table;
    Lanes<T> value;
    if (stride == 0) {
      for (int lane = 0; lane < kLanes; ++lane) value.at[lane] = entry[entries.at[lane]];
    } else {
      for (int lane = 0; lane < kLanes; ++lane)
        value.at[lane] = entry[std::min(lane, last) * stride + entries.at[lane]];
    }
    return value;
  }
};

template <class T>
G2VLM_INLINE const T* tables_of(const GeometryAttentionProblem<T>& p, int64_t query, int32_t head) {
  const int64_t owner = p.tables_per_row ? query * p.num_heads + head : head;
  return p.bias_tables + owner * p.terms.num_table_columns;
}

template <class T>
G2VLM_INLINE TableRow<T, T> table_row_of(const GeometryAttentionProblem<T>& p, int64_t query,
                                         int32_t head) {
  const T gate = p.q_gate == nullptr ? T{1} : p.q_gate[query * p.num_heads + head];
  return {gate, tables_of(p, query, head), 0, 0};
}

// Those of a block of queries.
template <class T>
G2VLM_INLINE TableRow<T, Lanes<T>> table_row_of(const GeometryAttentionProblem<T>& p, int64_t begin,
                                                int64_t end, int32_t head, const Lanes<T>& gate) {
  const int64_t stride = p.tables_per_row ? int64_t{p.num_heads} * p.terms.num_table_columns : 0;
  return {gate, tables_of(p, begin, head), stride, static_cast<int>(end - begin) - 1};
}

// What a block of `count` queries leaves of the features of tables: to `gradient` each query its
// own (`stride` apart), or their sum where `stride` is 0; to `slope` what the gate of each gets.
template <class T>
G2VLM_INLINE void unpack_features(const TableRow<T, Lanes<T>>& row, int32_t columns,
                                  const Lanes<T>* features, T* gradient, T* slope,
                                  int64_t slope_stride) {
  for (int lane = 0; lane <= row.last; ++lane) {
    const T gate = row.gate.at[lane];
    T sum = 0;
    for (int32_t column = 0; column < columns; ++column) {
      const T feature = features[column].at[lane];
      if (feature == 0) continue;
      sum += row.first[lane * row.stride + column] * feature;
      if (gate != 0) gradient[lane * row.stride + column] += gate * feature;
    }
    if (slope != nullptr) slope[lane * slope_stride] = sum;
  }
}

// out[i] = sum of parts[i], parts[size + i], ..., in order.
template <class T>
inline void sum_parts(const std::vector<T>& parts, size_t size, T* out) {
  std::fill(out, out + size, T{0});
  for (size_t first = 0; first < parts.size(); first += size)
    for (size_t i = 0; i < size; ++i) out[i] += parts[first + i];
}

}  // namespace g2vlm::lanes
