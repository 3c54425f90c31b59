// The hits of a point, which are the points whose neighbour it is, are a linked list, in whatever
// order they came. A thread sorts a short list and adds it up. Points with many hits are left to
// their warp, which searches the other cloud for the hits, or in large clouds to sums of integers,
// which no order changes.
#include <algorithm>

#include "common.cuh"
#include "g2vlm/nearest_pair.h"
#include "nearest_pair_popular.cuh"
#include "nearest_pair_pull.cuh"
#include "workspace.cuh"

namespace g2vlm {
namespace {

constexpr int kThreads = 128;
constexpr int kSorted = 16;  // hits that a thread sorts

// Points of both clouds together up to which warps search for the hits of popular points. Clouds of
// unlike sizes have many of them.
constexpr int64_t kSearchedUpTo = 1 << 19;
constexpr int64_t kSearchedAnyhow = 1 << 14;
constexpr int64_t kUnlike = 4;

// A thread a point: puts itself at the head of its neighbour's list. No point is popular yet.
__global__ void __launch_bounds__(kThreads)
    link_hits(const __grid_constant__ NearestPairGradient p, int32_t* heads, int32_t* links,
              uint32_t* popular) {
  const int64_t number = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (number == 0 && popular != nullptr) *popular = 0;
  if (number >= p.length[0] + p.length[1] || p.grad[1 - cloud_of(p, number)] == nullptr) return;
  const int64_t neighbour = neighbour_of(p, number);
  if (neighbour < 0) return;
  links[number] = atomicExch(heads + neighbour, static_cast<int32_t>(number));
}

// The sum over all hits on a point, found among all points of the other cloud by a warp.
__device__ float3 search_hits(const NearestPairGradient& p, int64_t number) {
  const int64_t cloud = cloud_of(p, number), other = 1 - cloud;
  const int64_t row = number - cloud * p.length[0];
  float3 sum = {0.0F, 0.0F, 0.0F};
  for (int64_t i = threadIdx.x % 32; i < p.length[other]; i += 32)
    if (p.index[other][i] == row) sum = add(sum, pull(p, other * p.length[0] + i));
  return warp_sum(sum);
}

// A thread a point: its own pull less that of its hits. Popular points keep their own where
// there is a list of them.
__global__ void __launch_bounds__(kThreads)
    linked_gradients(const __grid_constant__ NearestPairGradient p, int32_t* heads,
                     const int32_t* links, Popular popular) {
  const int64_t number = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const int64_t cloud = cloud_of(p, number);
  const bool inside = number < p.length[0] + p.length[1] && p.grad[cloud] != nullptr;
  int32_t hits[kSorted];
  int count = 0;
  for (int32_t hit = inside ? heads[number] : -1; hit >= 0 && count <= kSorted; hit = links[hit]) {
    if (count++ == kSorted) break;
    int slot = count - 1;
    for (; slot > 0 && hits[slot - 1] > hit; --slot) hits[slot] = hits[slot - 1];
    hits[slot] = hit;
  }
  float3 against = {0.0F, 0.0F, 0.0F};
  const bool many = count > kSorted;
  for (int i = 0; i < count && !many; ++i) against = add(against, pull(p, hits[i]));
  if (popular.count != nullptr) {
    if (many) heads[number] = popular.enlist(number);
  } else {
    for (unsigned busy = __ballot_sync(kAllLanes, many); busy != 0; busy &= busy - 1) {
      const int owner = __ffs(static_cast<int>(busy)) - 1;
      const float3 found = search_hits(p, __shfl_sync(kAllLanes, number, owner));
      if (static_cast<int>(threadIdx.x % 32) == owner) against = found;
    }
  }
  if (inside)
    store(p.grad[cloud], number - cloud * p.length[0], subtract(pull(p, number), against));
}

struct Plan {
  Workspace memory;
  int32_t *heads, *links;
  Popular popular{};

  Plan(int64_t numbers, void* workspace)
      : memory(workspace),
        heads(memory.take<int32_t>(numbers)),
        links(memory.take<int32_t>(numbers)),
        popular(numbers / (kSorted + 1) + 1, memory) {}
};

}  // namespace

size_t nearest_pair_backward_workspace(int64_t points, int /*device*/) {
  return Plan(points, nullptr).memory.bytes();
}

void nearest_pair_backward_cuda(const NearestPairGradient& p, void* workspace, int device,
                                void* stream) {
  const DeviceGuard guard(device);
  const int64_t numbers = p.length[0] + p.length[1];
  if (numbers == 0) return;
  const Plan plan(numbers, workspace);
  auto* const s = static_cast<cudaStream_t>(stream);
  const bool alike =
      std::max(p.length[0], p.length[1]) <= kUnlike * std::min(p.length[0], p.length[1]);
  const bool searches = numbers <= (alike ? kSearchedUpTo : kSearchedAnyhow);
  const Popular popular = searches ? Popular{} : plan.popular;
  check_cuda(cudaMemsetAsync(plan.heads, 0xFF, numbers * sizeof(int32_t), s),
             "nearest_pair_backward");
  const unsigned blocks = blocks_for(numbers, kThreads);
  link_hits<<<blocks, kThreads, 0, s>>>(p, plan.heads, plan.links, popular.count);
  linked_gradients<<<blocks, kThreads, 0, s>>>(p, plan.heads, plan.links, popular);
  if (!searches) add_popular(p, plan.heads, popular, s);
  check_cuda(cudaGetLastError(), "nearest_pair_backward");
}

}  // namespace g2vlm
