// The hits of every point, which are the points whose neighbour it is, are brought together and
// added up in a fixed order: of few points by linked lists, of many by a stable sort.
#include <algorithm>

#include "common.cuh"
#include "g2vlm/nearest_pair.h"
#include "grouped_sum.cuh"
#include "nearest_pair_pull.cuh"

namespace g2vlm {

namespace {

// Points of both clouds together up to which lists are faster. Points with many hits are slow
// there, so that clouds of unlike sizes are linked only where they are small.
constexpr int64_t kLinkedUpTo = 1 << 19;
constexpr int64_t kLinkedAnyhow = 1 << 14;
constexpr int64_t kUnlike = 4;
constexpr int kThreads = 256;

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

struct Pull {
  NearestPairGradient p;
  __device__ float3 operator()(int64_t number) const { return pull(p, number); }
};

// A point gets its own pull less that of its hits.
struct WriteGradient {
  NearestPairGradient p;
  __device__ void operator()(int64_t number, float3 hits) const {
    const int64_t cloud = cloud_of(p, number);
    if (p.grad[cloud] != nullptr)
      store(p.grad[cloud], number - cloud * p.length[0], subtract(pull(p, number), hits));
  }
};

struct Plan {
  Workspace memory;
  int32_t* links;
  GroupedSum sum;

  Plan(int64_t numbers, int64_t hits, void* workspace)
      : memory(workspace),
        links(memory.take<int32_t>(numbers <= kLinkedUpTo ? 2 * numbers : 0)),
        sum(numbers, hits, memory) {}
};

}  // namespace

size_t nearest_pair_backward_workspace(int64_t points, int device) {
  const DeviceGuard guard(device);
  return Plan(points, points, nullptr).memory.bytes();
}

void nearest_pair_backward_cuda(const NearestPairGradient& p, void* workspace, int device,
                                void* stream) {
  const DeviceGuard guard(device);
  const Hitters hitters = hitters_of(p);
  const int64_t numbers = p.length[0] + p.length[1], count = hitters.count;
  if (numbers == 0) return;
  Plan plan(numbers, numbers, workspace);
  auto* const s = static_cast<cudaStream_t>(stream);
  const bool alike =
      std::max(p.length[0], p.length[1]) <= kUnlike * std::min(p.length[0], p.length[1]);
  if (numbers <= (alike ? kLinkedUpTo : kLinkedAnyhow))
    return nearest_pair_backward_links(p, plan.links, s);
  if (count > 0)
    file_hits<<<blocks_for(count, kThreads), kThreads, 0, s>>>(p, hitters.begin, count,
                                                               plan.sum.group(), plan.sum.item());
  plan.sum.run(count, Pull{p}, WriteGradient{p}, s);
}

}  // namespace g2vlm
