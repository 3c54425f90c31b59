#include "g2vlm/geometry_attention.h"

#include "g2vlm/parallel.h"
#include "geometry_attention_blocks.h"

namespace g2vlm {
namespace {

using namespace lanes;

// The weighted mean of key positions and the weighted sum of squared distances to it, merged tile
// by tile (Chan, Golub and LeVeque, 1983). Positions count from the first key that is visible, so
// that neither a far origin nor sharp attention loses digits.
template <class T>
struct PositionMoments {
  Lanes<T> mean[3], square;
  const T* center = nullptr;

  G2VLM_INLINE void rescale(const Lanes<T>& factor) {
    for (int lane = 0; lane < kLanes; ++lane) square.at[lane] *= factor.at[lane];
  }

  // `total` is the weight of all tiles before this one.
  G2VLM_INLINE void merge(const T* positions, int keys, const Lanes<T>* weight,
                          const Lanes<T>& total) {
    if (center == nullptr) center = positions;
    Lanes<T> tile_total{}, tile_mean[3]{}, tile_square{};
    for (int r = 0; r < keys; ++r) {
      for (int axis = 0; axis < 3; ++axis) {
        const T coordinate = positions[r * 3 + axis] - center[axis];
        for (int lane = 0; lane < kLanes; ++lane)
          tile_mean[axis].at[lane] += coordinate * weight[r].at[lane];
      }
      for (int lane = 0; lane < kLanes; ++lane) tile_total.at[lane] += weight[r].at[lane];
    }
    for (int axis = 0; axis < 3; ++axis)
      for (int lane = 0; lane < kLanes; ++lane)
        tile_mean[axis].at[lane] /= tile_total.at[lane] == 0 ? T{1} : tile_total.at[lane];
    for (int r = 0; r < keys; ++r)
      for (int axis = 0; axis < 3; ++axis) {
        const T coordinate = positions[r * 3 + axis] - center[axis];
        for (int lane = 0; lane < kLanes; ++lane) {
          const T offset = coordinate - tile_mean[axis].at[lane];
          tile_square.at[lane] += offset * offset * weight[r].at[lane];
        }
      }
    for (int lane = 0; lane < kLanes; ++lane) {
      const T whole = total.at[lane] + tile_total.at[lane];
      const T share = tile_total.at[lane] / (whole == 0 ? T{1} : whole);
      T apart = 0;
      for (int axis = 0; axis < 3; ++axis) {
        const T step = tile_mean[axis].at[lane] - mean[axis].at[lane];
        mean[axis].at[lane] += step * share;
        apart += step * step;
      }
      square.at[lane] += tile_square.at[lane] + apart * total.at[lane] * share;
    }
  }
};

template <class T>
G2VLM_INLINE void attend(const GeometryAttentionProblem<T>& p, const GeometryAttentionResult<T>& o,
                         const Block& block, int32_t head, Lanes<T>* packed_q, Lanes<T>* sum) {
  constexpr T kInfinity = std::numeric_limits<T>::infinity();
  const int count = static_cast<int>(block.end - block.begin);
  const int64_t q_stride = int64_t{p.num_heads} * p.dim;
  const int64_t k_stride = int64_t{p.num_kv_heads} * p.dim;
  const int32_t kv_head = head / (p.num_heads / p.num_kv_heads);
  const int64_t first_row = block.begin * p.num_heads + head;
  pack(p.q + first_row * p.dim, q_stride, count, p.dim, static_cast<T>(p.scale), packed_q);
  QueryGeometry<T> geometry;
  if (p.terms.any()) geometry.gather(p, block.begin, block.end, head);
  PositionMoments<T> moments{};
  const Dropout<T> dropout(p);
  fill(sum, p.dim, T{0});
  Lanes<T> highest, total, score[kTile];
  fill(&highest, 1, -kInfinity);
  fill(&total, 1, T{0});
  const int64_t end = visible_end(p, block);
  Tile tile;
  for (int64_t next = block.other_begin; tile.take(next, end, p.k_mask);) {
    score_keys(p, block, head, tile, packed_q, geometry, score);
    Lanes<T> raised = highest, shift, decay;
    for (int r = 0; r < tile.count; ++r)
      for (int lane = 0; lane < kLanes; ++lane)
        raised.at[lane] = score[r].at[lane] > raised.at[lane] ? score[r].at[lane] : raised.at[lane];
    for (int lane = 0; lane < kLanes; ++lane)
      shift.at[lane] = raised.at[lane] == -kInfinity ? 0 : raised.at[lane];
    for (int lane = 0; lane < kLanes; ++lane)
      decay.at[lane] = exponential(highest.at[lane] - shift.at[lane]);
    for (int lane = 0; lane < kLanes; ++lane) total.at[lane] *= decay.at[lane];
    for (int d = 0; d < p.dim; ++d)
      for (int lane = 0; lane < kLanes; ++lane) sum[d].at[lane] *= decay.at[lane];
    highest = raised;
    for (int r = 0; r < tile.count; ++r)
      for (int lane = 0; lane < kLanes; ++lane)
        score[r].at[lane] = exponential(score[r].at[lane] - shift.at[lane]);
    if (o.mean != nullptr) {
      moments.rescale(decay);
      moments.merge(p.k_position + tile.first * 3, tile.count, score, total);
    }
    for (int r = 0; r < tile.count; ++r)
      for (int lane = 0; lane < kLanes; ++lane) total.at[lane] += score[r].at[lane];
    if (dropout.active())
      for (int r = 0; r < tile.count; ++r)
        dropout.drop_queries(tile.first + r, block.begin, head, score[r]);
    accumulate_rows(p.v + tile.first * k_stride + int64_t{kv_head} * p.dim, k_stride, tile.count,
                    score, p.dim, sum);
  }
  for (int d = 0; d < p.dim; ++d)
    for (int lane = 0; lane < kLanes; ++lane)
      sum[d].at[lane] = total.at[lane] == 0 ? 0 : sum[d].at[lane] / total.at[lane];
  unpack(sum, count, p.dim, o.out + first_row * p.dim, q_stride);
  for (int lane = 0; lane < count; ++lane) {
    const int64_t row = first_row + int64_t{lane} * p.num_heads;
    const bool blind = total.at[lane] == 0;
    o.lse[row] = blind ? -kInfinity : highest.at[lane] + std::log(total.at[lane]);
    if (o.mean == nullptr) continue;
    for (int axis = 0; axis < 3; ++axis)
      o.mean[row * 3 + axis] = blind ? 0 : moments.mean[axis].at[lane] + moments.center[axis];
    o.variance[row] = blind ? 0 : moments.square.at[lane] / total.at[lane];
  }
}

#define G2VLM_ATTEND(T)                                                                      \
  G2VLM_DISPATCH(attend_##T,                                                                 \
                 (const GeometryAttentionProblem<T>& p, const GeometryAttentionResult<T>& o, \
                  const Block& block, int32_t head, Lanes<T>* packed_q, Lanes<T>* sum),      \
                 attend(p, o, block, head, packed_q, sum))                                   \
  auto select_attend(T) {                                                                    \
    return G2VLM_SELECT(attend_##T);                                                         \
  }
G2VLM_ATTEND(float)
G2VLM_ATTEND(double)

}  // namespace

template <class T>
void geometry_attention_cpu(const GeometryAttentionProblem<T>& p,
                            const GeometryAttentionResult<T>& result, int threads) {
  static const auto run = select_attend(T{});
  const int64_t blocks = num_blocks(p.num_queries, p.num_segments) * p.num_heads;
  const int64_t grain = blocks_per_piece(blocks, p.num_keys / p.num_segments, p.dim);
  parallel_for(blocks, grain, threads, [&](int64_t begin, int64_t end) {
    std::vector<Lanes<T>> scratch(2 * p.dim);
    for (int64_t i = begin; i < end; ++i) {
      const Block block = block_at(i / p.num_heads, p.q_offsets, p.k_offsets, p.num_queries,
                                   p.num_keys, p.num_segments);
      if (block.begin < block.end)
        run(p, result, block, static_cast<int32_t>(i % p.num_heads), scratch.data(),
            scratch.data() + p.dim);
    }
  });
}

template void geometry_attention_cpu(const GeometryAttentionProblem<float>&,
                                     const GeometryAttentionResult<float>&, int);
template void geometry_attention_cpu(const GeometryAttentionProblem<double>&,
                                     const GeometryAttentionResult<double>&, int);

}  // namespace g2vlm
