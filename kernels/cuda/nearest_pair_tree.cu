// Nearest neighbours of large clouds: sort both along a Hilbert curve, put boxes over them, search.
#include <algorithm>
#include <cub/device/device_radix_sort.cuh>

#include "common.cuh"
#include "g2vlm/nearest_pair.h"
#include "hilbert.cuh"
#include "nearest_tree.cuh"
#include "nearest_tree_search.cuh"
#include "workspace.cuh"

namespace g2vlm {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kSearchThreads = 128;
constexpr int64_t kBoundingBlocks = 1024;
constexpr int kKeyBits = 48;      // a multiple of the 8 bits that a pass of the sort takes
constexpr int kMaxGridBits = 16;  // an axis
constexpr int kCorners = 6;       // numbers of a box

// Both clouds, on the device.
struct Pair {
  Tree tree[2];

  __device__ int64_t rows() const { return tree[0].length() + tree[1].length(); }
  // Where the points of a segment of a cloud begin among the sorted keys.
  __device__ int64_t sorted_begin(int cloud, int32_t segment) const {
    const Segments &a = tree[0].segments, &b = tree[1].segments;
    const int64_t before = a.begin(segment) - a.begin(0) + b.begin(segment) - b.begin(0);
    return cloud == 0 ? before : before + a.end(segment) - a.begin(segment);
  }
};

// Makes offsets that never fall and stay in range out of any offsets; a block a cloud.
struct Offsets {
  const int32_t* given[2];
  int32_t* clean[2];
  int64_t length[2];
  int32_t count;
};
__global__ void __launch_bounds__(1024) clean_offsets(const __grid_constant__ Offsets o) {
  __shared__ int32_t largest[1024];
  const int cloud = blockIdx.x, thread = threadIdx.x;
  const int32_t each = (o.count + 1023) / 1024;
  const int32_t begin = min(thread * each, o.count), end = min(begin + each, o.count);
  const auto valid = [&](int32_t i) {
    return static_cast<int32_t>(min(max(int64_t{o.given[cloud][i]}, int64_t{0}), o.length[cloud]));
  };
  int32_t most = 0;
  for (int32_t i = begin; i < end; ++i) most = max(most, valid(i));
  largest[thread] = most;
  for (int stride = 1; stride < 1024; stride *= 2) {
    __syncthreads();
    const int32_t other = thread >= stride ? largest[thread - stride] : 0;
    __syncthreads();
    largest[thread] = max(largest[thread], other);
  }
  __syncthreads();
  most = thread == 0 ? 0 : largest[thread - 1];
  for (int32_t i = begin; i < end; ++i) o.clean[cloud][i] = most = max(most, valid(i));
}

// The box of the finite points of each segment, both clouds together: minima of the ordered
// coordinates and of the ordered negated ones, which start as all ones. A block takes `rows` rows.
__global__ void __launch_bounds__(kThreads)
    bound_segments(const __grid_constant__ Pair pair, uint32_t* corners, int64_t rows) {
  __shared__ uint32_t of_warps[kWarps][kCorners];
  const Tree& tree = pair.tree[blockIdx.y];
  const int64_t first = blockIdx.x * rows, end = min(first + rows, tree.length());
  if (first >= end) return;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int32_t last_segment = tree.segments.of(end - 1);
  for (int32_t segment = tree.segments.of(first); segment <= last_segment; ++segment) {
    const int64_t stop = min(end, tree.segments.end(segment));
    uint32_t least[kCorners];
    for (uint32_t& each : least) each = kAllLanes;
    for (int64_t row = max(first, tree.segments.begin(segment)) + threadIdx.x; row < stop;
         row += kThreads) {
#pragma unroll
      for (int axis = 0; axis < 3; ++axis) {
        const float value = tree.points[row * 3 + axis];
        least[axis] = min(least[axis], isfinite(value) ? ordered(value) : kAllLanes);
        least[axis + 3] = min(least[axis + 3], isfinite(value) ? ordered(-value) : kAllLanes);
      }
    }
#pragma unroll
    for (int corner = 0; corner < kCorners; ++corner) {
      const uint32_t of_warp = __reduce_min_sync(kAllLanes, least[corner]);
      if (lane == 0) of_warps[warp][corner] = of_warp;
    }
    __syncthreads();
    if (threadIdx.x < kCorners) {
      uint32_t of_block = kAllLanes;
      for (const auto& of_warp : of_warps) of_block = min(of_block, of_warp[threadIdx.x]);
      atomicMin(corners + int64_t{segment} * kCorners + threadIdx.x, of_block);
    }
    __syncthreads();
  }
}

// The grid over a segment: cubes, as many along its longest side as fit. Halves keep the
// extents of huge coordinates finite.
struct Grid {
  float begin[3];
  float scale;
  float last;

  __device__ Grid(const uint32_t* corners, int bits) : last((1U << bits) - 1) {
    float extent = 0.0F;
#pragma unroll
    for (int axis = 0; axis < 3; ++axis) {
      begin[axis] = 0.5F * from_ordered(corners[axis]);
      extent = fmaxf(extent, -0.5F * from_ordered(corners[axis + 3]) - begin[axis]);
    }
    scale = last / extent;
  }
  // What is no number, or has no grid, goes to an end of it.
  __device__ uint32_t cell(int axis, float value) const {
    return static_cast<uint32_t>(fminf(fmaxf((0.5F * value - begin[axis]) * scale, 0.0F), last));
  }
};

// A thread a point: (segment, cloud, position on the curve), rows that no segment covers last.
__global__ void __launch_bounds__(kThreads)
    make_keys(const __grid_constant__ Pair pair, const uint32_t* corners, int bits, uint64_t* keys,
              uint32_t* rows, const __grid_constant__ NearestPairProblem problem) {
  const int64_t item = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (item >= pair.rows()) return;
  const int cloud = item >= pair.tree[0].length();
  const Tree& tree = pair.tree[cloud];
  const int64_t row = item - cloud * pair.tree[0].length();
  const int32_t segment = tree.segments.of(row);
  rows[item] = static_cast<uint32_t>(row);
  if (!tree.segments.covers(segment, row)) {
    keys[item] = uint64_t{2} * tree.segments.count << 3 * bits;
    if (problem.distance[cloud] != nullptr) {
      problem.distance[cloud][row] = NAN;
      problem.index[cloud][row] = -1;
    }
    return;
  }
  const Grid grid(corners + int64_t{segment} * kCorners, bits);
  const float* point = tree.points + row * 3;
  const uint64_t position = hilbert_position(grid.cell(0, point[0]), grid.cell(1, point[1]),
                                             grid.cell(2, point[2]), bits);
  const uint64_t place = 2 * static_cast<uint64_t>(segment) + cloud;
  keys[item] = place << 3 * bits | position;
}

__device__ void write_box(Box* box, float4 low, float4 high, int32_t row, bool writes) {
  const float3 least = {warp_min(low.x), warp_min(low.y), warp_min(low.z)};
  const float3 most = {warp_max(high.x), warp_max(high.y), warp_max(high.z)};
  const int32_t lowest = __reduce_min_sync(kAllLanes, row);
  if (!writes) return;
  box->low = {least.x, least.y, least.z, __int_as_float(lowest)};
  box->high = {most.x, most.y, most.z, 0.0F};
}

// A warp a leaf: fetches its points and bounds them.
__global__ void __launch_bounds__(kThreads)
    make_leaves(const __grid_constant__ Pair pair, const uint32_t* rows) {
  const int cloud = blockIdx.y;
  const Tree& tree = pair.tree[cloud];
  const int64_t leaf = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  if (leaf >= tree.leaves()) return;
  const int lane = threadIdx.x % 32;
  const int32_t segment = tree.segment_of(0, leaf);
  const int64_t place = (leaf - tree.start(0, segment)) * kFanout + lane;
  const int64_t count = tree.segments.end(segment) - tree.segments.begin(segment);
  if (place - lane >= count) return;
  float4 point = {NAN, NAN, NAN, __int_as_float(kNoRow)};
  if (place < count) {
    const int64_t row = rows[pair.sorted_begin(cloud, segment) + place];
    const float* given = tree.points + row * 3;
    point = {given[0], given[1], given[2], __int_as_float(static_cast<int32_t>(row))};
  }
  tree.sorted[leaf * kFanout + lane] = point;
  const bool number = !(isnan(point.x) || isnan(point.y) || isnan(point.z));
  const float4 counts = number ? point : float4{NAN, NAN, NAN, 0.0F};
  write_box(tree.boxes + leaf, counts, counts, __float_as_int(point.w), lane == 0);
}

// A warp a node of a level above the leaves.
__global__ void __launch_bounds__(kThreads)
    make_nodes(const __grid_constant__ Pair pair, int level) {
  const Tree& tree = pair.tree[blockIdx.y];
  const int64_t node = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  if (level >= tree.levels || node >= tree.nodes(level)) return;
  const int lane = threadIdx.x % 32;
  const int32_t segment = tree.segment_of(level, node);
  const int64_t count = tree.segments.end(segment) - tree.segments.begin(segment);
  const int64_t place = (node - tree.start(level, segment)) * kFanout + lane;
  const int64_t below = Tree::boxes_of(level - 1, count);
  if (place - lane >= below) return;
  Box box{{NAN, NAN, NAN, __int_as_float(kNoRow)}, {NAN, NAN, NAN, 0.0F}};
  if (place < below)
    box = tree.boxes[tree.first[level - 1] + tree.start(level - 1, segment) + place];
  write_box(tree.boxes + tree.first[level] + node, box.low, box.high, __float_as_int(box.low.w),
            lane == 0);
}

// A warp a leaf of the queries; the leaves of both clouds where both are searched for.
__global__ void __launch_bounds__(kSearchThreads)
    search(const __grid_constant__ Pair pair, const __grid_constant__ NearestPairProblem problem,
           uint32_t limit) {
  __shared__ float4 tiles[kSearchThreads / 32][kFanout];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  int64_t leaf = int64_t{blockIdx.x} * (kSearchThreads / 32) + warp;
  const int cloud = leaf >= pair.tree[0].leaves();
  leaf -= cloud * pair.tree[0].leaves();
  const Tree &from = pair.tree[cloud], &to = pair.tree[1 - cloud];
  if (problem.distance[cloud] == nullptr || leaf >= from.leaves()) return;
  const int32_t segment = from.segment_of(0, leaf);
  const int64_t count = from.segments.end(segment) - from.segments.begin(segment);
  if ((leaf - from.start(0, segment)) * kFanout >= count) return;
  const float4 query = from.sorted[leaf * kFanout + lane];
  LeafSearch found(to, tiles[warp], query, limit);
  found.run(segment);
  const int32_t own_row = __float_as_int(query.w);
  if (own_row == kNoRow) return;
  const bool unknown = isnan(query.x) || isnan(query.y) || isnan(query.z);
  const int32_t row = unknown ? -1 : found.row();
  problem.index[cloud][own_row] = row;
  problem.distance[cloud][own_row] = unknown ? NAN : row < 0 ? INFINITY : found.distance();
}

struct Plan {
  Pair pair;
  Offsets offsets;
  uint32_t* corners;
  cub::DoubleBuffer<uint64_t> keys;
  cub::DoubleBuffer<uint32_t> rows;
  void* scratch;
  size_t scratch_bytes = 0;
  int64_t total = 0;
  int grid_bits = 0, key_bits = 0;
  size_t bytes = 0;

  Plan(const NearestPairProblem& p, void* workspace) {
    Workspace memory(workspace);
    total = p.length[0] + p.length[1];
    offsets.count = p.segments + 1;
    for (int cloud = 0; cloud < 2; ++cloud) {
      const bool given = p.offsets[cloud] != nullptr;
      offsets.given[cloud] = p.offsets[cloud];
      offsets.length[cloud] = p.length[cloud];
      offsets.clean[cloud] = given ? memory.take<int32_t>(p.segments + 1) : nullptr;
      Tree& tree = pair.tree[cloud];
      tree.points = p.points[cloud];
      tree.segments = {offsets.clean[cloud], p.segments, p.length[cloud]};
      tree.sorted = memory.take<float4>(tree.leaves() * kFanout);
      tree.levels = 1;
      tree.first[0] = 0;
      tree.first[1] = tree.nodes(0);
      while ((p.length[cloud] - 1) >> kFanoutBits * tree.levels >= kFanout) {
        tree.first[tree.levels + 1] = tree.first[tree.levels] + tree.nodes(tree.levels);
        ++tree.levels;
      }
      tree.boxes = memory.take<Box>(tree.first[tree.levels]);
    }
    corners = memory.take<uint32_t>(int64_t{p.segments} * kCorners);
    const int place_bits = bits_of_number(2 * static_cast<uint64_t>(p.segments));
    grid_bits = std::min((kKeyBits - std::min(place_bits, kKeyBits - 3)) / 3, kMaxGridBits);
    key_bits = place_bits + 3 * grid_bits;
    for (int i = 0; i < 2; ++i) {
      keys.d_buffers[i] = memory.take<uint64_t>(total);
      rows.d_buffers[i] = memory.take<uint32_t>(total);
    }
    check_cuda(cub::DeviceRadixSort::SortPairs(nullptr, scratch_bytes, keys, rows,
                                               static_cast<int>(total), 0, key_bits),
               "nearest_pair");
    scratch = memory.take<char>(static_cast<int64_t>(scratch_bytes));
    bytes = memory.bytes();
  }
};

}  // namespace

size_t nearest_pair_tree_workspace(const NearestPairProblem& problem, int device) {
  const DeviceGuard guard(device);
  return Plan(problem, nullptr).bytes;
}

void nearest_pair_tree_cuda(const NearestPairProblem& problem, float max_distance, void* workspace,
                            int device, void* stream) {
  const DeviceGuard guard(device);
  Plan plan(problem, workspace);
  auto* const s = static_cast<cudaStream_t>(stream);
  const Tree &a = plan.pair.tree[0], &b = plan.pair.tree[1];
  if (plan.total == 0) return;
  if (problem.offsets[0] != nullptr) clean_offsets<<<2, 1024, 0, s>>>(plan.offsets);
  check_cuda(cudaMemsetAsync(plan.corners, 0xFF,
                             int64_t{problem.segments} * kCorners * sizeof(uint32_t), s),
             "nearest_pair");
  const int64_t longest = std::max(a.length(), b.length());
  const int64_t rows = std::max<int64_t>(4 * kThreads, longest / kBoundingBlocks + 1);
  bound_segments<<<{blocks_for(longest, rows), 2}, kThreads, 0, s>>>(plan.pair, plan.corners, rows);
  make_keys<<<blocks_for(plan.total, kThreads), kThreads, 0, s>>>(
      plan.pair, plan.corners, plan.grid_bits, plan.keys.Current(), plan.rows.Current(), problem);
  check_cuda(cub::DeviceRadixSort::SortPairs(plan.scratch, plan.scratch_bytes, plan.keys, plan.rows,
                                             static_cast<int>(plan.total), 0, plan.key_bits, s),
             "nearest_pair");
  make_leaves<<<{blocks_for(std::max(a.leaves(), b.leaves()), kWarps), 2}, kThreads, 0, s>>>(
      plan.pair, plan.rows.Current());
  for (int level = 1; level < std::max(a.levels, b.levels); ++level)
    make_nodes<<<{blocks_for(std::max(a.nodes(level), b.nodes(level)), kWarps), 2}, kThreads, 0,
                 s>>>(plan.pair, level);
  const float bound = max_distance + 0.0F;  // -0 has the bits of a huge number
  uint32_t limit;
  static_assert(sizeof limit == sizeof bound);
  std::copy_n(reinterpret_cast<const char*>(&bound), sizeof bound, reinterpret_cast<char*>(&limit));
  const int64_t leaves = a.leaves() + (problem.distance[1] == nullptr ? 0 : b.leaves());
  search<<<blocks_for(leaves, kSearchThreads / 32), kSearchThreads, 0, s>>>(plan.pair, problem,
                                                                            limit + 1);
  check_cuda(cudaGetLastError(), "nearest_pair");
}

}  // namespace g2vlm
