// Sums of vectors by the number of their group, each in an order fixed by the sizes: vectors are
// brought together by a stable sort, a thread adds up a few, a warp many, blocks whole runs.
//
// `Vector` maps an item to what it adds, `Write` takes a group's number and its sum.
#pragma once

#include <cub/device/device_radix_sort.cuh>

#include "vector3.cuh"
#include "workspace.cuh"

namespace g2vlm {
namespace grouped {

constexpr int kThreads = 256;
constexpr int64_t kAlone = 16;  // items that a thread adds up without its warp
constexpr int64_t kRun = 4096;  // items of one group that a block adds up

struct Items {
  const uint32_t* group;  // [count], rising
  const uint32_t* item;   // [count]
  int32_t* first;         // [groups] the place of the first item of each group, -1 without one
  float* run;             // [count / kRun, 3] sums of whole runs of items of one group
  int64_t count, groups;

  __device__ bool in(int64_t place, int64_t number) const {
    return place < count && group[place] == number;
  }
};

static __global__ void __launch_bounds__(kThreads) find_first(Items items) {
  const int64_t place = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (place >= items.count) return;
  const uint32_t group = items.group[place];
  if (group < items.groups && (place == 0 || items.group[place - 1] != group))
    items.first[group] = static_cast<int32_t>(place);
}

// A block a run: adds it up where all of it is of one group.
template <class Vector>
__global__ void __launch_bounds__(kThreads)
    add_runs(const __grid_constant__ Vector vector, Items items) {
  __shared__ float3 of_warp[kThreads / 32];
  const int64_t begin = int64_t{blockIdx.x} * kRun;
  const uint32_t group = items.group[begin];
  if (items.group[begin + kRun - 1] != group || group >= items.groups) return;
  float3 sum = {0.0F, 0.0F, 0.0F};
  for (int64_t place = begin + threadIdx.x; place < begin + kRun; place += kThreads)
    sum = add(sum, vector(items.item[place]));
  sum = warp_sum(sum);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int warp = 1; warp < kThreads / 32; ++warp) sum = add(sum, of_warp[warp]);
  store(items.run, blockIdx.x, sum);
}

// The sum over many items of one group, by a warp: up to the first whole run, the runs, the rest.
template <class Vector>
__device__ float3 add_many(const Vector& vector, const Items& items, int64_t begin) {
  const int lane = threadIdx.x % 32;
  const uint32_t group = items.group[begin];
  int64_t low = begin, high = items.count;  // the end lies in (low, high]
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    (items.group[middle] == group ? low : high) = middle;
  }
  const int64_t end = high;
  const int64_t first_run = (begin + kRun - 1) / kRun, last_run = end / kRun;
  const bool has_runs = first_run < last_run;
  float3 sum = {0.0F, 0.0F, 0.0F};
  const int64_t stop = has_runs ? first_run * kRun : end;
  for (int64_t place = begin + lane; place < stop; place += 32)
    sum = add(sum, vector(items.item[place]));
  if (has_runs) {
    for (int64_t run = first_run + lane; run < last_run; run += 32)
      sum = add(sum, load(items.run, run));
    for (int64_t place = last_run * kRun + lane; place < end; place += 32)
      sum = add(sum, vector(items.item[place]));
  }
  return warp_sum(sum);
}

// A thread a group; its warp joins in where there are many items.
template <class Vector, class Write>
__global__ void __launch_bounds__(kThreads)
    write_sums(const __grid_constant__ Vector vector, const __grid_constant__ Write write,
               Items items) {
  const int64_t group = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  float3 sum = {0.0F, 0.0F, 0.0F};
  int64_t place = items.count;
  if (group < items.groups && items.first[group] >= 0) place = items.first[group];
  const int64_t stop = place + kAlone;
  for (; place < stop && items.in(place, group); ++place) sum = add(sum, vector(items.item[place]));
  const bool more = items.in(place, group);
  for (unsigned busy = __ballot_sync(kAllLanes, more); busy != 0; busy &= busy - 1) {
    const int owner = __ffs(static_cast<int>(busy)) - 1;
    const float3 rest = add_many(vector, items, __shfl_sync(kAllLanes, place, owner));
    if (threadIdx.x % 32 == owner) sum = add(sum, rest);
  }
  if (group < items.groups) write(group, sum);
}

}  // namespace grouped

class GroupedSum {
 public:
  // Of at most so many items.
  GroupedSum(int64_t groups, int64_t items, Workspace& memory) : groups_(groups) {
    while (groups >> bits_ != 0) ++bits_;
    for (int i = 0; i < 2; ++i) {
      group_.d_buffers[i] = memory.take<uint32_t>(items);
      item_.d_buffers[i] = memory.take<uint32_t>(items);
    }
    first_ = memory.take<int32_t>(groups);
    run_ = memory.take<float>(items / grouped::kRun * 3);
    check_cuda(cub::DeviceRadixSort::SortPairs(nullptr, scratch_bytes_, group_, item_,
                                               static_cast<int>(items), 0, bits_),
               "grouped_sum");
    scratch_ = memory.take<char>(static_cast<int64_t>(scratch_bytes_));
  }

  // Where the group of each item goes, `groups` or above for none, and the item.
  uint32_t* group() { return group_.Current(); }
  uint32_t* item() { return item_.Current(); }

  template <class Vector, class Write>
  void run(int64_t count, const Vector& vector, const Write& write, cudaStream_t stream) {
    using grouped::kThreads;
    if (groups_ == 0) return;
    check_cuda(cudaMemsetAsync(first_, 0xFF, groups_ * sizeof(int32_t), stream), "grouped_sum");
    if (count > 0)
      check_cuda(cub::DeviceRadixSort::SortPairs(scratch_, scratch_bytes_, group_, item_,
                                                 static_cast<int>(count), 0, bits_, stream),
                 "grouped_sum");
    const grouped::Items items{group_.Current(), item_.Current(), first_, run_, count, groups_};
    if (count > 0) grouped::find_first<<<blocks_for(count, kThreads), kThreads, 0, stream>>>(items);
    if (count >= grouped::kRun)
      grouped::add_runs<<<static_cast<unsigned>(count / grouped::kRun), kThreads, 0, stream>>>(
          vector, items);
    grouped::write_sums<<<blocks_for(groups_, kThreads), kThreads, 0, stream>>>(vector, write,
                                                                                items);
    check_cuda(cudaGetLastError(), "grouped_sum");
  }

 private:
  int64_t groups_;
  cub::DoubleBuffer<uint32_t> group_, item_;
  int32_t* first_;
  float* run_;
  void* scratch_;
  size_t scratch_bytes_ = 0;
  int bits_ = 1;
};

}  // namespace g2vlm
