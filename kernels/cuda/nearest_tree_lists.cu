#include "nearest_tree_list.cuh"
#include "nearest_tree_search.cuh"

namespace g2vlm {
namespace {

constexpr int kThreads = 128;

// A warp a point: its neighbours from the place `first` on, up to 32.
template <int kNorm>
__global__ void __launch_bounds__(kThreads)
    search_list(const __grid_constant__ Pair pair, const __grid_constant__ NearestProblem<float> p,
                int32_t first) {
  const Tree &from = pair.tree[0], &to = pair.tree[1];
  const int lane = threadIdx.x % kFanout;
  const int64_t slot = int64_t{blockIdx.x} * (kThreads / kFanout) + threadIdx.x / kFanout;
  const int64_t leaf = slot / kFanout;
  if (leaf >= from.leaves()) return;
  const int32_t segment = from.segment_of(0, leaf);
  if (slot - from.start(0, segment) * kFanout >= from.points_of(segment)) return;
  const float4 query = from.sorted[slot];
  float* distance = p.distance + int64_t{__float_as_int(query.w)} * p.k;
  int32_t* index = p.index + int64_t{__float_as_int(query.w)} * p.k;
  const uint64_t limit = pair_key(__float_as_uint(p.max_distance), kNoRow);
  const int places = min(p.k - first, kFanout);
  uint64_t begin = 0;
  if (first > 0) {
    const int32_t last = index[first - 1];
    begin = last < 0 ? limit : pair_key(__float_as_uint(distance[first - 1]), last) + 1;
  }
  ListSearch<kNorm> found(to, query, places, begin, limit);
  if (is_known(query) && begin < limit) walk(to, segment, found);
  if (lane >= places) return;
  const uint64_t key = found.kept();
  distance[first + lane] = !is_known(query) ? NAN
                           : key < limit    ? __uint_as_float(static_cast<uint32_t>(key >> 32))
                                            : INFINITY;
  index[first + lane] = is_known(query) && key < limit ? static_cast<int32_t>(key) : -1;
}

}  // namespace

void search_lists(const Pair& pair, const NearestProblem<float>& problem, cudaStream_t stream) {
  NearestProblem<float> p = problem;
  p.max_distance += 0.0F;  // -0 has the bits of a huge number
  const auto kernel = p.norm == 1 ? search_list<1> : search_list<2>;
  const unsigned blocks = blocks_for(pair.tree[0].leaves() * kFanout, kThreads / kFanout);
  for (int32_t first = 0; first < p.k; first += kFanout)
    kernel<<<blocks, kThreads, 0, stream>>>(pair, p, first);
  check_cuda(cudaGetLastError(), "nearest");
}

}  // namespace g2vlm
