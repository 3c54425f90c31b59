// Gradients of few points: the hits of a point are a linked list, in whatever order they came. A
// thread sorts a short list; where it is long, its warp searches the other cloud for the hits.
#include "common.cuh"
#include "nearest_pair_pull.cuh"
#include "workspace.cuh"

namespace g2vlm {
namespace {

constexpr int kThreads = 128;
constexpr int kSorted = 16;  // hits that a thread sorts

// A thread a point: puts itself at the head of its neighbour's list.
__global__ void __launch_bounds__(kThreads)
    link_hits(const __grid_constant__ NearestPairGradient p, int32_t* heads, int32_t* links) {
  const int64_t number = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const int64_t cloud = cloud_of(p, number);
  if (number >= p.length[0] + p.length[1] || p.grad[1 - cloud] == nullptr) return;
  const int64_t neighbour = p.index[cloud][number - cloud * p.length[0]];
  if (neighbour < 0 || neighbour >= p.length[1 - cloud]) return;
  links[number] =
      atomicExch(heads + (1 - cloud) * p.length[0] + neighbour, static_cast<int32_t>(number));
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

// A thread a point: its own pull less that of its hits.
__global__ void __launch_bounds__(kThreads)
    linked_gradients(const __grid_constant__ NearestPairGradient p, const int32_t* heads,
                     const int32_t* links) {
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
  for (unsigned busy = __ballot_sync(kAllLanes, many); busy != 0; busy &= busy - 1) {
    const int owner = __ffs(static_cast<int>(busy)) - 1;
    const float3 found = search_hits(p, __shfl_sync(kAllLanes, number, owner));
    if (static_cast<int>(threadIdx.x % 32) == owner) against = found;
  }
  if (!inside) return;
  const float3 own = pull(p, number);
  store(p.grad[cloud], number - cloud * p.length[0], subtract(own, against));
}

}  // namespace

void nearest_pair_backward_links(const NearestPairGradient& p, int32_t* links,
                                 cudaStream_t stream) {
  const int64_t numbers = p.length[0] + p.length[1];
  int32_t* const heads = links + numbers;
  check_cuda(cudaMemsetAsync(heads, 0xFF, numbers * sizeof(int32_t), stream),
             "nearest_pair_backward");
  const unsigned blocks = blocks_for(numbers, kThreads);
  link_hits<<<blocks, kThreads, 0, stream>>>(p, heads, links);
  linked_gradients<<<blocks, kThreads, 0, stream>>>(p, heads, links);
  check_cuda(cudaGetLastError(), "nearest_pair_backward");
}

}  // namespace g2vlm
