// What the forward and backward CPU kernels of geometry_attention share.
//
// A block is up to kLanes rows of one side (queries, or keys), transposed once so that every inner
// loop runs over its lanes; the rows of the other side are read where they lie and broadcast.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "g2vlm/geometry_attention.h"

#if defined(__GNUC__)
#define G2VLM_INLINE inline __attribute__((always_inline))
#else
#define G2VLM_INLINE inline
#endif

// Compiles `name(arguments)` for the instruction sets that change its speed and picks at run time.
#if defined(__GNUC__) && defined(__x86_64__)
#define G2VLM_DISPATCH(name, declaration, call)                                                  \
  __attribute__((target("avx512f,avx512dq,avx512vl,avx2,fma"))) void name##_avx512 declaration { \
    call;                                                                                        \
  }                                                                                              \
  __attribute__((target("avx2,fma"))) void name##_avx2 declaration {                             \
    call;                                                                                        \
  }                                                                                              \
  void name##_baseline declaration {                                                             \
    call;                                                                                        \
  }
#define G2VLM_SELECT(name)                                                                  \
  (__builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") ? name##_avx512 \
   : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")        ? name##_avx2   \
                                                                            : name##_baseline)
#else
#define G2VLM_DISPATCH(name, declaration, call) \
  void name##_baseline declaration {            \
    call;                                       \
  }
#define G2VLM_SELECT(name) name##_baseline
#endif

namespace g2vlm::lanes {

constexpr int kLanes = 16;
constexpr int kTile = 32;   // rows of the other side that are visited together
constexpr int kUnroll = 4;  // divides kTile

template <class T>
struct alignas(64) Lanes {
  T at[kLanes];
};

// exp(x) for x <= 88, to 2 ulp, and exactly 0 far below; branch-free, so that loops of it
// vectorise.
G2VLM_INLINE float exponential(float x) {
  const float shifted = x * 1.44269504088896341f + 12582912.f;
  const float n = shifted - 12582912.f;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float y = 1.9875691500e-4f;
  y = y * r + 1.3981999507e-3f;
  y = y * r + 8.3334519073e-3f;
  y = y * r + 4.1665795894e-2f;
  y = y * r + 1.6666665459e-1f;
  y = y * r + 5.0000001201e-1f;
  y = (y * r) * r + r + 1.f;
  int32_t bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  bits = static_cast<int32_t>(static_cast<uint32_t>(bits - 0x4B400000 + 127) << 23);
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return x < -87.f ? 0.f : y * power;
}
G2VLM_INLINE double exponential(double x) {
  return std::exp(x);
}

// Rows [begin, end) of one segment of this side, and the segment's rows on the other side.
struct Block {
  int64_t begin, end, segment_end;
  int64_t other_begin, other_end;
};

// An upper bound of the number of blocks that packed segments need: `block_at` gives the block of
// segment b that begins at row r the number r / kLanes + b, and other numbers are empty.
inline int64_t num_blocks(int64_t rows, int32_t segments) {
  return rows / kLanes + segments;
}

inline Block block_at(int64_t number, const int32_t* offsets, const int32_t* other_offsets,
                      int64_t rows, int64_t other_rows, int32_t segments) {
  int32_t low = 0, high = segments - 1;
  while (low < high && offsets != nullptr) {
    const int32_t middle = low + (high - low + 1) / 2;
    if (offsets[middle] / kLanes + middle <= number) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  const int64_t first = offsets == nullptr ? 0 : offsets[low];
  Block block;
  block.segment_end = offsets == nullptr ? rows : offsets[low + 1];
  block.begin = first + (number - first / kLanes - low) * kLanes;
  block.end = std::min(block.begin + kLanes, block.segment_end);
  block.other_begin = other_offsets == nullptr ? 0 : other_offsets[low];
  block.other_end = other_offsets == nullptr ? other_rows : other_offsets[low + 1];
  return block;
}

// packed[d].at[lane] = factor * rows[lane][d]; lanes past the last row repeat it.
template <class T>
G2VLM_INLINE void pack(const T* rows, int64_t stride, int count, int dim, T factor,
                       Lanes<T>* packed) {
  for (int lane = 0; lane < kLanes; ++lane) {
    const T* row = rows + std::min(lane, count - 1) * stride;
    for (int d = 0; d < dim; ++d) packed[d].at[lane] = factor * row[d];
  }
}

template <class T>
G2VLM_INLINE void unpack(const Lanes<T>* packed, int count, int dim, T* rows, int64_t stride) {
  for (int lane = 0; lane < count; ++lane)
    for (int d = 0; d < dim; ++d) rows[lane * stride + d] = packed[d].at[lane];
}

template <class T>
G2VLM_INLINE Lanes<T> load(const T* values, int64_t stride, int count) {
  Lanes<T> lanes;
  for (int lane = 0; lane < kLanes; ++lane)
    lanes.at[lane] = values[std::min(lane, count - 1) * stride];
  return lanes;
}

template <class T>
G2VLM_INLINE void fill(Lanes<T>* lanes, int count, T value) {
  for (int i = 0; i < count; ++i)
    for (int lane = 0; lane < kLanes; ++lane) lanes[i].at[lane] = value;
}

// out[r] = sum_d rows[r][d] * packed[d] for up to kTile rows.
template <class T>
G2VLM_INLINE void dot_rows(const T* rows, int64_t stride, int count, const Lanes<T>* packed,
                           int dim, Lanes<T>* out) {
  for (int r = 0; r < count; r += kUnroll) {
    const T* row[kUnroll];
    T sum[kUnroll][kLanes] = {};
    for (int u = 0; u < kUnroll; ++u) row[u] = rows + std::min(r + u, count - 1) * stride;
    for (int d = 0; d < dim; ++d)
      for (int u = 0; u < kUnroll; ++u)
        for (int lane = 0; lane < kLanes; ++lane) sum[u][lane] += row[u][d] * packed[d].at[lane];
    for (int u = 0; u < kUnroll; ++u)
      for (int lane = 0; lane < kLanes; ++lane) out[r + u].at[lane] = sum[u][lane];
  }
}

// accumulator[d] += sum_r rows[r][d] * weight[r].
template <class T>
G2VLM_INLINE void accumulate_rows(const T* rows, int64_t stride, int count, const Lanes<T>* weight,
                                  int dim, Lanes<T>* accumulator) {
  for (int d = 0; d < dim; d += kUnroll) {
    int column[kUnroll];
    T sum[kUnroll][kLanes] = {};
    for (int u = 0; u < kUnroll; ++u) column[u] = std::min(d + u, dim - 1);
    for (int r = 0; r < count; ++r)
      for (int u = 0; u < kUnroll; ++u)
        for (int lane = 0; lane < kLanes; ++lane)
          sum[u][lane] += rows[r * stride + column[u]] * weight[r].at[lane];
    for (int u = 0; u < kUnroll && d + u < dim; ++u)
      for (int lane = 0; lane < kLanes; ++lane) accumulator[d + u].at[lane] += sum[u][lane];
  }
}

// k_position - q_position, with one of the two the same in every lane.
template <class T>
struct Difference {
  Lanes<T> x, y, z, square;

  G2VLM_INLINE void square_up() {
    for (int lane = 0; lane < kLanes; ++lane)
      square.at[lane] = x.at[lane] * x.at[lane] + y.at[lane] * y.at[lane] + z.at[lane] * z.at[lane];
  }
  G2VLM_INLINE void to_key(const T* key, const Lanes<T>* query) {
    for (int lane = 0; lane < kLanes; ++lane) {
      x.at[lane] = key[0] - query[0].at[lane];
      y.at[lane] = key[1] - query[1].at[lane];
      z.at[lane] = key[2] - query[2].at[lane];
    }
    square_up();
  }
  G2VLM_INLINE void from_query(const T* query, const Lanes<T>* key) {
    for (int lane = 0; lane < kLanes; ++lane) {
      x.at[lane] = key[0].at[lane] - query[0];
      y.at[lane] = key[1].at[lane] - query[1];
      z.at[lane] = key[2].at[lane] - query[2];
    }
    square_up();
  }
};

template <class T>
G2VLM_INLINE T value_at(const Lanes<T>& lanes, int lane) {
  return lanes.at[lane];
}
template <class T>
G2VLM_INLINE T value_at(const T& value, int) {
  return value;
}

// The bias parameters of one head times the gate of one query: of each lane (C = Lanes<T>), or of
// all lanes (C = T).
template <class T, class C>
struct Slopes {
  C gate, distance, square, x, y, z;

  // value += bias
  G2VLM_INLINE void add_bias(const BiasTerms& terms, const Difference<T>& difference,
                             Lanes<T>& value) const {
    Lanes<T> bias{};
    if (terms.distance >= 0) {
      const T eps_square = static_cast<T>(terms.eps * terms.eps);
      for (int lane = 0; lane < kLanes; ++lane)
        bias.at[lane] -=
            value_at(distance, lane) * std::sqrt(difference.square.at[lane] + eps_square);
    }
    if (terms.squared_distance >= 0)
      for (int lane = 0; lane < kLanes; ++lane)
        bias.at[lane] -= value_at(square, lane) * difference.square.at[lane];
    if (terms.direction >= 0)
      for (int lane = 0; lane < kLanes; ++lane)
        bias.at[lane] += value_at(x, lane) * difference.x.at[lane] +
                         value_at(y, lane) * difference.y.at[lane] +
                         value_at(z, lane) * difference.z.at[lane];
    for (int lane = 0; lane < kLanes; ++lane)
      value.at[lane] += value_at(gate, lane) == 0 ? 0 : bias.at[lane];
  }

  // gradient[axis] += sign * grad_score * d bias / d difference[axis]
  G2VLM_INLINE void add_position_gradient(const BiasTerms& terms, const Difference<T>& difference,
                                          const Lanes<T>& grad_score, T sign,
                                          Lanes<T>* gradient) const {
    Lanes<T> radial{};
    if (terms.distance >= 0) {
      const T eps_square = static_cast<T>(terms.eps * terms.eps);
      for (int lane = 0; lane < kLanes; ++lane)
        radial.at[lane] -=
            value_at(distance, lane) / std::sqrt(difference.square.at[lane] + eps_square);
    }
    if (terms.squared_distance >= 0)
      for (int lane = 0; lane < kLanes; ++lane) radial.at[lane] -= 2 * value_at(square, lane);
    for (int lane = 0; lane < kLanes; ++lane) {
      const bool biased = value_at(gate, lane) != 0;
      const T grad = sign * grad_score.at[lane];
      const T pull = radial.at[lane];
      gradient[0].at[lane] +=
          biased ? grad * (pull * difference.x.at[lane] + value_at(x, lane)) : 0;
      gradient[1].at[lane] +=
          biased ? grad * (pull * difference.y.at[lane] + value_at(y, lane)) : 0;
      gradient[2].at[lane] +=
          biased ? grad * (pull * difference.z.at[lane] + value_at(z, lane)) : 0;
    }
  }
};

template <class T>
G2VLM_INLINE Slopes<T, T> slopes_of(const GeometryAttentionProblem<T>& p, int64_t query,
                                    int32_t head) {
  const T* parameters = p.bias_parameters + int64_t{head} * p.terms.num_parameters;
  const T gate = p.q_gate == nullptr ? T{1} : p.q_gate[query * p.num_heads + head];
  const auto parameter = [&](int32_t first, int32_t offset) {
    return first < 0 ? T{0} : gate * parameters[first + offset];
  };
  return {gate,
          parameter(p.terms.distance, 0),
          parameter(p.terms.squared_distance, 0),
          parameter(p.terms.direction, 0),
          parameter(p.terms.direction, 1),
          parameter(p.terms.direction, 2)};
}

template <class T>
inline const T* position_of(const GeometryAttentionProblem<T>& p, int64_t query, int32_t head) {
  return p.q_position + (p.position_per_head ? query * p.num_heads + head : query) * 3;
}

// The geometry of a block of queries.
template <class T>
struct QueryGeometry {
  Lanes<T> position[3];
  Slopes<T, Lanes<T>> slopes;

  G2VLM_INLINE void gather(const GeometryAttentionProblem<T>& p, const Block& block, int32_t head) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const int64_t query = std::min(block.begin + lane, block.end - 1);
      const T* point = position_of(p, query, head);
      for (int axis = 0; axis < 3; ++axis) position[axis].at[lane] = point[axis];
      const Slopes<T, T> own = slopes_of(p, query, head);
      slopes.gate.at[lane] = own.gate;
      slopes.distance.at[lane] = own.distance;
      slopes.square.at[lane] = own.square;
      slopes.x.at[lane] = own.x;
      slopes.y.at[lane] = own.y;
      slopes.z.at[lane] = own.z;
    }
  }
};

template <class T>
inline bool has_bias(const GeometryAttentionProblem<T>& p) {
  return p.terms.num_parameters > 0;
}

// Scores of a block of queries against keys [first, first + count), hidden keys at -infinity.
template <class T>
G2VLM_INLINE void score_keys(const GeometryAttentionProblem<T>& p, const Block& block, int32_t head,
                             int64_t first, int count, const Lanes<T>* packed_q,
                             const QueryGeometry<T>& geometry, Lanes<T>* score) {
  const int64_t stride = int64_t{p.num_kv_heads} * p.dim;
  const int32_t kv_head = head / (p.num_heads / p.num_kv_heads);
  dot_rows(p.k + first * stride + int64_t{kv_head} * p.dim, stride, count, packed_q, p.dim, score);
  if (has_bias(p)) {
    Difference<T> difference;
    for (int r = 0; r < count; ++r) {
      difference.to_key(p.k_position + (first + r) * 3, geometry.position);
      geometry.slopes.add_bias(p.terms, difference, score[r]);
    }
  }
  if (p.causal) {
    for (int r = 0; r < count; ++r) {
      const int64_t first_query = block.segment_end - block.other_end + first + r;
      for (int lane = 0; lane < kLanes; ++lane)
        if (block.begin + lane < first_query)
          score[r].at[lane] = -std::numeric_limits<T>::infinity();
    }
  }
}

// One past the last key that any query of the block sees.
template <class T>
inline int64_t visible_end(const GeometryAttentionProblem<T>& p, const Block& block) {
  return p.causal ? block.other_end - (block.segment_end - block.end) : block.other_end;
}

// Blocks that one thread takes at a time: about 2^20 multiply-adds, so that small problems stay on
// the calling thread.
inline int64_t blocks_per_piece(int64_t blocks, int64_t other_rows, int64_t dim) {
  const int64_t work = std::max<int64_t>(1, kLanes * other_rows * dim);
  return std::clamp<int64_t>((int64_t{1} << 20) / work, 1, std::max<int64_t>(blocks, 1));
}

}  // namespace g2vlm::lanes
