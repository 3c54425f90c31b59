// The hits of every point, which are the points whose neighbour it is, are brought together and
// added up in a fixed order: of few points by linked lists, of many by a stable sort.
#include <algorithm>
#include <cub/device/device_radix_sort.cuh>

#include "common.cuh"
#include "g2vlm/nearest_pair.h"
#include "nearest_pair_pull.cuh"
#include "workspace.cuh"

namespace g2vlm {

namespace {

// Points of both clouds together up to which lists are faster. Points with many hits are slow
// there, so that clouds of unlike sizes are linked only where they are small.
constexpr int64_t kLinkedUpTo = 1 << 19;
constexpr int64_t kLinkedAnyhow = 1 << 14;
constexpr int64_t kUnlike = 4;
constexpr int kThreads = 256;
constexpr int64_t kAlone = 16;  // hits that a thread adds up without its warp
constexpr int64_t kRun = 4096;  // hits on one point that a block adds up

// Hits by the number of the point that they hit.
struct Hits {
  const uint32_t* neighbour;  // [count], rising
  const uint32_t* point;      // [count]
  const int32_t* first;       // [points] the first hit of each point, -1 without one
  const float* run;           // [count / kRun, 3] sums of whole runs of hits on one point
  int64_t count;
};

// Which points make hits: those of a cloud whose other cloud wants a gradient.
struct Hitters {
  int64_t begin, count;
};
Hitters hitters_of(const NearestPairGradient& p) {
  const int64_t first = p.grad[1] != nullptr ? p.length[0] : 0;
  const int64_t second = p.grad[0] != nullptr ? p.length[1] : 0;
  return {first > 0 ? 0 : p.length[0], first + second};
}

__global__ void __launch_bounds__(kThreads)
    file_hits(const __grid_constant__ NearestPairGradient p, int64_t begin, int64_t count,
              uint32_t* neighbours, uint32_t* points) {
  const int64_t item = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (item >= count) return;
  const int64_t number = begin + item;
  const int64_t cloud = cloud_of(p, number), row = number - cloud * p.length[0];
  const int64_t neighbour = p.index[cloud][row];
  const bool valid = neighbour >= 0 && neighbour < p.length[1 - cloud];
  const int64_t nobody = p.length[0] + p.length[1];
  neighbours[item] = static_cast<uint32_t>(!valid       ? nobody
                                           : cloud == 0 ? p.length[0] + neighbour
                                                        : neighbour);
  points[item] = static_cast<uint32_t>(number);
}

// Finds where the hits of each point begin.
__global__ void __launch_bounds__(kThreads) find_first(Hits hits, int64_t points, int32_t* first) {
  const int64_t hit = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (hit >= hits.count) return;
  const uint32_t neighbour = hits.neighbour[hit];
  if (neighbour < points && (hit == 0 || hits.neighbour[hit - 1] != neighbour))
    first[neighbour] = static_cast<int32_t>(hit);
}

// A block a run of hits: adds it up where all of it hits one point.
__global__ void __launch_bounds__(kThreads)
    add_runs(const __grid_constant__ NearestPairGradient p, Hits hits, float* run) {
  __shared__ float3 of_warp[kThreads / 32];
  const int64_t begin = int64_t{blockIdx.x} * kRun;
  const uint32_t neighbour = hits.neighbour[begin];
  if (hits.neighbour[begin + kRun - 1] != neighbour || neighbour >= p.length[0] + p.length[1])
    return;
  float3 sum = {0.0F, 0.0F, 0.0F};
  for (int64_t hit = begin + threadIdx.x; hit < begin + kRun; hit += kThreads)
    sum = add(sum, pull(p, hits.point[hit]));
  sum = warp_sum(sum);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int warp = 1; warp < kThreads / 32; ++warp) sum = add(sum, of_warp[warp]);
  run[blockIdx.x * 3] = sum.x;
  run[blockIdx.x * 3 + 1] = sum.y;
  run[blockIdx.x * 3 + 2] = sum.z;
}

// The sum over many hits on one point, by a warp: up to the first whole run, the runs, the rest.
__device__ float3 add_many(const NearestPairGradient& p, const Hits& hits, int64_t begin) {
  const int lane = threadIdx.x % 32;
  const uint32_t neighbour = hits.neighbour[begin];
  int64_t low = begin, high = hits.count;  // the end lies in (low, high]
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    (hits.neighbour[middle] == neighbour ? low : high) = middle;
  }
  const int64_t end = high;
  const int64_t first_run = (begin + kRun - 1) / kRun, last_run = end / kRun;
  const bool has_runs = first_run < last_run;
  float3 sum = {0.0F, 0.0F, 0.0F};
  const int64_t stop = has_runs ? first_run * kRun : end;
  for (int64_t hit = begin + lane; hit < stop; hit += 32) sum = add(sum, pull(p, hits.point[hit]));
  if (has_runs) {
    for (int64_t run = first_run + lane; run < last_run; run += 32)
      sum = add(sum, load(hits.run, run));
    for (int64_t hit = last_run * kRun + lane; hit < end; hit += 32)
      sum = add(sum, pull(p, hits.point[hit]));
  }
  return warp_sum(sum);
}

// A thread a point: its own pull less that of its hits; its warp joins in where there are many.
__global__ void __launch_bounds__(kThreads)
    pair_gradients(const __grid_constant__ NearestPairGradient p, Hits hits) {
  const int64_t number = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const int64_t cloud = cloud_of(p, number);
  const bool inside = number < p.length[0] + p.length[1] && p.grad[cloud] != nullptr;
  float3 own = {0.0F, 0.0F, 0.0F}, against = own;
  int64_t hit = hits.count;
  if (inside) {
    own = pull(p, number);
    if (hits.first[number] >= 0) hit = hits.first[number];
  }
  const int64_t begin = hit;
  for (; hit < min(begin + kAlone, hits.count) && hits.neighbour[hit] == number; ++hit)
    against = add(against, pull(p, hits.point[hit]));
  const bool more = hit < hits.count && hits.neighbour[hit] == number;
  for (unsigned busy = __ballot_sync(kAllLanes, more); busy != 0; busy &= busy - 1) {
    const int owner = __ffs(static_cast<int>(busy)) - 1;
    const float3 rest = add_many(p, hits, __shfl_sync(kAllLanes, hit, owner));
    if (threadIdx.x % 32 == owner) against = add(against, rest);
  }
  if (!inside) return;
  float* grad = p.grad[cloud] + (number - cloud * p.length[0]) * 3;
  grad[0] = subtract(own.x, against.x);
  grad[1] = subtract(own.y, against.y);
  grad[2] = subtract(own.z, against.z);
}

struct Plan {
  cub::DoubleBuffer<uint32_t> neighbours, points;
  int32_t* first;
  float* run;
  void* scratch;
  size_t scratch_bytes = 0;
  int bits;
  size_t bytes;

  Plan(int64_t numbers, int64_t hits, void* base) {
    Workspace workspace(base);
    bits = 1;
    while (numbers >> bits != 0) ++bits;
    for (int i = 0; i < 2; ++i) {
      neighbours.d_buffers[i] = workspace.take<uint32_t>(hits);
      points.d_buffers[i] = workspace.take<uint32_t>(hits);
    }
    first = workspace.take<int32_t>(2 * numbers);  // or the heads and the links of lists
    run = workspace.take<float>(hits / kRun * 3);
    check_cuda(cub::DeviceRadixSort::SortPairs(nullptr, scratch_bytes, neighbours, points,
                                               static_cast<int>(hits), 0, bits),
               "nearest_pair_backward");
    scratch = workspace.take<char>(static_cast<int64_t>(scratch_bytes));
    bytes = workspace.bytes();
  }
};

}  // namespace

size_t nearest_pair_backward_workspace(int64_t points, int device) {
  const DeviceGuard guard(device);
  return Plan(points, points, nullptr).bytes;
}

void nearest_pair_backward_cuda(const NearestPairGradient& p, void* workspace, int device,
                                void* stream) {
  const DeviceGuard guard(device);
  const Hitters hitters = hitters_of(p);
  const int64_t numbers = p.length[0] + p.length[1], count = hitters.count;
  Plan plan(numbers, count, workspace);
  auto* const s = static_cast<cudaStream_t>(stream);
  if (numbers == 0) return;
  const bool alike =
      std::max(p.length[0], p.length[1]) <= kUnlike * std::min(p.length[0], p.length[1]);
  if (numbers <= (alike ? kLinkedUpTo : kLinkedAnyhow))
    return nearest_pair_backward_links(p, plan.first, s);
  check_cuda(cudaMemsetAsync(plan.first, 0xFF, numbers * sizeof(int32_t), s),
             "nearest_pair_backward");
  Hits hits{};
  if (count > 0) {
    file_hits<<<blocks_for(count, kThreads), kThreads, 0, s>>>(
        p, hitters.begin, count, plan.neighbours.Current(), plan.points.Current());
    check_cuda(
        cub::DeviceRadixSort::SortPairs(plan.scratch, plan.scratch_bytes, plan.neighbours,
                                        plan.points, static_cast<int>(count), 0, plan.bits, s),
        "nearest_pair_backward");
  }
  hits = {plan.neighbours.Current(), plan.points.Current(), plan.first, plan.run, count};
  if (count > 0)
    find_first<<<blocks_for(count, kThreads), kThreads, 0, s>>>(hits, numbers, plan.first);
  if (count >= kRun)
    add_runs<<<static_cast<unsigned>(count / kRun), kThreads, 0, s>>>(p, hits, plan.run);
  pair_gradients<<<blocks_for(numbers, kThreads), kThreads, 0, s>>>(p, hits);
  check_cuda(cudaGetLastError(), "nearest_pair_backward");
}

}  // namespace g2vlm
