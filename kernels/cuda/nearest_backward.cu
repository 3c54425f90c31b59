// Gradients of the distances of `nearest`.
#include "common.cuh"
#include "g2vlm/nearest.h"
#include "rounding.cuh"

namespace g2vlm {
namespace {

constexpr int kThreads = 256;
constexpr int kWarp = 32;
constexpr int kAlone = 32;  // hits that a thread adds up without its warp

// Derivative of the distance of a pair in the query's coordinate, times its `grad_distance`.
template <class T>
__device__ T slope(const NearestGradient<T>& p, int64_t entry, int64_t target, int32_t axis) {
  const T difference =
      subtract(p.query[entry / p.k * p.dim + axis], p.target[target * p.dim + axis]);
  const T derivative = p.norm == 1 ? static_cast<T>((difference > 0) - (difference < 0))
                                   : multiply(T(2), difference);
  return multiply(p.grad_distance[entry], derivative);
}

// A thread a coordinate of a query.
template <class T>
__global__ void query_gradients(NearestGradient<T> p) {
  const int64_t element = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (element >= p.num_queries * p.dim) return;
  const int64_t query = element / p.dim;
  T sum = 0;
  for (int64_t entry = query * p.k; entry < (query + 1) * p.k; ++entry) {
    const int64_t target = p.index[entry];
    if (target < 0 || target >= p.num_targets) continue;
    sum = add(sum, slope(p, entry, target, static_cast<int32_t>(element % p.dim)));
  }
  p.grad_query[element] = sum;
}

// The first position in `sorted` whose target is not below `target`.
template <class T>
__device__ int64_t first_hit(const NearestGradient<T>& p, int64_t target) {
  int64_t low = 0, high = p.num_queries * p.k;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (p.sorted[middle] < target)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

// A thread a coordinate of a target: it adds up the first hits itself, in their order; where there
// are more, its warp joins in, each lane with every 32nd, and the lanes' sums meet in a fixed tree.
template <class T>
__global__ void target_gradients(NearestGradient<T> p) {
  const int64_t element = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const bool inside = element < p.num_targets * p.dim;
  const int64_t entries = p.num_queries * p.k;
  const int64_t target = element / p.dim;
  const auto axis = static_cast<int32_t>(element % p.dim);
  T sum = 0;
  int64_t hit = inside ? first_hit(p, target) : entries;
  for (int i = 0; i < kAlone && hit < entries && p.sorted[hit] == target; ++i, ++hit)
    sum = add(sum, slope(p, p.order[hit], target, axis));

  const int lane = threadIdx.x % kWarp;
  const bool more = hit < entries && p.sorted[hit] == target;
  for (unsigned busy = __ballot_sync(~0U, more); busy != 0; busy &= busy - 1) {
    const int owner = __ffs(static_cast<int>(busy)) - 1;
    const int64_t begin = __shfl_sync(~0U, hit, owner), of = __shfl_sync(~0U, target, owner);
    const int32_t along = __shfl_sync(~0U, axis, owner);
    const int64_t end = first_hit(p, of + 1);
    T part = 0;
    for (int64_t i = begin + lane; i < end; i += kWarp)
      part = add(part, slope(p, p.order[i], of, along));
    for (int stride = kWarp / 2; stride > 0; stride /= 2)
      part = add(part, __shfl_xor_sync(~0U, part, stride));
    if (lane == owner) sum = add(sum, part);
  }
  if (inside) p.grad_target[element] = subtract(T(0), sum);
}

}  // namespace

template <class T>
void nearest_backward_cuda(const NearestGradient<T>& p, int device, void* stream) {
  const DeviceGuard guard(device);
  auto* const launch_stream = static_cast<cudaStream_t>(stream);
  if (p.grad_query != nullptr && p.num_queries > 0) {
    query_gradients<<<blocks_for(p.num_queries * p.dim, kThreads), kThreads, 0, launch_stream>>>(p);
    check_cuda(cudaGetLastError(), "nearest_backward");
  }
  if (p.grad_target != nullptr && p.num_targets > 0) {
    target_gradients<<<blocks_for(p.num_targets * p.dim, kThreads), kThreads, 0, launch_stream>>>(
        p);
    check_cuda(cudaGetLastError(), "nearest_backward");
  }
}

template void nearest_backward_cuda(const NearestGradient<float>&, int, void*);
template void nearest_backward_cuda(const NearestGradient<double>&, int, void*);

}  // namespace g2vlm
