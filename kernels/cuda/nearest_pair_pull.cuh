// What a pair of neighbours adds to gradients. Points of both clouds are numbered through: those of
// the first cloud come first.
#pragma once

#include "common.cuh"
#include "g2vlm/nearest_pair.h"
#include "rounding.cuh"

namespace g2vlm {

// The gradient of few points: `links` holds two numbers a point.
void nearest_pair_backward_links(const NearestPairGradient& p, int32_t* links, cudaStream_t stream);

__device__ inline int64_t cloud_of(const NearestPairGradient& p, int64_t number) {
  return number >= p.length[0];
}

__device__ inline float3 load(const float* values, int64_t row) {
  return {values[row * 3], values[row * 3 + 1], values[row * 3 + 2]};
}

// What a point adds to its own gradient; its neighbour gets the opposite.
__device__ inline float3 pull(const NearestPairGradient& p, int64_t number) {
  const int64_t cloud = cloud_of(p, number), row = number - cloud * p.length[0];
  const int64_t neighbour = p.index[cloud][row];
  if (neighbour < 0 || neighbour >= p.length[1 - cloud]) return {0.0F, 0.0F, 0.0F};
  const float3 from = load(p.points[cloud], row), to = load(p.points[1 - cloud], neighbour);
  const float scale = multiply(2.0F, p.grad_distance[cloud][row]);
  return {multiply(scale, subtract(from.x, to.x)), multiply(scale, subtract(from.y, to.y)),
          multiply(scale, subtract(from.z, to.z))};
}

__device__ inline float3 add(float3 a, float3 b) {
  return {g2vlm::add(a.x, b.x), g2vlm::add(a.y, b.y), g2vlm::add(a.z, b.z)};
}

__device__ inline float3 warp_sum(float3 value) {
  for (int stride = 16; stride > 0; stride /= 2)
    value = add(value, {__shfl_xor_sync(kAllLanes, value.x, stride),
                        __shfl_xor_sync(kAllLanes, value.y, stride),
                        __shfl_xor_sync(kAllLanes, value.z, stride)});
  return value;
}

}  // namespace g2vlm
