// The bias of geometry_attention and its derivatives, over the lanes of a block.
#pragma once

#include "geometry_attention_lanes.h"

namespace g2vlm::lanes {

constexpr int kMaxParameters = BiasTerms::kMaxParameters;

template <class T>
inline bool has_bias(const GeometryAttentionProblem<T>& p) {
  return p.terms.num_parameters > 0;
}

// exp(x), infinite where it overflows.
G2VLM_INLINE float exponential_or_infinity(float x) {
  return exponential(x > 88.7f ? 88.7f : x);
}
G2VLM_INLINE double exponential_or_infinity(double x) {
  return std::exp(x);
}

// How keys stand to queries, and how they face; one of the two is the same in every lane.
template <class T>
struct Pairs {
  Lanes<T> way[3];     // k_position - q_position
  Lanes<T> square;     // |way|^2
  Lanes<T> length;     // sqrt(square + eps^2), where a term uses it
  Lanes<T> normal[3];  // of the keys, where a term uses it

  G2VLM_INLINE void to_key(const GeometryAttentionProblem<T>& p, int64_t key,
                           const Lanes<T>* query) {
    for (int axis = 0; axis < 3; ++axis)
      for (int lane = 0; lane < kLanes; ++lane)
        way[axis].at[lane] = p.k_position[key * 3 + axis] - query[axis].at[lane];
    if (p.terms.normal >= 0)
      for (int axis = 0; axis < 3; ++axis) fill(&normal[axis], 1, p.k_normal[key * 3 + axis]);
    measure(p.terms);
  }
  G2VLM_INLINE void from_query(const BiasTerms& terms, const T* query, const Lanes<T>* key) {
    for (int axis = 0; axis < 3; ++axis)
      for (int lane = 0; lane < kLanes; ++lane)
        way[axis].at[lane] = key[axis].at[lane] - query[axis];
    measure(terms);
  }

 private:
  G2VLM_INLINE void measure(const BiasTerms& terms) {
    for (int lane = 0; lane < kLanes; ++lane)
      square.at[lane] = way[0].at[lane] * way[0].at[lane] + way[1].at[lane] * way[1].at[lane] +
                        way[2].at[lane] * way[2].at[lane];
    if (!terms.use_length()) return;
    const T eps_square = static_cast<T>(terms.eps * terms.eps);
    for (int lane = 0; lane < kLanes; ++lane)
      length.at[lane] = std::sqrt(square.at[lane] + eps_square);
  }
};

// The gate and the bias parameters of one head for each query: of each lane (C = Lanes<T>), or of
// all lanes (C = T).
template <class T, class C>
struct BiasRow {
  C gate;
  const C* parameter;  // [num_parameters]

  G2VLM_INLINE T at(int32_t column, int lane) const { return value_at(parameter[column], lane); }

  // value += gate * bias
  G2VLM_INLINE void add_bias(const BiasTerms& terms, const Pairs<T>& pairs, Lanes<T>& value) const {
    Lanes<T> bias{};
    if (terms.distance >= 0)
      for (int lane = 0; lane < kLanes; ++lane)
        bias.at[lane] -= at(terms.distance, lane) * pairs.length.at[lane];
    if (terms.squared_distance >= 0)
      for (int lane = 0; lane < kLanes; ++lane)
        bias.at[lane] -= at(terms.squared_distance, lane) * pairs.square.at[lane];
    if (terms.direction >= 0) add_product(terms.direction, pairs.way, bias);
    if (terms.normal >= 0) add_product(terms.normal, pairs.normal, bias);
    if (terms.gaussian_powers >= 0) {
      const int32_t weights = terms.gaussian_powers + 1;
      const Lanes<T> power = gaussian(terms.gaussian_powers, pairs.square);
      Lanes<T> sum{};
      for (int32_t m = terms.num_gaussian_powers - 1; m >= 0; --m)
        for (int lane = 0; lane < kLanes; ++lane)
          sum.at[lane] = (sum.at[lane] + at(weights + m, lane)) * power.at[lane];
      for (int lane = 0; lane < kLanes; ++lane) bias.at[lane] += sum.at[lane];
    }
    for (int32_t m = 0; m < terms.num_radial_basis; ++m) {
      Lanes<T> offset;
      const Lanes<T> bump = basis_function(terms, m, pairs.length, offset);
      for (int lane = 0; lane < kLanes; ++lane)
        bias.at[lane] += at(terms.radial_basis + m, lane) * bump.at[lane];
    }
    for (int lane = 0; lane < kLanes; ++lane)
      value.at[lane] += value_at(gate, lane) == 0 ? 0 : value_at(gate, lane) * bias.at[lane];
  }

  // features[p] += grad_score * d bias / d parameter p, without the gate
  G2VLM_INLINE void add_features(const BiasTerms& terms, const Pairs<T>& pairs,
                                 const Lanes<T>& grad_score, Lanes<T>* features) const {
    if (terms.distance >= 0) subtract(grad_score, pairs.length, features[terms.distance]);
    if (terms.squared_distance >= 0)
      subtract(grad_score, pairs.square, features[terms.squared_distance]);
    for (int axis = 0; axis < 3; ++axis) {
      if (terms.direction >= 0) add(grad_score, pairs.way[axis], features[terms.direction + axis]);
      if (terms.normal >= 0) add(grad_score, pairs.normal[axis], features[terms.normal + axis]);
    }
    if (terms.gaussian_powers >= 0) {
      const int32_t first = terms.gaussian_powers;
      const Lanes<T> base = gaussian(first, pairs.square);
      Lanes<T> power = base, growth{};
      for (int32_t m = 1; m <= terms.num_gaussian_powers; ++m)
        for (int lane = 0; lane < kLanes; ++lane) {
          features[first + m].at[lane] += grad_score.at[lane] * power.at[lane];
          growth.at[lane] += m * at(first + m, lane) * power.at[lane];
          power.at[lane] *= base.at[lane];
        }
      for (int lane = 0; lane < kLanes; ++lane)
        features[first].at[lane] -= grad_score.at[lane] * pairs.square.at[lane] * growth.at[lane];
    }
    for (int32_t m = 0; m < terms.num_radial_basis; ++m) {
      const int32_t weight = terms.radial_basis + m;
      const int32_t center = weight + terms.num_radial_basis;
      const int32_t precision = center + terms.num_radial_basis;
      Lanes<T> offset;
      const Lanes<T> bump = basis_function(terms, m, pairs.length, offset);
      for (int lane = 0; lane < kLanes; ++lane) {
        const T share = grad_score.at[lane] * bump.at[lane];
        const T pull = share * at(weight, lane) * offset.at[lane];
        features[weight].at[lane] += share;
        features[center].at[lane] += 2 * at(precision, lane) * pull;
        features[precision].at[lane] -= pull * offset.at[lane];
      }
    }
  }

  // gradient[axis] += sign * gate * grad_score * d bias / d way[axis]
  G2VLM_INLINE void add_position_gradient(const BiasTerms& terms, const Pairs<T>& pairs,
                                          const Lanes<T>& grad_score, T sign,
                                          Lanes<T>* gradient) const {
    Lanes<T> radial{};
    for (int32_t m = 0; m < terms.num_radial_basis; ++m) {
      const int32_t weight = terms.radial_basis + m;
      Lanes<T> offset;
      const Lanes<T> bump = basis_function(terms, m, pairs.length, offset);
      for (int lane = 0; lane < kLanes; ++lane)
        radial.at[lane] -= 2 * at(weight + 2 * terms.num_radial_basis, lane) * at(weight, lane) *
                           offset.at[lane] * bump.at[lane];
    }
    if (terms.distance >= 0)
      for (int lane = 0; lane < kLanes; ++lane) radial.at[lane] -= at(terms.distance, lane);
    if (terms.distance >= 0 || terms.radial_basis >= 0)
      for (int lane = 0; lane < kLanes; ++lane) radial.at[lane] /= pairs.length.at[lane];
    if (terms.squared_distance >= 0)
      for (int lane = 0; lane < kLanes; ++lane)
        radial.at[lane] -= 2 * at(terms.squared_distance, lane);
    if (terms.gaussian_powers >= 0) {
      const int32_t first = terms.gaussian_powers;
      const Lanes<T> power = gaussian(first, pairs.square);
      Lanes<T> growth{};
      for (int32_t m = terms.num_gaussian_powers; m > 0; --m)
        for (int lane = 0; lane < kLanes; ++lane)
          growth.at[lane] = (growth.at[lane] + m * at(first + m, lane)) * power.at[lane];
      for (int lane = 0; lane < kLanes; ++lane)
        radial.at[lane] -= 2 * at(first, lane) * growth.at[lane];
    }
    const Lanes<T> grad = gated(grad_score, sign);
    for (int axis = 0; axis < 3; ++axis)
      for (int lane = 0; lane < kLanes; ++lane) {
        const T constant = terms.direction < 0 ? 0 : at(terms.direction + axis, lane);
        const T slope = radial.at[lane] * pairs.way[axis].at[lane] + constant;
        gradient[axis].at[lane] += value_at(gate, lane) == 0 ? 0 : grad.at[lane] * slope;
      }
  }

  // gradient[axis] += gate * grad_score * d bias / d normal[axis]
  G2VLM_INLINE void add_normal_gradient(const BiasTerms& terms, const Lanes<T>& grad_score,
                                        Lanes<T>* gradient) const {
    const Lanes<T> grad = gated(grad_score, T{1});
    for (int axis = 0; axis < 3; ++axis)
      for (int lane = 0; lane < kLanes; ++lane)
        gradient[axis].at[lane] +=
            value_at(gate, lane) == 0 ? 0 : grad.at[lane] * at(terms.normal + axis, lane);
  }

 private:
  G2VLM_INLINE Lanes<T> gated(const Lanes<T>& grad_score, T sign) const {
    Lanes<T> grad;
    for (int lane = 0; lane < kLanes; ++lane)
      grad.at[lane] = sign * value_at(gate, lane) * grad_score.at[lane];
    return grad;
  }

  // sum += parameters from `first` on . vector
  G2VLM_INLINE void add_product(int32_t first, const Lanes<T>* vector, Lanes<T>& sum) const {
    for (int lane = 0; lane < kLanes; ++lane)
      sum.at[lane] += at(first, lane) * vector[0].at[lane] +
                      at(first + 1, lane) * vector[1].at[lane] +
                      at(first + 2, lane) * vector[2].at[lane];
  }

  static G2VLM_INLINE void add(const Lanes<T>& a, const Lanes<T>& b, Lanes<T>& sum) {
    for (int lane = 0; lane < kLanes; ++lane) sum.at[lane] += a.at[lane] * b.at[lane];
  }
  static G2VLM_INLINE void subtract(const Lanes<T>& a, const Lanes<T>& b, Lanes<T>& sum) {
    for (int lane = 0; lane < kLanes; ++lane) sum.at[lane] -= a.at[lane] * b.at[lane];
  }

  G2VLM_INLINE Lanes<T> gaussian(int32_t precision, const Lanes<T>& square) const {
    Lanes<T> value;
    for (int lane = 0; lane < kLanes; ++lane)
      value.at[lane] = exponential_or_infinity(-at(precision, lane) * square.at[lane]);
    return value;
  }

  // The m-th radial basis function without its weight, and `offset` = length - center.
  G2VLM_INLINE Lanes<T> basis_function(const BiasTerms& terms, int32_t m, const Lanes<T>& length,
                                       Lanes<T>& offset) const {
    const int32_t center = terms.radial_basis + terms.num_radial_basis + m;
    const int32_t precision = center + terms.num_radial_basis;
    Lanes<T> value;
    for (int lane = 0; lane < kLanes; ++lane) {
      offset.at[lane] = length.at[lane] - at(center, lane);
      value.at[lane] =
          exponential_or_infinity(-at(precision, lane) * offset.at[lane] * offset.at[lane]);
    }
    return value;
  }
};

template <class T>
inline const T* position_of(const GeometryAttentionProblem<T>& p, int64_t query, int32_t head) {
  return p.q_position + (p.position_per_head ? query * p.num_heads + head : query) * 3;
}

template <class T>
G2VLM_INLINE BiasRow<T, T> bias_row_of(const GeometryAttentionProblem<T>& p, int64_t query,
                                       int32_t head) {
  const int64_t row = query * p.num_heads + head;
  return {p.q_gate == nullptr ? T{1} : p.q_gate[row],
          p.bias_parameters + (p.parameters_per_row ? row : head) * p.terms.num_parameters};
}

// The geometry of a block of queries.
template <class T>
struct QueryGeometry {
  Lanes<T> position[3], gate, parameter[kMaxParameters];

  G2VLM_INLINE BiasRow<T, Lanes<T>> bias_row() const { return {gate, parameter}; }

  G2VLM_INLINE void gather(const GeometryAttentionProblem<T>& p, int64_t begin, int64_t end,
                           int32_t head) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const int64_t query = std::min(begin + lane, end - 1);
      const T* point = position_of(p, query, head);
      for (int axis = 0; axis < 3; ++axis) position[axis].at[lane] = point[axis];
      const BiasRow<T, T> own = bias_row_of(p, query, head);
      gate.at[lane] = own.gate;
      for (int32_t column = 0; column < p.terms.num_parameters; ++column)
        parameter[column].at[lane] = own.parameter[column];
    }
  }
};

}  // namespace g2vlm::lanes
