// Both directions of small clouds in one pass over all pairs.
//
// Every thread holds kRows consecutive points of the first cloud, the block passes over tiles of
// the second in shared memory. A pair's distance serves the minimum of its row and that of its
// column. Only which few points held a minimum is remembered, by one number that orders like
// (distance, first of these points); the point itself is looked up at the end.
#include <algorithm>

#include "common.cuh"
#include "g2vlm/nearest_pair.h"
#include "nearest_segments.cuh"
#include "rounding.cuh"
#include "workspace.cuh"

namespace g2vlm {
namespace {

constexpr int kThreads = 128;
constexpr int kRows = 8;      // of a thread: a column's minimum is looked up among them
constexpr int kColumns = 32;  // a row's minimum is looked up among them
constexpr int kTile = 256;
constexpr int64_t kParts = 1 << 12;    // of the columns, that blocks share
constexpr int kBlocksOfProcessor = 6;  // what the registers of compare_all allow
constexpr int kRowsOfBlock = kThreads * kRows;
constexpr uint32_t kInfinite = 0x7F800000;  // bits of the largest distance that can be found

using Key = unsigned long long;

__device__ Key key_of(uint32_t bits, int64_t first) {
  return Key{bits} << 32 | static_cast<uint32_t>(first);
}

__device__ uint32_t distance_bits(float x, float y, float z, float4 other) {
  return __float_as_uint(
      squared_length(subtract(x, other.x), subtract(y, other.y), subtract(z, other.z)));
}

struct Clouds {
  const float* points[2];
  Segments segments[2];
  Key* keys[2];

  __device__ float4 point(int cloud, int64_t row) const {
    const float* point = points[cloud] + row * 3;
    return {point[0], point[1], point[2], 0.0F};
  }
};

// Rows, and their share of the columns of each segment.
struct Share {
  int64_t first_row;
  int64_t begin, end;  // out of kParts
};

// Compares the rows of a block with their share of the columns.
__device__ __forceinline__ void compare(const Clouds& clouds, const Share& share, float4* tile) {
  const Segments &rows = clouds.segments[0], &columns = clouds.segments[1];
  const int64_t block_row = share.first_row;
  const int64_t last_row = min(block_row + kRowsOfBlock, rows.length) - 1;
  const int64_t first_row = block_row + threadIdx.x * kRows;
  const int lane = threadIdx.x % 32;
  const float4 nowhere = {NAN, NAN, NAN, 0.0F};
  const int32_t last_segment = rows.of(last_row);
  for (int32_t segment = rows.of(block_row); segment <= last_segment; ++segment) {
    float x[kRows], y[kRows], z[kRows];
    uint32_t best[kRows];
    int32_t where[kRows];
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const bool here = rows.covers(segment, first_row + i);
      const float4 point = here ? clouds.point(0, first_row + i) : nowhere;
      x[i] = point.x, y[i] = point.y, z[i] = point.z;
      best[i] = kInfinite + 1, where[i] = -1;
    }
    const int64_t first_column = columns.begin(segment);
    const int64_t groups = (columns.end(segment) - first_column + kColumns - 1) / kColumns;
    const int64_t end =
        min(first_column + groups * share.end / kParts * kColumns, columns.end(segment));
    for (int64_t first = first_column + groups * share.begin / kParts * kColumns; first < end;
         first += kTile) {
      __syncthreads();
      for (int i = threadIdx.x; i < kTile; i += kThreads)
        tile[i] = first + i < end ? clouds.point(1, first + i) : nowhere;
      __syncthreads();
#pragma unroll 1
      for (int group = 0; group < kTile && first + group < end; group += kColumns) {
        uint32_t least[kRows];
#pragma unroll
        for (int i = 0; i < kRows; ++i) least[i] = best[i];
        uint32_t column_bits = kAllLanes;
        unsigned column_holders = 0;
#pragma unroll
        for (int j = 0; j < kColumns; j += 2) {
          const float4 a = tile[group + j], b = tile[group + j + 1];
          uint32_t to_a[kRows], to_b[kRows];
#pragma unroll
          for (int i = 0; i < kRows; ++i) {
            to_a[i] = distance_bits(x[i], y[i], z[i], a);
            to_b[i] = distance_bits(x[i], y[i], z[i], b);
            least[i] = __vimin3_u32(least[i], to_a[i], to_b[i]);
          }
#pragma unroll
          for (int side = 0; side < 2; ++side) {
            const uint32_t(&to)[kRows] = side == 0 ? to_a : to_b;
            uint32_t smallest = to[kRows - 1];
#pragma unroll
            for (int i = 0; i + 1 < kRows; i += 2)
              smallest = __vimin3_u32(smallest, to[i], to[i + 1]);
            const uint32_t of_warp = __reduce_min_sync(kAllLanes, smallest);
            const unsigned holders = __ballot_sync(kAllLanes, smallest == of_warp);
            if (lane == j + side) column_bits = of_warp, column_holders = holders;
          }
        }
#pragma unroll
        for (int i = 0; i < kRows; ++i)
          if (least[i] < best[i])
            best[i] = least[i], where[i] = static_cast<int32_t>(first) + group;
        const int64_t column = first + group + lane;
        if (column < end && column_bits <= kInfinite) {
          const int holder = __ffs(static_cast<int>(column_holders)) - 1;
          atomicMin(clouds.keys[1] + column,
                    key_of(column_bits, first_row + (holder - lane) * kRows));
        }
      }
    }
#pragma unroll
    for (int i = 0; i < kRows; ++i)
      if (where[i] >= 0) atomicMin(clouds.keys[0] + first_row + i, key_of(best[i], where[i]));
  }
}

// Every block takes as much of the work as any other, of one group of rows after the next.
__global__ void __launch_bounds__(kThreads, kBlocksOfProcessor)
    compare_all(const __grid_constant__ Clouds clouds) {
  __shared__ float4 tile[kTile];
  const int64_t parts = (clouds.segments[0].length + kRowsOfBlock - 1) / kRowsOfBlock * kParts;
  const int64_t end = parts * (blockIdx.x + 1) / gridDim.x;
  for (int64_t begin = parts * blockIdx.x / gridDim.x; begin < end;) {
    const int64_t first = begin % kParts, count = min(kParts - first, end - begin);
    compare(clouds, {begin / kParts * kRowsOfBlock, first, first + count}, tile);
    begin += count;
  }
}

// A thread a point of either cloud: looks up which of the few points it was.
__global__ void __launch_bounds__(kThreads)
    look_up(const __grid_constant__ Clouds clouds, const __grid_constant__ NearestPairProblem p) {
  const int64_t number = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const int cloud = number >= p.length[0];
  const int64_t row = number - cloud * p.length[0];
  if (row >= p.length[cloud]) return;
  const Segments &own = clouds.segments[cloud], &other = clouds.segments[1 - cloud];
  const float4 point = clouds.point(cloud, row);
  const int32_t segment = own.of(row);
  const bool unknown =
      isnan(point.x) || isnan(point.y) || isnan(point.z) || !own.covers(segment, row);
  const Key key = clouds.keys[cloud][row];
  const auto bits = static_cast<uint32_t>(key >> 32);
  int32_t found = -1;
  if (!unknown && bits <= kInfinite) {
    const int64_t first = static_cast<uint32_t>(key);
    const int64_t begin = max(first, other.begin(segment));
    const int64_t end = min(first + (cloud == 0 ? kColumns : kRows), other.end(segment));
#pragma unroll kRows
    for (int64_t i = end - 1; i >= begin; --i)
      if (distance_bits(point.x, point.y, point.z, clouds.point(1 - cloud, i)) == bits)
        found = static_cast<int32_t>(i);
  }
  p.index[cloud][row] = found;
  p.distance[cloud][row] = unknown ? NAN : found < 0 ? INFINITY : __uint_as_float(bits);
}

struct Plan {
  Clouds clouds;
  size_t key_bytes, bytes;

  Plan(const NearestPairProblem& p, void* base) {
    Workspace workspace(base);
    auto* const keys = workspace.take<Key>(p.length[0] + p.length[1]);
    key_bytes = (p.length[0] + p.length[1]) * sizeof(Key);
    for (int cloud = 0; cloud < 2; ++cloud) {
      clouds.points[cloud] = p.points[cloud];
      clouds.segments[cloud] = {p.offsets[cloud], p.segments, p.length[cloud]};
      clouds.keys[cloud] = keys + cloud * p.length[0];
    }
    bytes = workspace.bytes();
  }
};

}  // namespace

size_t nearest_pair_brute_workspace(const NearestPairProblem& problem) {
  return Plan(problem, nullptr).bytes;
}

void nearest_pair_brute_cuda(const NearestPairProblem& p, void* workspace, int device,
                             void* stream) {
  const DeviceGuard guard(device);
  const Plan plan(p, workspace);
  auto* const s = static_cast<cudaStream_t>(stream);
  const int64_t numbers = p.length[0] + p.length[1];
  if (numbers == 0) return;
  check_cuda(cudaMemsetAsync(plan.clouds.keys[0], 0xFF, plan.key_bytes, s), "nearest_pair");
  if (p.length[0] > 0 && p.length[1] > 0) {
    int processors = 0;
    check_cuda(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device),
               "cudaDeviceGetAttribute");
    const int64_t row_blocks = blocks_for(p.length[0], kRowsOfBlock);
    const int64_t tiles = std::max<int64_t>(p.length[1] / p.segments / kTile, 1);
    // As many blocks as run at once: a few more would take as long as twice as many.
    const int64_t at_once = std::max(kBlocksOfProcessor * int64_t{processors}, row_blocks);
    const int64_t blocks = std::min(row_blocks * tiles, at_once);
    compare_all<<<static_cast<unsigned>(blocks), kThreads, 0, s>>>(plan.clouds);
  }
  look_up<<<blocks_for(numbers, kThreads), kThreads, 0, s>>>(plan.clouds, p);
  check_cuda(cudaGetLastError(), "nearest_pair");
}

}  // namespace g2vlm
