#include <algorithm>
#include <cub/block/block_scan.cuh>

#include "g2vlm/voxel_pool.h"
#include "key_sort.cuh"
#include "nearest_segments.cuh"
#include "pinned.cuh"

namespace g2vlm {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kSumThreads = 1024;
constexpr unsigned kCountingBlocks = 1024;  // each clears and adds the counts of all digits

int bits_of(uint64_t largest) {
  int bits = 1;
  while (bits < 64 && largest >> bits != 0) ++bits;
  return bits;
}

__device__ double voxel_of(const VoxelPoints& points, int64_t row, int axis) {
  return floor(
      __ddiv_rn(static_cast<double>(__ldg(points.position + 3 * row + axis)), points.size));
}

struct RunningBounds {
  double low[3] = {INFINITY, INFINITY, INFINITY};
  double high[3] = {-INFINITY, -INFINITY, -INFINITY};
  int are_finite = 1;

  __device__ void add(const RunningBounds& other) {
    for (int axis = 0; axis < 3; ++axis) {
      low[axis] = fmin(low[axis], other.low[axis]);
      high[axis] = fmax(high[axis], other.high[axis]);
    }
    are_finite &= other.are_finite;
  }
  __device__ RunningBounds across(int lanes) const {
    RunningBounds other;
    for (int axis = 0; axis < 3; ++axis) {
      other.low[axis] = __shfl_xor_sync(kAllLanes, low[axis], lanes);
      other.high[axis] = __shfl_xor_sync(kAllLanes, high[axis], lanes);
    }
    other.are_finite = __shfl_xor_sync(kAllLanes, are_finite, lanes);
    return other;
  }
  __device__ void store(double* to) const {
    for (int axis = 0; axis < 3; ++axis) to[axis] = low[axis], to[3 + axis] = high[axis];
    to[6] = are_finite;
  }
  __device__ static RunningBounds load(const double* from) {
    RunningBounds bounds;
    for (int axis = 0; axis < 3; ++axis)
      bounds.low[axis] = from[axis], bounds.high[axis] = from[3 + axis];
    bounds.are_finite = from[6] != 0.0;
    return bounds;
  }
};
constexpr int kBounds = 7;  // numbers that are stored

// By a whole block; thread 0 gets those of all.
__device__ RunningBounds bounds_of_all(RunningBounds bounds) {
  __shared__ double of_warps[kWarps][kBounds];
  for (int lanes = 16; lanes > 0; lanes /= 2) bounds.add(bounds.across(lanes));
  if (threadIdx.x % 32 == 0) bounds.store(of_warps[threadIdx.x / 32]);
  __syncthreads();
  if (threadIdx.x == 0)
    for (int warp = 1; warp < kWarps; ++warp) bounds.add(RunningBounds::load(of_warps[warp]));
  return bounds;
}

__global__ void __launch_bounds__(kThreads)
    bound_points(const VoxelPoints points, double* partial) {
  RunningBounds bounds;
  const int64_t step = int64_t{gridDim.x} * kThreads;
  for (int64_t row = int64_t{blockIdx.x} * kThreads + threadIdx.x; row < points.count;
       row += step) {
    for (int axis = 0; axis < 3; ++axis) {
      const double voxel = voxel_of(points, row, axis);
      bounds.are_finite &= isfinite(voxel) ? 1 : 0;
      bounds.low[axis] = fmin(bounds.low[axis], voxel);
      bounds.high[axis] = fmax(bounds.high[axis], voxel);
    }
  }
  bounds = bounds_of_all(bounds);
  if (threadIdx.x == 0) bounds.store(partial + int64_t{kBounds} * blockIdx.x);
}

// By one block.
__global__ void __launch_bounds__(kThreads)
    bound_all(const double* partial, unsigned count, VoxelBounds* all) {
  RunningBounds bounds;
  for (unsigned i = threadIdx.x; i < count; i += kThreads)
    bounds.add(RunningBounds::load(partial + int64_t{kBounds} * i));
  bounds = bounds_of_all(bounds);
  if (threadIdx.x != 0) return;
  for (int axis = 0; axis < 3; ++axis)
    all->low[axis] = bounds.low[axis], all->high[axis] = bounds.high[axis];
  all->are_finite = bounds.are_finite != 0;
}

__global__ void __launch_bounds__(kThreads) clear_counts(const __grid_constant__ KeyDigits digits) {
  digits.clear_counts();
}

// Numbers the voxel of each point, by segment, x, y and z; below it the row where `rows` is null.
__global__ void __launch_bounds__(kThreads)
    make_keys(const __grid_constant__ VoxelPoints points, const __grid_constant__ VoxelGrid grid,
              int row_bits, const __grid_constant__ KeyDigits digits, uint64_t* keys,
              uint32_t* rows) {
  __shared__ BlockDigits counted;
  counted.clear(digits);
  const Segments segments{points.offsets, points.segments, points.count};
  const int64_t step = int64_t{gridDim.x} * kThreads;
  for (int64_t row = int64_t{blockIdx.x} * kThreads + threadIdx.x; row < points.count;
       row += step) {
    auto key = static_cast<uint64_t>(segments.of(row));
    for (int axis = 0; axis < 3; ++axis)
      key = key * static_cast<uint64_t>(grid.extent[axis]) +
            static_cast<uint64_t>(voxel_of(points, row, axis) - grid.low[axis]);
    key <<= row_bits;
    if (rows == nullptr)
      key |= static_cast<uint64_t>(row);
    else
      rows[row] = static_cast<uint32_t>(row);
    keys[row] = key;
    counted.count(digits, key);
  }
  counted.add_to(digits);
  digits.clear_progress();
}

// Points in order of their voxels.
struct SortedPoints {
  const uint64_t* keys;
  const uint32_t* rows;  // null where the lower bits of the keys are the rows
  int64_t count;
  int row_bits;

  __device__ bool begins_group(int64_t place) const {
    if (place >= count) return false;
    return place == 0 || keys[place] >> row_bits != keys[place - 1] >> row_bits;
  }
  __device__ int32_t row(int64_t place) const {
    return static_cast<int32_t>(rows == nullptr ? keys[place] & ((uint64_t{1} << row_bits) - 1)
                                                : rows[place]);
  }
};

// counts[block] <- how many groups begin at the places of a block.
__global__ void __launch_bounds__(kThreads)
    count_groups(const SortedPoints points, int32_t* counts) {
  const int64_t place = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const int count = __syncthreads_count(points.begins_group(place));
  if (threadIdx.x == 0) counts[blockIdx.x] = count;
}

// counts[block] <- the counts of the blocks before; number <- all. By one block, which suffices: a
// count stands for 256 points.
__global__ void __launch_bounds__(kSumThreads)
    sum_counts(int32_t* counts, int64_t blocks, int32_t* number) {
  using Scan = cub::BlockScan<int32_t, kSumThreads>;
  __shared__ typename Scan::TempStorage shared;
  int32_t before = 0;
  for (int64_t begin = 0; begin < blocks; begin += kSumThreads) {
    const int64_t block = begin + threadIdx.x;
    int32_t sum = block < blocks ? counts[block] : 0, all;
    Scan(shared).ExclusiveSum(sum, sum, all);
    if (block < blocks) counts[block] = before + sum;
    before += all;
    __syncthreads();
  }
  if (threadIdx.x == 0) *number = before;
}

__global__ void __launch_bounds__(kThreads)
    write_groups(const SortedPoints points, const int32_t* groups_before,
                 const VoxelGroups groups) {
  __shared__ int32_t of_warps[kWarps];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t place = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const bool begins = points.begins_group(place);
  const unsigned beginning = __ballot_sync(kAllLanes, begins);
  if (lane == 0) of_warps[warp] = __popc(beginning);
  __syncthreads();
  if (place >= points.count) return;
  int32_t group = groups_before[blockIdx.x] + __popc(beginning & (kAllLanes >> (31 - lane))) - 1;
  for (int other = 0; other < warp; ++other) group += of_warps[other];
  const int32_t row = points.row(place);
  groups.order[place] = groups.order_again[place] = row;
  groups.numbers[place] = static_cast<int32_t>(place);
  groups.slot[row] = static_cast<int32_t>(place);
  groups.assignment[row] = group;
  if (begins) groups.row_offsets[group] = static_cast<int32_t>(place);
  if (place + 1 == points.count)
    groups.row_offsets[group + 1] = groups.numbers[place + 1] = static_cast<int32_t>(points.count);
}

// The groups up to the last point of each segment.
__global__ void __launch_bounds__(kThreads)
    write_segments(const VoxelPoints points, const VoxelGroups groups) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i > points.segments) return;
  const int64_t end = points.offsets == nullptr ? i * points.count : points.offsets[i];
  const bool has_points = 0 < end && end <= points.count;
  groups.segment_offsets[i] = has_points ? groups.assignment[groups.order[end - 1]] + 1 : 0;
}

class Event {
 public:
  Event() { check_cuda(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "voxel_groups"); }
  ~Event() { (void)cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record(cudaStream_t stream) { check_cuda(cudaEventRecord(event_, stream), "voxel_groups"); }
  void wait() { check_cuda(cudaEventSynchronize(event_), "voxel_groups"); }

 private:
  cudaEvent_t event_ = nullptr;
};

class Grouping {
 public:
  Grouping(const VoxelPoints& points, const VoxelGrid& grid, Workspace& memory)
      : points_(points), grid_(grid), tiles_(blocks_for(points.count, kThreads)) {
    const auto voxels =
        static_cast<uint64_t>(points.segments) * grid.extent[0] * grid.extent[1] * grid.extent[2];
    const int bits = bits_of(voxels - 1), row_bits = bits_of(points.count - 1);
    const bool hold_rows = bits + row_bits <= 64 && bits <= kMostPasses * kDigitBits;
    row_bits_ = hold_rows ? row_bits : 0;
    sort_ = KeySort(points.count, row_bits_, bits, !hold_rows, memory);
    counts_ = memory.take<int32_t>(tiles_);
  }

  int32_t run(const VoxelGroups& groups, cudaStream_t stream) {
    auto* number = pinned<int32_t>();
    Event known;
    const KeyDigits& digits = sort_.digits();
    if (digits.passes > 0) clear_counts<<<1, kThreads, 0, stream>>>(digits);
    make_keys<<<digits.passes == 0 ? tiles_ : std::min(tiles_, kCountingBlocks), kThreads, 0,
                stream>>>(points_, grid_, row_bits_, digits, sort_.keys(), sort_.rows());
    sort_.run(stream);
    const SortedPoints sorted{sort_.keys(), sort_.rows(), points_.count, row_bits_};
    count_groups<<<tiles_, kThreads, 0, stream>>>(sorted, counts_);
    sum_counts<<<1, kSumThreads, 0, stream>>>(counts_, tiles_, number);
    known.record(stream);
    write_groups<<<tiles_, kThreads, 0, stream>>>(sorted, counts_, groups);
    write_segments<<<blocks_for(int64_t{points_.segments} + 1, kThreads), kThreads, 0, stream>>>(
        points_, groups);
    check_cuda(cudaGetLastError(), "voxel_groups");
    known.wait();
    return *number;
  }

 private:
  VoxelPoints points_;
  VoxelGrid grid_;
  unsigned tiles_;
  int row_bits_ = 0;
  KeySort sort_;
  int32_t* counts_;
};

}  // namespace

VoxelBounds voxel_bounds_cuda(const VoxelPoints& points, double* space, int64_t size, int device,
                              void* stream_) {
  const DeviceGuard guard(device);
  const auto stream = static_cast<cudaStream_t>(stream_);
  const unsigned blocks =
      std::min(blocks_for(points.count, kThreads), static_cast<unsigned>(size / kBounds));
  auto* bounds = pinned<VoxelBounds>();
  bound_points<<<blocks, kThreads, 0, stream>>>(points, space);
  bound_all<<<1, kThreads, 0, stream>>>(space, blocks, bounds);
  check_cuda(cudaGetLastError(), "voxel_bounds");
  check_cuda(cudaStreamSynchronize(stream), "voxel_bounds");
  return *bounds;
}

size_t voxel_groups_workspace(const VoxelPoints& points, const VoxelGrid& grid, int device) {
  const DeviceGuard guard(device);
  Workspace memory(nullptr);
  const Grouping grouping(points, grid, memory);
  return memory.bytes();
}

int32_t voxel_groups_cuda(const VoxelPoints& points, const VoxelGrid& grid,
                          const VoxelGroups& groups, void* workspace, int device, void* stream) {
  const DeviceGuard guard(device);
  Workspace memory(workspace);
  return Grouping(points, grid, memory).run(groups, static_cast<cudaStream_t>(stream));
}

}  // namespace g2vlm
