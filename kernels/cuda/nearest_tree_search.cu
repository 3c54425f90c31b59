#include "common.cuh"
#include "nearest_tree_leaf.cuh"
#include "nearest_tree_point.cuh"
#include "nearest_tree_search.cuh"

namespace g2vlm {
namespace {

constexpr int kSearchThreads = 128;
constexpr unsigned kScatteredBlocks = 1024;

// Where a point's result goes.
__device__ void write(const Neighbours& results, int cloud, float4 query, int32_t row,
                      float distance) {
  const int32_t own_row = __float_as_int(query.w);
  if (own_row == kNoRow) return;
  const bool unknown = !is_known(query);
  results.index[cloud][own_row] = unknown ? -1 : row;
  results.distance[cloud][own_row] = unknown ? NAN : row < 0 ? INFINITY : distance;
}

// A warp a leaf of the queries; the leaves of both clouds where both are searched for.
__global__ void __launch_bounds__(kSearchThreads)
    search(const __grid_constant__ Pair pair, const __grid_constant__ Neighbours results,
           uint32_t limit, Scattered scattered) {
  __shared__ float4 tiles[kSearchThreads / 32][kFanout];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int64_t number = int64_t{blockIdx.x} * (kSearchThreads / 32) + warp;
  const int cloud = number >= pair.tree[0].leaves();
  const int64_t leaf = number - cloud * pair.tree[0].leaves();
  const Tree &from = pair.tree[cloud], &to = pair.tree[1 - cloud];
  if (results.distance[cloud] == nullptr || leaf >= from.leaves()) return;
  const int32_t segment = from.segment_of(0, leaf);
  if ((leaf - from.start(0, segment)) * kFanout >= from.points_of(segment)) return;
  const float4 query = from.sorted[leaf * kFanout + lane];
  LeafSearch found(to, tiles[warp], query, limit);
  if (found.run(segment)) {
    write(results, cloud, query, found.row(), found.distance());
    return;
  }
  if (__float_as_int(query.w) != kNoRow)
    results.distance[cloud][__float_as_int(query.w)] = found.distance();
  if (lane == 0) scattered.leaves[atomicAdd(scattered.count, 1)] = static_cast<uint32_t>(number);
}

// A warp a point of the scattered leaves, from the bound that is in its place.
__global__ void __launch_bounds__(kSearchThreads)
    search_scattered(const __grid_constant__ Pair pair, const __grid_constant__ Neighbours results,
                     uint32_t limit, Scattered scattered) {
  const int64_t points = int64_t{*scattered.count} * kFanout;
  const int64_t warps = int64_t{gridDim.x} * (kSearchThreads / 32);
  for (int64_t i = int64_t{blockIdx.x} * (kSearchThreads / 32) + threadIdx.x / 32; i < points;
       i += warps) {
    const int64_t number = scattered.leaves[i / kFanout];
    const int cloud = number >= pair.tree[0].leaves();
    const int64_t leaf = number - cloud * pair.tree[0].leaves();
    const Tree &from = pair.tree[cloud], &to = pair.tree[1 - cloud];
    const float4 query = from.sorted[leaf * kFanout + i % kFanout];
    const int32_t own_row = __float_as_int(query.w);
    if (own_row == kNoRow) continue;
    const uint32_t bound = __float_as_uint(results.distance[cloud][own_row]);
    PointSearch found(to, query, min(bound + 1, limit));
    if (is_known(query)) walk(to, from.segment_of(0, leaf), found);
    if (threadIdx.x % 32 == 0) write(results, cloud, query, found.row(), found.distance());
  }
}

}  // namespace

TreeSearch::TreeSearch(int64_t leaves, uint32_t* counter, Workspace& scratch)
    : scattered_{counter, scratch.take<uint32_t>(leaves)} {}

void TreeSearch::run(const Pair& pair, const Neighbours& results, float max_distance,
                     cudaStream_t stream) const {
  const uint32_t limit = limit_of(max_distance);
  const int64_t leaves =
      pair.tree[0].leaves() + (results.distance[1] == nullptr ? 0 : pair.tree[1].leaves());
  search<<<blocks_for(leaves, kSearchThreads / 32), kSearchThreads, 0, stream>>>(pair, results,
                                                                                 limit, scattered_);
  search_scattered<<<kScatteredBlocks, kSearchThreads, 0, stream>>>(pair, results, limit,
                                                                    scattered_);
  check_cuda(cudaGetLastError(), "nearest");
}

}  // namespace g2vlm
